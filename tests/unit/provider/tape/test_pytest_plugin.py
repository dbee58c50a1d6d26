"""The pytest plugin, as its users meet it: test runs inside tests, and the texts of their failures."""

import json
import re
import shlex

import pytest

from llama_stack_provider_messages import pytest_plugin
from llama_stack_provider_messages.tape import Mode, dump, load
from support.tapes import exchange, reply, tape
from support.wire_upstream import Script, WireUpstream

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "llama_stack_provider_messages.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
JSON = {"content-type": "application/json"}
ASKS = """
import httpx
import pytest

def ask(url, text="Hello", path="/v1/chat/completions"):
    return httpx.post(url + path, json={"model": "tiny", "text": text})
"""
HELLO = f"""{ASKS}
@pytest.mark.tape("hello")
def test_hello(tape_server):
    assert ask(tape_server.url).json() == {{"said": "hi"}}
"""


@pytest.fixture
def upstream():
    """Answers ``{"said": "hi"}``, after a moment in which two recorders would meet."""
    with WireUpstream() as server:
        server.scripts["/v1/chat/completions"] = Script([b'{"said": "hi"}'], gap=0.2, headers=JSON, framed=False)
        yield server


@pytest.fixture
def run(pytester):
    """Runs pytest on a file, with the plugin and with warnings as errors."""
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")

    def go(source, *args, others=False):
        pytester.makepyfile(test_it=source)
        runner = pytester.runpytest_subprocess if others else pytester.runpytest_inprocess
        return runner(*PLUGIN, *args)

    return go


@pytest.fixture
def put(pytester):
    """Writes a tape with an exchange for each text."""

    def write(*texts, name="local/hello"):
        path = pytester.path / "recordings" / f"{name}.tape.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        said = [asking(text) for text in texts]
        path.write_text(dump(tape(*said)), encoding="utf-8")
        return path

    return write


def asking(text):
    return exchange({"model": "tiny", "text": text}, reply({"said": "hi"}), path="/v1/chat/completions")


def text_of(result):
    return result.stdout.str()


def test_the_modes_are_those_of_the_harness():
    """They are written out in the plugin, so that it need not import the harness."""
    assert list(pytest_plugin.MODES) == [str(mode) for mode in Mode]


def test_a_run_without_tapes_loads_nothing_of_the_harness(run):
    """Every run of an environment has the plugin."""
    source = """
import sys

def test_nothing():
    package = "llama_stack_provider_messages"
    loaded = {name.removeprefix(package) for name in sys.modules if name.startswith(package)}
    assert loaded == {"", ".pytest_plugin", ".pytest_findings"}
"""
    result = run(source, others=True)
    result.assert_outcomes(passed=1)
    assert [line for line in result.outlines if line.startswith("tapes") or "recordings" in line] == []


def test_a_tape_is_played_through_the_server(run, put):
    """The address stands where the upstream's stands."""
    put("Hello")
    run(HELLO).assert_outcomes(passed=1)


@pytest.mark.parametrize("of", ["url", "transport"])
def test_a_tape_is_played_without_a_fixture_for_servers(run, put, of):
    """By the address of the tape, or by a transport in the test's process."""
    put("Hello")
    uses = {
        "url": "ask(tape.url)",
        "transport": "httpx.Client(transport=tape.sync_transport(), base_url=tape.upstream_url).post("
        '"/v1/chat/completions", json={"model": "tiny", "text": "Hello"})',
    }
    source = (
        f'{ASKS}\n@pytest.mark.tape("hello")\ndef test_hello(tape):\n    assert {uses[of]}.json() == {{"said": "hi"}}\n'
    )
    run(source).assert_outcomes(passed=1)


def test_a_tape_is_played_to_an_asynchronous_client(run, put):
    """The transport for those."""
    put("Hello")
    source = f"""{ASKS}
@pytest.mark.tape("hello")
@pytest.mark.asyncio
async def test_hello(tape):
    async with httpx.AsyncClient(transport=tape.transport(), base_url=tape.upstream_url) as client:
        answer = await client.post("/v1/chat/completions", json={{"model": "tiny", "text": "Hello"}})
    assert answer.json() == {{"said": "hi"}}
"""
    run(source).assert_outcomes(passed=1)


def test_a_missing_tape_says_how_to_record_it(run):
    """Nothing is recorded unless someone asks for it."""
    result = run(HELLO)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([
        "there is no tape recordings/local/hello.tape.yaml.",
        "To record it while the upstream can be reached:",
        "  pytest test_it.py::test_hello --tape-mode once --tape-upstream local=embedded",
    ], consecutive=True)  # fmt: skip
    assert "During handling" not in text_of(result)


def test_what_was_not_played_fails_the_test(run, put):
    """With the way to record the tape again."""
    put("Hello", "Bye")
    result = run(HELLO)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "The test did not do what recordings/local/hello.tape.yaml holds.",
        "",
        "exchange 2 (POST /v1/chat/completions) was not played",
        "",
        "To record it again, if this is how it should be:",
        "  pytest test_it.py::test_hello --tape-mode rewrite --tape-upstream local=embedded",
    ], consecutive=True)  # fmt: skip


def test_an_unexpected_request_fails_a_test_that_swallowed_it(run, put):
    """The closest request and the difference are in the text."""
    put("Hello")
    result = run(HELLO.replace("    assert", '    ask(tape_server.url, "Hullo")\n    assert'))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "The test did not do what recordings/local/hello.tape.yaml holds.",
        "",
        'POST /v1/chat/completions is not on tape "hello".',
        "Closest is exchange 1 of 1, not played:",
        "  text: at character 1, recorded 'Hello', now 'Hullo'",
        "--- exchange 1",
        "+++ this request",
        "@@ *",
        "*",
        '-*"text": "Hello"',
        '+*"text": "Hullo"',
        "*",
        "To record it again, if this is how it should be:",
    ])  # fmt: skip
    assert "was not played" not in text_of(result)


def test_a_test_that_failed_by_itself_shows_the_difference_too(run, put):
    """But not what it had no time to play."""
    put("Hello", "Bye")
    result = run(HELLO.replace(".url)", '.url, "Hullo")'))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["test_it.py:*: AssertionError", "*Captured tape call*", '*is not on tape "hello".'])
    assert "was not played" not in text_of(result)


def test_a_marked_test_that_uses_no_tape_fails(run, put):
    """Else its tape would never be looked at."""
    put("Hello")
    result = run('import pytest\n\n@pytest.mark.tape("hello")\ndef test_nothing():\n    pass\n')
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['This test is marked with the tape "hello" and sent nothing through it.*'])


def test_a_tape_is_used_in_one_way(run, put):
    """Two would each see half of what is asked."""
    put("Hello")
    result = run(
        HELLO.replace("(tape_server)", "(tape, tape_server)").replace("    assert", "    tape.session\n    assert")
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*TapeUsageError: *test_hello uses its tape in two ways; * through the tape server already"]
    )


def test_the_server_of_one_upstream_plays_no_tape_of_another(run, put):
    """The address of the tape does."""
    put("Hello", name="vllm/hello")
    source = HELLO.replace('"hello"', '"hello", upstream="vllm"')
    result = run(source)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['tape_server is the server of "local", and the tape is one of "vllm"; use tape.url.'])
    run(source.replace("tape_server", "tape")).assert_outcomes(passed=1)


def test_the_fixture_without_the_marker_says_what_is_missing(run):
    """With an example."""
    result = run("def test_it(tape):\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['Mark the test with its tape, as in @pytest.mark.tape("hello").'])


@pytest.mark.parametrize("marker", ["tape", "tape()", "tape(1)", 'tape("a", "b")', 'tape("a", folder="b")'])
def test_a_wrong_marker_ends_the_run(run, marker):
    """Before any test."""
    result = run(HELLO.replace('tape("hello")', marker))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['ERROR: test_it.py::test_hello: write the marker as @pytest.mark.tape("hello")*'])


def test_a_wrong_upstream_ends_the_run(run):
    """The text says what is right."""
    result = run(HELLO, "--tape-upstream", "vllm=127.0.0.1:8000")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: 'vllm' with its address is no upstream; write NAME, NAME=http://HOST:PORT or *"]
    )


def test_an_upstream_nobody_named_cannot_be_asked(run):
    """The text says how to name it."""
    result = run(HELLO, "--tape-mode", "once", "--tape-upstream", "vllm")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([
        'mode "once" asks the upstream "vllm", and nobody said where it is; add --tape-upstream vllm=http://HOST:PORT'
    ])  # fmt: skip


@pytest.mark.parametrize("name", ["../x", "ambient"])
def test_a_name_that_is_none_fails_the_test(run, put, name):
    """The text says what makes one."""
    put("Hello", name="local/ambient")
    result = run(HELLO.replace('"hello"', f'"{name}"'))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*use letters, digits*" if name == "../x" else "*give this one another name*"])


class TestOrphans:
    """Tapes without a test."""

    LINES = (
        "*ERROR collecting recordings/local/old.tape.yaml*",
        "No test plays this tape. Delete the file, or mark a test with @pytest.mark.tape('old').",
        "ERROR recordings/local/old.tape.yaml - No test plays this tape.*",
    )

    @pytest.fixture(autouse=True)
    def two(self, put):
        put("Hello")
        put("Hello", name="local/old")

    @pytest.mark.parametrize("args", [[], ["-k", "nothing"], ["."]])
    def test_one_fails_the_run(self, run, args):
        """Also if its test would not have run."""
        result = run(HELLO, *args)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(self.LINES)

    def test_one_fails_the_run_of_several_processes(self, run):
        """The controller tells; the workers collect."""
        result = run(HELLO, "-n", "2", others=True)
        result.assert_outcomes(passed=1, errors=1)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(self.LINES)
        assert text_of(result).count("ERROR collecting") == 1

    @pytest.mark.parametrize("args", [
        ["test_it.py"], ["test_it.py::test_hello"], ["--ignore", "other"], ["--collect-only"],
        ["-o", "tape_strict=false"],
        ["--tape-mode", "live", "--tape-upstream", "local=http://127.0.0.1:9", "-k", "nothing"],
    ])  # fmt: skip
    def test_none_is_told_of_if_others_may_use_it(self, run, args):
        """A part of the tests says nothing of the tapes of the rest."""
        assert "No test plays" not in text_of(run(HELLO, *args))

    def test_none_is_told_of_if_a_file_could_not_be_read(self, run, pytester):
        """It may name them."""
        pytester.makepyfile(test_broken="import nothing_of_this_name")
        result = run(HELLO)
        assert result.ret == pytest.ExitCode.INTERRUPTED
        assert "No test plays" not in text_of(result)

    def test_those_of_other_upstreams_are_left_alone(self, run, put):
        """Each upstream has runs of its own."""
        put("Hello", name="vllm/hello")
        run(HELLO, "--tape-upstream", "vllm").assert_outcomes(passed=1)


class TestRecording:
    """With an upstream that answers."""

    @pytest.fixture
    def args(self, upstream):
        return ["--tape-upstream", f"up={upstream.url}"]

    @pytest.fixture
    def path(self, pytester):
        return pytester.path / "recordings" / "up" / "hello.tape.yaml"

    @pytest.mark.parametrize("mode", ["once", "rewrite"])
    def test_what_was_recorded_is_played(self, run, args, upstream, path, mode):
        """The second run needs no upstream."""
        result = run(HELLO, *args, "--tape-mode", mode)
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(
            [f"tapes: {mode}, upstream up", "*tapes recorded*", "recordings/up/hello.tape.yaml"]
        )
        run(HELLO, "--tape-upstream", "up").assert_outcomes(passed=1)
        assert len(upstream.heard) == 1
        assert load(path.read_text()).upstream.kind == "up"

    def test_a_transport_records_too(self, run, args, path):
        """The address of the upstream is at hand."""
        source = f"""{ASKS}
@pytest.mark.tape("hello")
def test_hello(tape):
    with httpx.Client(transport=tape.sync_transport(), base_url=tape.upstream_url) as client:
        assert client.post("/v1/chat/completions", json={{"model": "tiny"}}).json() == {{"said": "hi"}}
"""
        run(source, *args, "--tape-mode", "once", "--tape-model", "tiny-chat").assert_outcomes(passed=1)
        recorded = load(path.read_text()).upstream
        assert (recorded.kind, recorded.model) == ("up", "tiny-chat")
        run(source, "--tape-upstream", "up").assert_outcomes(passed=1)

    def test_once_leaves_what_there_is(self, run, put, args, upstream):
        """By tape."""
        path = put("Hello", name="up/hello")
        before = path.read_text()
        run(HELLO, *args, "--tape-mode", "once").assert_outcomes(passed=1)
        assert (upstream.heard, path.read_text()) == ([], before)

    def test_a_test_that_fails_saves_nothing(self, run, args, path):
        """Half a scenario does not replace a whole one."""
        run(HELLO.replace('"hi"', '"ho"'), *args, "--tape-mode", "once").assert_outcomes(failed=1)
        assert not path.exists()

    @pytest.mark.parametrize("mode", ["once", "rewrite"])
    def test_tests_that_share_a_tape_record_it_once(self, run, args, upstream, mode):
        """The first one records, the others play; so one that asks something else fails now, not later."""
        second = "\n\n@pytest.mark.tape('hello')\ndef test_{}(tape_server):\n    ask(tape_server.url, '{}')\n"
        source = HELLO + second.format("same", "Hello") + second.format("other", "Hullo")
        result = run(source, *args, "--tape-mode", mode)
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(['POST /v1/chat/completions is not on tape "hello".'])
        assert len(upstream.heard) == 1

    @pytest.mark.parametrize("mode", ["once", "rewrite"])
    def test_processes_that_share_a_tape_record_it_once(self, run, put, args, upstream, mode):
        """Each worker runs the test at the same time as the other; one of them waits, and plays."""
        if mode == "rewrite":
            put("Before", name="up/hello")
        result = run(HELLO, *args, "--tape-mode", mode, "--tx", "2*popen", "--dist", "each", others=True)
        result.assert_outcomes(passed=2)
        result.stdout.fnmatch_lines(["*tapes recorded*", "recordings/up/hello.tape.yaml"])
        assert len(upstream.heard) == 1

    def test_a_secret_in_an_answer_fails_the_test(self, run, args, upstream, path):
        """Nothing is saved, and the value is not shown."""
        secret = "sk-ant-api03-" + "Ab3" * 30
        said = json.dumps({"said": "hi", "note": secret}).encode()
        upstream.scripts["/v1/chat/completions"] = Script([said], headers=JSON, framed=False)
        result = run(HELLO.replace(' == {"said": "hi"}', '["said"] == "hi"'), *args, "--tape-mode", "once")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(['tape "hello" was not saved, it holds what looks like a credential:'])
        assert not path.exists()
        assert secret not in text_of(result)

    def test_verify_passes_while_the_shape_is_the_same(self, run, put, args, upstream):
        """The upstream is asked, and the recorded answer is given."""
        put("Hello", name="up/hello")
        upstream.scripts["/v1/chat/completions"] = Script([b'{"said": "ho"}'], headers=JSON, framed=False)
        run(HELLO, *args, "--tape-mode", "verify").assert_outcomes(passed=1)
        assert len(upstream.heard) == 1

    def test_verify_fails_where_the_shape_is_another(self, run, put, args, upstream):
        """The text says where."""
        put("Hello", name="up/hello")
        upstream.scripts["/v1/chat/completions"] = Script([b'{"said": ["hi"]}'], headers=JSON, framed=False)
        result = run(HELLO, *args, "--tape-mode", "verify")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([
            "The upstream no longer answers as on recordings/up/hello.tape.yaml; in shape this differs:",
            "  exchange 1 (POST /v1/chat/completions): *said*",
            "  pytest test_it.py::test_hello --tape-mode rewrite --tape-upstream up=http://HOST:PORT",
        ])  # fmt: skip

    def test_live_has_no_tape(self, run, args, upstream, path):
        """Neither read nor written."""
        run(HELLO, *args, "--tape-mode", "live").assert_outcomes(passed=1)
        assert len(upstream.heard) == 1
        assert not path.exists()

    def test_the_ini_file_names_upstreams(self, run, put, pytester, upstream):
        """The command line wins; its upstream may have the address of the file."""
        names = f"tape_dir = taped\ntape_upstreams =\n  main\n  up={upstream.url}\n"
        pytester.makeini((pytester.path / "tox.ini").read_text() + "\n" + names)
        source = HELLO.replace('"hello"', '"hello", upstream="up"').replace("tape_server", "tape")
        run(source, "--tape-mode", "once").assert_outcomes(passed=1)
        run(HELLO, "--tape-mode", "rewrite", "--tape-upstream", "up").assert_outcomes(passed=1)
        assert (pytester.path / "taped" / "up" / "hello.tape.yaml").exists()
        assert len(upstream.heard) == 2


def test_a_request_behind_the_last_test_fails_the_run(run, put):
    """Nobody else would hear of it."""
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


def test_unplayed_exchanges_are_allowed_on_request(run, put):
    """Unexpected requests never are."""
    put("Hello", "Bye")
    run(HELLO, "-o", "tape_strict=false").assert_outcomes(passed=1)


def test_the_command_can_be_pasted(run):
    """Names of tests hold what shells would take for their own."""
    source = HELLO.replace("@pytest", '@pytest.mark.parametrize("x", ["it\'s a b"])\n@pytest', 1).replace(
        "(tape_server)", "(tape_server, x)"
    )
    result = run(source)
    (command,) = set(re.findall(r"^  (pytest .*)$", text_of(result), re.MULTILINE))
    assert shlex.split(command)[1] == "test_it.py::test_hello[it's a b]"
