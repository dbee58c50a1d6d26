"""TCP servers in the event loop of a test, whose connections it scripts byte by byte; and an HTTP proxy of the kind.

Unlike the scripted upstream they know no routes and parse no more of a request than its length, so that a test sees the
bytes as they were sent, and can break a connection in any way. With TLS settings they speak TLS.
"""

import asyncio
import contextlib
import os
import select
import socket
import ssl
import stat
import struct
from collections.abc import Awaitable, Callable
from typing import Self

LIMIT_BYTES = 2**24
HANG_SECONDS = 60.0
"""Timeout for an expected event; only a hang takes that long."""


class Peer:
    """The server's side of one connection.

    Attributes:
        number: Its number, from 1.
        gone: Set when the client has closed the connection, or broken it.
    """

    def __init__(self, server: "RawServer", number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.server = server
        self.number = number
        self.reader = reader
        self.writer = writer
        self.gone = asyncio.Event()

    async def request(self) -> bytes:
        """Return the next request, with its body; the server keeps it in ``requests``."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = await self.reader.readexactly(length)
        self.server.requests.append(head + body)
        await self.server.changed()
        return head + body

    async def send(self, data: bytes) -> None:
        """Write bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def until_gone(self) -> None:
        """Wait until the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.gone.set()

    def close_unnoticed(self, data: bytes = b"") -> None:
        """Send bytes and the end of the connection; return when they have arrived, before the event loop notices."""
        client = self.writer.get_extra_info("peername")
        with _duplicate(self.writer.get_extra_info("socket").fileno()) as own:
            own.sendall(data)
            own.shutdown(socket.SHUT_WR)
        for descriptor in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - numbers
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    with _duplicate(descriptor) as other:
                        if other.getsockname() == client:
                            select.select([other], [], [], HANG_SECONDS)

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def _duplicate(descriptor: int) -> socket.socket:
    return socket.socket(fileno=os.dup(descriptor))


type PeerScript = Callable[[Peer], Awaitable[None]]


class RawServer:
    """A TCP server; a context manager.

    Args:
        script: Serves one connection, which is closed when it returns.
        tls: TLS settings.
        host: The address to bind.

    Attributes:
        peers: The connections so far.
        open: How many of them are open.
        requests: What ``Peer.request`` has read.
    """

    def __init__(self, script: PeerScript, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.script = script
        self.peers: list[Peer] = []
        self.requests: list[bytes] = []
        self.open = 0
        self.port = 0
        self.host = host
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        """The base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, self.host, 0, limit=LIMIT_BYTES, ssl=self._tls, backlog=2048
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for peer in self.peers:
            peer.writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        peer = Peer(self, len(self.peers) + 1, reader, writer)
        self.peers.append(peer)
        await self._count(1)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.script(peer)
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            await self._count(-1)
            self._tasks.discard(task)

    async def _count(self, change: int) -> None:
        self.open += change
        await self.changed()

    async def changed(self) -> None:
        """Wake those who wait for a change."""
        async with self._changed:
            self._changed.notify_all()

    async def until_open(self, number: int) -> None:
        """Wait until that many connections are open."""
        await self._until(lambda: self.open == number)

    async def until_requested(self, number: int) -> None:
        """Wait until that many requests have arrived."""
        await self._until(lambda: len(self.requests) >= number)

    async def _until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(HANG_SECONDS), self._changed:
            await self._changed.wait_for(reached)


def answer(body: bytes = b"ok", *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a complete response."""
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
"""The head of a chunked response."""


def answers(response: bytes | None = None) -> PeerScript:
    """Return a script that sends the same response to every request."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer() if response is None else response)

    return script


def proxy_script(authorization: bytes | None = None) -> PeerScript:
    """Return the script of a proxy: CONNECT opens a tunnel to the port on this host, other requests get a response.

    Args:
        authorization: The value of ``Proxy-Authorization`` without which it responds with 407.
    """

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            wanted = b"\r\nproxy-authorization: " + (authorization or b"").lower()
            if authorization and wanted not in request.lower():
                await peer.send(answer(b"", status=b"407 Proxy Authentication Required"))
            elif request.startswith(b"CONNECT "):
                port = int(request.split(b" ")[1].rpartition(b":")[2])
                reader, writer = await asyncio.open_connection(peer.server.host, port)
                await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await asyncio.gather(_copy(peer.reader, writer), _copy(reader, peer.writer))
                return
            else:
                await peer.send(answer(b"by the proxy"))

    return script


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()
