"""Reads a run.yaml as the platform does, without importing the platform, and collects what is wrong instead of failing.

The platform replaces ``${env.NAME}`` (fails if NAME is unset or empty), ``${env.NAME:=default}`` and
``${env.NAME:+value if NAME is set}``. A provider whose id becomes ``__disabled__`` is left out before its configuration
is read, one whose id becomes empty after that.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_REFERENCE = re.compile(r"\${env\.([A-Z0-9_]+)(?::([=+])([^}]*))?}")
_LIKE_A_REFERENCE = re.compile(r"\$\{[^}]*\}?|\$env\.\w+")
_DISABLED = "__disabled__"


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
        findings: What was wrong so far.
    """

    content: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def mapping(self, *keys: str) -> dict[str, Any]:
        """Return the mapping at a path; empty if there is none."""
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
            if isinstance(entry, dict) and entry.get("provider_id") not in (None, "", _DISABLED)
        ]


def read_run_config(path: Path, environ: Mapping[str, str] = os.environ) -> RunConfig:
    """Return the content of a run.yaml and what is wrong with it; raises nothing."""
    config = RunConfig()
    report: Callable[[str, str], None] = lambda where, text: config.findings.append(Finding(where, text))  # noqa: E731
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        report("", f"cannot be read: {error.strerror}; give the path of a run.yaml")
    except UnicodeDecodeError:
        report("", "is not a text file in UTF-8; give the path of a run.yaml")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        report("", f"{place}not valid YAML: {getattr(error, 'problem', None) or error}; correct this line")
    else:
        if isinstance(raw, dict):
            config.raw, config.content = raw, _replaced(raw, "", environ, report)
        else:
            report("", "is not a mapping at its top level; begin with `version: 2`")
    return config


def _replaced(value: Any, path: str, environ: Mapping[str, str], report: Callable[[str, str], None]) -> Any:  # noqa: ANN401 - any YAML
    if isinstance(value, dict):
        if path == "server.auth" and _is_disabled_auth(value, environ):
            value = {**value, "provider_config": None}
        return {
            key: _replaced(part, f"{path}.{key}" if path else str(key), environ, report) for key, part in value.items()
        }
    if isinstance(value, list):
        return [_entry(part, f"{path}[{number}]", environ, report) for number, part in enumerate(value)]
    if not isinstance(value, str):
        return value
    missing = [name for name, operator, _ in _REFERENCE.findall(value) if not operator and not environ.get(name)]
    for name in missing:
        report(path, f"the environment variable {name} is not set; set it, or write ${{env.{name}:=default}}")
    if missing:
        return value
    result = _REFERENCE.sub(lambda found: _value(found, environ), value)
    if unknown := _LIKE_A_REFERENCE.search(_REFERENCE.sub("", value)):
        report(path, f"{unknown[0]} is not replaced; write ${{env.NAME}} with a name in capital letters")
    return _typed(result) if result != value else value


def _entry(part: Any, path: str, environ: Mapping[str, str], report: Callable[[str, str], None]) -> Any:  # noqa: ANN401 - any YAML
    if isinstance(part, dict) and _replaced(part.get("provider_id"), "", environ, lambda *_: None) == _DISABLED:
        return {"provider_id": _DISABLED}
    return _replaced(part, path, environ, report)


def _is_disabled_auth(auth: dict[str, Any], environ: Mapping[str, str]) -> bool:
    provider = auth.get("provider_config")
    return (
        isinstance(provider, dict)
        and "type" in provider
        and _replaced(provider["type"], "", environ, lambda *_: None) in (None, "")
    )


def _value(found: re.Match[str], environ: Mapping[str, str]) -> str:
    name, operator, text = found.groups()
    value = environ.get(name) or ""
    if operator == "=":
        value = value or text or ""
    elif operator == "+":
        value = (text or "") if value else ""
    return os.path.expanduser(value)  # noqa: PTH111 - "" stays ""


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
