"""A stack over the scripted upstream: each request is sent with the script of its response."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from support.native_upstream import (
    NativeUpstream,
    OpenRequest,
    Reply,
    chat_request_body,
    open_request,
    post,
    request_body,
)
from support.scripted_upstream import Exchange, Script
from support.stack_process import StackProcess


@dataclass
class StackWithUpstream:
    """A running stack and the upstream of its providers.

    Attributes:
        upstream: The upstream; the path of a base URL tells the providers apart.
        process: The process of the stack.
    """

    upstream: NativeUpstream
    process: StackProcess

    @property
    def url(self) -> str:
        return self.process.url

    async def send(
        self, script: Script, to: str = "up", headers: Iterable[tuple[str, str]] = (), **fields: Any
    ) -> tuple[Reply, Exchange]:
        """Send a Messages request through a provider; return the response and the request at the upstream."""
        model = self.upstream.play(script)
        reply = await post(self.url, request_body(f"{to}/{model}", **fields), headers)
        (exchange,) = self.upstream.of(model)
        return reply, exchange

    async def send_chat(
        self, script: Script, to: str = "up", headers: Iterable[tuple[str, str]] = (), **fields: Any
    ) -> tuple[Reply, Exchange]:
        """Send a chat completions request, as ``send`` does."""
        model = self.upstream.play(script)
        reply = await post(self.url, chat_request_body(f"{to}/{model}", **fields), headers, "/v1/chat/completions")
        (exchange,) = self.upstream.of(model)
        return reply, exchange

    @asynccontextmanager
    async def open(
        self, script: Script, to: str = "up", headers: Iterable[tuple[str, str]] = (), **fields: Any
    ) -> AsyncGenerator[tuple[OpenRequest, Exchange]]:
        """Open a Messages request; yield it and, once it has arrived, the request at the upstream."""
        model = self.upstream.play(script)
        async with open_request(self.url, request_body(f"{to}/{model}", **fields), headers) as request:
            (exchange,) = await self.upstream.seen(model)
            yield request, exchange
