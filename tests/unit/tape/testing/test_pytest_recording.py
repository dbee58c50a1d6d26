"""The pytest plugin with an upstream: recording, comparing, live."""

import json

import pytest

from messages_tape import load
from support.plugin_runs import ASKS, HELLO, failure_of, text_of
from support.scripted_upstream import ScriptedUpstream, streamed
from support.tapes import JSON

pytest_plugins = ["pytester"]

MODES = pytest.mark.parametrize("mode", ["once", "rewrite"])
SECRET = "sk-ant-api03-" + "Ab3" * 30
SUITE = f"""{ASKS}
HI = {{"said": "hi"}}

@pytest.mark.tape("hello")
def test_hello(tape_server):
    assert ask(tape_server.url).json() == HI

@pytest.mark.tape("hello")
def test_same(tape_server):
    assert ask(tape_server.url).json() == HI

@pytest.mark.tape("there")
def test_there(tape):
    assert ask(tape.url).json() == HI

@pytest.mark.tape("transport")
def test_transport(tape):
    with httpx.Client(transport=tape.sync_transport(), base_url=tape.upstream_url) as client:
        assert client.post("/v1/chat/completions", json={{"model": "tiny"}}).json() == HI
"""
WRONG = """
@pytest.mark.tape("hello")
def test_other(tape_server):
    ask(tape_server.url, "Hullo")

@pytest.mark.tape("failed")
def test_failed(tape_server):
    assert ask(tape_server.url).json() == {"said": "ho"}

@pytest.mark.tape("secret")
def test_secret(tape_server):
    assert ask(tape_server.url, path="/v1/secret").json()["said"] == "hi"
"""


@pytest.fixture
def upstream():
    """Responds with ``{"said": "hi"}`` after a delay, in which two recorders would overlap."""
    with ScriptedUpstream() as server:
        server.scripts["/v1/chat/completions"] = streamed(b'{"said": "hi"}', gap=0.2, headers=JSON, chunked=False)
        server.scripts["/v1/secret"] = streamed(
            json.dumps({"said": "hi", "note": SECRET}).encode(), headers=JSON, chunked=False
        )
        yield server


@pytest.fixture
def args(upstream):
    return ["--tape-upstream", f"up={upstream.address}"]


@pytest.fixture
def taped(pytester):
    """The folder of the tapes."""
    return pytester.path / "recordings" / "up"


def names_in(folder):
    return sorted(path.name.removesuffix(".tape.yaml") for path in folder.iterdir())


@MODES
def test_a_recording_is_played(run, put, args, upstream, taped, mode):
    """Tests that share a tape record it once; a run without the upstream plays all; `once` keeps existing tapes."""
    before = put("Hello", name="up/there").read_text()
    result = run(SUITE, *args, "--tape-mode", mode, "--tape-model", "tiny-chat")
    result.assert_outcomes(passed=4)
    written = ["hello", "transport"] if mode == "once" else ["hello", "there", "transport"]
    result.stdout.fnmatch_lines(
        [f"tapes: {mode}, upstream up", "*tapes recorded*", *(f"recordings/up/{name}.tape.yaml" for name in written)],
    )
    assert len(upstream.requests) == len(written)
    assert ((taped / "there.tape.yaml").read_text() == before) == (mode == "once")
    for name in ("hello", "transport"):
        about = load((taped / f"{name}.tape.yaml").read_text()).upstream
        assert (about.kind, about.model) == ("up", "tiny-chat")
    run(SUITE, "--tape-upstream", "up").assert_outcomes(passed=4)
    assert len(upstream.requests) == len(written)


@MODES
def test_a_failed_recording_is_not_saved(run, args, taped, mode):
    """A failed test, a secret, and a test that shares a tape and sends another request."""
    source = HELLO + WRONG
    result = run(source, *args, "--tape-mode", mode)
    result.assert_outcomes(passed=1, failed=3)
    failure_of(result, "test_other").fnmatch_lines(['POST /v1/chat/completions is not on tape "hello".'])
    failure_of(result, "test_secret").fnmatch_lines(
        [
            'tape "secret" was not saved, it contains what looks like a credential:',
            "Record it with made-up values *, or pass a value that is not secret in the ini option tape_harmless.",
        ]
    )
    assert SECRET not in text_of(result)
    assert names_in(taped) == ["hello"]


SECRETS = f"""{ASKS}
import json

@pytest.mark.tape("secret")
def test_server(tape_server):
    assert ask(tape_server.url, path="/v1/secret").json()["note"] == {SECRET!r}

@pytest.mark.tape("transport")
def test_transport(tape):
    with httpx.Client(transport=tape.sync_transport(), base_url=tape.upstream_url) as client:
        body = {{"model": "tiny", "text": {SECRET!r}, "project": "mine"}}
        assert client.post("/v1/secret", json=body).json()["note"] == {SECRET!r}
"""


def test_the_ini_file_declares_harmless_values(run, pytester, args, taped):
    """One per line; they are kept on tapes, which are then playable."""
    pytester.makeini((pytester.path / "tox.ini").read_text() + f"\ntape_harmless =\n  other\n  {SECRET}\n")
    run(SECRETS, *args, "--tape-mode", "once").assert_outcomes(passed=2)
    assert all(SECRET in (taped / f"{name}.tape.yaml").read_text() for name in ("secret", "transport"))
    run(SECRETS, "--tape-upstream", "up").assert_outcomes(passed=2)


def test_a_conftest_overrides_the_rules(run, pytester, args, taped):
    """For servers and transports."""
    pytester.makeconftest(f"""
import dataclasses
import pytest

@pytest.fixture(scope="session")
def tape_rules(tape_rules):
    assert tape_rules.harmless == {{"other"}}
    return dataclasses.replace(tape_rules, harmless=frozenset({{{SECRET!r}}}), secret_fields=("project", "model"))
""")
    pytester.makeini((pytester.path / "tox.ini").read_text() + "\ntape_harmless = other\n")
    run(SECRETS, *args, "--tape-mode", "once").assert_outcomes(passed=2)
    assert "mine" not in (taped / "transport.tape.yaml").read_text()
    for name in ("secret", "transport"):
        assert "model: REDACTED" in (taped / f"{name}.tape.yaml").read_text()
    run(SECRETS.replace("mine", "yours"), "--tape-upstream", "up").assert_outcomes(passed=2)


@MODES
def test_processes_that_share_a_tape_record_it_once(run, put, args, upstream, mode):
    """Two workers run the test at the same time; one of them waits, and plays."""
    if mode == "rewrite":
        put("Before", name="up/hello")
    result = run(HELLO, *args, "--tape-mode", mode, "--tx", "2*popen", "--dist", "each", plugins=["xdist"])
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*tapes recorded*", "recordings/up/hello.tape.yaml"])
    assert len(upstream.requests) == 1


def test_verify_compares_shapes(run, put, args, upstream):
    """The test gets the recorded response; if the live one differs in shape, the test fails with the places."""
    put("Hello", name="up/hello")
    path = put("Hello", name="up/changed")
    path.write_text(path.read_text().replace("/v1/chat/completions", "/v1/changed"))
    upstream.scripts["/v1/chat/completions"] = streamed(b'{"said": "ho"}', headers=JSON, chunked=False)
    upstream.scripts["/v1/changed"] = streamed(b'{"said": ["hi"]}', headers=JSON, chunked=False)
    changed = """
@pytest.mark.tape("changed")
def test_changed(tape):
    assert ask(tape.url, path="/v1/changed").json() == {"said": "hi"}
"""
    result = run(HELLO + changed, *args, "--tape-mode", "verify")
    result.assert_outcomes(passed=1, failed=1)
    failure_of(result, "test_changed").fnmatch_lines([
        "The responses of the upstream differ in shape from recordings/up/changed.tape.yaml:",
        "  exchange 1 (POST /v1/changed): *said*",
        "  pytest test_it.py::test_changed --tape-mode rewrite --tape-upstream up=http://HOST:PORT",
    ])  # fmt: skip
    assert len(upstream.requests) == 2


def test_live_uses_no_tape(run, args, upstream, taped):
    """Neither read nor written."""
    run(HELLO, *args, "--tape-mode", "live").assert_outcomes(passed=1)
    assert len(upstream.requests) == 1
    assert not taped.exists()


def test_recording_needs_the_address_of_the_upstream(run):
    """The message names the option."""
    result = run(HELLO, "--tape-mode", "once", "--tape-upstream", "vllm")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([
        'mode "once" needs the address of the upstream "vllm"; add --tape-upstream vllm=http://HOST:PORT'
    ])  # fmt: skip


def test_the_ini_file_names_upstreams(run, pytester, upstream):
    """The command line wins; its upstream may have its address in the ini file."""
    names = f"tape_dir = taped\ntape_upstreams =\n  main\n  up={upstream.address}\n"
    pytester.makeini((pytester.path / "tox.ini").read_text() + "\n" + names)
    source = HELLO.replace('"hello"', '"hello", upstream="up"').replace("tape_server", "tape")
    run(source, "--tape-mode", "once").assert_outcomes(passed=1)
    run(HELLO, "--tape-mode", "rewrite", "--tape-upstream", "up").assert_outcomes(passed=1)
    assert (pytester.path / "taped" / "up" / "hello.tape.yaml").exists()
    assert len(upstream.requests) == 2


LOOKS = f"""{ASKS}
@pytest.mark.tape("looks")
def test_asked(tape):
    for text in ("Hello", "Bye"):
        ask(tape.url, text)
    assert [json.loads(request.body)["text"] for request in tape.requests] == ["Hello", "Bye"]
    assert tape.action == ACTION

@pytest.mark.tape("dies")
def test_dies(tape):
    tape.fail_after(0)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(tape.url)

@pytest.mark.tape("lives")
def test_lives(tape):
    assert ask(tape.url).json() == {{"said": "hi"}}
"""


def test_a_test_reads_its_requests_and_makes_the_upstream_fail(run, args, upstream):
    """The same when recorded, played and live; the next test has a working upstream."""
    for mode, action in (("once", "record"), ("none", "replay"), ("live", "live")):
        source = f"import json\n{LOOKS.replace('ACTION', repr(action))}"
        run(source, *args, "--tape-mode", mode).assert_outcomes(passed=3)
