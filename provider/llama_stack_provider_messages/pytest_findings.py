"""What the pytest plugin gathers in a run. Beside the plugin, so that loading it loads nothing of the harness."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest


class Findings:
    """What a run knows of tapes.

    Attributes:
        used: Upstream and name of those that tests name.
        written: Files.
        complete: Whether all tests were looked at.
        claims: Folder shared by the processes of the run, see ``tape/claims.py``.
    """

    def __init__(self) -> None:
        self.used: set[tuple[str, str]] = set()
        self.written: set[str] = set()
        self.complete = False
        self.claims: Path | None = None

    def shared(self) -> Path:
        """Return the folder that is shared."""
        if self.claims is None:
            self.claims = Path(tempfile.mkdtemp(prefix="tapes-"))
        return self.claims

    def plain(self) -> dict[str, Any]:
        """Return what a worker tells the controller."""
        return {"used": sorted(map(list, self.used)), "written": sorted(self.written), "complete": self.complete}

    def add(self, plain: Mapping[str, Any]) -> None:
        """Take what a worker tells."""
        self.used |= {(upstream, name) for upstream, name in plain["used"]}
        self.written |= set(plain["written"])
        self.complete |= plain["complete"]


def collects_all(config: pytest.Config) -> bool:
    """Say whether the paths of the command line hold all tests; options that deselect do so after collection."""
    if getattr(config.option, "lf", False) or config.option.ignore or config.option.ignore_glob:
        return False
    chosen = [(config.invocation_params.dir / arg).resolve() for arg in config.args]
    whole = [(config.rootpath / path).resolve() for path in config.getini("testpaths") or ["."]]
    return all(any(path.is_relative_to(one) for one in chosen) for path in whole)
