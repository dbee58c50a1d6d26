"""The options and findings of the pytest plugin in a run, and the tapes without a test at its end.

Every test run of an environment with this package loads this module, so it imports nothing else of the package until a
test uses a tape.
"""

import tempfile
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .settings import Settings

MODES = ("none", "once", "rewrite", "verify", "live")
"""The values of ``Mode``, which would have to be imported; a test compares them."""
_TEXT_SETS = ("written", "uncollected", "notes", "requests_between_tests")
"""Attributes that are sets of texts; the xdist controller merges those of all workers."""
_settings_key = pytest.StashKey["Settings"]()


def add_options(parser: pytest.Parser) -> None:
    """Add the command line and ini options."""
    group = parser.getgroup("tapes", "recorded responses of upstreams")
    group.addoption(
        "--tape-mode", choices=MODES, default="none",
        help="none: play (the default); once: record missing tapes; rewrite: record all tapes again; "
        "verify: play, and compare with the live responses of the upstream; live: use the upstream, without tapes",
    )  # fmt: skip
    group.addoption(
        "--tape-upstream", action="append", default=[], metavar="NAME[=ADDRESS]",
        help="the upstream whose tapes are used, and its address for recording, such as vllm=http://127.0.0.1:8000; "
        'the address "embedded" is the engine that comes with this package',
    )  # fmt: skip
    group.addoption("--tape-model", default="", metavar="NAME", help="the model to request when recording")
    parser.addini("tape_dir", "folder of the tapes, relative to the root", default="recordings")
    parser.addini("tape_upstreams", "as --tape-upstream, one a line; the first is the default", "linelist", [])
    parser.addini("tape_strict", "fail on unplayed exchanges and on tapes without a test", "bool", default=True)
    parser.addini("tape_harmless", "values that look like credentials and are not secret, one a line", "linelist", [])
    parser.addini("stack_config", "the run.yaml that the fixture stack starts, relative to the root", default="")


def settings_of(config: pytest.Config) -> "Settings":
    """Return the settings of a run.

    Raises:
        pytest.UsageError: An upstream is not valid.
    """
    if _settings_key not in config.stash:
        from messages_tape.errors import TapeUsageError

        from .settings import Settings

        upstreams = [*config.getoption("tape_upstream"), *config.getini("tape_upstreams")]
        try:
            config.stash[_settings_key] = Settings.of(
                config.rootpath / config.getini("tape_dir"), config.getoption("tape_mode"), upstreams,
                model=config.getoption("tape_model"), strict=config.getini("tape_strict"),
            )  # fmt: skip
        except TapeUsageError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[_settings_key]


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
        texts = {name: sorted(getattr(self, name)) for name in _TEXT_SETS}
        return {"used": sorted(map(list, self.used)), "complete": self.complete, **texts}

    def add(self, plain: Mapping[str, Any]) -> None:
        """Add the findings of a worker."""
        self.used |= {(upstream, name) for upstream, name in plain["used"]}
        self.complete |= plain["complete"]
        for name in _TEXT_SETS:
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


def tapes_without_test(config: pytest.Config, found: Findings) -> list[tuple[str, str]]:
    """Return the tapes without a test, each as display path and name.

    Args:
        config: The pytest config of the run.
        found: The findings of the run. If uncollected tests may name any tape, the list is empty and a note is added.
    """
    if not (config.rootpath / config.getini("tape_dir")).is_dir():
        return []
    from .names_in_source import Named, name_of, named_by, tapes_under, unnamed_tapes

    settings = settings_of(config)
    if settings.mode == "live":
        return []
    tapes = tapes_under(settings.folder, {settings.default, *(upstream for upstream, _ in found.used)})
    unseen = named_by(map(Path, found.uncollected), lambda path, _: Named(computed=(path.as_posix(),)))
    lone = unnamed_tapes(tapes, settings.folder, Named(frozenset(found.used)) | unseen)
    if lone and unseen.computed:
        root = f"{config.rootpath.as_posix()}/"
        places = ", ".join(place.replace(root, "", 1) for place in unseen.computed)
        tapes_shown = ", ".join(display_path(config, path) for path in lone)
        found.notes.add(
            f"{places} was not collected and may name any tape, so these count as having a test: {tapes_shown}"
        )
        return []
    return [(display_path(config, path), name_of(path, settings.folder).partition("/")[2]) for path in lone]


def display_path(config: pytest.Config, path: Path) -> str:
    """Return a path for display: relative to the root if it is inside."""
    return path.relative_to(config.rootpath).as_posix() if path.is_relative_to(config.rootpath) else str(path)
