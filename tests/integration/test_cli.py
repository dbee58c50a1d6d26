"""``messages serve`` and ``messages run``, as a user runs them: real stacks, real HTTP."""

import json
import os
import signal
import socket
import subprocess
import threading

import httpx
import pytest
import yaml

from support.native_upstream import NativeUpstream, text_frames
from support.scripted_upstream import HANG, streamed
from support.serve_process import MESSAGES, STOP_SECONDS, ServeProcess
from support.stack_process import free_port, run_config, vllm

pytestmark = pytest.mark.integration

BODY = {"model": "any", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}
MAX_LINES_BEFORE_BANNER = 5
STOPPING = {"type": "overloaded_error", "message": "The server is stopping; send the request again"}


def serve(folder, *options, **env):
    return ServeProcess([MESSAGES, "serve", *options], folder, **env)


def post_until_closed(url, body):
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(url, json=body, timeout=60)


def last_event(raw):
    """Return the data of the last event of a stream."""
    return json.loads(raw.rstrip().rpartition(b"data: ")[2])


def test_serve_answers_from_the_embedded_engine_under_any_name_and_stops(tmp_path):
    """Without variables or a checkout's files; the banner comes after a few lines, and the run.yaml can be kept."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    with serve(tmp_path, "--port", str(port), "--context", "4096") as command:
        command.wait_until_ready()
        before = command.lines.index(f"Serving the Messages API at {url}/v1/messages\n")
        assert before <= MAX_LINES_BEFORE_BANNER
        assert f"messages launch --url {url} claude" in command.output
        assert f"ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN=none claude" in command.output
        reply = httpx.post(f"{url}/v1/messages", json=BODY | {"model": "claude-sonnet-4-5"}, timeout=60)
        assert reply.json()["type"] == "message"
        os.killpg(command.process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        assert command.end() == 0
    assert command.group_is_gone()
    file = tmp_path / ".llama" / "messages" / f"serve-{port}" / "run.yaml"
    assert f"Configuration: {file}\n" in command.lines
    assert yaml.safe_load(file.read_text())["providers"]["inference"][0]["config"]["context_size"] == 4096
    check = subprocess.run([MESSAGES, "check", file], capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")


def test_serve_recognizes_a_chat_upstream_and_ends_its_open_stream_with_an_error(upstream, tmp_path):
    """A request that is not streamed and gets no answer does not hold it up either."""
    file, port = tmp_path / "kept.yaml", free_port()
    url = f"http://127.0.0.1:{port}/v1/messages"
    with serve(tmp_path, "--upstream", upstream.url, "--port", str(port), "--write", str(file)) as command:
        command.wait_until_ready()
        assert f"Starting an OpenAI-like server at {upstream.url}, default model text (the first of" in command.output
        reply = httpx.post(url, json=BODY, timeout=60)
        assert reply.json()["content"] == [{"type": "text", "text": "Hello there"}]
        assert reply.headers["x-messages-lane"].startswith("translated")
        endless = BODY | {"model": "openai/slow", "stream": True}
        unanswered = BODY | {"model": "openai/never"}
        waiting = threading.Thread(target=post_until_closed, args=(url, unanswered))
        with httpx.stream("POST", url, json=endless, timeout=60) as stream:
            chunks = stream.iter_raw()
            received = [next(chunks)]
            waiting.start()
            upstream.last("never")
            command.process.send_signal(signal.SIGTERM)
            received += chunks
        assert last_event(b"".join(received))["error"] == STOPPING
        assert command.end() == 0
        waiting.join(60)
    assert command.group_is_gone()
    assert yaml.safe_load(file.read_text())["server"] == {"host": "127.0.0.1"}


def test_serve_recognizes_a_messages_upstream_and_passes_its_key_by_the_variable(tmp_path):
    """The key is not in the run.yaml, a request goes through as it is, and an open stream ends with an error."""
    port = free_port()
    with NativeUpstream() as native:
        native.play(streamed(*text_frames("m", "Hi")), "m")
        options = ("--upstream", native.root("up"), "--upstream-key-env", "MY_KEY", "--port", str(port))
        with serve(tmp_path, *options, MY_KEY="sk-mine-0123456789") as command:
            command.wait_until_ready()
            assert "Starting a server with the Messages API" in command.output
            url = f"http://127.0.0.1:{port}/v1/messages"
            reply = httpx.post(url, json=BODY | {"stream": True}, timeout=60)
            assert reply.headers["x-messages-lane"].startswith("native")
            native.play(streamed(*text_frames("hang", "Hi")[:3], end=HANG), "hang")
            endless = BODY | {"model": "messages/hang", "stream": True}
            with httpx.stream("POST", url, json=endless, timeout=60) as stream:
                received = [next(chunks := stream.iter_raw())]
                command.process.send_signal(signal.SIGTERM)
                received += chunks
            assert last_event(b"".join(received))["error"] == STOPPING
            assert command.end() == 0
        assert ("authorization", "Bearer sk-mine-0123456789") in native.of("m")[-1].pairs
    file = tmp_path / ".llama" / "messages" / f"serve-{port}" / "run.yaml"
    assert "sk-mine" not in file.read_text() + command.output
    check = subprocess.run([MESSAGES, "check", file], capture_output=True, text=True, check=False)
    assert "environment variable MY_KEY is not set" in check.stdout


def test_waiting_for_a_backend_is_one_sentence(tmp_path):
    """It has the address and what to start; the command can be stopped meanwhile."""
    backend = f"http://127.0.0.1:{free_port()}/v1"
    env = {"OPENAI_COMPATIBLE_URL": backend, "DEFAULT_MODEL": "compatible/text", "PORT": str(free_port())}
    command = ServeProcess([MESSAGES, "serve", "--distribution", "starter"], tmp_path, "Waiting for", **env)
    with command:
        command.wait_until_ready()
        assert command.stop() == 0
    assert len(command.lines) <= MAX_LINES_BEFORE_BANNER
    sentence = f"Waiting for compatible at {backend}, which does not answer: start it, or correct its base_url.\n"
    assert [line for line in command.lines if line.startswith("Waiting")] == [sentence]


def write_run_yaml(folder, url, **messages):
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(run_config([vllm(url)], messages)))
    return file


def test_run_prints_a_few_lines_and_stops_with_an_open_stream(upstream, tmp_path):
    """The log of the start is in the named file, what follows is printed; the stream ends with an error event."""
    file, port = write_run_yaml(tmp_path, upstream.url), free_port()
    endless = BODY | {"model": "up/slow", "stream": True}
    with ServeProcess([MESSAGES, "run", str(file), "--port", str(port)], tmp_path) as command:
        command.wait_until_ready()
        before = command.lines.index(f"Serving the Messages API at http://127.0.0.1:{port}/v1/messages\n")
        assert before <= MAX_LINES_BEFORE_BANNER
        with httpx.stream("POST", f"http://127.0.0.1:{port}/v1/messages", json=endless, timeout=60) as stream:
            chunks = stream.iter_raw()
            received = [next(chunks)]
            command.process.send_signal(signal.SIGTERM)
            received += chunks
        assert last_event(b"".join(received))["error"] == STOPPING
        assert command.end() == 0
    assert command.group_is_gone()
    assert "POST /v1/messages" in command.output
    log = tmp_path / ".llama" / "messages" / f"run-{port}" / "stack.log"
    assert command.lines[0] == f"Starting {file}; the log of the start is {log}\n"
    assert "Application startup complete" in log.read_text()


def test_run_names_the_backends_and_the_log_if_the_stack_does_not_get_ready(tmp_path):
    """The backend accepts connections and never answers; the command can be stopped meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as backend:
        url, port = f"http://127.0.0.1:{backend.getsockname()[1]}/v1", free_port()
        file = write_run_yaml(tmp_path, url)
        command = ServeProcess([MESSAGES, "run", str(file), "--port", str(port)], tmp_path, "Waiting for")
        with command:
            command.wait_until_ready()
            assert command.stop() == 0
    (sentence,) = (line for line in command.lines if line.startswith("Waiting"))
    assert f"it requests the models of the backends (up at {url}); if one does not answer, start it" in sentence
    assert sentence.endswith(f" The log is {tmp_path / '.llama' / 'messages' / f'run-{port}' / 'stack.log'}.\n")


def test_run_prints_the_whole_log_on_request(upstream, tmp_path):
    """From its first line on; there is no log file."""
    file, port = write_run_yaml(tmp_path, upstream.url), free_port()
    command = ServeProcess([MESSAGES, "run", str(file), "--port", str(port), "--verbose"], tmp_path)
    with command:
        command.wait_until_ready()
    assert "Application startup complete" in command.output
    assert "Application shutdown complete" in command.output
    assert not (tmp_path / ".llama" / "messages" / f"run-{port}").exists()


def test_a_stack_that_does_not_start_says_why_in_a_few_lines(tmp_path):
    """Those of the exception, not of the traceback, and the file with all of the log."""
    file, port = write_run_yaml(tmp_path, "http://"), free_port()
    with ServeProcess([MESSAGES, "run", str(file), "--port", str(port)], tmp_path) as command:
        assert command.end() == 1
    log = tmp_path / ".llama" / "messages" / f"run-{port}" / "stack.log"
    assert command.lines[-1] == f"messages: the stack ended with code 1; its log is {log}\n"
    assert len(command.lines) <= MAX_LINES_BEFORE_BANNER
    assert "base_url" in command.output
    assert "Traceback" in log.read_text()


def test_a_killed_command_does_not_leave_its_stack_running(upstream, tmp_path):
    """After SIGKILL, too: an open stream ends with an error event, as after SIGTERM."""
    port = free_port()
    with serve(tmp_path, "--upstream", upstream.url, "--port", str(port)) as command:
        command.wait_until_ready()
        endless = BODY | {"model": "openai/slow", "stream": True}
        with httpx.stream("POST", f"http://127.0.0.1:{port}/v1/messages", json=endless, timeout=60) as stream:
            received = [next(chunks := stream.iter_raw())]
            killed = threading.Thread(target=command.kill)
            killed.start()
            received += chunks
        killed.join(STOP_SECONDS)
        assert last_event(b"".join(received))["error"] == STOPPING
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/v1/health")
