"""The frames of a stream on the native lane: the upstream's chunks unchanged, or its events repaired.

``relayed`` passes each chunk on when it arrives. Three readers see it on its way: the observer (usage, end of the
stream), the rewriter of the model name, and the redactor of error events. How a stream ends decides the rest:

last event arrived            success, or a failure if it was an error. Backends may keep the connection open after it,
                              so the rest is read for half a second at most, which makes the connection reusable
... without its blank line    the blank line is added: without it clients ignore the event (it may be the error)
connection broke, or ended    an error, after the bytes that arrived; a truncated error event is left out
before that
ended after message_delta     success: the message is complete
client left                   closing the generator closes the response; a failure, unless the message is complete

``repaired`` decodes the events, for backends that deviate from the API (see ``repair/``), and encodes them again.
"""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx

from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_api_messages.streaming.sse import encode_event
from llama_stack_provider_messages.errors.exceptions import connection_failure
from llama_stack_provider_messages.errors.redaction import redact_json
from llama_stack_provider_messages.errors.response import ended_early
from llama_stack_provider_messages.upstream.address import Upstream
from llama_stack_provider_messages.upstream.client import chunks_after_end, raw_chunks
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
    failure, lacks_blank_line = None, False
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
    except httpx.HTTPError as error:
        failure, lacks_blank_line = error, observer.close()
    finally:
        await response.aclose()
        succeeded = not observer.failed and (observer.ended or (observer.message_complete and not failure))
        metrics.end(observer.usage, success=succeeded)
    if rest := redactor.feed(name_rewriter.close()) + redactor.close():
        yield rest
    if lacks_blank_line:
        yield b"\n\n"  # without a blank line clients ignore the last event, which may be an error
    if failure and not observer.ended:
        raise connection_failure(failure, upstream.provider_id) from failure
    if not observer.message_complete:
        raise ended_early(upstream.provider_id)


async def repaired(
    response: httpx.Response, repair: StreamRepair, metrics: RequestMetrics, upstream: Upstream
) -> AsyncGenerator[bytes]:
    """Yield an empty item, as ``relayed`` does, and then the upstream's events, repaired."""
    decoder = SSEDecoder()
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
    except httpx.HTTPError as error:
        events = repair.fail(connection_failure(error, upstream.provider_id))
    finally:
        await response.aclose()
        metrics.end(repair.usage, success=repair.complete)
    for event in events:
        yield _encoded(event, upstream)


def _encoded(event: Mapping[str, Any], upstream: Upstream) -> bytes:
    return encode_event(redact_json(event, upstream.secrets) if event["type"] == "error" else event)
