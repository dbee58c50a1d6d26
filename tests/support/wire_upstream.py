"""An upstream in a thread that sends exactly the chunks that a test scripts, without an HTTP library."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Script:
    """The response for a path.

    Attributes:
        pieces: The chunks of the body.
        gap: Seconds before each chunk.
        end: ``complete``; ``die``: the connection closes in the middle; ``hang``: nothing more is sent until the client
            disconnects; ``refuse``: it closes before the status line.
        status: Status of the response.
        headers: Headers, in addition to the framing ones.
        framed: Whether to use chunked encoding; if False, a content-length.
        lockstep: Whether each chunk but the first waits until the client has read the one before, which the test
            reports by ``WireUpstream.was_read``. What stands between the two and holds a chunk back then stops the
            stream for good, on a slow machine and on a fast one.
    """

    pieces: Sequence[bytes] = ()
    gap: float = 0.0
    end: str = "complete"
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})
    framed: bool = True
    lockstep: bool = False


@dataclass
class Heard:
    """A request as received.

    Attributes:
        line: The request line.
        headers: Names in lower case.
        body: The bytes.
        left: Set when the client disconnected before the response was complete.
    """

    line: str
    headers: dict[str, str]
    body: bytes
    left: threading.Event = field(default_factory=threading.Event)


class WireUpstream:
    """The server.

    Attributes:
        scripts: Path -> its response.
        heard: The requests so far.
        url: Its base URL.
    """

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self.heard: list[Heard] = []
        self._read: dict[str, asyncio.Semaphore] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def was_read(self, path: str) -> None:
        """Report from any thread that the client has read a chunk of the last response for a path."""
        self._loop.call_soon_threadsafe(self._read[path].release)

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._over.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._exchange(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a connection without a request, such as a port check
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = await self._hear(reader)
        path = heard.line.split(" ")[1].partition("?")[0]
        script, self._read[path] = self.scripts[path], asyncio.Semaphore(0)
        answering = asyncio.create_task(self._answer(script, self._read[path], writer))
        leaving = asyncio.create_task(reader.read(1))
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        answering.cancel()
        leaving.cancel()
        failure, _ = await asyncio.gather(answering, leaving, return_exceptions=True)
        if failure:  # cancelled, or the client did not read the response
            heard.left.set()

    async def _hear(self, reader: asyncio.StreamReader) -> Heard:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.heard.append(Heard(line, headers, body))
        return self.heard[-1]

    async def _answer(self, script: Script, read: asyncio.Semaphore, writer: asyncio.StreamWriter) -> None:
        if script.end == "refuse":
            return
        length = sum(map(len, script.pieces))
        framing = "transfer-encoding: chunked" if script.framed else f"content-length: {length}"
        lines = [f"HTTP/1.1 {script.status} X", "connection: close", framing]
        lines += [f"{name}: {value}" for name, value in script.headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        for number, piece in enumerate(script.pieces):
            if number and script.lockstep:
                await read.acquire()
            await asyncio.sleep(script.gap)
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if script.framed else piece)
            await writer.drain()
        if script.end == "hang":
            await asyncio.Event().wait()
        if script.end == "complete" and script.framed:
            writer.write(b"0\r\n\r\n")
        await writer.drain()


EVENT = b'event: delta\ndata: {"text": "one"}\n\n'
HALF = b'event: delta\ndata: {"text": "\xe4\xbd'
OTHER_HALF = b'\xa0"}\n\n'
TWO_EVENTS = b'event: delta\ndata: {"text": "two"}\n\nevent: stop\ndata: {}\n\n'
FOUR = (EVENT, HALF, OTHER_HALF, TWO_EVENTS)
GAP = 0.05


def four_chunks(upstream: WireUpstream) -> None:
    """Add the routes of the four-chunk experiment to an upstream.

    ``/four`` sends four chunks, each 0.05 s after the client has read the one before: an event; half an event, split
    inside a character; the other half; two events. ``/dies`` closes the connection after the first chunk. ``/stays``
    would send all four and does not end the response until the client disconnects.
    """
    upstream.scripts |= {
        "/four": Script(FOUR, GAP, lockstep=True),
        "/dies": Script(FOUR[:1], GAP, end="die"),
        "/stays": Script(FOUR, GAP, end="hang", lockstep=True),
    }
