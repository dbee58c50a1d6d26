"""Reads a run.yaml as the platform does, without importing the platform, and collects what is wrong instead of failing.

The platform replaces ``${env.NAME}`` (fails if NAME is unset or empty), ``${env.NAME:=default}`` and
``${env.NAME:+value if NAME is set}``. A provider whose id becomes ``__disabled__`` is left out before its configuration
is read, one whose id becomes empty after that.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

_REFERENCE = re.compile(r"\${env\.([A-Z0-9_]+)(?::([=+])([^}]*))?}")
_MALFORMED_REFERENCE = re.compile(r"\$\{env\.[^}]*\}?")
_SHELL_VARIABLE = re.compile(r"\$\{[A-Z_][A-Z0-9_]*\}")
_DISABLED = "__disabled__"
DISABLED_IDS = (None, "", _DISABLED)
"""Ids of providers that the platform leaves out."""
_APIS_DIR = "MESSAGES_APIS_DIR"
"""The variable that the commands set for ``external_apis_dir``."""
_MAX_NODES = 10_000
"""Limit on mappings, lists, keys and values of a YAML file; the largest run.yaml of the platform has fewer than 1,000.

An alias counts as many nodes as its anchor, and is not expanded for that: the platform copies the content for each
alias, so that nine lines of nine aliases each become 400 million values.
"""
_MAX_SHOWN_CHARACTERS = 60
_MAX_DEPTH = 100
"""Limit on nested mappings and lists, below the depth at which Python raises a RecursionError."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong in a run.yaml.

    Attributes:
        path: JSON path in the file, such as ``providers.messages[0].config.aliases``; empty for the whole file.
        text: What is wrong, and what to do.
    """

    path: str
    text: str

    def __str__(self) -> str:
        """Return the finding on one line."""
        return " ".join((f"{self.path}: {self.text}" if self.path else self.text).split())


@dataclass(slots=True)
class RunConfig:
    """A run.yaml with its environment variables replaced.

    Attributes:
        content: The top-level mapping; empty if the file cannot be read.
        raw: The same before the replacement.
        environ: The environment variables.
        findings: What is wrong with the file or with its references to variables.
    """

    content: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @classmethod
    def of(cls, raw: dict[str, Any], environ: Mapping[str, str]) -> Self:
        """Return the configuration of a run.yaml that was read."""
        findings: list[Finding] = []
        report: Callable[[str, str], None] = lambda where, text: findings.append(Finding(where, text))  # noqa: E731
        return cls(_replaced(raw, "", environ, report), raw, environ, findings)

    def mapping(self, *keys: str) -> dict[str, Any]:
        """Return the mapping at a path, or an empty one."""
        value: Any = self.content
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}

    def providers(self, api: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the enabled providers of an API, each with its path in the file."""
        entries = self.mapping("providers").get(api)
        if not isinstance(entries, list):
            return []
        return [
            (f"providers.{api}[{number}]", entry)
            for number, entry in enumerate(entries)
            if isinstance(entry, dict) and entry.get("provider_id") not in DISABLED_IDS
        ]


class _Loader(yaml.SafeLoader):
    """Raises a YAMLError for everything that it cannot load, and for a file over the limits."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0
        self._depth = 0
        self._sizes: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node; count it, or for an alias the nodes of its anchor."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        anchor, mark, before = event.anchor, event.start_mark, self._nodes
        if isinstance(event, yaml.AliasEvent) and anchor in self.anchors and anchor not in self._sizes:
            raise ComposerError(None, None, f"*{anchor} is inside of &{anchor}, which has no end", mark)
        self._nodes += self._sizes.get(anchor, 1) if isinstance(event, yaml.AliasEvent) else 1
        if self._nodes > _MAX_NODES:
            raise ComposerError(None, None, f"more than {_MAX_NODES} values, counting those of each alias", mark)
        if self._depth == _MAX_DEPTH:
            raise ComposerError(None, None, f"nested more than {_MAX_DEPTH} levels deep", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if anchor and not isinstance(event, yaml.AliasEvent):
            self._sizes[anchor] = self._nodes - before
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401 - PyYAML's signature
        """Return the value of a node; PyYAML raises other errors for values such as 2024-99-99 and `!!bool x`."""
        try:
            value = super().construct_object(node, deep)
            str(value if isinstance(value, int) else "")  # Python cannot print an integer of more than 4,300 digits
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError):
            text = str(node.value)[:_MAX_SHOWN_CHARACTERS] if isinstance(node, yaml.ScalarNode) else "this"
            problem = f"{text} is not a valid {node.tag.rpartition(':')[2]}, so put it in quotes if it is text"
            raise ConstructorError(None, None, problem, node.start_mark) from None
        return value


def load_yaml(text: str) -> Any:  # noqa: ANN401 - any YAML
    """Return the content of a YAML file; raise only a YAMLError."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def expand_user(path: str) -> str:
    """Return the path with ``~`` replaced as the platform does; ``~nouser`` and ``""`` are returned unchanged."""
    try:
        return os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises an error for ~nouser
    except ValueError:  # a NUL or a lone surrogate in the name of the user
        return path


def read_run_config(path: Path, environ: Mapping[str, str] = os.environ) -> RunConfig:
    """Return the content of a run.yaml and what is wrong with it; raises nothing."""
    try:
        text = path.read_text(encoding="utf-8")
        raw = load_yaml(text)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; give the path of a run.yaml"
    except UnicodeDecodeError:
        problem = "is not a text file in UTF-8; give the path of a run.yaml"
    except yaml.YAMLError as error:
        problem = _yaml_problem(error, text)
    else:
        if isinstance(raw, dict):
            return RunConfig.of(raw, environ)
        problem = "is not a mapping at its top level; begin with `version: 2`"
    return RunConfig(environ=environ, findings=[Finding("", problem)])


def _yaml_problem(error: yaml.YAMLError, text: str) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
    if not mark:
        return f"not valid YAML: {problem}; correct this file"
    line = text.split("\n")[mark.line : mark.line + 1]
    indentation = line[0][: len(line[0]) - len(line[0].lstrip())] if line else ""
    remedy = "replace the tab by spaces" if "\t" in indentation or r"'\t'" in problem else "correct this line"
    return f"line {mark.line + 1}, column {mark.column + 1}: not valid YAML: {problem}; {remedy}"


def _replaced(value: Any, path: str, environ: Mapping[str, str], report: Callable[[str, str], None]) -> Any:  # noqa: ANN401 - any YAML
    if isinstance(value, dict):
        if path == "server.auth" and _is_disabled_auth(value, environ):
            value = {**value, "provider_config": None}
        return {
            key: _replaced(part, f"{path}.{key}" if path else str(key), environ, report) for key, part in value.items()
        }
    if isinstance(value, list):
        return [_replaced_entry(part, f"{path}[{number}]", environ, report) for number, part in enumerate(value)]
    if not isinstance(value, str):
        return value
    missing = [name for name, operator, _ in _REFERENCE.findall(value) if not operator and not environ.get(name)]
    for name in missing:
        is_near = difflib.get_close_matches(name, [_APIS_DIR], cutoff=0.7)
        advice = f"did you mean {_APIS_DIR}?" if is_near else f"set it, or write ${{env.{name}:=VALUE}}"
        report(path, f"the environment variable {name} is not set; {advice}")
    if missing:
        return value
    result = _REFERENCE.sub(lambda found: _value(found, environ), value)
    if unknown := _SHELL_VARIABLE.fullmatch(value) or _MALFORMED_REFERENCE.search(_REFERENCE.sub(" ", value)):
        report(path, f"{unknown[0]} is not replaced; write ${{env.NAME}} with a name in capital letters")
    return _typed(result) if result != value else value


def replaced(value: Any, environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - any YAML
    """Return a value of a run.yaml with its environment variables replaced, as far as they are set."""
    return _replaced(value, "", environ, lambda *_: None)


def is_disabled(entry: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Return whether the environment disables a provider, given before the replacement."""
    return "provider_id" in entry and replaced(entry["provider_id"], environ) in DISABLED_IDS


def _replaced_entry(part: Any, path: str, environ: Mapping[str, str], report: Callable[[str, str], None]) -> Any:  # noqa: ANN401 - any YAML
    name = part.get("provider_id") if isinstance(part, dict) else None
    if isinstance(name, str) and replaced(name, environ) == _DISABLED:
        return {"provider_id": _DISABLED}
    return _replaced(part, path, environ, report)


def _is_disabled_auth(auth: dict[str, Any], environ: Mapping[str, str]) -> bool:
    provider = auth.get("provider_config")
    return isinstance(provider, dict) and "type" in provider and replaced(provider["type"], environ) in (None, "")


def _value(found: re.Match[str], environ: Mapping[str, str]) -> str:
    name, operator, text = found.groups()
    value = environ.get(name) or ""
    if operator == "=":
        value = value or text or ""
    elif operator == "+":
        value = (text or "") if value else ""
    return expand_user(value)


def _typed(text: str) -> str | bool | int | float | None:
    """Return a replaced value in the type that the platform gives it."""
    if text == "":
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def possible_values(value: Any) -> set[str]:  # noqa: ANN401 - any YAML
    """Return the values that a string of the file can have in another environment, as far as the file says."""
    if not isinstance(value, str):
        return set()
    return {value, *(text for _, _, text in _REFERENCE.findall(value) if text)}
