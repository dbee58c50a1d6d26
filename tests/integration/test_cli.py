"""``messages serve`` and ``messages run``, as a user runs them: real stacks, real HTTP."""

import json
import os
import signal
import subprocess
import threading

import httpx
import pytest
import yaml

from support.native_upstream import NativeUpstream, spoken
from support.scripted_upstream import pieces, streamed
from support.serve_process import MESSAGES, ServeProcess
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
        native.play(streamed(*spoken("m", "Hi")), "m")
        options = ("--upstream", native.root("up"), "--upstream-key-env", "MY_KEY", "--port", str(port))
        with serve(tmp_path, *options, MY_KEY="sk-mine-0123456789") as command:
            command.wait_until_ready()
            assert "Starting a server with the Messages API" in command.output
            url = f"http://127.0.0.1:{port}/v1/messages"
            reply = httpx.post(url, json=BODY | {"stream": True}, timeout=60)
            assert reply.headers["x-messages-lane"].startswith("native")
            native.play(pieces(spoken("hang", "Hi")[:3], end="hang"), "hang")
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


def test_a_stack_that_run_started_stops_by_itself_with_an_open_stream(upstream, tmp_path):
    """The process is that of `llama stack run`; SIGTERM ends the stream with an error event, and then the process."""
    file, port = tmp_path / "run.yaml", free_port()
    file.write_text(yaml.safe_dump(run_config([vllm(upstream.url)], {})))
    endless = BODY | {"model": "up/slow", "stream": True}
    env = {"LLAMA_STACK_LOG_FORMAT": "json"}
    mark = '{"event": "Uvicorn running'
    with ServeProcess([MESSAGES, "run", str(file), "--port", str(port)], tmp_path, mark, **env) as command:
        command.wait_until_ready()
        with httpx.stream("POST", f"http://127.0.0.1:{port}/v1/messages", json=endless, timeout=60) as stream:
            chunks = stream.iter_raw()
            received = [next(chunks)]
            command.process.send_signal(signal.SIGTERM)
            received += chunks
        assert last_event(b"".join(received))["error"] == STOPPING
        assert command.end() in (0, -signal.SIGTERM)
    assert "Application shutdown complete" in command.output
