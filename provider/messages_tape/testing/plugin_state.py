"""The findings of the pytest plugin in a run. A module of its own, so that the plugin imports nothing else."""

import tempfile
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

_TEXTS = ("written", "uncollected", "notes", "requests_between_tests")
"""Attributes that are sets of texts; the xdist controller merges those of all workers."""


class Findings:
    """The findings of a run about tapes.

    Attributes:
        used: Upstream and name of each tape that a test names.
        written: Tape files that were written.
        complete: Whether all tests were collected.
        uncollected: Files and folders whose tests are unknown: they were skipped, failed or ignored at collection.
        notes: Messages for the user that are not failures.
        requests_between_tests: Texts: the first line names a test, the rest describes a request after its end.
        shared: Folder shared by the processes of the run, see ``shared_folder``.
    """

    def __init__(self) -> None:
        self.used: set[tuple[str, str]] = set()
        self.written: set[str] = set()
        self.complete = False
        self.uncollected: set[str] = set()
        self.notes: set[str] = set()
        self.requests_between_tests: set[str] = set()
        self.shared: Path | None = None

    def shared_folder(self) -> Path:
        """Return the folder that the processes of the run share; create it on the first call."""
        if self.shared is None:
            self.shared = Path(tempfile.mkdtemp(prefix="tapes-"))
        return self.shared

    def plain(self) -> dict[str, Any]:
        """Return the findings as plain data, which a worker sends to the controller."""
        texts = {name: sorted(getattr(self, name)) for name in _TEXTS}
        return {"used": sorted(map(list, self.used)), "complete": self.complete, **texts}

    def add(self, plain: Mapping[str, Any]) -> None:
        """Add the findings of a worker."""
        self.used |= {(upstream, name) for upstream, name in plain["used"]}
        self.complete |= plain["complete"]
        for name in _TEXTS:
            getattr(self, name).update(plain[name])


def collects_all(config: pytest.Config) -> bool:
    """Return whether the command line paths cover all tests; deselecting options apply after collection."""
    if getattr(config.option, "lf", False) or config.option.ignore or config.option.ignore_glob:
        return False
    chosen = [(config.invocation_params.dir / arg).resolve() for arg in config.args]
    whole = [(config.rootpath / path).resolve() for path in config.getini("testpaths") or ["."]]
    return all(any(path.is_relative_to(one) for one in chosen) for path in whole)


def may_hold_tests(path: Path, config: pytest.Config) -> bool:
    """Return whether a path ignored at collection could hold tests, as with ``collect_ignore`` of a conftest."""
    if path.is_file():
        return path.suffix == ".py"
    never = ["__pycache__", *config.getini("norecursedirs")]
    return not any(fnmatch(path.name, pattern) for pattern in never) and not (path / "pyvenv.cfg").exists()
