"""What the pytest plugin gathers in a run. Beside the plugin, so that loading it loads nothing of the harness."""

import tempfile
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

_TEXTS = ("written", "uncollected", "notes", "requests_between_tests")
"""Sets of texts, of which the controller of xdist has those of all workers."""


class Findings:
    """What a run knows of tapes.

    Attributes:
        used: Upstream and name of those that tests name.
        written: Files.
        complete: Whether all tests were looked at.
        uncollected: Files and folders whose tests are not known: they skipped themselves, failed or were ignored.
        notes: What a person should know of the run, and what fails nothing.
        requests_between_tests: A test, and on further lines a request that came between it and the next one.
        claims: Folder shared by the processes of the run, see ``tape/claims.py``.
    """

    def __init__(self) -> None:
        self.used: set[tuple[str, str]] = set()
        self.written: set[str] = set()
        self.complete = False
        self.uncollected: set[str] = set()
        self.notes: set[str] = set()
        self.requests_between_tests: set[str] = set()
        self.claims: Path | None = None

    def shared(self) -> Path:
        """Return the folder that is shared."""
        if self.claims is None:
            self.claims = Path(tempfile.mkdtemp(prefix="tapes-"))
        return self.claims

    def plain(self) -> dict[str, Any]:
        """Return what a worker tells the controller."""
        texts = {name: sorted(getattr(self, name)) for name in _TEXTS}
        return {"used": sorted(map(list, self.used)), "complete": self.complete, **texts}

    def add(self, plain: Mapping[str, Any]) -> None:
        """Take what a worker tells."""
        self.used |= {(upstream, name) for upstream, name in plain["used"]}
        self.complete |= plain["complete"]
        for name in _TEXTS:
            getattr(self, name).update(plain[name])


def collects_all(config: pytest.Config) -> bool:
    """Say whether the paths of the command line hold all tests; options that deselect do so after collection."""
    if getattr(config.option, "lf", False) or config.option.ignore or config.option.ignore_glob:
        return False
    chosen = [(config.invocation_params.dir / arg).resolve() for arg in config.args]
    whole = [(config.rootpath / path).resolve() for path in config.getini("testpaths") or ["."]]
    return all(any(path.is_relative_to(one) for one in chosen) for path in whole)


def may_hold_tests(path: Path, config: pytest.Config) -> bool:
    """Say whether what was ignored at collection could be tests, as with ``collect_ignore`` of a conftest."""
    if path.is_file():
        return path.suffix == ".py"
    never = ["__pycache__", *config.getini("norecursedirs")]
    return not any(fnmatch(path.name, pattern) for pattern in never) and not (path / "pyvenv.cfg").exists()
