"""What a run of pytest says about tapes without a test."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from .names_in_source import Named
from .orphans import name_of, named_by_uncollected, orphans, tapes_under
from .plugin_options import settings_of, shown
from .plugin_state import Findings


def lone_tapes(config: pytest.Config, found: Findings) -> list[tuple[str, str]]:
    """Return how people call the tapes without a test, and their names.

    Args:
        config: Of the run.
        found: In it; gets a note if nobody can tell.
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
    """Return why tapes that no test names may still have one."""
    shown = ", ".join(place.replace(f"{config.rootpath.as_posix()}/", "", 1) for place in places)
    return f"{shown} was not collected and may name any tape, so these count as having a test: {', '.join(tapes)}"
