"""The pytest plugin as users see it: test runs inside tests, and the messages of their failures."""

import re
import shlex
from types import SimpleNamespace

import pytest

from messages_tape import Mode
from messages_tape.testing import plugin as pytest_plugin
from messages_tape.testing import plugin_state as pytest_state
from support.plugin_runs import ASKS, HELLO, failure_of, text_of

pytest_plugins = ["pytester"]

PLAYED = f"""{ASKS}
HI = {{"said": "hi"}}
BODY = {{"model": "tiny", "text": "Hello"}}

@pytest.mark.tape("hello")
def test_server(tape_server):
    assert ask(tape_server.url).json() == HI

@pytest.mark.tape("hello")
def test_address(tape):
    assert ask(tape.url).json() == HI

@pytest.mark.tape("hello", upstream="vllm")
def test_address_of_another(tape):
    assert ask(tape.url).json() == HI
    assert tape.path.as_posix().endswith("recordings/vllm/hello.tape.yaml")

@pytest.mark.tape("hello")
def test_transport(tape):
    with httpx.Client(transport=tape.sync_transport(), base_url=tape.upstream_url) as client:
        assert client.post("/v1/chat/completions", json=BODY).json() == HI

@pytest.mark.tape("hello")
@pytest.mark.asyncio
async def test_asynchronous_transport(tape):
    async with httpx.AsyncClient(transport=tape.transport(), base_url=tape.upstream_url) as client:
        assert (await client.post("/v1/chat/completions", json=BODY)).json() == HI
"""

FAILING = f"""{ASKS}
@pytest.mark.tape("missing")
def test_no_tape(tape_server):
    ask(tape_server.url)

@pytest.mark.tape("missing")
def test_lazily(tape):
    ask(tape.url)

@pytest.mark.tape("missing")
def test_lazy_transport(tape):
    httpx.Client(transport=tape.sync_transport())

@pytest.mark.tape("two")
def test_unplayed(tape_server):
    ask(tape_server.url)

@pytest.mark.tape("hello")
def test_swallowed(tape_server):
    assert ask(tape_server.url, "Hullo").status_code == 409
    ask(tape_server.url)

@pytest.mark.tape("two")
def test_by_itself(tape_server):
    assert ask(tape_server.url, "Hullo").json() == {{"said": "hi"}}

@pytest.mark.tape("hello")
def test_unused():
    pass

@pytest.mark.tape("hello")
def test_two_ways(tape, tape_server):
    tape.session

@pytest.mark.tape("hello", upstream="vllm")
def test_the_server_of_another(tape_server):
    ask(tape_server.url)

def test_no_marker(tape):
    pass

@pytest.mark.tape("../x")
def test_outside(tape):
    tape.url

@pytest.mark.tape("ambient")
def test_ambient(tape):
    tape.url
"""

OLD = '@pytest.mark.tape("old")\ndef test_old(tape): pass\n'
AGAIN = "To record it again, if this is intended:"
HULLO = ('POST /v1/chat/completions is not on tape "{0}".', "Closest is exchange 1 of {1}, not played:")
TEXTS = {
    "test_no_tape": (
        "there is no tape recordings/local/missing.tape.yaml.",
        "To record it while the upstream can be reached:",
        "  pytest test_it.py::test_no_tape --tape-mode once --tape-upstream local=embedded",
    ),
    "test_unplayed": (
        "The requests of this test do not match recordings/local/two.tape.yaml.",
        "",
        "exchange 2 (POST /v1/chat/completions) was not played",
        "",
        AGAIN,
        "  pytest test_it.py::test_unplayed --tape-mode rewrite --tape-upstream local=embedded",
    ),
    "test_swallowed": (
        "The requests of this test do not match recordings/local/hello.tape.yaml.",
        "",
        *(line.format("hello", 1) for line in HULLO),
        "  text: at character 1, recorded 'Hello', now 'Hullo'",
        "--- exchange 1",
        "+++ this request",
        "@@ *",
        '-*"text": "Hello"',
        '+*"text": "Hullo"',
        AGAIN,
    ),
    "test_by_itself": (
        "test_it.py:*: AssertionError",
        "*Captured tape call*",
        *(line.format("two", 2) for line in HULLO),
    ),
    "test_unused": ('This test is marked with the tape "hello", but sent no request through it.*',),
    "test_lazily": (
        "there is no tape recordings/local/missing.tape.yaml.",
        "To record it while the upstream can be reached:",
        "  pytest test_it.py::test_lazily --tape-mode once --tape-upstream local=embedded",
    ),
    "test_lazy_transport": ("there is no tape recordings/local/missing.tape.yaml.",),
    "test_two_ways": (
        "*test_two_ways uses its tape through a server and through a transport; * through the tape server",
    ),
    "test_the_server_of_another": (
        'tape_server is the server of "local", and the tape is one of "vllm"; use tape.url.',
    ),
    "test_no_marker": ('Mark the test with its tape, as in @pytest.mark.tape("hello").',),
    "test_outside": ("*use letters, digits*",),
    "test_ambient": ("*choose another name*",),
}
ABSENT_TEXTS = {
    "test_no_tape": "During handling",
    "test_lazily": "in_tests.py",
    "test_lazy_transport": "in_tests.py",
    "test_two_ways": "in_tests.py",
    "test_swallowed": "was not played",
    "test_by_itself": "was not played",
}
"""Text that the failure of a test must not contain: internals of the harness, or effects of the failure itself."""


def test_the_modes_are_those_of_the_harness():
    """The plugin lists them, so that it need not import the harness."""
    assert list(pytest_state.MODES) == [str(mode) for mode in Mode]


def test_a_run_without_tapes_loads_nothing_of_the_harness(run):
    """Every test run of the environment loads the plugin."""
    source = """
import sys

def test_nothing():
    loaded = {name.removeprefix("messages_tape") for name in sys.modules if name.startswith("messages_tape")}
    assert loaded == {"", ".testing", ".testing.plugin", ".testing.plugin_state"}
    assert not any(name.startswith("llama_stack_provider_messages") for name in sys.modules)
"""
    result = run(source)
    result.assert_outcomes(passed=1)
    assert [line for line in result.outlines if line.startswith("tapes") or "recordings" in line] == []


def test_a_tape_is_played(run, put):
    """Through the server, by the address of the tape, and through both transports."""
    put("Hello")
    put("Hello", name="vllm/hello")
    run(PLAYED, "-o", "asyncio_default_fixture_loop_scope=function", plugins=["asyncio"]).assert_outcomes(passed=5)


def test_failures_name_the_mismatch_and_the_remedy(run, put):
    """In the test that caused them, also if the program under test swallowed the response."""
    put("Hello")
    put("Hello", "Bye", name="local/two")
    put("Hello", name="vllm/hello")
    put("Hello", name="local/ambient")
    result = run(FAILING)
    result.assert_outcomes(failed=8, errors=4)
    for test, lines in TEXTS.items():
        failure_of(result, test).fnmatch_lines(lines)
    for test, text in ABSENT_TEXTS.items():
        assert text not in str(failure_of(result, test)).replace(", not played", "")


EXPECTED = f"""{ASKS}
expected = pytest.mark.xfail(reason="not yet", strict=STRICT)

@expected
@pytest.mark.tape("two")
def test_unplayed(tape_server):
    ask(tape_server.url)

@expected
@pytest.mark.tape("two")
def test_swallowed(tape_server):
    assert ask(tape_server.url, "Hullo").json() == {{"said": "hi"}}

@pytest.mark.tape("two")
def test_on_the_way(tape_server):
    if ask(tape_server.url, "Hullo").is_error:
        pytest.xfail("not yet")

@pytest.mark.tape("two")
def test_skips(tape_server):
    if ask(tape_server.url, "Hullo").is_error:
        pytest.skip("not here")

@expected
@pytest.mark.tape("hello")
def test_unused():
    pass

@expected
@pytest.mark.tape("missing")
def test_no_tape(tape):
    tape.url

@expected
@pytest.mark.tape("hello")
def test_fails_by_itself(tape_server):
    assert ask(tape_server.url).json() == {{"said": "ho"}}

@pytest.mark.tape("two")
def test_skips_half_way(tape_server):
    ask(tape_server.url)
    pytest.skip("not here")
"""


@pytest.mark.parametrize(("strict", "plugins"), [(True, ()), (False, ("xdist",))])
def test_xfail_and_skip_do_not_hide_a_tape_mismatch(run, put, strict, plugins):
    """Such a test fails because of its tape, not for the expected reason."""
    put("Hello")
    put("Hello", "Bye", name="local/two")
    result = run(EXPECTED.replace("STRICT", str(strict)), "-rfE", *(["-n", "2"] if plugins else []), plugins=plugins)
    result.assert_outcomes(failed=6, xfailed=1, skipped=1)
    failure_of(result, "test_unplayed").fnmatch_lines(TEXTS["test_unplayed"][:3])
    for test in ("test_swallowed", "test_on_the_way", "test_skips"):
        failure_of(result, test).fnmatch_lines([HULLO[0].format("two")])
        assert str(failure_of(result, test)).count("is not on tape") == 1
    failure_of(result, "test_unused").fnmatch_lines(TEXTS["test_unused"])
    failure_of(result, "test_no_tape").fnmatch_lines(TEXTS["test_no_tape"][:1])


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1,), {}), (("a", "b"), {}), (("a",), {"folder": "b"})])
def test_an_invalid_marker_is_an_error(args, kwargs):
    """The message has a valid one."""
    mark = SimpleNamespace(args=args, kwargs=kwargs)
    with pytest.raises(pytest.UsageError, match=re.escape('test_it: write the marker as @pytest.mark.tape("hello")')):
        pytest_plugin.pytest_collection_modifyitems(
            SimpleNamespace(stash={pytest_plugin.FINDINGS_KEY: None}),
            [SimpleNamespace(nodeid="test_it", get_closest_marker=lambda _: mark)],
        )


def test_an_invalid_marker_ends_the_run(run):
    """Before any test."""
    result = run(HELLO.replace('tape("hello")', "tape"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['ERROR: test_it.py::test_hello: write the marker as @pytest.mark.tape("hello")*'])


def test_an_invalid_upstream_ends_the_run(run):
    """The message has the valid forms."""
    result = run(HELLO, "--tape-upstream", "vllm=127.0.0.1:8000")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: 'vllm' with its address is not a valid upstream; write NAME, NAME=http://HOST:PORT or *"]
    )


class TestOrphans:
    """Tapes without a test."""

    FILE = "recordings/local/old.tape.yaml"
    LINES = (
        "*ERROR collecting recordings/local/old.tape.yaml*",
        "No test plays this tape. Delete the file, or mark a test with @pytest.mark.tape('old').",
        "ERROR recordings/local/old.tape.yaml - No test plays this tape.*",
    )

    @pytest.fixture(autouse=True)
    def two(self, put):
        put("Hello")
        put("Hello", name="local/old")

    @pytest.mark.parametrize("args", [["-k", "nothing"], ["."]])
    def test_a_tape_without_a_test_fails_the_run(self, run, args):
        """A tape that no test uses fails the run, also if the other tests were deselected."""
        result = run(HELLO, *args)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(self.LINES)

    def test_a_tape_without_a_test_fails_a_run_of_several_processes(self, run):
        """The controller reports it; the workers collect."""
        result = run(HELLO, "-n", "2", plugins=["xdist"])
        result.assert_outcomes(passed=1, errors=1)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(self.LINES)
        assert text_of(result).count("ERROR collecting") == 1

    @pytest.mark.parametrize("args", [
        ["test_it.py"], ["test_it.py::test_hello"], ["--ignore", "other"], ["--collect-only"],
        ["-o", "tape_strict=false"], ["--tape-mode", "live", "--tape-upstream", "local=http://127.0.0.1:9"],
    ])  # fmt: skip
    def test_a_partial_run_reports_no_tapes(self, run, args):
        """Other tests may use them."""
        result = run(HELLO, "-k", "nothing", *args)
        result.assert_outcomes(deselected=1)
        assert "No test plays" not in text_of(result)

    def test_a_run_with_a_collection_error_reports_no_tapes(self, run, pytester):
        """The module may name them."""
        pytester.makepyfile(test_broken="import nothing_of_this_name")
        result = run(HELLO)
        assert result.ret == pytest.ExitCode.INTERRUPTED
        assert "No test plays" not in text_of(result)

    @pytest.mark.parametrize("plugins", [(), ("xdist",)])
    def test_tapes_named_by_uncollected_modules_count_as_used(self, run, pytester, put, plugins):
        """Their source names them; other tapes are still reported."""
        put("Hello", name="local/lone")
        for number, leaves in enumerate([
            "pytest.importorskip('nothing_of_this_name')", "pytest.skip('not here', allow_module_level=True)",
            "import nothing_of_this_name", "raise RuntimeError",
        ]):  # fmt: skip
            put("Hello", name=f"local/old{number}")
            source = f"import pytest\n{leaves}\n{OLD.replace('old', f'old{number}')}"
            pytester.makepyfile(**{f"test_gone{number}": source})
        (pytester.path / "recordings" / "local" / "old.tape.yaml").unlink()
        result = run(HELLO, "--continue-on-collection-errors", *(["-n", "2"] if plugins else []), plugins=plugins)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["ERROR recordings/local/lone.tape.yaml - No test plays this tape.*"])
        assert "local/old" not in text_of(result)

    def test_a_run_with_a_module_that_skips_itself_passes(self, run, pytester):
        """Without a note."""
        pytester.makepyfile(test_gone=f"import pytest\npytest.importorskip('nothing_of_this_name')\n{OLD}")
        result = run(HELLO)
        result.assert_outcomes(passed=1, skipped=1)
        assert result.ret == pytest.ExitCode.OK
        assert "notes on tapes" not in text_of(result)

    @pytest.mark.parametrize("ignored", ["test_gone.py", "gone"])
    def test_tapes_named_by_ignored_files_count_as_used(self, run, pytester, ignored):
        """Files and folders, except those in which pytest never looks for tests."""
        folder = pytester.mkdir("gone") if ignored == "gone" else pytester.path
        (folder / "test_gone.py").write_text(f"import pytest\n{OLD}")
        pytester.makeconftest(f"collect_ignore = [{ignored!r}]")
        assert run(HELLO).ret == pytest.ExitCode.OK
        (folder / "test_gone.py").unlink()
        build = pytester.mkdir("build")
        (build / "test_gone.py").write_text(f"import pytest\n{OLD}")
        run(HELLO).stdout.fnmatch_lines(self.LINES)

    @pytest.mark.parametrize(("source", "place"), [
        (f"import pytest\npytest.importorskip('nothing_of_this_name')\nNAME = 'old'\n{OLD.replace('"old"', 'NAME')}",
         "test_gone.py:4"),
        ("def broken(", "test_gone.py"),
    ])  # fmt: skip
    def test_an_uncollected_module_with_computed_names_excuses_all_tapes(self, run, pytester, source, place):
        """A note says so."""
        pytester.makepyfile(test_gone=source)
        result = run(HELLO, "--continue-on-collection-errors")
        assert "No test plays" not in text_of(result)
        note = f"{place} was not collected and may name any tape, so these count as having a test: {self.FILE}"
        result.stdout.fnmatch_lines(["*notes on tapes*", note])

    def test_tapes_of_other_upstreams_are_not_reported(self, run, put):
        """Each upstream has runs of its own."""
        put("Hello", name="vllm/hello")
        run(HELLO, "--tape-upstream", "vllm").assert_outcomes(passed=1)


LATE = f"""{ASKS}
@pytest.fixture
def late(tape_server):
    yield
    ask(tape_server.url, "late")

@pytest.mark.tape("hello")
def test_hello(late, tape_server):
    ask(tape_server.url)

@pytest.mark.tape("hello")
def test_next(tape_server):
    ask(tape_server.url)
"""


@pytest.mark.parametrize("plugins", [(), ("xdist",)])
def test_a_request_between_two_tests_does_not_fail_the_second(run, put, plugins):
    """It fails the run, and the message names the test that had ended."""
    put("Hello")
    result = run(LATE, *(["-n", "1"] if plugins else []), plugins=plugins)
    result.assert_outcomes(passed=2, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "*ERROR collecting a request between tests*",
        "It arrived when test_it.py::test_hello had ended and before the next test had its tape.",
        'POST /v1/chat/completions is not on tape "(none selected)".',
        "*No tape was selected when this request arrived.",
    ])  # fmt: skip


def test_a_request_after_the_last_test_fails_the_run(run, put):
    """There is no next test that could report it."""
    put("Hello")
    source = HELLO.replace(
        "def ask",
        """
@pytest.fixture(autouse=True, scope="module")
def late(tape_server):
    yield
    ask(tape_server.url, "late")

def ask""",
    )
    result = run(source)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(['POST /v1/chat/completions is not on tape "(none selected)".'])


LEAVES = f"""{ASKS}
@pytest.mark.tape("hello")
def test_leaves(tape):
    with httpx.Client(transport=tape.sync_transport(), base_url=tape.upstream_url) as client:
        with client.stream("POST", "/v1/chat/completions", json={{"model": "tiny", "text": "Hello"}}) as response:
            next(response.iter_raw())
"""


def test_a_client_that_disconnects_early_fails_unless_allowed(run, put):
    """Like an exchange that was not played."""
    path = put("Hello")
    (line,) = re.findall(r"^ *- \[.*\]$", path.read_text(), re.MULTILINE)
    path.write_text(path.read_text().replace(line, f"{line}\n{line}"))
    result = run(LEAVES)
    result.assert_outcomes(failed=1)
    failure_of(result, "test_leaves").fnmatch_lines(
        ["exchange 1 (POST *): *, but this client disconnected at chunk 1 of 2"]
    )
    run(LEAVES, "-o", "tape_strict=false").assert_outcomes(passed=1)


def test_unplayed_exchanges_can_be_allowed(run, put):
    """Unexpected requests cannot."""
    put("Hello", "Bye")
    source = HELLO + '\n\n@pytest.mark.tape("hello")\ndef test_other(tape_server):\n    ask(tape_server.url, "Hullo")\n'
    result = run(source, "-o", "tape_strict=false")
    result.assert_outcomes(passed=1, failed=1)
    failure_of(result, "test_other").fnmatch_lines([HULLO[0].format("hello", 2)])


def test_the_command_can_be_pasted(run):
    """Test names may contain characters that are special in a shell."""
    source = HELLO.replace("@pytest", '@pytest.mark.parametrize("x", ["it\'s a b"])\n@pytest', 1).replace(
        "(tape_server)", "(tape_server, x)"
    )
    result = run(source)
    (command,) = set(re.findall(r"^  (pytest .*)$", text_of(result), re.MULTILINE))
    assert shlex.split(command)[1] == "test_it.py::test_hello[it's a b]"
