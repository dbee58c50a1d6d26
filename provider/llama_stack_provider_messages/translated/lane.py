"""The translated lane: sends a Messages request as a chat completion.

The way of a request: load its media, translate it with the profile of the backend, send it, translate the response or
its chunks back. A backend that rejects a request often says why ("max_tokens is too large: ... at most 4096"). Then the
request is adapted and sent again, at most once for each rule, and if that succeeds, the profile of the model remembers
the reason, so that its next request is right the first time.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx

from llama_stack_api_messages import Call, MessageReply, RequestBody, StreamReply
from llama_stack_api_messages.api import new_id
from llama_stack_api_messages.errors import MessagesError
from llama_stack_api_messages.json_bytes import encode_json
from llama_stack_api_messages.models import CountTokensRequest, CreateMessageRequest
from llama_stack_api_messages.request_body import parse
from llama_stack_api_messages.streaming.sse import encode_event
from llama_stack_provider_messages.errors.body import ContentPolicyError
from llama_stack_provider_messages.errors.exceptions import Keys, keys_of, translate_failure
from llama_stack_provider_messages.headers import COUNT_HEADER
from llama_stack_provider_messages.routing.lanes import TranslatedRoute
from llama_stack_provider_messages.stack import Platform, Target, get_logger
from llama_stack_provider_messages.translation.dropped import Dropped, dropped_header, dropped_text
from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import (
    Adaptation,
    ChatRequest,
    Policy,
    Profile,
    StreamTranslator,
    ThinkingSigner,
    TranslationContext,
    adapt,
    profile_for,
    refused,
    translate_request,
    translate_response,
)
from llama_stack_provider_messages.upstream.client import MAX_RESPONSE_BYTES, UpstreamClient
from llama_stack_provider_messages.upstream.metrics import RequestMetrics
from llama_stack_provider_messages.upstream.state import BoundedDict

from .chat_backend import Batches, ChatBackend
from .chunks import DONE
from .counting import Count, TokenCounter, poster
from .media.loader import MediaLoader

logger = get_logger(__name__)


class TranslatedLane:
    """Serves requests through ``/v1/chat/completions`` of the provider that serves the model.

    Args:
        platform: Records the metrics.
        client: Sends requests to the tokenizers of backends.
        key: The key that signs thinking blocks.
        backend: Sends chat completions requests.
        policy: The operator's settings of the translation.
        profiles: The capabilities of backends.
        media: Fetches and reads the media of requests.
    """

    def __init__(
        self,
        platform: Platform,
        client: UpstreamClient,
        key: bytes,
        *,
        backend: ChatBackend,
        policy: Policy,
        profiles: "Profiles",
        media: MediaLoader,
    ) -> None:
        self._platform = platform
        self._client = client
        self._counter = TokenCounter()
        self._key = key
        self._backend = backend
        self._policy = policy
        self._profiles = profiles
        self._media = media

    async def reply(
        self, body: RequestBody[CreateMessageRequest], call: Call, route: TranslatedRoute
    ) -> MessageReply | StreamReply:
        """Return the reply to a request; a stream once the backend has accepted the request."""
        request, target = body.parsed, route.target
        signer = ThinkingSigner(self._key, target.model_id)
        ctx = await self._context(request, call, target, signer)
        sent = request
        if request.stop_sequences and request.max_tokens != 0:  # a stream can be ended at a stop sequence
            sent = request.model_copy(update={"stream": True})
        chat = translate_request(sent, ctx)
        keys = keys_of(target.provider)
        metrics = RequestMetrics(self._platform, target, call, stream=bool(sent.stream))
        _log_request(call, target, chat.dropped)
        try:
            max_bytes = None if request.stream else MAX_RESPONSE_BYTES
            chat, response = await self._send(sent, ctx, chat, target, call, max_bytes)
            headers = dropped_header(chat.dropped)
            if not sent.stream:
                try:
                    message = translate_response(response, chat.options, new_id, sign=signer.sign, secrets=keys.secrets)
                except MessagesError as error:
                    metrics.fail(error)
                    raise
                metrics.end(message["usage"], success=True)
                return MessageReply(encode_json(message), headers)
        except ContentPolicyError as error:
            metrics.end({}, success=False)
            if not chat.options.refusals:
                raise
            return _refusal(request, chat, call, error)
        except BaseException:
            metrics.end({}, success=False)
            raise

        translator = StreamTranslator(
            chat.options, new_id, sign=signer.sign, request_id=call.request_id, secrets=keys.secrets
        )
        batches = _events(response.batches, translator, metrics, target, keys)
        await anext(batches)  # starts the generator (its first item is empty), so that closing it closes the response
        if request.stream:
            return StreamReply(_frames(batches), headers, relayed=response.posted)
        collected = [event async for batch in batches for event in batch]
        if translator.failure:
            raise translator.failure
        return MessageReply(encode_json(fold(collected)), headers)

    async def _send(
        self,
        request: CreateMessageRequest,
        ctx: TranslationContext,
        chat: ChatRequest,
        target: Target,
        call: Call,
        max_bytes: int | None,
    ) -> tuple[ChatRequest, Any]:
        """Return the accepted request and the backend's response; a rejected request is adapted and sent again."""
        tried: dict[str, Adaptation] = {}
        dropped = chat.dropped
        while True:
            try:
                response = await self._backend.send(target, chat.fields, max_bytes=max_bytes)
                break
            except Exception as error:  # providers raise any exception, and its status must be kept
                failure = translate_failure(
                    error, target.provider_id, keys_of(target.provider), model=target.resource_id
                )
                adaptation = adapt(failure, chat.fields, ctx.profile, tried)
                if adaptation is None:
                    raise failure from error
            logger.info(
                "retrying with an adapted request",
                model=target.model_id,
                because=adaptation.kind,
                upstream_error=failure.message,
            )
            profile = ctx.profile.but(**adaptation.changes)
            ctx = ctx.fresh(profile=profile, room=adaptation.room or ctx.room)
            chat = translate_request(request, ctx)
            tried[adaptation.kind] = adaptation
        for adaptation in tried.values():
            if adaptation.lasting:  # learned from the success: the error alone may only quote the client's own text
                self._profiles.learn(target, adaptation.changes)
        if chat.dropped != dropped:
            _log_request(call, target, chat.dropped)
        return chat, response

    async def count(self, body: RequestBody[CountTokensRequest], call: Call, route: TranslatedRoute) -> MessageReply:
        """Return the count of the backend's tokenizer, or an estimate; see ``Messages.count_tokens``."""
        request, target = parse(CreateMessageRequest, body.data).model_copy(update={"max_tokens": 1}), route.target
        ctx = await self._context(request, call, target, ThinkingSigner(self._key, target.model_id))
        chat = translate_request(request, ctx)
        _log_request(call, target, chat.dropped)
        counted = await self._count(chat, ctx, target)
        reply: dict[str, Any] = {"input_tokens": counted.tokens}
        if request.context_management is not None:
            unedited = request.model_copy(update={"context_management": None})
            before = await self._count(translate_request(unedited, ctx.fresh()), ctx, target) if ctx.edits else counted
            reply["context_management"] = {"original_input_tokens": before.tokens}
        kind = "exact" if counted.exact else "estimate"
        return MessageReply(encode_json(reply), {**dropped_header(chat.dropped), COUNT_HEADER: kind})

    async def _count(self, chat: ChatRequest, ctx: TranslationContext, target: Target) -> Count:
        post = poster(self._client, target)
        tokenizer, upstream = ctx.profile.tokenizer, target.provider_id
        return await self._counter.count(chat.fields, tokenizer, target.resource_id, post, upstream=upstream)

    async def _context(
        self, request: CreateMessageRequest, call: Call, target: Target, signer: ThinkingSigner
    ) -> TranslationContext:
        """Return the translation context of a request, with its media loaded."""
        ctx = TranslationContext(self._profiles.of(target), self._policy, headers=call.headers, signer=signer)
        return replace(ctx, media=await self._media.load(request, ctx))

    async def close(self) -> None:
        """Release the threads and connections of the media loader."""
        await self._media.close()


class Profiles:
    """Resolves profiles and caches them, with the changes learned from a model's error responses.

    Args:
        overrides: Profile fields from the configuration, by provider type, provider id or model id. The more specific
            entry wins.
    """

    def __init__(self, overrides: Mapping[str, Mapping[str, Any]]) -> None:
        self._overrides = overrides
        self._profiles: BoundedDict[str, Profile] = BoundedDict()

    def of(self, target: Target) -> Profile:
        """Return the profile of a target: built-in, overridden by the configuration, changed by what was learned."""
        if target.model_id not in self._profiles:
            changes: dict[str, Any] = {}
            for name in (target.provider_type, target.provider_id, target.model_id):
                changes |= self._overrides.get(name, {})
            self._profiles[target.model_id] = profile_for(target.provider_type, target.resource_id, changes)
        return self._profiles[target.model_id]

    def learn(self, target: Target, changes: Mapping[str, Any]) -> None:
        """Change fields of a model's profile, as learned from an error response."""
        self._profiles[target.model_id] = self.of(target).but(**changes)


def _refusal(
    request: CreateMessageRequest, chat: ChatRequest, call: Call, error: ContentPolicyError
) -> MessageReply | StreamReply:
    headers = dropped_header(chat.dropped)
    if not request.stream:
        return MessageReply(encode_json(refused(chat.options, new_id, error.message)), headers)
    translator = StreamTranslator(chat.options, new_id, request_id=call.request_id)
    return StreamReply(_encoded(translator.fail(error)), headers)


async def _encoded(events: list[dict[str, Any]]) -> AsyncGenerator[bytes]:
    for event in events:
        yield encode_event(event)


async def _events(
    batches: Batches, translator: StreamTranslator, metrics: RequestMetrics, target: Target, keys: Keys
) -> AsyncGenerator[list[dict[str, Any]]]:
    """Yield an empty list, then the events of each batch of chunks."""
    done = False
    try:
        yield []
        async for batch in batches:
            metrics.first_bytes()
            events: list[dict[str, Any]] = []
            for chunk in batch:
                if chunk is DONE:
                    done = True
                    events += translator.finish()
                else:
                    events += translator.feed(chunk)
            if events:
                yield events
            if translator.stop_reading and not done:  # a stop sequence or an error: the rest is not needed
                break
        events = translator.finish(complete=False)
        if translator.failure:
            metrics.fail(translator.failure)
    except Exception as error:  # noqa: BLE001 - providers raise any exception, also after the response has started
        is_broken = isinstance(error.__cause__, httpx.TransportError)
        if done or (is_broken and translator.has_finish_reason):
            events = translator.finish()
        else:
            events = translator.fail(translate_failure(error, target.provider_id, keys, model=target.resource_id))
    finally:
        await batches.aclose()
        metrics.end(translator.usage, success=bool(translator.usage))
    if events:
        yield events


async def _frames(batches: AsyncGenerator[list[dict[str, Any]]]) -> AsyncGenerator[bytes]:
    """Yield the events of each batch in one piece, so that they leave in one write."""
    async with aclosing(batches):
        async for events in batches:
            yield b"".join(map(encode_event, events))


def _log_request(call: Call, target: Target, dropped: tuple[Dropped, ...]) -> None:
    logger.debug("messages request", request_id=call.request_id, model=target.model_id, lane="translated")
    if dropped:
        text = dropped_text(dropped)
        logger.info("dropped in translation", request_id=call.request_id, model=target.model_id, dropped=text)
