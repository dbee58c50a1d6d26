"""The frames of a stream on the native lane: the upstream's chunks unchanged, or its events repaired.

``relayed`` passes each chunk on when it arrives. Three readers see it on its way: the observer (usage, end of the
stream), the rewriter of the model name, and the redactor of error events. How a stream ends decides the rest:

last event arrived            success, or a failure if it was an error. Backends may keep the connection open after it,
                              so the rest is read for half a second at most, which makes the connection reusable
... without its blank line    the blank line is added: without it clients ignore the event (it may be the error)
connection broke, or ended    an error, after the bytes that arrived; a truncated error event is left out
before that
event of more than 16 MiB     an error, and the response is closed
ended after message_delta     success: the message is complete
client left                   closing the generator closes the response; a failure, unless the message is complete

``repaired`` decodes the events, for backends that deviate from the API (see ``repair/``), and encodes them again.
"""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx

from llama_stack_api_messages.errors import BadGatewayError, MessagesError
from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_api_messages.streaming.sse import encode_event
from llama_stack_provider_messages.errors.redaction import redact_json
from llama_stack_provider_messages.errors.response import ended_early
from llama_stack_provider_messages.upstream.address import Upstream
from llama_stack_provider_messages.upstream.client import (
    STREAM_FAILURES,
    chunks_after_end,
    raw_chunks,
    stream_failure,
)
from llama_stack_provider_messages.upstream.metrics import RequestMetrics
from llama_stack_provider_messages.upstream.sse import SSEDecoder

from .error_event import ErrorEventRedactor
from .model_name import ModelNameRewriter
from .observer import StreamObserver
from .repair import StreamRepair


async def relayed(
    response: httpx.Response, name_rewriter: ModelNameRewriter, metrics: RequestMetrics, upstream: Upstream
) -> AsyncGenerator[bytes]:
    """Yield an empty item, then the upstream's chunks; only the model name and keys in error events are replaced.

    Prime with ``anext()``: from then on, closing the generator closes the response.
    """
    observer, redactor = StreamObserver(), ErrorEventRedactor(upstream.secrets)
    failure: Exception | None = None
    lacks_blank_line = False
    try:
        yield b""
        chunks = raw_chunks(response)
        async for chunk in chunks:
            observer.feed(chunk)
            if not name_rewriter.done:
                metrics.first_bytes()
            if passed := redactor.feed(name_rewriter.feed(chunk)):
                yield passed
            if observer.ended:
                break
        async for chunk in chunks_after_end(chunks):
            observer.feed(chunk)
            if passed := redactor.feed(name_rewriter.feed(chunk)):
                yield passed
        lacks_blank_line = observer.close()
    except STREAM_FAILURES as error:
        failure, lacks_blank_line = error, observer.close(failed=redactor.left_out)
    finally:
        await response.aclose()
        succeeded = not observer.failed and (observer.ended or (observer.message_complete and not failure))
        metrics.end(observer.usage, success=succeeded)
    reported = _failure_of(observer, failure, upstream.provider_id)
    if reported:
        metrics.fail(reported)
    if rest := redactor.feed(name_rewriter.close()) + redactor.close():
        yield rest
    if lacks_blank_line:
        yield b"\n\n"  # without a blank line clients ignore the last event, which may be an error
    if reported and not observer.failed:
        raise reported from failure


def _failure_of(observer: StreamObserver, failure: Exception | None, provider_id: str) -> MessagesError | None:
    """Return the error of a stream that has ended, None if it was complete.

    Args:
        observer: Has read the stream.
        failure: What reading it raised.
        provider_id: Id of the upstream's provider, for the message.
    """
    if observer.failed:
        return _error_event(provider_id)
    if failure and not observer.ended:
        return stream_failure(failure, provider_id)
    return None if observer.message_complete else ended_early(provider_id)


async def repaired(
    response: httpx.Response, repair: StreamRepair, metrics: RequestMetrics, upstream: Upstream
) -> AsyncGenerator[bytes]:
    """Yield an empty item, as ``relayed`` does, and then the upstream's events, repaired."""
    decoder = SSEDecoder()
    failure: MessagesError = _error_event(upstream.provider_id)
    try:
        yield b""
        chunks = raw_chunks(response)
        async for chunk in chunks:
            metrics.first_bytes()
            for received in decoder.feed(chunk):
                for event in repair.feed(loads_or_none(received.data)):
                    yield _encoded(event, upstream)
            if repair.finished:
                break
        async for _ in chunks_after_end(chunks):
            pass
        events = [event for received in decoder.close() for event in repair.feed(loads_or_none(received.data))]
        events += repair.finish()
    except STREAM_FAILURES as error:
        failure = stream_failure(error, upstream.provider_id)
        events = repair.fail(failure)
    finally:
        await response.aclose()
        metrics.end(repair.usage, success=repair.complete)
    if not repair.complete:
        metrics.fail(failure)
    for event in events:
        yield _encoded(event, upstream)


def _error_event(provider_id: str) -> BadGatewayError:
    return BadGatewayError(f"The backend '{provider_id}' ended the stream with an error event")


def _encoded(event: Mapping[str, Any], upstream: Upstream) -> bytes:
    return encode_event(redact_json(event, upstream.secrets) if event["type"] == "error" else event)
