"""``messages-tape record`` and ``replay`` with clients in processes of their own."""

import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from messages_tape import dump, read_tape
from messages_tape.cli.client import environment
from messages_tape.cli.main import main
from support.scripted_upstream import CUT, FOUR, ScriptedUpstream, responds, streamed
from support.tape_cli import COMMAND, curl, run
from support.tapes import exchange, reply, tape

KEY = "sk-ant-api03-" + "planted0123456789"


@pytest.fixture(autouse=True)
def hangup():
    """Reset SIGHUP to its default action: this process may ignore it (nohup), and children inherit that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new.tape.yaml"


@pytest.fixture
def answering(wire):
    """The upstream with a short answer."""
    wire.scripts["/v1/x"] = responds(b'{"n": 1}')
    return wire


def put(path, *exchanges):
    path.write_text(dump(tape(*exchanges)), encoding="utf-8")


def test_a_recording_is_replayed_without_the_server(tmp_path):
    """The same bytes, for a complete stream and a broken one; the tape has the chunks."""
    with ScriptedUpstream() as upstream:
        upstream.scripts |= {"/v1/four": streamed(*FOUR, gap=0.01), "/v1/dies": streamed(*FOUR[:2], end=CUT, gap=0.01)}
        live = run("record", "--upstream", upstream.address, "new", "--", *curl("/v1/four", "/v1/dies"), cwd=tmp_path)
        assert len(upstream.requests) == 2
    assert live.returncode == 0
    assert live.stdout == b"".join(FOUR) + b"".join(FOUR[:2]) + b"(cut)"
    assert live.stderr == b"messages-tape: 2 exchanges recorded in new.tape.yaml\n"
    first, second = read_tape(tmp_path / "new.tape.yaml").exchanges
    assert tuple(chunk.data for chunk in first.response.chunks) == FOUR
    assert (first.end.how, second.end.how) == ("complete", "reset")
    played = run("replay", tmp_path / "new.tape.yaml", "--", *curl("/v1/four", "/v1/dies"))
    assert (played.returncode, played.stdout) == (0, live.stdout)
    assert b"new.tape.yaml: 2 exchanges played as recorded\n" in played.stderr


def test_the_tape_of_a_failing_client_is_saved_and_its_exit_code_returned(answering, path, monkeypatch):
    monkeypatch.setenv("CODE", "3")
    assert main(["record", "--upstream", answering.address, str(path), "--", *curl("/v1/x")]) == 3
    assert len(read_tape(path).exchanges) == 1
    assert main(["replay", str(path), "--", *curl("/v1/x")]) == 3


@pytest.mark.parametrize("address", ["", "/v1", "/v1/"])
def test_the_upstream_address_may_end_with_v1(answering, path, address):
    """As SDKs expect it; clients add ``/v1`` to TAPE_URL themselves."""
    assert main(["record", "--upstream", answering.address + address, str(path), "--", *curl("/v1/x")]) == 0
    assert read_tape(path).exchanges[0].request.path == "/v1/x"


def test_options_set_the_upstream_facts_of_the_tape(answering, path):
    facts = ["--kind", "vllm", "--model", "big", "--version", "9"]
    assert main(["record", "--upstream", answering.address, *facts, str(path), "--", *curl("/v1/x")]) == 0
    upstream = read_tape(path).upstream
    assert (upstream.kind, upstream.model, upstream.version) == ("vllm", "big", "9")


def test_a_key_in_a_header_is_not_written_to_the_file(answering, path, monkeypatch):
    monkeypatch.setenv("KEY", KEY)
    assert main(["record", "--upstream", answering.address, str(path), "--", *curl("/v1/x")]) == 0
    assert answering.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in path.read_text()


def test_a_tape_with_a_key_in_a_body_is_not_saved(answering, path, monkeypatch):
    """The message is one line with the place and the remedy, without the key; the client's response does not change."""
    monkeypatch.setenv("BODY", f'{{"messages": [{{"content": "it is {KEY}"}}]}}')
    live = run("record", "--upstream", answering.address, path, "--", *curl("/v1/x"))
    assert (live.returncode, live.stdout, path.exists()) == (1, b'{"n": 1}', False)
    assert live.stderr.decode() == (
        f"messages-tape: {path} was not saved, it would contain what looks like a credential: exchange 1, request "
        f"body, messages.0.content: a key that begins with sk- ({len(KEY)} characters). Record it with made-up values "
        "there, or pass a value that is not secret with --harmless\n"
    )
    words = ["record", "--upstream", answering.address, "--harmless", KEY, str(path), "--", *curl("/v1/x")]
    assert main(words) == 0
    assert KEY in path.read_text()


def test_a_key_in_an_ambient_response_prevents_only_the_ambient_tape(wire, tmp_path, capfd):
    """Ambient calls have a tape of their own, so the other tape is saved."""
    wire.scripts |= {"/v1/x": responds(b"{}"), "/health": responds(KEY.encode())}
    ask = "import os, sys, urllib.request as u; [u.urlopen(os.environ['TAPE_URL'] + path) for path in sys.argv[1:]]"
    client = [sys.executable, "-c", ask, "/health", "/v1/x"]
    words = ["record", "--upstream", wire.address, str(tmp_path / "new"), "--", *client]
    assert main(words) == 1
    said = capfd.readouterr().err
    assert 'tape "ambient" was not saved' in said
    assert "--harmless VALUE" in said
    assert KEY not in said
    assert [file.name for file in tmp_path.iterdir()] == ["new.tape.yaml"]


def test_an_existing_tape_is_replaced_only_with_again(answering, path, capfd):
    put(path, exchange({"a": 1}, reply("old")))
    words = ["record", "--upstream", answering.address, str(path)]
    assert main([*words, "--", *curl("/v1/x")]) == 2
    assert "add --again to replace it" in capfd.readouterr().err
    assert read_tape(path).exchanges[0].request.path == "/v1/messages"
    assert main([*words, "--again", "--", *curl("/v1/x")]) == 0
    assert read_tape(path).exchanges[0].request.path == "/v1/x"


def test_a_client_that_sends_no_request_is_an_error(answering, path, capfd):
    """It did not use the address of the tape server."""
    assert main(["record", "--upstream", answering.address, str(path), "--", *curl()]) == 1
    assert "the client sent no request that goes on a tape; set its base URL to TAPE_URL" in capfd.readouterr().err
    assert not path.exists()


def test_record_names_the_exchanges_whose_recorded_response_is_an_error(answering, path, capfd):
    """A 404 is recorded as well: it may be what the tape is about, or a wrong address."""
    answering.scripts["/v1/gone"] = responds(b"{}", 404)
    words = ["record", "--upstream", answering.address, "--again", str(path), "--"]
    assert main([*words, *curl("/v1/x", "/v1/gone", "/v1/gone")]) == 0
    said = capfd.readouterr().err
    assert "3 exchanges recorded" in said
    assert "the server responded with an error to exchange 2 (404), exchange 3 (404); if the tape is not about" in said
    assert "record it with --again" in said
    assert main([*words, *curl("/v1/x")]) == 0
    assert "error" not in capfd.readouterr().err


def test_replay_reports_requests_that_do_not_match(path, capfd):
    put(path, exchange({"model": "m"}, reply("hi"), path="/v1/x"), exchange({"b": 1}, reply("unplayed"), path="/v1/y"))
    assert main(["replay", str(path), "--", *curl("/v1/x", "/v1/z")]) == 1
    said = capfd.readouterr()
    assert said.out.startswith('"hi"{"type": "error"')
    assert "the requests of the client do not match the tape\n  POST /v1/z is not on tape" in said.err
    assert "exchange 2 (POST /v1/y) was not played\n" in said.err
    assert f"messages-tape record --again --upstream URL {path} -- COMMAND" in said.err


def test_pace_plays_at_recorded_speed(path):
    """With ``--pace`` a response comes no earlier than it was recorded; without it no recorded pause is waited for."""
    recorded = exchange({"model": "m"}, reply("hi"), path="/v1/x")

    def put_after(seconds):
        put(path, recorded.model_copy(update={"response": recorded.response.model_copy(update={"after": seconds})}))

    fetch = (
        "import os, time, urllib.request as u; start = time.monotonic();"
        "u.urlopen(u.Request(os.environ['TAPE_URL'] + '/v1/x', b'{\"model\": \"m\"}'));"
    )
    put_after(0.3)
    timed = f"{fetch} assert time.monotonic() - start > 0.25"
    assert main(["replay", "--pace", str(path), "--", sys.executable, "-c", timed]) == 0
    put_after(3600.0)
    assert main(["replay", str(path), "--", sys.executable, "-c", fetch]) == 0


def serve(*words):
    """Start the command without a client; return it and its address."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize(("number", "paths", "code"), [("SIGINT", ["/v1/x"], 0), ("SIGTERM", [], 1)])
def test_replay_without_a_command_serves_until_a_signal(path, number, paths, code):
    """The address is the only line on the standard output."""
    put(path, exchange({"a": 1}, reply("hi"), path="/v1/x"))
    process, url = serve("replay", path)
    for asked in paths:
        assert httpx.post(f"{url}{asked}", json={"a": 1}).json() == "hi"
    process.send_signal(getattr(signal, number))
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, "press ctrl-c to stop" in err) == (code, "", True)
    assert ("was not played" in err) == bool(code)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_record_without_a_command_records_until_a_signal(answering, path, number):
    """The tape is saved then."""
    process, url = serve("record", "--upstream", answering.address, path)
    assert httpx.post(f"{url}/v1/x", json={"a": 1}).json() == {"n": 1}
    process.send_signal(getattr(signal, number))
    _, err = process.communicate(timeout=30)
    assert (process.returncode, "1 exchange recorded" in err) == (0, True)
    assert len(read_tape(path).exchanges) == 1


INTERRUPTED = """
import os, signal, sys, urllib.request
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
urllib.request.urlopen(os.environ["TAPE_URL"] + "/v1/x").read()
print("asked", flush=True)
signal.sigwait([signal.SIGINT])
twice = signal.sigtimedwait([signal.SIGINT], 0.3)
sys.exit(8 if twice else 7)
"""


def test_an_interrupt_is_forwarded_to_the_client_and_the_tape_saved(answering, path):
    """A script signals this process only, not the client."""
    words = [*COMMAND, "record", "--upstream", answering.address, path, "--", sys.executable, "-c", INTERRUPTED]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == b"asked\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 7
    assert len(read_tape(path).exchanges) == 1


def test_a_ctrl_c_reaches_the_client_once_and_the_tape_is_saved(answering, path):
    """The terminal signals every process in its foreground, so the signal is not forwarded."""
    words = [*COMMAND, "record", "--upstream", answering.address, str(path), "--", sys.executable, "-c", INTERRUPTED]
    terminal = f"import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn({words!r})))"
    process = subprocess.Popen([sys.executable, "-c", terminal], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"asked"
    process.stdin.write(b"\x03")
    process.stdin.flush()
    process.communicate(timeout=30)
    assert process.returncode == 7
    assert len(read_tape(path).exchanges) == 1


HANGING_UP = """
import os, pty, sys, urllib.request
process, terminal = pty.fork()
if not process:
    os.execv(sys.argv[1], sys.argv[1:])
with open(terminal, "rb", buffering=0) as shown:
    while not (line := shown.readline()).startswith(b"http"):
        pass
    urllib.request.urlopen(line.strip().decode() + "/v1/x").read()
    urllib.request.urlopen(line.strip().decode() + "/v1/models").read()
_, status = os.waitpid(process, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_tape_is_saved_when_the_terminal_is_closed(answering, path):
    """Messages cannot be printed then."""
    answering.scripts["/v1/models"] = responds(b'{"data": []}')
    words = [*COMMAND, "record", "--upstream", answering.address, str(path)]
    subprocess.run([sys.executable, "-c", HANGING_UP, *words], check=True, timeout=60)
    assert len(read_tape(path).exchanges) == 1
    assert len(read_tape(path.with_name("ambient.tape.yaml")).ambient) == 1


def test_an_ignored_hangup_stays_ignored(answering, path):
    """As under nohup."""
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    words = [*COMMAND, "record", "--upstream", answering.address, str(path)]
    process = subprocess.Popen([sys.executable, "-c", ignoring, *words], stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().strip()
    process.send_signal(signal.SIGHUP)
    assert httpx.post(f"{url}/v1/x", json={"a": 1}).json() == {"n": 1}
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_client_ended_by_a_signal_has_the_exit_code_of_shells(answering, path):
    kill = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    assert main(["record", "--upstream", answering.address, str(path), "--", *kill]) == 137


@pytest.mark.parametrize(
    ("command", "code", "complaint"),
    [
        (["no-such-command"], 127, "the command no-such-command was not found"),
        (["{file}"], 126, "cannot be run (Permission"),
    ],
)
def test_a_command_that_cannot_be_run(answering, tmp_path, capfd, command, code, complaint):
    (tmp_path / "file").write_text("")
    command = [word.format(file=tmp_path / "file") for word in command]
    assert main(["record", "--upstream", answering.address, str(tmp_path / "new"), "--", *command]) == code
    assert complaint in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["record", "x", "--", "true"], "the following arguments are required: --upstream"),
        (
            ["record", "--upstream", "127.0.0.1:80", "x", "--", "true"],
            "is not a valid address; write --upstream http://",
        ),
        (["record", "--upstream", "http://[", "x", "--", "true"], "is not a valid address"),
        (["record", "--upstream", "http://h:port", "x", "--", "true"], "is not a valid address"),
        (["record", "--upstream", "http://a:b@h", "x", "--", "true"], "takes no keys, passwords or parameters"),
        (["record", "--upstream", "http://h?key=b", "x", "--", "true"], "takes no keys, passwords or parameters"),
        (["record", "--upstream", "http://127.0.0.1:{closed}", "x", "--", "true"], "start the server, or correct"),
        (["record", "--upstream", "http://127.0.0.1:{closed}", "a b", "--", "true"], "is not a valid tape name"),
        (["replay", "gone", "--", "true"], "there is no tape gone.tape.yaml; give the path of its file"),
        (["replay", "broken", "--", "true"], "broken.tape.yaml: not a tape: `tape: 1` is missing; correct the file"),
        (["replay", "good", "--port", "{taken}", "--", "true"], "choose another with --port"),
        (["replay", "good", "--port", "65536", "--", "true"], "invalid port value: '65536'"),
        (["replay", "good", "--port", "http", "--", "true"], "invalid port value: 'http'"),
        (["replay", "good", "--"], "the command after -- is missing"),
        (["record", "--upstream", "http://127.0.0.1:{closed}", "--again", "broken", "--", "true"], "correct the file"),
        (["replay", "good", "true"], "unrecognized arguments: true (write the command to run after --)"),
        (["show", "good", "--", "true"], "show runs no command; remove -- and what follows"),
        (["show", "folder"], "Is a directory"),
        (["show", "good", "--exchange", "2"], "good.tape.yaml has 1 exchange; --exchange takes a number from 1"),
        (["often"], "invalid choice: 'often'"),
        ([], "required: COMMAND"),
    ],
)
def test_a_usage_error_is_one_line_with_its_remedy(tmp_path, monkeypatch, capfd, words, complaint):
    """The exit code is 2."""
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "good.tape.yaml", exchange({"a": 1}, reply("hi")))
    (tmp_path / "broken.tape.yaml").write_text("a: 1\n")
    (tmp_path / "folder.tape.yaml").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            ports = {"taken": taken.getsockname()[1], "closed": closed.getsockname()[1]}
        try:
            code = main([word.format(**ports) for word in words])
        except SystemExit as error:
            code = error.code
    said = capfd.readouterr()
    assert (code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("messages-tape: ")
    assert complaint in said.err


def test_clients_reach_the_tape_server_without_a_proxy():
    env = environment("http://127.0.0.1:1", {"HOME": "/h", "no_proxy": "a,b", "OPENAI_BASE_URL": "real"})
    assert env == {
        "HOME": "/h",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "a,b,127.0.0.1",
        "TAPE_URL": "http://127.0.0.1:1",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
    }


def test_a_closed_pipe_is_not_an_error(path):
    """As with ``head``."""
    put(path, exchange({"a": 1}, reply("hi")))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        shown = subprocess.run([*COMMAND, "show", path], stdout=closed, stderr=subprocess.PIPE, timeout=30, check=False)
    assert (shown.returncode, shown.stderr) == (0, b"")


def test_a_folder_that_cannot_be_created_is_reported_before_the_client_runs(answering, tmp_path, capsys):
    """The run of the client would be wasted."""
    (tmp_path / "file").write_text("")
    ran = tmp_path / "ran"
    client = [sys.executable, "-c", f"open({str(ran)!r}, 'w')"]
    assert main(["record", "--upstream", answering.address, str(tmp_path / "file" / "t"), "--", *client]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not ran.exists()
