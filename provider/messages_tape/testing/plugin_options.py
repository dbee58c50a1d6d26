"""The options of the pytest plugin for tapes, and the settings built from them."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .settings import Settings

MODES = ("none", "once", "rewrite", "verify", "live")
_settings_key = pytest.StashKey["Settings"]()


def add_options(parser: pytest.Parser) -> None:
    """Add the command line and ini options."""
    group = parser.getgroup("tapes", "recorded answers of upstreams")
    group.addoption(
        "--tape-mode", choices=MODES, default="none",
        help="none: play (the default); once: record what there is no tape of; rewrite: record all anew; "
        "verify: play, and compare with what the upstream answers now; live: ask the upstream, without tapes",
    )  # fmt: skip
    group.addoption(
        "--tape-upstream", action="append", default=[], metavar="NAME[=ADDRESS]",
        help="whose tapes to use, and where to record them, such as vllm=http://127.0.0.1:8000; "
        'the address "embedded" is the engine that comes with this package',
    )  # fmt: skip
    group.addoption("--tape-model", default="", metavar="NAME", help="what the upstream is asked for when recording")
    parser.addini("tape_dir", "folder of the tapes, relative to the root", default="recordings")
    parser.addini("tape_upstreams", "as --tape-upstream, one a line; the first is the default", "linelist", [])
    parser.addini("tape_strict", "fail on unplayed exchanges and on tapes without a test", "bool", default=True)
    parser.addini("tape_harmless", "values that look like credentials and are none, one a line", "linelist", [])
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


def shown(config: pytest.Config, path: Path) -> str:
    """Return a path for display: relative to the root if it is inside."""
    return path.relative_to(config.rootpath).as_posix() if path.is_relative_to(config.rootpath) else str(path)
