"""The frames of a stream on the native lane: the upstream's chunks as they are, or its events put right."""

import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from typing import Any, cast

import httpx

from llama_stack_api_messages import Call
from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_api_messages.sse import encode_event

from .exchange import connection_failure
from .relay import ModelEcho, StreamWatch
from .repair import StreamRepair
from .sse import SSEDecoder
from .stack import Platform, Target, get_logger

logger = get_logger(__name__)


class Tally:
    """Counts one exchange in the platform's metrics, once."""

    def __init__(self, platform: Platform, target: Target, call: Call, *, stream: bool) -> None:
        self._platform = platform
        self._target = target
        self._call = call
        self._stream = stream
        self._ended = False
        self._began = time.perf_counter()
        self._first: float | None = None

    def first(self) -> None:
        """Note that bytes have come; the first time counts."""
        self._first = self._first or time.perf_counter() - self._began

    def end(self, usage: Mapping[str, Any], *, success: bool) -> None:
        """Count."""
        if self._ended:
            return
        self._ended = True
        seconds = time.perf_counter() - self._began
        tokens = usage.get("output_tokens")
        self._platform.record(
            self._target,
            stream=self._stream,
            success=success,
            seconds=seconds,
            first_seconds=self._first,
            tokens=tokens if isinstance(tokens, int) else None,
        )
        if logger.isEnabledFor(logging.DEBUG):  # a suppressed line costs 20 us all the same
            logger.debug("relayed", request_id=self._call.request_id, model=self._target.model_id, usage=dict(usage))


async def relayed(response: httpx.Response, echo: ModelEcho, tally: Tally, provider_id: str) -> AsyncGenerator[bytes]:
    """Yield nothing once, and then the upstream's chunks."""
    watch = StreamWatch()
    try:
        yield b""
        async for chunk in _chunks(response):
            watch.feed(chunk)
            if echo.done:
                yield chunk
            else:
                tally.first()
                if passed := echo.feed(chunk):
                    yield passed
        if rest := echo.close():
            yield rest
        watch.close()
        tally.end(watch.usage, success=watch.complete)
    except httpx.HTTPError as error:
        if not watch.over:
            raise connection_failure(error, provider_id) from error
    finally:
        await response.aclose()
        tally.end(watch.usage, success=watch.over)
    if not watch.complete:
        raise BadGatewayError(f"The backend '{provider_id}' ended the stream before its answer was complete")


async def repaired(
    response: httpx.Response, repair: StreamRepair, tally: Tally, provider_id: str
) -> AsyncGenerator[bytes]:
    """Yield nothing once, and then the upstream's events, put right."""
    decoder = SSEDecoder()
    try:
        yield b""
        async for chunk in _chunks(response):
            tally.first()
            for event in decoder.feed(chunk):
                for mended in repair.feed(_decoded(event.data)):
                    yield encode_event(mended)
        events = [mended for event in decoder.close() for mended in repair.feed(_decoded(event.data))]
        events += repair.finish()
    except httpx.HTTPError as error:
        events = repair.fail(connection_failure(error, provider_id))
    finally:
        await response.aclose()
        tally.end(repair.usage, success=repair.complete)
    for mended in events:
        yield encode_event(mended)


def _decoded(data: str) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _chunks(response: httpx.Response) -> AsyncIterable[bytes]:
    """Return the body as the upstream cut it; unpacked, if something on the way has packed what nobody asked it to.

    ``aiter_raw`` would count the bytes, which costs more than looking at them does here.
    """
    packed = response.headers.get("content-encoding", "identity") != "identity"
    return response.aiter_bytes() if packed else cast("AsyncIterable[bytes]", response.stream)
