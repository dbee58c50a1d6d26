"""The frames of a stream on the native lane: the upstream's chunks unchanged, or its events repaired."""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from typing import Any, cast

import httpx

from llama_stack_api_messages import Call
from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_api_messages.streaming.sse import encode_event
from llama_stack_provider_messages.errors.exceptions import connection_failure
from llama_stack_provider_messages.errors.redaction import redacted_json
from llama_stack_provider_messages.stack import Platform, Target, get_logger
from llama_stack_provider_messages.upstream.address import Upstream
from llama_stack_provider_messages.upstream.client import chunks_after_end
from llama_stack_provider_messages.upstream.sse import SSEDecoder

from .error_event import ErrorEventRedactor
from .model_name import ModelNameRewriter
from .observer import StreamObserver
from .repair import StreamRepair

logger = get_logger(__name__)


class RequestMetrics:
    """Records one exchange in the platform's metrics, once."""

    def __init__(self, platform: Platform, target: Target, call: Call, *, stream: bool) -> None:
        self._platform = platform
        self._target = target
        self._call = call
        self._stream = stream
        self._ended = False
        self._began = time.perf_counter()
        self._first: float | None = None

    def first(self) -> None:
        """Record the time of the first bytes; further calls do nothing."""
        self._first = self._first or time.perf_counter() - self._began

    def end(self, usage: Mapping[str, Any], *, success: bool) -> None:
        """Record the exchange in the metrics; only the first call counts."""
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
            tokens=tokens if type(tokens) is int else None,
        )
        if logger.isEnabledFor(logging.DEBUG):  # a suppressed log call still costs 20 us
            logger.debug("relayed", request_id=self._call.request_id, model=self._target.model_id, usage=dict(usage))


async def relayed(
    response: httpx.Response, echo: ModelNameRewriter, tally: RequestMetrics, upstream: Upstream
) -> AsyncGenerator[bytes]:
    """Yield an empty item, then the upstream's chunks; only the model name and keys in error events are replaced.

    Prime with ``anext()``: from then on, closing the generator closes the response.
    """
    watch, errors, failure, unread = StreamObserver(), ErrorEventRedactor(upstream.secrets), None, False
    try:
        yield b""
        chunks = _chunks(response)
        async for chunk in chunks:
            watch.feed(chunk)
            if not echo.done:
                tally.first()
            if passed := errors.feed(echo.feed(chunk)):
                yield passed
            if watch.over:
                break
        async for chunk in chunks_after_end(chunks):
            watch.feed(chunk)
            if passed := errors.feed(echo.feed(chunk)):
                yield passed
        unread = watch.close()
    except httpx.HTTPError as error:
        failure, unread = error, watch.close()
    finally:
        await response.aclose()
        tally.end(watch.usage, success=not watch.failed and (watch.over or (watch.complete and not failure)))
    if rest := errors.feed(echo.close()) + errors.close():
        yield rest
    if unread:
        yield b"\n\n"  # without a blank line clients ignore the last event, which may be an error
    if failure and not watch.over:
        raise connection_failure(failure, upstream.provider_id) from failure
    if not watch.complete:
        raise BadGatewayError(f"The backend '{upstream.provider_id}' ended the stream before its answer was complete")


async def repaired(
    response: httpx.Response, repair: StreamRepair, tally: RequestMetrics, upstream: Upstream
) -> AsyncGenerator[bytes]:
    """Yield an empty item, as ``relayed`` does, and then the upstream's events, repaired."""
    decoder = SSEDecoder()
    try:
        yield b""
        chunks = _chunks(response)
        async for chunk in chunks:
            tally.first()
            for event in decoder.feed(chunk):
                for mended in repair.feed(loads_or_none(event.data)):
                    yield _encoded(mended, upstream)
            if repair.finished:
                break
        async for _ in chunks_after_end(chunks):
            pass
        events = [mended for event in decoder.close() for mended in repair.feed(loads_or_none(event.data))]
        events += repair.finish()
    except httpx.HTTPError as error:
        events = repair.fail(connection_failure(error, upstream.provider_id))
    finally:
        await response.aclose()
        tally.end(repair.usage, success=repair.complete)
    for mended in events:
        yield _encoded(mended, upstream)


def _encoded(event: Mapping[str, Any], upstream: Upstream) -> bytes:
    return encode_event(redacted_json(event, upstream.secrets) if event["type"] == "error" else event)


def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """Return the body in the upstream's chunks, decompressed if a proxy compressed it unasked.

    ``aiter_raw`` is avoided: it counts the bytes, which costs more than processing them does here.
    """
    packed = response.headers.get("content-encoding", "identity") != "identity"
    return response.aiter_bytes() if packed else aiter(cast("AsyncIterable[bytes]", response.stream))
