"""The faults of an upstream: each a script, in the form of the Messages API or of chat completions.

A fault is a function of the API and of whether the request streams; it returns the script. ``CONNECTION_FAULTS`` have
no script: the connection fails.
"""

import asyncio
import gzip
import json
from collections.abc import Callable
from functools import partial

from support.chat_upstream import chunk, completion, sse
from support.native_upstream import frame, message, text_frames
from support.scripted_upstream import (
    CLEAN,
    CUT,
    UPSTREAM_KEY,
    Answer,
    Exchange,
    Script,
    ScriptedUpstream,
    raw,
    responds,
    silent,
    streamed,
)

ADDRESS = "10.11.12.13:8000"
"""An address that the error messages of the upstream contain, besides the key."""
CONFIGURED_KEY = "tenant-key-0a1b2c3d4e5f"
"""A key in a header that the operator configured."""
KEYS_TEXT = f"No: key {UPSTREAM_KEY} or {CONFIGURED_KEY}"
TEXT = f"{KEYS_TEXT} at http://{ADDRESS}/v1"
LEVELS = 100_000
"""Nested lists in deep JSON; Python's decoder takes about a thousand."""
CONNECTION_FAULTS = ("connection refused", "connect timeout")

type Fault = Callable[[str, bool], Script]


def _error(api: str, code: object = None) -> dict[str, object]:
    if api == "messages":  # this format passes as it is, except for keys
        return {"type": "error", "error": {"type": "api_error", "message": KEYS_TEXT}}
    return {"error": {"message": TEXT, "type": "x", "code": code}}


def _status(api: str, _stream: bool, status: int) -> Script:
    return responds(json.dumps({"error": {"message": TEXT, "code": status}}).encode(), status, retry_after="1")


def _whole(api: str) -> bytes:
    return json.dumps(message("m") if api == "messages" else completion({"content": "Hello"})).encode()


def _frames(api: str) -> list[bytes]:
    """Return the frames of a stream; the first three hold content, and the last ones its end."""
    if api == "messages":
        return text_frames("m", "Hello")
    first = chunk({"role": "assistant", "content": "Hel"})
    return [
        *map(sse, [first, chunk({"content": "lo"}), chunk({"content": "!"}), chunk({}, "stop")]),
        b"data: [DONE]\n\n",
    ]


def _begun(api: str, *more: bytes, end: str = CLEAN) -> Script:
    return streamed(*_frames(api)[:3], *more, end=end)


def _body(data: bytes, kind: str = "application/json") -> Fault:
    return lambda _api, _stream: responds(data, 200, kind)


def _gzip(api: str, stream: bool) -> Script:
    data = b"".join(_frames(api)) if stream else _whole(api)
    kind = "text/event-stream" if stream else "application/json"
    return responds(gzip.compress(data), 200, kind, content_encoding="gzip")


def _dripping(_api: str, _stream: bool) -> Script:
    async def script(answer: Answer) -> None:
        await answer.head(503, "application/json")
        await answer.chunk(b'{"error": {"message": "come back later"}}')
        while True:
            await asyncio.sleep(0.1)
            await answer.chunk(b" ")

    return script


def _cut_body(api: str, _stream: bool) -> Script:
    async def script(answer: Answer) -> None:
        await answer.head(200, "application/json")
        await answer.chunk(_whole(api)[:40])
        answer.drop()

    return script


def _endless(piece: bytes, kind: str, *, first: bool = True) -> Fault:
    def fault(api: str, _stream: bool) -> Script:
        async def script(answer: Answer) -> None:
            await answer.head(200, kind)
            for frame_bytes in _frames(api)[:3] if first else []:
                await answer.chunk(frame_bytes)
            if first and b"data:" not in piece:
                await answer.chunk(b"data: ")
            while True:
                await answer.chunk(piece)

        return script

    return fault


def _then_silent(api: str, stream: bool) -> Script:
    async def script(answer: Answer) -> None:
        await answer.head(200, "text/event-stream" if stream else "application/json")
        for data in _frames(api)[:3] if stream else [_whole(api)[:40]]:
            await answer.chunk(data)
        await silent(answer)

    return script


def _error_event(api: str, _stream: bool) -> Script:
    return _begun(api, frame(_error(api)) if api == "messages" else sse(_error(api, 500)))  # type: ignore[arg-type]


def _deep(prefix: bytes = b"") -> bytes:
    return prefix + b"[" * LEVELS + b"]" * LEVELS


FAULTS: dict[str, Fault] = {
    "connection closed before the status": lambda _api, _stream: raw(b""),
    "garbage in place of a status": lambda _api, _stream: raw(b"SSH-2.0-OpenSSH_9.9\r\n"),
    **{f"status {status}": partial(_status, status=status) for status in (400, 401, 403, 404, 413, 429, 500, 529)},
    "redirect": lambda _api, _stream: responds(b"", 307, location="/again"),
    "HTML error page": lambda _api, _stream: responds(b"<html><body>Bad Gateway</body></html>", 502, "text/html"),
    "error body that drips": _dripping,
    "error body, 100,000 levels deep": lambda _api, _stream: responds(_deep(), 503),
    "compressed body": _gzip,
    "HTML with status 200": _body(b"<html>Welcome</html>", "text/html"),
    "JSON, 100,000 levels deep": _body(_deep()),
    "truncated JSON": _body(b'{"half": '),
    "empty body": _body(b""),
    "connection closed inside of the body": _cut_body,
    "silence before the status": lambda _api, _stream: silent,
    "silence inside of the body": _then_silent,
}
"""Faults of whole answers and of streams."""
WHOLE_FAULTS: dict[str, Fault] = {"endless body": _endless(bytes(1 << 20), "application/json", first=False)}
STREAM_FAULTS: dict[str, Fault] = {
    "connection closed inside of the stream": lambda api, _stream: _begun(api, end=CUT),
    "stream without its end": lambda api, _stream: _begun(api),
    "error event": _error_event,
    "line without an end": _endless(b"x" * (1 << 20), "text/event-stream"),
    "event without an end": _endless((b"data: " + b"x" * 1000 + b"\n") * 1000, "text/event-stream"),
    "event, 100,000 levels deep": lambda api, _stream: _begun(api, _deep(b"data: ") + b"\n\n"),
}


class FaultyUpstream(ScriptedUpstream):
    """The upstream: the model of a request names the script, on any path."""

    def script_for(self, exchange: Exchange) -> Script:
        if exchange.method == "GET":
            return responds(b'{"object":"list","data":[]}')
        return self.scripts[str(exchange.json["model"])]
