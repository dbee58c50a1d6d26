"""Reads the upstream's responses, and continues a response that stopped with ``pause_turn``.

An upstream that runs its own tools (web search) may pause a long turn: the response ends with stop reason
``pause_turn``, and the client is expected to send the content back to have it continued. Clients of chat completions do
not know that, so it is done here, up to a limit: the Messages of all parts become one completion, and their streams one
stream. Only a request with server tools can be paused, so only then are the events of a stream kept, up to the limit of
a whole answer.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx

from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_api_messages.streaming.read_ahead import read_ahead
from llama_stack_provider_messages.translation.chat_to_messages import (
    StreamTranslator,
    continued,
    needs_continuation,
    paused_content,
)
from llama_stack_provider_messages.translation.events import StreamGrammarError, fold
from llama_stack_provider_messages.upstream.client import (
    MAX_RESPONSE_BYTES,
    STREAM_FAILURES,
    chunks_after_end,
    stream_failure,
)
from llama_stack_provider_messages.upstream.sse import ServerSentEvent, SSEDecoder

from .client import MessagesClient

type Json = dict[str, Any]

_PAUSED, _ERROR = "pause_turn", "error"


async def complete_message(client: MessagesClient, body: Json, continuations: int) -> Json:
    """Return a Message; if the upstream paused it, with its continuations.

    Args:
        client: Sends requests to the upstream.
        body: The request.
        continuations: Limit of continuations; a pause after that ends the response.

    Raises:
        MessagesError: The upstream failed.
    """
    message = last = await client.message(body)
    for _ in range(continuations if _may_pause(body) else 0):
        next_body = _continuation(body, last) if needs_continuation(last) else None
        if next_body is None:
            break
        body, last = next_body, await client.message(next_body)
        message = continued(message, last)
    return message


async def complete_stream(
    client: MessagesClient, body: Json, translator: StreamTranslator, first: httpx.Response, continuations: int
) -> AsyncGenerator[Json]:
    """Yield an empty item, then the chat completion chunks of a stream and its continuations.

    Prime with ``anext()``: from then on, closing the generator closes the response.

    Args:
        client: Requests the rest of a paused response from the upstream.
        body: The request.
        translator: The stream translator of this response.
        first: The upstream's response to the request.
        continuations: Limit of continuations; a pause after that ends the response.

    Raises:
        MessagesError: The upstream failed; the chunks before it have been yielded.
    """
    response, continuations = first, continuations if _may_pause(body) else 0
    try:
        yield {}
        for further in range(continuations, -1, -1):  # continuations that may follow this response
            kept: list[Json] = []
            kept_bytes = 0
            async with aclosing(_events(response, client.provider_id, translator)) as events:
                async for event, size in events:
                    if not translator.complete and (error := client.error_in(event)):
                        raise error
                    if further:
                        kept_bytes += size
                        if kept_bytes > MAX_RESPONSE_BYTES:
                            raise _too_long_to_continue(client.provider_id)
                        kept.append(event)
                    for chunk in _checked(translator.feed(event), translator):
                        yield chunk
            if not further or not translator.complete or translator.stop_reason != _PAUSED:
                break
            next_body = _continuation(body, _folded(kept, client.provider_id))
            if next_body is None:
                break
            body = next_body
            for chunk in translator.resume():
                yield chunk
            response = await client.stream(body)
    finally:
        await response.aclose()
    for chunk in _checked(translator.finish(), translator):
        yield chunk


def _may_pause(body: Json) -> bool:
    """Return whether the request has server tools, whose definitions have no input schema."""
    return any("input_schema" not in tool for tool in body.get("tools", ()))


def _continuation(body: Json, message: Mapping[str, Any]) -> Json | None:
    """Return the request that continues a paused response, None if that has no content."""
    content = paused_content(message)
    return {**body, "messages": [*body["messages"], {"role": "assistant", "content": content}]} if content else None


def _folded(events: list[Json], provider_id: str) -> Json:
    """Return the Message that the events of a stream add up to."""
    try:
        return fold(event for event in events if isinstance(event.get("type"), str))
    except (StreamGrammarError, KeyError, TypeError, AttributeError) as error:
        raise BadGatewayError(f"The backend '{provider_id}' paused an answer that cannot be continued") from error


def _checked(chunks: list[Json], translator: StreamTranslator) -> list[Json]:
    """Return the chunks; an error chunk is raised instead, as the platform requires.

    Raises:
        MessagesError: An event cannot be translated, or the stream ended too early.
    """
    if translator.failure:
        raise translator.failure
    return chunks


def _too_long_to_continue(provider_id: str) -> BadGatewayError:
    limit = f"{MAX_RESPONSE_BYTES >> 20} MiB"
    return BadGatewayError(
        f"The backend '{provider_id}' sent a response of more than {limit}; request less", retryable=False
    )


async def _events(
    response: httpx.Response, provider_id: str, translator: StreamTranslator
) -> AsyncGenerator[tuple[Json, int]]:
    """Yield the decoded events of a stream, each with the length of its data.

    Raises:
        MessagesError: The connection broke before the message was complete, or an event is too long.
    """
    decoder = SSEDecoder()
    try:
        async with aclosing(read_ahead(_body(response))) as chunks:
            async for data in chunks:
                for event in _decoded(decoder.feed(data)):
                    yield event
                if translator.complete:
                    break
            async for data in chunks_after_end(chunks):
                for event in _decoded(decoder.feed(data)):
                    yield event
        for event in _decoded(decoder.close()):
            yield event
    except STREAM_FAILURES as error:
        if not translator.complete:
            raise stream_failure(error, provider_id) from error


async def _body(response: httpx.Response) -> AsyncGenerator[bytes]:
    """Yield the chunks of a body, and close the response."""
    try:
        async for data in response.aiter_bytes():
            yield data
    finally:
        await response.aclose()


def _decoded(sent: list[ServerSentEvent]) -> list[tuple[Json, int]]:
    """Return the decoded events that are objects, each with the length of its data.

    An event named ``error`` is an error, whatever its data.
    """
    events: list[tuple[Json, int]] = []
    for event in sent:
        data = loads_or_none(event.data)
        if event.event == _ERROR:
            data = {**data, "type": _ERROR} if isinstance(data, dict) else {"type": _ERROR, "message": event.data}
        if isinstance(data, dict):
            events.append((data, len(event.data)))
    return events
