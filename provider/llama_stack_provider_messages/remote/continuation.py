"""Reads the upstream's responses for the provider, and continues a response that stopped with ``pause_turn``."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx

from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_provider_messages.translation.chat_to_messages import (
    StreamTranslator,
    continued,
    needs_continuation,
    paused_content,
)
from llama_stack_provider_messages.translation.dropped import Dropped
from llama_stack_provider_messages.translation.events import StreamGrammarError, fold
from llama_stack_provider_messages.upstream.client import connection_failure
from llama_stack_provider_messages.upstream.sse import ServerSentEvent, SSEDecoder

from .reader import chunks_of
from .upstream import MessagesClient

type Json = dict[str, Any]

_PAUSED, _ERROR = "pause_turn", "error"
_SHOWN = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
"""Block types that a chat completion can represent."""
_LINGER_SECONDS = 0.5
"""How long a backend may keep a stream open after its last event. A connection is reusable only if read to its end."""


def continuation(body: Mapping[str, Any], message: Mapping[str, Any]) -> Json | None:
    """Return the request that continues a paused response, None if that has no content."""
    content = paused_content(message)
    return {**body, "messages": [*body["messages"], {"role": "assistant", "content": content}]} if content else None


def left_out(message: Mapping[str, Any]) -> tuple[Dropped, ...]:
    """Return the blocks of a Message that its chat completion cannot represent."""
    kinds = [str(block.get("type")) if isinstance(block, dict) else "block" for block in message["content"]]
    reason = "a chat completion has no place for it"
    return tuple(Dropped(f"content.{at}", kind, reason) for at, kind in enumerate(kinds) if kind not in _SHOWN)


async def whole_answer(asking: MessagesClient, body: Json, continuations: int) -> Json:
    """Return a Message; requests its continuation if the upstream paused it.

    Args:
        asking: Sends requests to the upstream.
        body: The request.
        continuations: Limit of continuations; a pause after that ends the response.

    Raises:
        MessagesError: The upstream failed.
    """
    message = last = await asking.message(body)
    for _ in range(continuations if _may_pause(body) else 0):
        further = continuation(body, last) if needs_continuation(last) else None
        if further is None:
            break
        body, last = further, await asking.message(further)
        message = continued(message, last)
    return message


async def streamed_answer(
    asking: MessagesClient, body: Json, translator: StreamTranslator, first: httpx.Response, continuations: int
) -> AsyncGenerator[Json]:
    """Yield an empty item, then the chat completion chunks of a stream and its continuations.

    Prime with ``anext()``: from then on, closing the generator closes the response.

    Args:
        asking: Requests the rest of a paused response from the upstream.
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
        for left in range(continuations, -1, -1):
            reading = _Reading(translator, keep=left > 0)
            async with aclosing(_events(response, asking, translator)) as coming:
                async for event in coming:
                    for chunk in reading.take(event, asking):
                        yield chunk
            if not left or not translator.complete or translator.stop_reason != _PAUSED:
                break
            further = continuation(body, reading.message(asking.provider_id))
            if further is None:
                break
            body = further
            for chunk in translator.resume():
                yield chunk
            response = await asking.stream(body)
    finally:
        await response.aclose()
    for chunk in _checked(translator.finish(), translator):
        yield chunk


def _may_pause(body: Json) -> bool:
    """Return whether the request has server tools; only then the response may pause, and is kept for a continuation."""
    return any("input_schema" not in tool for tool in body.get("tools", ()))


class _Reading:
    """Translates the events of one message.

    Args:
        translator: Translates each event.
        keep: Whether to keep the message for ``message()``.
    """

    def __init__(self, translator: StreamTranslator, *, keep: bool) -> None:
        self._translator = translator
        self._keep = keep
        self._events: list[Json] = []

    def take(self, sent: ServerSentEvent, asking: MessagesClient) -> list[Json]:
        """Take an event; return the chunks for it.

        Raises:
            MessagesError: The event is an error.
        """
        event = _decoded(sent)
        if event is None:
            return []
        if not self._translator.complete and (error := asking.error_in(event)):
            raise error
        if self._keep:
            self._events.append(event)
        return _checked(self._translator.feed(event), self._translator)

    def message(self, provider_id: str) -> Json:
        """Return the Message that the events add up to."""
        try:
            return fold(event for event in self._events if isinstance(event.get("type"), str))
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


async def _events(
    response: httpx.Response, asking: MessagesClient, translator: StreamTranslator
) -> AsyncGenerator[ServerSentEvent]:
    """Yield the events of a stream.

    Raises:
        MessagesError: The connection broke before the message was complete.
    """
    decoder = SSEDecoder()
    try:
        async with aclosing(chunks_of(response)) as chunks:
            while data := await _next(chunks, translator):
                for event in decoder.feed(data):
                    yield event
        for event in decoder.close():
            yield event
    except httpx.HTTPError as error:
        if not translator.complete:
            raise connection_failure(error, asking.provider_id) from error


async def _next(chunks: AsyncGenerator[bytes], translator: StreamTranslator) -> bytes | None:
    """Return the next chunk, None at the end; after the last event it waits for ``_LINGER_SECONDS`` at most."""
    try:
        async with asyncio.timeout(_LINGER_SECONDS if translator.complete else None):
            return await anext(chunks, None)
    except TimeoutError:
        return None


def _decoded(sent: ServerSentEvent) -> Json | None:
    """Return the decoded event, None if it is not valid. An event named ``error`` is an error, whatever its data."""
    try:
        event = json.loads(sent.data)
    except (ValueError, RecursionError):
        event = None
    if sent.event == _ERROR:
        return {**event, "type": _ERROR} if isinstance(event, dict) else {"type": _ERROR, "message": sent.data}
    return event if isinstance(event, dict) else None
