"""Answers of the upstream -> answers of the provider. Owns the ``async for``; an answer it paused is continued."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx

from llama_stack_api_messages.errors import (
    ERROR_BY_STATUS,
    BadGatewayError,
    MessagesError,
    OverloadedError,
    UpstreamError,
)
from llama_stack_provider_messages.exchange import connection_failure
from llama_stack_provider_messages.fold import StreamGrammarError, fold
from llama_stack_provider_messages.sse import SSEDecoder
from llama_stack_provider_messages.translation.chat_to_messages import (
    StreamTranslator,
    continued,
    needs_continuation,
)

from .asking import Asking

type Json = dict[str, Any]

_STATUS = {cls.error_type: status for status, cls in reversed(ERROR_BY_STATUS.items()) if cls is not OverloadedError}
_STATUS["overloaded_error"] = OverloadedError.status_code
_STATUS["api_error"] = 500


def continuation(body: Mapping[str, Any], message: Mapping[str, Any]) -> Json:
    """Return the request that goes on where the upstream paused: the answer so far, sent back as it is."""
    return {**body, "messages": [*body["messages"], {"role": "assistant", "content": message["content"]}]}


async def whole_answer(asking: Asking, body: Json, continuations: int) -> Json:
    """Return a Message, continued where the upstream paused.

    Args:
        asking: Asks the upstream.
        body: The request.
        continuations: How often it may be continued; a pause after that is the end.

    Raises:
        MessagesError: The upstream failed.
    """
    message = await asking.message(body)
    for _ in range(continuations):
        if not needs_continuation(message):
            break
        body = continuation(body, message)
        message = continued(message, await asking.message(body))
    return message


async def streamed_answer(
    asking: Asking, body: Json, translator: StreamTranslator, first: httpx.Response, continuations: int
) -> AsyncGenerator[Json]:
    """Yield nothing once, so that closing this closes the response from there on, and then chunks.

    Raises:
        MessagesError: The upstream failed; the chunks before it have been yielded.
    """
    response = first
    yield {}
    for left in range(continuations, -1, -1):
        events: list[Json] = []
        async with aclosing(_events(response, asking)) as coming:
            async for event in coming:
                events.append(event)
                for chunk in translator.feed(event):
                    yield chunk
        if not left or translator.stop_reason != "pause_turn":
            break
        body = continuation(body, _folded(events, asking.provider_id))
        translator.resume()
        response = await asking.stream(body)
    if not translator.complete:
        raise _cut_off(asking.provider_id)
    for chunk in translator.finish():
        yield chunk


async def _events(response: httpx.Response, asking: Asking) -> AsyncGenerator[Json]:
    """Yield the events of a stream up to its last one, and close it.

    Raises:
        MessagesError: One is an error, or the connection broke.
    """
    decoder = SSEDecoder()
    try:
        async for data in response.aiter_bytes():
            for sent in decoder.feed(data):
                if event := _decoded(sent.data, asking):
                    yield event
        for sent in decoder.close():
            if event := _decoded(sent.data, asking):
                yield event
    except httpx.HTTPError as error:
        raise connection_failure(error, asking.provider_id) from error
    finally:
        await response.aclose()


def _decoded(data: str, asking: Asking) -> Json | None:
    """Return an event; None for what is none.

    Raises:
        MessagesError: It is an error.
    """
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    if event.get("type") == "error" or ("type" not in event and "error" in event):
        raise _failure(json.loads(asking.redacted(data.encode())))
    return event if isinstance(event.get("type"), str) else None


def _failure(event: Json) -> MessagesError:
    error = event.get("error")
    error = error if isinstance(error, dict) else {"message": error}
    kind, text = error.get("type"), error.get("message")
    kind = kind if isinstance(kind, str) else "api_error"
    text = text if isinstance(text, str) and text else "The backend broke its answer off and gave no reason"
    return UpstreamError(_STATUS.get(kind, 500), kind, text)


def _folded(events: list[Json], provider_id: str) -> Json:
    try:
        return fold(events)
    except (StreamGrammarError, KeyError, TypeError, AttributeError) as error:
        raise _cut_off(provider_id) from error


def _cut_off(provider_id: str) -> BadGatewayError:
    return BadGatewayError(f"The backend '{provider_id}' ended the stream before its answer was complete")
