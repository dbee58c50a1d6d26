"""Ends open streams with an ``error`` event when a signal stops the server.

uvicorn reacts to SIGTERM and SIGINT by accepting no more connections, and then waits for the open ones as long as they
last: neither a later signal nor the end of the lifespan, which comes after that, ends a stream. So a server with one
open stream would run until it is killed, and its client would see a broken connection.

uvicorn installs its signal handlers before the lifespan starts. The router's lifespan puts a handler before them that
ends the streams of this API and calls uvicorn's. Requests that are not streamed, and streams of other APIs of the
platform, are not touched: uvicorn waits for them.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from llama_stack_api_messages.errors import OverloadedError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_open: set[asyncio.Future[None]] = set()
"""One future for each open stream of this process; a result ends the stream."""
_stopping = threading.Event()
"""Set from the signal on: a stream that begins later, because its request was being read, ends at once."""


def stopping_error() -> OverloadedError:
    """Return the error for a stream that ends because the server stops; clients retry it."""
    return OverloadedError("The server is stopping; send the request again")


@contextmanager
def until_server_stops() -> Iterator[asyncio.Future[None]]:
    """Yield a future that is done when a signal stops the server while the block runs."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    _open.add(future)
    if _stopping.is_set():
        future.set_result(None)
    try:
        yield future
    finally:
        _open.discard(future)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """End the open streams when a signal arrives for which the server has a handler; used once per server.

    Outside of the main thread there are no signals, and nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    servers = {number: handler for number in _SIGNALS if callable(handler := signal.getsignal(number))}

    def handle(number: int, frame: FrameType | None) -> None:
        _stopping.set()
        with suppress(RuntimeError):  # the loop of a server that has ended already
            loop.call_soon_threadsafe(_end_streams)
        servers[signal.Signals(number)](number, frame)

    for number in servers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        _stopping.clear()
        for number, handler in servers.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)


def _end_streams() -> None:
    for future in _open:
        if not future.done():
            future.set_result(None)
