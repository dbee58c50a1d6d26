"""Finds tapes without a test at the end of a pytest run."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from .names_in_source import Named
from .orphans import name_of, named_by_uncollected, orphans, tapes_under
from .plugin_options import settings_of, shown
from .plugin_state import Findings


def lone_tapes(config: pytest.Config, found: Findings) -> list[tuple[str, str]]:
    """Return the tapes without a test, each as display path and name.

    Args:
        config: The pytest config of the run.
        found: The findings of the run. If uncollected tests may name any tape, the list is empty and a note is added.
    """
    if not (config.rootpath / config.getini("tape_dir")).is_dir():
        return []
    settings = settings_of(config)
    if settings.mode == "live":
        return []
    tapes = tapes_under(settings.folder, {settings.default, *(upstream for upstream, _ in found.used)})
    unseen = named_by_uncollected(map(Path, found.uncollected))
    lone = orphans(tapes, settings.folder, Named(frozenset(found.used)) | unseen)
    if lone and unseen.computed:
        found.notes.add(_unlooked(config, unseen.computed, [shown(config, path) for path in lone]))
        return []
    return [(shown(config, path), name_of(path, settings.folder).partition("/")[2]) for path in lone]


def _unlooked(config: pytest.Config, places: Sequence[str], tapes: Sequence[str]) -> str:
    """Return the note that uncollected tests may use the tapes that no collected test names."""
    shown = ", ".join(place.replace(f"{config.rootpath.as_posix()}/", "", 1) for place in places)
    return f"{shown} was not collected and may name any tape, so these count as having a test: {', '.join(tapes)}"
