"""Sends chat completions requests to a backend: over HTTP, or through the platform's inference provider.

A provider of the platform that speaks chat completions keeps an SDK between us and its backend. The SDK makes objects
for each chunk, opens a connection for each request, and repeats failed requests in secret: a 429 with a ``retry-after``
of 7 seconds becomes three requests in 14 seconds, and a client that streams never sees it. So where the provider would
do no more than post the request, it is posted from here, with the provider's address, key, TLS, proxies and timeouts:

    backend            HTTP, one request over a pooled connection       statuses and headers arrive as sent
    through provider   classes that do more with a request, and         the provider decides
                       backends for which ``wire: off`` is configured

Which providers these are is decided in ``stack/`` (``chat_address_of``). ``docs/translation.md`` lists what the SDK did
beyond that, and what became of it.

Either way the response has the same form: a completion, or batches of chunks. A batch is what one read of the
connection has brought, so that it leaves in one write. The first event of a stream is a batch of its own: it leaves
before the rest is decoded.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, NamedTuple

import httpx
import msgspec

from llama_stack_api_messages.errors import BadGatewayError, MessagesError
from llama_stack_api_messages.streaming.disconnect import abandon
from llama_stack_provider_messages.errors.exceptions import StatusError
from llama_stack_provider_messages.stack import Platform, Target, stream_options
from llama_stack_provider_messages.upstream.address import ServesChat, Upstream, chat_upstream_of
from llama_stack_provider_messages.upstream.client import (
    STREAM_FAILURES,
    UpstreamClient,
    UpstreamRequest,
    chunks_after_end,
    raw_chunks,
    read_body,
    read_error_body,
    response_too_long,
    stream_failure,
)
from llama_stack_provider_messages.upstream.settings import Mode

from .chunks import DONE, ChunkReader, decode

type Batches = AsyncGenerator[list[Any]]
"""Chunks that arrived together: ``Chunk``, or objects of the openai SDK."""


class ChatStream(NamedTuple):
    """An accepted stream.

    Attributes:
        batches: Its chunks; primed, so that closing them closes the response.
        posted: Whether it comes from the backend itself: a batch is what one read brought.
    """

    batches: Batches
    posted: bool


class ChatBackend:
    """Sends chat completions requests.

    Args:
        platform: The stack's inference.
        client: Sends HTTP requests.
        wire: Whether requests are posted from here, by inference provider id; ``auto`` by default.
    """

    def __init__(self, platform: Platform, client: UpstreamClient, wire: Mapping[str, Mode]) -> None:
        self._platform = platform
        self._client = client
        self._wire = wire

    async def send(self, target: Target, fields: Mapping[str, Any], *, max_bytes: int | None = None) -> Any:  # noqa: ANN401 - see ``translation/fields.py``
        """Return a completion, or a ``ChatStream`` if the request has ``stream``, once the backend has accepted it.

        Args:
            target: The model.
            fields: The chat request, without its model.
            max_bytes: Limit of a stream, for one that is collected into a whole reply.

        Raises:
            Exception: What providers raise, or a MessagesError.
        """
        upstream = await chat_upstream_of(target, self._wire.get(target.provider_id, "auto"))
        if upstream is None or (target.reads_objects and _has_image_url(fields)):
            response = await self._platform.chat(target, _sent_fields(fields))
            if not fields.get("stream"):
                return response
            stream = ChatStream(_each_chunk(response), posted=False)
        else:
            response = await self._post(target, upstream, _sent_fields(fields))
            if not fields.get("stream"):
                return _completion(await self._body(response, target), target)
            stream = ChatStream(self._read(response, target, max_bytes), posted=True)
        await anext(stream.batches)
        return stream

    async def _post(self, target: Target, upstream: Upstream, fields: dict[str, Any]) -> httpx.Response:
        """Return the backend's response, which is a success, and a stream of events if one was requested."""
        options = stream_options(
            fields.get("stream_options"),
            stream=bool(fields.get("stream")),
            supported=getattr(target.provider, "supports_stream_options", True),
        )
        body = {"model": target.resource_id, **fields, **({"stream_options": options} if options else {})}
        try:
            response = await self._client.send(
                target, upstream, UpstreamRequest("/chat/completions", _encoded(body), {})
            )
        except MessagesError as error:
            raise await _explained(error, target) from error.__cause__
        if not response.is_success:
            raise StatusError(response.status_code, await read_error_body(response), response.headers)
        if fields.get("stream") and not _may_be_events(response):
            completion = _completion(await self._body(response, target), target)
            raise StatusError(None, completion, response.headers) if completion.get("error") else _no_completion(target)
        return response

    async def _body(self, response: httpx.Response, target: Target) -> bytes:
        try:
            return await read_body(response, target.provider_id)
        except MessagesError as error:
            raise await _explained(error, target) from error.__cause__

    async def _read(self, response: httpx.Response, target: Target, max_bytes: int | None) -> Batches:
        """Yield an empty batch, then the chunks of a stream as they arrive; ``DONE`` is the last, if it arrives."""
        reader = ChunkReader()
        try:
            yield []
            parts = raw_chunks(response)
            size, is_first = 0, True
            async for data in parts:
                end = data.find(b"\n\n") + 2 if is_first else 0
                is_first = False
                for piece in (data[:end], data[end:]) if end > 1 else (data,):
                    if batch := reader.feed(piece):
                        yield batch
                size += len(data)
                if reader.done or reader.error or (max_bytes and size > max_bytes):
                    break
            if max_bytes and size > max_bytes and not reader.done:
                raise response_too_long(target.provider_id, max_bytes)
            if reader.done:
                async for _ in chunks_after_end(parts):
                    pass
            elif batch := reader.close():
                yield batch
            if reader.error:
                raise reader.error
        except STREAM_FAILURES as error:
            failure = stream_failure(error, target.provider_id)
            failure.__cause__ = error
            raise await _explained(failure, target) from error
        finally:
            await response.aclose()


async def _explained(failure: MessagesError, target: Target) -> Exception:
    """Return a failure of the backend; if a connection to an engine of this package broke, the engine's reason."""
    is_broken = isinstance(failure, BadGatewayError) and isinstance(failure.__cause__, httpx.TransportError)
    if is_broken and isinstance(target.provider, ServesChat):
        return await target.provider.connection_error()
    return failure


async def _each_chunk(stream: Any) -> Batches:  # noqa: ANN401 - an async iterator of the openai SDK's objects
    """Yield an empty batch, then each chunk of a provider; the SDK hides the end that the backend marks."""
    try:
        yield []
        async for chunk in stream:
            yield [chunk]
        yield [DONE]
    finally:
        await abandon(stream)


def _sent_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields without tools if none may be called: some backends call them all the same."""
    left_out = ("tools", "tool_choice") if fields.get("tool_choice") == "none" else ()
    return {name: value for name, value in fields.items() if name not in left_out}


def _has_image_url(fields: Mapping[str, Any]) -> bool:
    """Return whether an image is a URL, which the provider downloads, because its backend does not."""
    for message in fields["messages"]:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if part.get("type") == "image_url" and not part["image_url"]["url"].startswith("data:"):
                return True
    return False


def _may_be_events(response: httpx.Response) -> bool:
    """Return whether a response may be a stream of events; some servers send them with another type, or none."""
    kind: str = response.headers.get("content-type", "").lower()
    return not kind.startswith(("application/json", "text/html"))


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except ValueError:  # lone surrogates
        return json.dumps(body).encode()


def _completion(data: bytes, target: Target) -> dict[str, Any]:
    try:
        completion = decode(data)
    except ValueError:
        raise _no_completion(target) from None
    if not isinstance(completion, dict):
        raise _no_completion(target)
    return completion


def _no_completion(target: Target) -> BadGatewayError:
    return BadGatewayError(f"The backend '{target.provider_id}' did not answer with a chat completion")
