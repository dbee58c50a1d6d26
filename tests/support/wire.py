"""A proxy before a stack that records each request, its response, and the upstream requests that it causes."""

import json
import socket
import threading
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
import uvicorn

from .chat_upstream import ChatUpstream

PAUSING = "up/pausing"
"""Model whose upstream continues its response when a ping has passed the proxy."""


@dataclass
class ProxiedRequest:
    """One request of a client.

    Attributes:
        body: The decoded request body.
        headers: Names in lower case.
        reply: The response body of the stack.
        upstream_bodies: Bodies of the chat completions requests that the stack sent for it.
    """

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    status: int = 0
    reply: bytes = b""
    upstream_bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of a streaming response."""
        lines = self.reply.decode().split("\n")
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


class Wire:
    """The proxy, in its own thread. Requests must be sequential.

    Args:
        target: Base URL of the stack.
        upstream: The upstream of the stack.

    Attributes:
        url: Base URL for the client.
        calls: The requests, in order of arrival.
    """

    def __init__(self, target: str, upstream: ChatUpstream) -> None:
        self.calls: list[ProxiedRequest] = []
        self._target = target
        self._upstream = upstream
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_level="warning",
            server_header=False,
            date_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def requests_for(self, model: str) -> list[ProxiedRequest]:
        """Return the requests for a model."""
        return [call for call in self.calls if call.body.get("model") == model]

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive()) and message["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path = scope["path"] + (f"?{query}" if (query := scope["query_string"].decode()) else "")
        call = ProxiedRequest(path, headers, json.loads(body) if body else {})
        self.calls.append(call)
        already = len(self._upstream.exchanges)
        async with (
            httpx.AsyncClient(timeout=60, trust_env=False) as http,
            http.stream(scope["method"], self._target + path, headers=headers, content=body) as reply,
        ):
            call.status = reply.status_code
            kept = [pair for pair in reply.headers.raw if pair[0].lower() != b"transfer-encoding"]
            await send({"type": "http.response.start", "status": reply.status_code, "headers": kept})
            async for piece in reply.aiter_raw():
                self._note(call, piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        call.upstream_bodies = [exchange.json for exchange in self._upstream.exchanges[already:]]
        await send({"type": "http.response.body"})

    def _note(self, call: ProxiedRequest, piece: bytes) -> None:
        pinged = b"event: ping" in call.reply
        call.reply += piece
        if call.body.get("model") == PAUSING and not pinged and b"event: ping" in call.reply:
            self._upstream.open_gate("pausing")
