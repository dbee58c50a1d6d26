"""``messages launch`` and ``messages doctor`` on running stacks."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios

import httpx
import pytest

from support.stack_process import ROOT

MESSAGES = [sys.executable, "-P", "-m", "llama_stack_provider_messages.cli.main"]
CLIENT = """
import os, sys
import anthropic
assert "ANTHROPIC_API_KEY" not in os.environ
reply = anthropic.Anthropic().messages.create(
    model=os.environ["ANTHROPIC_MODEL"], max_tokens=50, messages=[{"role": "user", "content": "Hello"}]
)
print(reply.content[-1].text)
sys.exit(7)
"""
WAITING_CLIENT = """
import signal, sys
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: sys.exit(3))
print("ready", flush=True)
signal.pause()
"""
COUNTING_CLIENT = """
import os, signal, sys, urllib.request
count = 0
def handle(*_):
    global count
    count += 1
    print("interrupted", flush=True)
signal.signal(signal.SIGINT, handle)
print("ready", flush=True)
sys.stdin.readline()
with urllib.request.urlopen(os.environ["ANTHROPIC_BASE_URL"] + "/v1/models") as response:
    print(count, response.status)
"""
PYTHON = [sys.executable, "-c"]
TINY = str(ROOT / "provider" / "llama_stack_provider_messages" / "local" / "tiny.gguf")
HANG_SECONDS = 120


def take_terminal():
    """Make stdin the controlling terminal of this session."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def command(*words):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANTHROPIC_")}
    environment["ANTHROPIC_API_KEY"] = "sk-caller"
    environment.pop("SQLITE_STORE_DIR", None)
    return {"args": [*MESSAGES, *words], "env": environment, "text": True, "stdout": subprocess.PIPE}


def launch(stack, program):
    return command("launch", "--url", stack.url, "--model", "up/text", "--", sys.executable, "-c", program)


def test_an_sdk_finds_the_stack_in_its_environment_and_its_exit_code_is_returned(stack):
    done = subprocess.run(**launch(stack, CLIENT), timeout=HANG_SECONDS, check=False)
    assert (done.stdout, done.returncode) == ("Hello there\n", 7)


def test_signals_reach_the_client(stack):
    with subprocess.Popen(**launch(stack, WAITING_CLIENT)) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_SECONDS) == 3


def test_a_client_gets_a_stack_of_its_own_that_ends_with_it(tmp_path):
    """A GGUF file is served for it; the exit code is the client's, and nothing is left."""
    program = f"import os; print(os.environ['ANTHROPIC_BASE_URL'], flush=True)\n{CLIENT}"
    words = command("launch", "--model", TINY, "--context", "4096", "--window", "16k", "--", *PYTHON, program)
    words["env"]["TMPDIR"] = str(tmp_path)
    done = subprocess.run(**words, stderr=subprocess.PIPE, timeout=HANG_SECONDS, check=False)
    url, answer = done.stdout.splitlines()
    assert (bool(answer), done.returncode) == (True, 7), done.stderr
    first, second = done.stderr.splitlines()
    assert first == f"messages: Starting tiny.gguf, on port {url.rpartition(':')[2]} for this client ..."
    assert second.startswith(f"messages: local/default at {url}, with a window of 16,384 tokens")
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def own(upstream, tmp_path):
    """Start a client on a stack of its own over the scripted upstream, by a function of its program; end it."""
    processes = []

    def start(program, **options):
        words = command("launch", "--upstream", upstream.url, "--", *PYTHON, program)
        words["env"]["TMPDIR"] = str(tmp_path)
        processes.append(subprocess.Popen(**{"stdin": subprocess.PIPE, **words, **options}))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait(HANG_SECONDS)
        for stream in filter(None, (process.stdin, process.stdout)):
            stream.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_client_of_an_own_stack_and_ends_both(own, tmp_path, number):
    """It is passed on; the exit code is the client's."""
    process = own(f"import os; print(os.environ['ANTHROPIC_BASE_URL'], flush=True)\n{WAITING_CLIENT}")
    url = process.stdout.readline().strip()
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(HANG_SECONDS) == 3
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_terminal_reaches_the_client_once(own):
    """The stack continues: the client is still answered afterwards."""
    terminal, other_end = pty.openpty()
    process = own(
        COUNTING_CLIENT, stdin=other_end, stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=take_terminal
    )
    os.close(other_end)
    assert process.stdout.readline() == "ready\n"
    os.write(terminal, b"\x03")
    assert process.stdout.readline() == "interrupted\n"
    os.write(terminal, b"go on\n")
    assert process.stdout.read() == "1 200\n"
    assert process.wait(HANG_SECONDS) == 0
    os.close(terminal)


def test_a_killed_launch_does_not_leave_its_stack_running(own):
    """After SIGKILL: the open stream ends with an error event."""
    process = own("import os; print(os.environ['ANTHROPIC_BASE_URL'], flush=True); input()")
    url = process.stdout.readline().strip()
    body = {"model": "openai/slow", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    with httpx.stream("POST", f"{url}/v1/messages", json=body, timeout=60) as stream:
        received = [next(chunks := stream.iter_raw())]
        process.kill()
        received += chunks
    assert b"event: error" in b"".join(received)


def test_an_own_stack_that_does_not_start_is_an_error_with_its_log_file(tmp_path, upstream):
    """The last line names the file; the client is not started."""
    words = command("launch", "--upstream", upstream.url, "--", *PYTHON, "print('started')")
    words["env"] |= {"TMPDIR": str(tmp_path), "SQLITE_STORE_DIR": "/dev/null"}
    done = subprocess.run(**words, stderr=subprocess.PIPE, timeout=HANG_SECONDS, check=False)
    assert (done.stdout, done.returncode) == ("", 1)
    (folder,) = tmp_path.iterdir()
    last = done.stderr.splitlines()[-1]
    assert last == f"messages: the stack ended with code 1; its log is {folder / 'stack.log'}"
    assert "Traceback" in (folder / "stack.log").read_text()


def doctor(url, *words):
    done = subprocess.run(**command("doctor", url, "--json", *words), timeout=HANG_SECONDS, check=False)
    report = json.loads(done.stdout)
    return done.returncode, {check["name"]: check for check in report["checks"]}


def test_the_doctor_names_what_a_scripted_stack_lacks(stack):
    code, checks = doctor(stack.url, "--model", "up/agent")
    failed = [name for name, check in checks.items() if check["status"] == "fail"]
    assert (code, failed) == (1, ["client names"])
    assert "claude-sonnet-5" in checks["client names"]["text"]
    assert checks["lane"]["text"] == "translated; reason=probed (requests become chat completions)"
    assert checks["token counts"]["status"] == "warn"
    assert checks["environment"]["status"] == "warn"


def test_the_doctor_finds_nothing_wrong_with_the_embedded_engine(local_stack):
    code, checks = doctor(local_stack.url)
    assert (code, {check["status"] for check in checks.values()} <= {"ok", "warn"}) == (0, True), checks
    assert checks["tool calls"]["text"].startswith("parsed: get_weather(")
    assert checks["token counts"]["text"].startswith("exact")
