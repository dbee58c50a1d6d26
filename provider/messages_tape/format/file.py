"""Reads and writes the text of a tape file."""

import re
from typing import Any

import yaml
from pydantic import ValidationError

from messages_tape.errors import TapeFormatError

from .emit import emit
from .model import FORMAT, Tape

SUFFIX = ".tape.yaml"
_HEAD = "# A tape: what an upstream was asked and what it answered. The format is described in docs/tapes.md.\n"


_MAX_DEPTH = 100
"""Levels of nesting; bodies have at most 64. libyaml crashes the process at a few thousand levels (stack overflow)."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML by the rules of version 1.2: ``no`` and ``2026-11-20`` are text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - declared like this in the base class

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def descend_resolver(self, current_node: yaml.Node | None, current_index: object) -> None:  # noqa: ARG002
        """Enter a nesting level; both loaders call this before they descend into a node."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            mark = current_node.start_mark if current_node else None
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {_MAX_DEPTH} levels", mark)

    def ascend_resolver(self) -> None:
        """Leave a nesting level."""
        self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping; duplicate keys, which a merge of two tapes can leave, are an error."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return]


for _tag, _pattern, _starts in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"-?(?:0|[1-9][0-9]*)", [*"-0123456789"]),
    ("float", r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", [*"-0123456789"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _starts)


def dump(tape: Tape) -> str:
    """Return the text of a tape: deterministic, one chunk per line."""
    tree = tape.model_dump(exclude_defaults=True)
    ignored = {"query": list(tape.ignore.query), "body": list(tape.ignore.body)}
    shown = {"tape": FORMAT, "upstream": {}, "ignore": {**ignored, **(tree.pop("ignore", None) or {})}}
    return _HEAD + emit({**shown, **tree})


def load(text: str) -> Tape:
    """Parse a tape.

    Raises:
        TapeFormatError: The text is not a valid tape or has an unsupported format version; the message says where.
    """
    try:
        return Tape.model_validate(parse(text))
    except ValidationError as error:
        raise TapeFormatError(_complaint(error)) from None


def parse(text: str) -> dict[str, Any]:
    """Parse the YAML and check the format version, without validating the rest of the tape.

    Raises:
        TapeFormatError: The text is not YAML, or its ``tape`` key is not the version that this code reads.
    """
    try:
        tree: Any = yaml.load(text, _Loader)  # noqa: S506 - a safe loader
        _check_aliases(tree)
    except yaml.YAMLError as error:
        raise TapeFormatError(f"not YAML: {error}") from None
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; aliases
        raise TapeFormatError(f"not readable: {error}") from None
    version = tree.get("tape") if isinstance(tree, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise TapeFormatError(f"not a tape: it has no `tape: {FORMAT}`")
    if version != FORMAT:
        raise TapeFormatError(f"format {version} is not format {FORMAT}, which this version reads; update the package")
    return tree  # type: ignore[no-any-return]


def _check_aliases(tree: Any) -> None:  # noqa: ANN401 - whatever YAML holds
    """Reject YAML aliases, including recursive ones: a few lines of them can expand beyond the memory.

    Raises:
        ValueError: The tree has an alias.
    """
    left, seen = [tree], set()
    while left:
        node = left.pop()
        if not isinstance(node, dict | list):
            continue
        if id(node) in seen:
            raise ValueError("aliases (`*name`) are not for tapes; write out what they stand for")
        seen.add(id(node))
        left += node.values() if isinstance(node, dict) else node


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the format; ``tape.schema.json`` is a copy of it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Tape.model_json_schema()}


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(map(str, first["loc"]))
    return f"{path}: {first['msg'].removeprefix('Value error, ')}"
