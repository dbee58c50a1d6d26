"""Reads and writes the text of a tape file: YAML with one chunk per line.

Tapes are reviewed as diffs, so the writer is our own: it writes one chunk per line, texts of several lines as block
scalars, and the same bytes on every machine. The output is a subset of YAML 1.2 that YAML 1.1 readers parse to the same
values: any text that such a reader could parse as another type is quoted.

The reader accepts what people write by hand, but no YAML that is dangerous or ambiguous: aliases, duplicate keys and
very deep nesting are errors.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from messages_tape.errors import TapeFormatError

from .model import FORMAT, Tape

SUFFIX = ".tape.yaml"
_HEAD = "# A tape: what an upstream was asked and what it answered. The format is described in docs/tapes.md.\n"
_MAX_LEVELS = 100
"""Levels of nesting; bodies have at most 64. libyaml crashes the process at a few thousand levels (stack overflow)."""

_UNPRINTABLE = r"\x00-\x09\x0b-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff"
"""Also characters that editors do not show or treat as a line break."""
_NOT_IN_BLOCKS = re.compile(rf"[{_UNPRINTABLE}]|[^\S\n]\n|[^\S\n]\Z")
_ESCAPED = re.compile(rf'[{_UNPRINTABLE}\n"\\]')
_NAMED_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]{0,127}")
_RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""Plain scalars that YAML 1.1 does not read as text."""


def dump(tape: Tape) -> str:
    """Return the text of a tape: deterministic, one chunk per line."""
    tree = tape.model_dump(exclude_defaults=True)
    ignored = {"query": list(tape.ignore.query), "body": list(tape.ignore.body)}
    always = {"tape": FORMAT, "upstream": {}, "ignore": {**ignored, **(tree.pop("ignore", None) or {})}}
    return _HEAD + emit({**always, **tree})


def load(text: str) -> Tape:
    """Parse a tape.

    Raises:
        TapeFormatError: The text is not a valid tape or has an unsupported format version; the message says where.
    """
    try:
        return Tape.model_validate(parse(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(map(str, first["loc"]))
        raise TapeFormatError(f"{path}: {first['msg'].removeprefix('Value error, ')}") from None


def parse(text: str) -> dict[str, Any]:
    """Parse the YAML and check the format version, without validating the rest of the tape.

    Raises:
        TapeFormatError: The text is not YAML, or its ``tape`` key is not the version that this code reads.
    """
    try:
        tree: Any = yaml.load(text, _Loader)  # noqa: S506 - a safe loader
        _reject_aliases(tree)
    except yaml.YAMLError as error:
        raise TapeFormatError(f"not YAML: {error}") from None
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; aliases
        raise TapeFormatError(f"not readable: {error}") from None
    version = tree.get("tape") if isinstance(tree, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise TapeFormatError(f"not a tape: `tape: {FORMAT}` is missing")
    if version != FORMAT:
        raise TapeFormatError(f"format {version} is not supported, only format {FORMAT}; update the package")
    return tree  # type: ignore[no-any-return]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the format; ``tape.schema.json`` is a copy of it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Tape.model_json_schema()}


def _reject_aliases(tree: Any) -> None:  # noqa: ANN401 - any YAML value
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
            raise ValueError("aliases (`*name`) are not supported in tapes; write the value in each place")
        seen.add(id(node))
        left += node.values() if isinstance(node, dict) else node


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML by the rules of version 1.2: ``no`` and ``2026-11-20`` are text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - declared like this in the base class

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._level = 0

    def descend_resolver(self, current_node: yaml.Node | None, current_index: object) -> None:  # noqa: ARG002
        """Enter a nesting level; both loaders call this before they descend into a node."""
        self._level += 1
        if self._level > _MAX_LEVELS:
            mark = current_node.start_mark if current_node else None
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {_MAX_LEVELS} levels", mark)

    def ascend_resolver(self) -> None:
        """Leave a nesting level."""
        self._level -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping; duplicate keys, which a merge of two tapes can leave, are an error."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            duplicate = next(key for key in keys if keys.count(key) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {duplicate!r}", node.start_mark)
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return]


for _tag, _pattern, _starts in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"-?(?:0|[1-9][0-9]*)", [*"-0123456789"]),
    ("float", r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", [*"-0123456789"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _starts)


def emit(tree: Mapping[str, Any]) -> str:
    """Return a mapping as a YAML document.

    Args:
        tree: Nested mappings with string keys, lists, tuples, strings, finite numbers, booleans and None.
    """
    return "".join(f"{line}\n" for line in _mapping(tree))


def _mapping(tree: Mapping[str, Any]) -> Iterator[str]:
    for key, value in tree.items():
        name = _text(key)
        if not _nests(value):
            yield from _leaf(f"{name}: ", value)
        elif isinstance(value, Mapping):
            yield f"{name}:"
            yield from (f"  {line}" for line in _mapping(value))
        else:
            yield f"{name}:"
            yield from _sequence(value)


def _sequence(items: Iterable[Any]) -> Iterator[str]:
    for item in items:
        if _nests(item):
            lines = _mapping(item) if isinstance(item, Mapping) else _sequence(item)
            yield f"- {next(lines)}"
            yield from (f"  {line}" for line in lines)
        else:
            yield from _leaf("- ", item)


def _nests(value: Any) -> bool:  # noqa: ANN401 - any tree
    """Return whether a value is written on several lines; a list that begins with a number (a chunk) takes one line."""
    if isinstance(value, list | tuple):
        return bool(value) and (isinstance(value[0], bool) or not isinstance(value[0], int | float))
    return isinstance(value, Mapping) and bool(value)


def _leaf(lead: str, value: object) -> Iterator[str]:
    if isinstance(value, str) and _fits_block(value):
        text = value.removesuffix("\n")
        yield f"{lead}{'|' if text != value else '|-'}"
        yield from (f"  {line}" if line else "" for line in text.split("\n"))
    else:
        yield lead + _flow(value)


def _fits_block(text: str) -> bool:
    """Return whether a text can be a block scalar without loss, even if an editor strips trailing white space."""
    if "\n" not in text or text[0] in " \n" or text.endswith("\n\n"):
        return False
    return not _NOT_IN_BLOCKS.search(text)


def _flow(value: object) -> str:
    match value:
        case str():
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(_quoted(item) if isinstance(item, str) else _flow(item) for item in value)}]"
        case Mapping():
            return f"{{{', '.join(f'{_text(key)}: {_flow(item)}' for key, item in value.items())}}}"
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case float():
            # YAML 1.1 requires a decimal point before an exponent
            mantissa, mark, exponent = repr(value).partition("e")
            return f"{mantissa}{'' if '.' in mantissa or not mark else '.0'}{mark}{exponent}"
        case int():
            return str(value)
    raise TypeError(f"a tape cannot hold {type(value).__name__}")


def _text(value: str) -> str:
    plain = _PLAIN.fullmatch(value) and value.lower() not in _RESERVED
    return value if plain else _quoted(value)


def _quoted(value: str) -> str:
    def escape(found: re.Match[str]) -> str:
        char = found[0]
        return _NAMED_ESCAPES.get(char) or (f"\\x{ord(char):02x}" if char <= "\xff" else f"\\u{ord(char):04x}")

    return f'"{_ESCAPED.sub(escape, value)}"'
