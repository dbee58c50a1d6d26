"""The names in a run.yaml that neither the platform nor this package knows; most are misspelt.

Each is reported in one line. The checks that follow get the file with the name that was meant, so that ``provider_typ``
is not reported a second time as a missing ``provider_type``, and mistakes below a misspelt name are found, too.
"""

import contextlib
import difflib
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import yaml

from .platform_source import platform_apis, server_fields, stack_fields
from .run_config import Finding, RunConfig, expand_user, is_disabled, load_yaml, replaced

API = "messages"
IGNORED = "unknown field, which the platform ignores"
_PROVIDER_FIELDS = ("provider_id", "provider_type", "config", "module")


def similar_name(name: object, known: Iterable[str]) -> str:
    """Return the known name that a misspelt one resembles most; empty if none is similar."""
    return next(iter(difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.7)), "")


def suggestion(name: object, known: Iterable[str]) -> str:
    """Return the question whether a known name was meant; empty if none is similar."""
    meant = similar_name(name, known)
    return f"did you mean {meant}?" if meant else ""


def advice_for(name: object, known: Collection[str]) -> str:
    """Return what to do with an unknown field of a mapping."""
    return suggestion(name, known) or f"remove it; known are {', '.join(known)}"


def with_known_names(config: RunConfig) -> tuple[RunConfig, list[Finding]]:
    """Return a run.yaml with misspelt names corrected and unknown ones left out, and a finding for each of them.

    The names are those at the top level, in ``server``, of APIs, and of the fields of a provider.
    """
    found: list[Finding] = []

    def corrected(path: str, mapping: Any, known: Collection[str] | None, problem: str, advice: str = "") -> Any:  # noqa: ANN401 - any YAML
        if not isinstance(mapping, dict) or not known:
            return mapping
        kept: dict[Any, Any] = {}
        for name, value in mapping.items():
            if name in known:
                kept[name] = value
                continue
            meant = similar_name(name, known)
            text = suggestion(name, known) or advice or advice_for(name, known)
            found.append(Finding(f"{path}.{name}" if path else str(name), f"{problem}; {text}"))
            if meant and meant not in mapping:
                kept[meant] = value
        return kept

    anchors = {name: value for name, value in config.raw.items() if str(name).startswith(("x-", "."))}
    raw = corrected("", {**config.raw}, [*(stack_fields() or config.raw), *anchors], IGNORED)
    raw["server"] = corrected("server", raw.get("server"), server_fields(), IGNORED)
    apis = platform_apis()
    names = [API, *apis, *declared_apis(replaced(raw.get("external_apis_dir"), config.environ))] if apis else None
    remedy = "remove it, or declare it in a file of external_apis_dir"
    providers = corrected("providers", raw.get("providers"), names, "unknown API", remedy)
    raw["providers"] = {**providers} if isinstance(providers, dict) else providers
    for api in ("inference", API) if isinstance(providers, dict) else ():
        if isinstance(entries := providers.get(api), list):
            remedy = "settings of the provider are below config"
            raw["providers"][api] = [
                entry
                if isinstance(entry, dict) and is_disabled(entry, config.environ)
                else corrected(f"providers.{api}[{number}]", entry, _PROVIDER_FIELDS, "unknown field", remedy)
                for number, entry in enumerate(entries)
            ]
    return RunConfig.of(raw, config.environ), found


def declared_apis(folder: object) -> list[str]:
    """Return the names of the APIs that the files of a folder declare, such as ``external_apis_dir``."""
    place = expand_user(folder) if isinstance(folder, str) else ""
    names = []
    for file in sorted(Path(place).glob("*.yaml")) if os.path.isdir(place) else ():  # noqa: PTH112 - Path.is_dir raises an error for a name that is too long
        with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
            spec = load_yaml(file.read_text(encoding="utf-8"))
            if isinstance(spec, dict) and "name" in spec:
                names.append(str(spec["name"]))
    return names
