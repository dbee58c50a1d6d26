"""Runs a tape server, or any ASGI app, in a thread of this process."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from messages_tape.errors import TapeUsageError

from .server import HANG_UP, Receive, Scope, Send

_SECONDS = 10.0
"""Timeout for starting, and for stopping."""


class _Protocol(H11Protocol):
    """Adds the ``HANG_UP`` extension: closes the connection after the data sent so far, without ending the response."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app: Any = self.app

        async def offering(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[HANG_UP] = transport.close
            await app(scope, receive, send)

        self.app = offering


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    def run_in_thread(self, listener: socket.socket) -> None:
        with suppress(SystemExit):  # uvicorn raises it if the app does not start
            self.run([listener])
        self.ready.set()


@contextmanager
def serving(app: Any, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:  # noqa: ANN401 - any ASGI app
    """Serve an ASGI app while the block runs; yield its base URL.

    Args:
        app: An ASGI app; its lifespan events are sent.
        host: The address to listen on.
        port: The port to listen on; 0 picks a free one.

    Raises:
        TapeUsageError: The app does not start.
        OSError: The port is in use.
    """
    with socket.create_server((host, port)) as listener:
        address = f"http://{host}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            app, http=_Protocol, ws="none", lifespan="on", loop="asyncio", log_config=None, access_log=False,
            server_header=False, date_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = _Server(config)
        thread = threading.Thread(target=server.run_in_thread, args=(listener,), name="tape server", daemon=True)
        thread.start()
        try:
            if not server.ready.wait(_SECONDS) or not server.started:
                raise TapeUsageError("the server did not start")
            yield address
        finally:
            server.should_exit = True
            thread.join(_SECONDS)
