"""The pytest plugin for tapes: a marker, fixtures and options. docs/recording.md shows their use.

Every test run of an environment with this package loads the plugin, so it imports nothing until a test uses it.
Under pytest-xdist each worker has its own servers; the controller reports tapes without a test.
"""

import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .plugin_state import (
    Findings,
    add_options,
    collects_all,
    display_path,
    may_hold_tests,
    settings_of,
    tapes_without_test,
)

if TYPE_CHECKING:
    from messages_tape.secrets.scrub import Rules

    from .resources import RunningServer, TestResources
    from .stack import Stack
    from .tape_fixture import TapeFixture

MARKER = 'tape(name, upstream=""): the tape that is played to the test, or recorded; see --tape-mode'

_SHARED, _FINDINGS = "tape_shared", "tape_findings"
"""Keys of the data that the xdist controller sends to its workers, and that they send back."""
_SERVER_FIXTURES = {"stack", "tape_server"}
"""Fixtures through which tests reach the tape via a tape server."""


FINDINGS_KEY = pytest.StashKey[Findings]()
_fault_key = pytest.StashKey[str]()
_tape_key = pytest.StashKey["TapeFixture"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the command line and ini options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", MARKER)
    found = config.stash[FINDINGS_KEY] = Findings()
    if worker := getattr(config, "workerinput", None):
        found.shared = Path(worker[_SHARED])


def pytest_report_header(config: pytest.Config) -> str | None:
    """Return the mode and upstream for the report header, unless tapes are only played."""
    mode = config.getoption("tape_mode")
    return None if mode == "none" else f"tapes: {mode}, upstream {settings_of(config).default}"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Note modules that skip or fail at collection: their tests are unknown, and still use their tapes."""
    report = yield
    if not report.passed:
        collector.config.stash[FINDINGS_KEY].uncollected.add(str(collector.path))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> Generator[None, bool | None, bool | None]:
    """Note files and folders that a conftest ignores, for the same reason."""
    ignored = yield
    if ignored and may_hold_tests(collection_path, config):
        config.stash[FINDINGS_KEY].uncollected.add(str(collection_path))
    return ignored


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note the tapes that tests name, before tests are deselected; add the ``tape`` fixture to marked tests."""
    found = config.stash[FINDINGS_KEY]
    for item in items:
        if marker := item.get_closest_marker("tape"):
            name, upstream = _name_and_upstream(marker, item.nodeid)
            found.used.add((settings_of(config).upstream(upstream).name, name))
            fixtures: list[str] = getattr(item, "fixturenames", [])
            if "tape" not in fixtures:
                fixtures.insert(0, "tape")
    found.complete = collects_all(config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Check the tape at the end of the test; a mismatch fails a test that passed otherwise."""
    passed = False
    used = item.stash.get(_tape_key, None)
    try:
        with _without_traceback(item) if used else nullcontext():
            yield
        passed = True
    finally:
        text, written = used.end(passed=passed) if used else ("", None)
        if used:
            item.config.stash[FINDINGS_KEY].notes.update(used.notes)
        item.stash[_fault_key] = item.stash.get(_fault_key, "") or text
        if text and not passed:
            item.add_report_section("call", "tape", text)
    if written:
        item.config.stash[FINDINGS_KEY].written.add(str(written))
    if text:
        pytest.fail(text, pytrace=False)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a test with a tape mismatch as failed, also if it is marked xfail or skipped itself."""
    report = yield
    text = item.stash.get(_fault_key, "")
    if call.when == "call" and text and report.skipped:
        report.outcome, report.longrepr = "failed", text
        report.sections = [section for section in report.sections if section != ("Captured tape call", text)]
        if hasattr(report, "wasxfail"):
            del report.wasxfail
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Report tapes without a test; a worker sends its findings to the controller instead."""
    config = session.config
    found = config.stash[FINDINGS_KEY]
    if hasattr(config, "workeroutput"):
        config.workeroutput[_FINDINGS] = found.plain()
        return
    for finding in sorted(found.requests_between_tests):
        test, _, text = finding.partition("\n")
        after = f"{test} had ended" if test else "the run had begun"
        _fail(
            session,
            "a request between tests",
            f"It arrived when {after} and before the next test had its tape.\n{text}",
        )
    finished = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
    if not finished or not found.complete or config.option.collectonly or not config.getini("tape_strict"):
        return
    for path in tapes_without_test(config, found):
        text = f"No test plays this tape. Delete the file, or mark a test with @pytest.mark.tape({path[1]!r})."
        _fail(session, path[0], text)


def _fail(session: pytest.Session, what: str, text: str) -> None:
    """Fail a finished run for a finding that belongs to no test."""
    session.config.hook.pytest_collectreport(report=pytest.CollectReport(what, "failed", text, []))
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List the tapes that were written, and the notes that are not failures."""
    found = config.stash[FINDINGS_KEY]
    written = sorted(found.written)
    if written:
        terminalreporter.section("tapes recorded")
        for path in written:
            terminalreporter.write_line(display_path(config, Path(path)))
    if found.notes:
        terminalreporter.section("notes on tapes")
        for note in sorted(found.notes):
            terminalreporter.write_line(note)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder that the processes of this run shared."""
    found = config.stash.get(FINDINGS_KEY, None)
    if found and found.shared and not hasattr(config, "workerinput"):
        shutil.rmtree(found.shared, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - of xdist, which is optional
    """Send a worker the path of the folder that all workers share."""
    node.workerinput[_SHARED] = str(node.config.stash[FINDINGS_KEY].shared_folder())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 - as above
    """Add the findings of a worker; a crashed worker has none."""
    if plain := getattr(node, "workeroutput", {}).get(_FINDINGS):
        node.config.stash[FINDINGS_KEY].add(plain)


@pytest.fixture(scope="session")
def tape_rules(pytestconfig: pytest.Config) -> "Rules":
    """The scrubbing rules. Can be overridden in the top-level conftest."""
    from messages_tape.secrets.scrub import Rules

    return Rules(harmless=frozenset(pytestconfig.getini("tape_harmless")))


@pytest.fixture(scope="session")
def tape_resources(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, tape_rules: "Rules"
) -> Iterator["TestResources"]:
    """Starts tape servers and stacks on demand, and stops them at the end of the session."""
    from .resources import TestResources

    shared = pytestconfig.stash[FINDINGS_KEY].shared_folder()
    folder = tmp_path_factory.mktemp("stacks")
    with _without_traceback(), TestResources(settings_of(pytestconfig), folder, shared, tape_rules) as resources:
        yield resources
    pytestconfig.stash[FINDINGS_KEY].requests_between_tests |= {
        f"{test}\n{text}" for test, text in resources.requests_between_tests
    }


@pytest.fixture(scope="session")
def tape_server(tape_resources: "TestResources") -> "RunningServer":
    """The tape server of the default upstream; clients use its ``.url`` instead of the upstream's base URL."""
    with _without_traceback():
        return tape_resources.server()


@pytest.fixture
def tape(request: pytest.FixtureRequest, tape_resources: "TestResources") -> Iterator["TapeFixture"]:
    """The tape that the test is marked with."""
    from .tape_fixture import TapeFixture

    marker = request.node.get_closest_marker("tape")
    if marker is None:
        pytest.fail('Mark the test with its tape, as in @pytest.mark.tape("hello").', pytrace=False)
    with _without_traceback():
        used = TapeFixture(tape_resources, *_name_and_upstream(marker, request.node.nodeid), request.node.nodeid)
        request.node.stash[_tape_key] = used
        try:
            if "tape_server" in request.fixturenames:
                used.check_server(tape_resources.settings.default)
            if _SERVER_FIXTURES & set(request.fixturenames):
                _ = used.url  # before the stack starts: its first requests may be on the tape
            yield used
        finally:
            used.end(passed=False)  # does nothing unless the test was never called


@pytest.fixture
def stack_config(pytestconfig: pytest.Config) -> Path | dict[str, Any]:
    """The run.yaml of the fixture ``stack``: its path or its content. Can be overridden."""
    from .stack import distributions

    named = pytestconfig.getini("stack_config")
    return pytestconfig.rootpath / named if named else distributions() / "ci-tests" / "run.yaml"


@pytest.fixture
def stack_env() -> dict[str, str]:
    """Additional environment variables for the fixture ``stack``. Can be overridden."""
    return {}


@pytest.fixture
def stack(
    request: pytest.FixtureRequest,
    tape_resources: "TestResources",
    stack_config: Path | dict[str, Any],
    stack_env: dict[str, str],
) -> "Stack":
    """A running stack; its upstream is the test's tape, or the embedded engine if the test has no tape marker."""
    from .stack import Stack, choose_model

    used: TapeFixture | None = None
    if request.node.get_closest_marker("tape"):
        used = request.getfixturevalue("tape")
    with _without_traceback():
        process = tape_resources.stack(stack_config, used.url if used else "", stack_env)
        return Stack(process, choose_model(process.models(), used.model if used else ""))


@contextmanager
def _without_traceback(item: pytest.Item | None = None) -> Iterator[None]:
    """Turn a TapeError into a test failure without a traceback; store its message with ``item`` if given."""
    from messages_tape.errors import TapeError

    try:
        yield
    except TapeError as error:
        if item:
            item.stash[_fault_key] = str(error)
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _name_and_upstream(marker: pytest.Mark, test: str) -> tuple[str, str]:
    """Return the tape name and the upstream of a marker."""
    if len(marker.args) != 1 or not isinstance(marker.args[0], str) or set(marker.kwargs) - {"upstream"}:
        raise pytest.UsageError(f'{test}: write the marker as @pytest.mark.tape("hello"), perhaps with upstream="vllm"')
    return marker.args[0], marker.kwargs.get("upstream", "")
