"""Helpers for the recorded suites: a client of a stack, and the saved responses that it received."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path

import httpx

from messages_tape import scan_text

NO_THINKING = {"thinking": {"type": "disabled"}}
NO_THINKING_LLAMA_CPP = {"chat_template_kwargs": {"enable_thinking": False}}
"""The same setting for llama.cpp's own Messages API."""
TIMEOUT_SECONDS = 60
HTTP = httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
"""One client, because each one reads the certificate store (20 ms of CPU time). No connection stays open."""
RESPONSES_SUFFIX = ".client.jsonl"
"""Suffix of the file next to a tape with the responses that the client received during the recording."""

GENERATED = {
    "id of a message": (re.compile(r'"id":"msg_\w+"'), '"id":"msg_..."'),
    "id of a request": (re.compile(r'"request_id":"req_\w+"'), '"request_id":"req_..."'),
    "signature": (re.compile(r'"signature":"[^"]+"'), '"signature":"..."'),
}
"""The only differences between two runs with the same tape: ids generated per response and, between machines, the zlib
compression of the text inside a signature."""


MARK = "ANSWER "
"""Start of each line with a response; ``library_session.py``, which runs in another process, has the same constant."""
_HEAD = '{"status": '


def normalised(text):
    """Return a response text with generated ids and signatures replaced by placeholders."""
    for pattern, replacement in GENERATED.values():
        text = pattern.sub(replacement, text)
    return text


@dataclass(frozen=True)
class ClientResponse:
    """A response as a client received it.

    Attributes:
        status: HTTP status.
        lines: The JSON texts of the body: one, or one per event.
        headers: HTTP headers; empty for a library client.
        raw: The raw body; empty for a library client.
    """

    status: int
    lines: list[str]
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""

    @property
    def body(self):
        """The body of a non-streaming response."""
        (line,) = self.lines
        return json.loads(line)

    @property
    def events(self):
        """The events of a stream."""
        return [json.loads(line) for line in self.lines]


def response_of(response):
    """Return an HTTP response as a ``ClientResponse``."""
    raw = response.content
    is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
    lines = event_data_of(raw.decode()) if is_stream else [raw.decode()]
    return ClientResponse(response.status_code, lines, dict(response.headers), raw)


def event_data_of(text):
    """Return the data of each event of a stream; assert that the framing is exactly that of the API."""
    assert text.endswith("\n\n"), "a stream ends with an event"
    lines = []
    for frame in text[:-2].split("\n\n"):
        name, data = frame.split("\n")
        assert data.startswith("data: ")
        assert name == f"event: {json.loads(data[6:])['type']}"
        lines.append(data[6:])
    return lines


class Library:
    """The platform's library client, which contains a stack, in a separate process.

    Args:
        config: Path of the run.yaml.
        folder: Folder for its files.
        env: Its environment.

    Attributes:
        models: Ids of the models that it serves.
    """

    def __init__(self, config, folder, env):
        command = [sys.executable, str(Path(__file__).with_name("library_session.py")), str(config)]
        self._log = (folder / "library.log").open("w+")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=env, cwd=folder, text=True
        )
        self.models = self._answer()

    def send(self, path, body):
        """Send a request to the process; return its response."""
        print(json.dumps({"path": path, "body": body}), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self):
        """Stop the process."""
        self._process.stdin.close()
        self._process.wait(TIMEOUT_SECONDS)
        self._process.stdout.close()
        self._log.close()

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        self._log.seek(0)
        raise AssertionError(f"the library client ended:\n{self._log.read()[-3000:]}")


class ClientResponses:
    """Compares the responses to a client with those saved when the tape was recorded, or collects them for saving.

    Args:
        path: Path of the file.
        compares: Whether to compare; if False, only collect.
    """

    def __init__(self, path, *, compares):
        self.path = path
        self.compares = compares
        self._now = []
        self._then = path.read_text(encoding="utf-8").split("\n")[:-1] if compares and path.exists() else []

    def note(self, answer):
        """Add a response.

        Raises:
            AssertionError: It differs from the saved one; the message says where.
        """
        for line in (json.dumps({"status": answer.status}), *answer.lines):
            self._now.append(normalised(line))
            self._check(self._now[-1])
        if len(self._now) < len(self._then) and not self._then[len(self._now)].startswith(_HEAD):
            raise AssertionError(f"{self.path.name}, line {len(self._now) + 1}: the client sees less than was recorded")

    def save(self):
        """Write the collected responses, if there are any."""
        if not self._now:
            return
        text = "".join(f"{line}\n" for line in self._now)
        if key := os.environ.get("TAPE_API_KEY", ""):
            text = text.replace(key, "*" * len(key))  # as the tape plays it
        findings = scan_text(text)
        assert not findings, f"{self.path.name} would hold a credential: {findings}"
        self.path.write_text(text, encoding="utf-8")

    def _check(self, now):
        number = len(self._now)
        then = self._then[number - 1] if number <= len(self._then) else "null"
        if self.compares and now != then:
            old, new = (json.dumps(json.loads(line), indent=1).split("\n") for line in (then, now))
            diff = [*unified_diff(old, new, "recorded", "now", lineterm="")] or ["the same JSON in other bytes"]
            text = "\n".join(f"  {line}" for line in diff)
            raise AssertionError(f"{self.path.name}, line {number}: the client sees something else\n{text}")


class Client:
    """A client of a stack whose upstream is a tape or a real server.

    Args:
        model: The model to request.
        lane: The expected lane of its requests: native (passed through) or translated (to chat completions).
        fields: Default fields of each request.
        tape: The tape fixture of the test.
        seen: Compares or collects the responses; may be None.
        post: Function that sends a request.
    """

    def __init__(self, model, lane, fields, tape, seen, post):
        self.model = model
        self.lane = lane
        self._fields = {"model": model, "max_tokens": 200, "temperature": 0, **fields}
        self.tape = tape
        self._seen = seen
        self._post = post

    @property
    def native(self):
        """Whether requests go to the upstream's own Messages API."""
        return self.lane == "native"

    @property
    def upstream_bodies(self):
        """The bodies of the requests to the upstream so far, without token counting requests."""
        path = "/v1/messages" if self.native else "/v1/chat/completions"
        return [json.loads(request.body) for request in self.tape.requests if request.path == path]

    def send(self, *turns, path="/v1/messages", headers=None, **fields):
        """Send a request; return the response.

        Args:
            turns: User texts, or complete messages.
            path: Path of the request.
            headers: Additional headers.
            fields: Additional fields of the request; fields with None are removed.
        """
        asked = len(self.tape.requests)
        answer = self._post(path, self.body(*turns, **fields), headers or {})
        if len(self.tape.requests) > asked and self._seen:
            self._seen.note(answer)
        return answer

    def body(self, *turns, **fields):
        """Return the body of a request, see ``send``."""
        messages = [{"role": "user", "content": turn} if isinstance(turn, str) else turn for turn in turns]
        body = {**self._fields, "messages": messages, **fields}
        return {name: value for name, value in body.items() if value is not None}

    def wait_until_disconnected(self):
        """Wait until the stack has disconnected from the upstream.

        Raises:
            AssertionError: It is still connected after a minute, which only a hang takes.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self.tape.busy:
            assert time.monotonic() < deadline, "the stack is still connected to the upstream"
            time.sleep(0.01)

    def stream(self, *turns, **fields):
        """Send a streaming request; return the response."""
        return self.send(*turns, stream=True, **fields)


def over_http(url):
    """Return a function that sends requests to a stack over HTTP and checks the request-id header."""

    def post(path, body, headers):
        response = HTTP.post(f"{url}{path}", json=body, headers=headers)
        assert response.headers["request-id"].startswith("req_")
        return response_of(response)

    return post


def in_process(library):
    """Return a function that sends requests to a library client."""

    def post(path, body, headers):
        assert not headers, "a library client sends no headers"
        found = library.send(path, body)
        assert "error" not in found, found
        if "events" in found:
            return ClientResponse(
                200, [json.dumps(event, separators=(",", ":"), ensure_ascii=False) for event in found["events"]]
            )
        return ClientResponse(found["status"], [found["text"]])

    return post


@contextmanager
def disconnecting(url, body, events):
    """Send a streaming request, yield its first events, and disconnect at the end of the block.

    Args:
        url: Base URL of the stack.
        body: Body of the request.
        events: Number of events to wait for.
    """
    with HTTP.stream("POST", f"{url}/v1/messages", json=body) as response:
        data = (line[6:] for line in response.iter_lines() if line.startswith("data: "))
        yield [json.loads(next(data)) for _ in range(events)]
