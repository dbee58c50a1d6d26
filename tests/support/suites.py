"""What the recorded suites share: a client in front of a stack, and the record of what it saw."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from messages_tape import scan_text
from messages_tape.core.differ import differing

QUIET = {"thinking": {"type": "disabled"}}
SILENT = {"chat_template_kwargs": {"enable_thinking": False}}
"""What llama.cpp's own Messages API takes instead."""
SECONDS = 60
LEAVE_SECONDS = 4
SEEN = ".client.jsonl"
"""Suffix of the file beside a tape that holds what the client saw when it was recorded."""

NORMALISED = {
    "id of a message": (re.compile(r'"id":"msg_\w+"'), '"id":"msg_..."'),
    "id of a request": (re.compile(r'"request_id":"req_\w+"'), '"request_id":"req_..."'),
    "signature": (re.compile(r'"signature":"[^"]+"'), '"signature":"..."'),
}
"""All that differs between what two clients see of the same tape: ids that are made for each answer, and, between
machines, how their zlib packs the text that a signature carries."""


_HEAD = '{"status": '


def normal(text):
    """Return what a client saw, without what is made anew for each answer."""
    for pattern, replacement in NORMALISED.values():
        text = pattern.sub(replacement, text)
    return text


@dataclass(frozen=True)
class Answer:
    """What a client got.

    Attributes:
        status: Of HTTP.
        lines: The JSON texts of the body: one, or one for each event.
        headers: Of HTTP; empty for a library client.
        raw: The body; empty for a library client's stream.
    """

    status: int
    lines: list[str]
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""

    @property
    def body(self):
        """The body of an answer that is no stream."""
        (line,) = self.lines
        return json.loads(line)

    @property
    def events(self):
        """The events of a stream."""
        return [json.loads(line) for line in self.lines]


def answer_of(response):
    """Return an answer that came over HTTP."""
    raw = response.content
    is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
    lines = lines_of(raw.decode()) if is_stream else [raw.decode()]
    return Answer(response.status_code, lines, dict(response.headers), raw)


def lines_of(text):
    """Return the data of each event of a stream, whose framing has to be exactly that of the API."""
    assert text.endswith("\n\n"), "a stream ends behind an event"
    lines = []
    for frame in text[:-2].split("\n\n"):
        name, data = frame.split("\n")
        assert data.startswith("data: ")
        assert name == f"event: {json.loads(data[6:])['type']}"
        lines.append(data[6:])
    return lines


class Library:
    """A stack inside another process, reached through the platform's library client.

    Args:
        config: The run.yaml.
        folder: For its files.
        env: Its environment.

    Attributes:
        models: That it serves.
    """

    def __init__(self, config, folder, env):
        command = [sys.executable, str(Path(__file__).with_name("library_session.py")), str(config)]
        self._log = (folder / "library.log").open("w+")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=env, cwd=folder, text=True
        )
        self.models = self._answer()

    def ask(self, path, body):
        """Return what the process answers."""
        print(json.dumps({"path": path, "body": body}), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self):
        """End it."""
        self._process.stdin.close()
        self._process.wait(SECONDS)
        self._process.stdout.close()
        self._log.close()

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                return json.loads(line.removeprefix("ANSWER "))
        self._log.seek(0)
        raise AssertionError(f"the library client ended:\n{self._log.read()[-3000:]}")


class Seen:
    """Compares what a client sees with what it saw when the tape was recorded, or keeps it.

    Args:
        path: Of the file.
        compares: Whether to compare; else it is kept.
    """

    def __init__(self, path, *, compares):
        self.path = path
        self.compares = compares
        self._now = []
        self._then = path.read_text(encoding="utf-8").split("\n")[:-1] if compares and path.exists() else []

    def note(self, answer):
        """Take an answer.

        Raises:
            AssertionError: It is another one than was recorded; says where.
        """
        for line in (json.dumps({"status": answer.status}), *answer.lines):
            self._now.append(normal(line))
            self._check(self._now[-1])
        if len(self._now) < len(self._then) and not self._then[len(self._now)].startswith(_HEAD):
            raise AssertionError(f"{self.path.name}, line {len(self._now) + 1}: the client sees less than was recorded")

    def save(self):
        """Write what was seen, if anything was."""
        if not self._now:
            return
        text = "".join(f"{line}\n" for line in self._now)
        if key := os.environ.get("TAPE_API_KEY", ""):
            text = text.replace(key, "*" * len(key))  # as it is played
        findings = scan_text(text)
        assert not findings, f"{self.path.name} would hold a credential: {findings}"
        self.path.write_text(text, encoding="utf-8")

    def _check(self, now):
        number = len(self._now)
        then = self._then[number - 1] if number <= len(self._then) else "null"
        if self.compares and now != then:
            places = [*differing(json.loads(then), json.loads(now))] or ["the same JSON in other bytes"]
            text = "\n".join(f"  {place}" for place in places)
            raise AssertionError(f"{self.path.name}, line {number}: the client sees something else\n{text}")


class Client:
    """A client of a stack over a tape, or over an upstream.

    Args:
        model: To ask for.
        lane: Which way its requests have to go.
        fields: Of each request.
        tape: Of the test.
        seen: Of the tape.
        post: Sends a request.
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
    def sent(self):
        """The bodies the upstream was asked with so far, token counts apart."""
        path = "/v1/messages" if self.native else "/v1/chat/completions"
        return [json.loads(asked.body) for asked in self.tape.asked if asked.path == path]

    def ask(self, *turns, path="/v1/messages", headers=None, **fields):
        """Return the answer to a request.

        Args:
            turns: Texts of the user, or whole messages.
            path: Of the request.
            headers: Further ones.
            fields: Of the request; what is None is left out.
        """
        asked = len(self.tape.asked)
        answer = self._post(path, self.body(*turns, **fields), headers or {})
        if len(self.tape.asked) > asked and self._seen:
            self._seen.note(answer)
        return answer

    def body(self, *turns, **fields):
        """Return the body of a request, see ``ask``."""
        messages = [{"role": "user", "content": turn} if isinstance(turn, str) else turn for turn in turns]
        body = {**self._fields, "messages": messages, **fields}
        return {name: value for name, value in body.items() if value is not None}

    def wait_until_left(self):
        """Wait until the stack has left the upstream.

        Raises:
            AssertionError: It stays.
        """
        deadline = time.monotonic() + LEAVE_SECONDS
        while self.tape.busy:
            assert time.monotonic() < deadline, "the stack still listens to the upstream"
            time.sleep(0.01)

    def stream(self, *turns, **fields):
        """Return the answer to a request for a stream."""
        return self.ask(*turns, stream=True, **fields)


def over_http(url):
    """Return what sends requests to a stack, and looks at what holds for each answer."""

    def post(path, body, headers):
        response = httpx.post(f"{url}{path}", json=body, headers=headers, timeout=SECONDS, trust_env=False)
        assert response.headers["request-id"].startswith("req_")
        return answer_of(response)

    return post


def in_process(library):
    """Return what sends requests to a library client."""

    def post(path, body, headers):
        assert not headers, "a library client sends none"
        found = library.ask(path, body)
        assert "error" not in found, found
        if "events" in found:
            return Answer(
                200, [json.dumps(event, separators=(",", ":"), ensure_ascii=False) for event in found["events"]]
            )
        return Answer(found["status"], [found["text"]])

    return post


@contextmanager
def leaving(url, body, events):
    """Send a request for a stream, give its first events, and leave at the end of the block.

    Args:
        url: Of the stack.
        body: Of the request.
        events: How many to wait for.
    """
    with httpx.stream("POST", f"{url}/v1/messages", json=body, timeout=SECONDS, trust_env=False) as response:
        data = (line[6:] for line in response.iter_lines() if line.startswith("data: "))
        yield [json.loads(next(data)) for _ in range(events)]
