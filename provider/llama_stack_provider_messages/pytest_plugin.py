"""The pytest plugin for tapes: a marker, fixtures and options. docs/recording.md shows their use.

It is loaded into every test run of an environment that has this package, so it imports nothing until a test uses it.
Under pytest-xdist each worker has servers of its own; the controller tells which tapes have no test.
"""

import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .pytest_findings import Findings, collects_all

if TYPE_CHECKING:
    from .tape.bench import Bench, Served
    from .tape.in_tests import TapeInTest
    from .tape.settings import Settings
    from .tape.stack_process import Stack

MODES = ("none", "once", "rewrite", "verify", "live")
MARKER = 'tape(name, upstream=""): the tape that is played to the test, or recorded; see --tape-mode'

_CLAIMS, _FINDINGS = "tape_claims", "tape_findings"
"""What the controller of xdist tells its workers, and they it."""
_SERVED = {"stack", "tape_server"}
"""Fixtures whose users reach the tape through a server."""


_findings_key = pytest.StashKey[Findings]()
_settings_key = pytest.StashKey["Settings"]()
_tape_key = pytest.StashKey["TapeInTest"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
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
    parser.addini("stack_config", "the run.yaml that the fixture stack starts, relative to the root", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker."""
    config.addinivalue_line("markers", MARKER)
    found = config.stash[_findings_key] = Findings()
    if worker := getattr(config, "workerinput", None):
        found.claims = Path(worker[_CLAIMS])


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say so if tapes are not just played."""
    mode = config.getoption("tape_mode")
    return None if mode == "none" else f"tapes: {mode}, upstream {_settings(config).default}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note which tapes the tests name, before any is deselected, and give each test its tape."""
    found = config.stash[_findings_key]
    for item in items:
        if marker := item.get_closest_marker("tape"):
            name, upstream = _named(marker, item.nodeid)
            found.used.add((_settings(config).upstream(upstream).name, name))
            fixtures: list[str] = getattr(item, "fixturenames", [])
            if "tape" not in fixtures:
                fixtures.insert(0, "tape")
    found.complete = not session.testsfailed and collects_all(config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Judge the tape at the end of the test; what is wrong with it fails a test that passed otherwise."""
    passed = False
    try:
        yield
        passed = True
    finally:
        used = item.stash.get(_tape_key, None)
        text, written = used.end(passed=passed) if used else ("", None)
        if text and not passed:
            item.add_report_section("call", "tape", text)
    if written:
        item.config.stash[_findings_key].written.add(str(written))
    if text:
        pytest.fail(text, pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tell of tapes without a test; a worker tells the controller what it takes to know them."""
    config = session.config
    found = config.stash[_findings_key]
    if hasattr(config, "workeroutput"):
        config.workeroutput[_FINDINGS] = found.plain()
        return
    finished = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
    if not finished or not found.complete or config.option.collectonly or not config.getini("tape_strict"):
        return
    for path in _orphans(config, found):
        text = f"No test plays this tape. Delete the file, or mark a test with @pytest.mark.tape({path[1]!r})."
        config.hook.pytest_collectreport(report=pytest.CollectReport(path[0], "failed", text, []))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the files that were written."""
    written = sorted(config.stash[_findings_key].written)
    if written:
        terminalreporter.section("tapes recorded")
        for path in written:
            terminalreporter.write_line(_shown(config, Path(path)))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take away what the processes of this run shared."""
    found = config.stash.get(_findings_key, None)
    if found and found.claims and not hasattr(config, "workerinput"):
        shutil.rmtree(found.claims, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - of xdist, which need not be there
    """Tell a worker what it shares with the others."""
    node.workerinput[_CLAIMS] = str(node.config.stash[_findings_key].shared())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 - as above
    """Take what a worker found; one that crashed found nothing."""
    if plain := getattr(node, "workeroutput", {}).get(_FINDINGS):
        node.config.stash[_findings_key].add(plain)


@pytest.fixture(scope="session")
def tape_bench(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Bench"]:
    """Starts tape servers and stacks, and ends them with the session."""
    from .tape.bench import Bench

    claims = pytestconfig.stash[_findings_key].shared()
    with _plainly(), Bench(_settings(pytestconfig), tmp_path_factory.mktemp("stacks"), claims) as bench:
        yield bench


@pytest.fixture(scope="session")
def tape_server(tape_bench: "Bench") -> "Served":
    """The tape server of the default upstream; ``.url`` stands where the upstream's address stands."""
    with _plainly():
        return tape_bench.server()


@pytest.fixture
def tape(request: pytest.FixtureRequest, tape_bench: "Bench") -> Iterator["TapeInTest"]:
    """The tape that the test is marked with."""
    from .tape.in_tests import TapeInTest

    marker = request.node.get_closest_marker("tape")
    if marker is None:
        pytest.fail('Mark the test with its tape, as in @pytest.mark.tape("hello").', pytrace=False)
    with _plainly():
        used = TapeInTest(tape_bench, *_named(marker, request.node.nodeid), request.node.nodeid)
        request.node.stash[_tape_key] = used
        try:
            if "tape_server" in request.fixturenames:
                used.check_server(tape_bench.settings.default)
            if _SERVED & set(request.fixturenames):
                _ = used.url  # before the stack starts, whose first questions may be answered from it
            yield used
        finally:
            used.end(passed=False)  # nothing, unless the test was never called


@pytest.fixture
def stack_config(pytestconfig: pytest.Config) -> Path | dict[str, Any]:
    """The run.yaml of the fixture ``stack``: its path, or what it holds. Made to be overridden."""
    from .tape.stack_process import distributions

    named = pytestconfig.getini("stack_config")
    return pytestconfig.rootpath / named if named else distributions() / "ci-tests" / "run.yaml"


@pytest.fixture
def stack_env() -> dict[str, str]:
    """More environment for the fixture ``stack``. Made to be overridden."""
    return {}


@pytest.fixture
def stack(
    request: pytest.FixtureRequest,
    tape_bench: "Bench",
    stack_config: Path | dict[str, Any],
    stack_env: dict[str, str],
) -> "Stack":
    """A running stack: over the test's tape, or over the embedded engine if it is marked with none."""
    from .tape.stack_process import Stack, choose_model

    used: TapeInTest | None = None
    if request.node.get_closest_marker("tape"):
        used = request.getfixturevalue("tape")
    with _plainly():
        process = tape_bench.stack(stack_config, used.url if used else "", stack_env)
        return Stack(process, choose_model(process.models(), used.model if used else ""))


@contextmanager
def _plainly() -> Iterator[None]:
    """Make failures of the harness failures of the test, without the way through the harness."""
    from .tape.errors import TapeError

    try:
        yield
    except TapeError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _settings(config: pytest.Config) -> "Settings":
    if _settings_key not in config.stash:
        from .tape.errors import TapeUsageError
        from .tape.settings import Settings

        upstreams = [*config.getoption("tape_upstream"), *config.getini("tape_upstreams")]
        try:
            config.stash[_settings_key] = Settings.of(
                config.rootpath / config.getini("tape_dir"), config.getoption("tape_mode"), upstreams,
                model=config.getoption("tape_model"), strict=config.getini("tape_strict"),
            )  # fmt: skip
        except TapeUsageError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[_settings_key]


def _named(marker: pytest.Mark, test: str) -> tuple[str, str]:
    """Return the name and the upstream that a marker gives."""
    if len(marker.args) != 1 or not isinstance(marker.args[0], str) or set(marker.kwargs) - {"upstream"}:
        raise pytest.UsageError(f'{test}: write the marker as @pytest.mark.tape("hello"), perhaps with upstream="vllm"')
    return marker.args[0], marker.kwargs.get("upstream", "")


def _orphans(config: pytest.Config, found: Findings) -> list[tuple[str, str]]:
    """Return how people call the tapes without a test, and their names."""
    if not (config.rootpath / config.getini("tape_dir")).is_dir():
        return []
    from .tape.orphans import orphans

    settings = _settings(config)
    if settings.mode == "live":
        return []
    return [
        (_shown(config, path), name)
        for _, name, path in orphans(settings.folder, {*found.used, (settings.default, "")})
    ]


def _shown(config: pytest.Config, path: Path) -> str:
    return path.relative_to(config.rootpath).as_posix() if path.is_relative_to(config.rootpath) else str(path)
