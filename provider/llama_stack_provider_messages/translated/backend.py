"""The translated lane: Messages in, chat completions through the platform's inference, Messages out."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from llama_stack_api_messages import Call, MessageReply, RequestBody, StreamReply
from llama_stack_api_messages.ids import new_id
from llama_stack_api_messages.json_bytes import encode_json
from llama_stack_api_messages.models import CountTokensRequest, CreateMessageRequest
from llama_stack_api_messages.request_body import parse
from llama_stack_api_messages.streaming.disconnect import abandon
from llama_stack_api_messages.streaming.sse import encode_event
from llama_stack_provider_messages.errors.body import ContentPolicyError
from llama_stack_provider_messages.errors.exceptions import keys_of, translate_failure
from llama_stack_provider_messages.routing.route import COUNT_HEADER, Route
from llama_stack_provider_messages.stack import Platform, Target, get_logger
from llama_stack_provider_messages.translation.dropped import Dropped, dropped_header, dropped_text
from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import (
    Adaptation,
    ChatRequest,
    Policy,
    ReplyOptions,
    StreamTranslator,
    ThinkingSigner,
    TranslationContext,
    adapt,
    refused,
    translate_request,
    translate_response,
)
from llama_stack_provider_messages.upstream.client import UpstreamClient

from .counting import Count, TokenCounter, poster
from .media.loader import MediaLoader
from .profiles import Profiles

logger = get_logger(__name__)


class TranslatedBackend:
    """Serves requests through ``/v1/chat/completions`` of the provider that serves the model.

    Args:
        platform: The stack's models and inference.
        client: Sends requests to the tokenizers of backends.
        key: The key that signs thinking blocks.
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
        policy: Policy,
        profiles: Profiles,
        media: MediaLoader,
    ) -> None:
        self._platform = platform
        self._client = client
        self._counter = TokenCounter()
        self._key = key
        self._policy = policy
        self._profiles = profiles
        self._media = media

    async def create(self, body: RequestBody[CreateMessageRequest], call: Call, route: Route) -> MessageReply:
        """Return the reply to a non-streaming request; see ``Messages.create_message``."""
        return cast("MessageReply", await self._answer(body, call, route))

    async def stream(self, body: RequestBody[CreateMessageRequest], call: Call, route: Route) -> StreamReply:
        """Return the reply to a streaming request, once the backend has accepted it."""
        return cast("StreamReply", await self._answer(body, call, route))

    async def _answer(
        self, body: RequestBody[CreateMessageRequest], call: Call, route: Route
    ) -> MessageReply | StreamReply:
        request, target = body.parsed, route.target
        seal = ThinkingSigner(self._key, target.model_id)
        first = await self._context(request, call, target, seal)
        wanted = _stoppable(request)
        asked = translate_request(wanted, first)
        _log(call, target, asked.dropped)
        try:
            chat, answer = await self._ask(wanted, first, asked, target)
        except ContentPolicyError as error:
            if not asked.options.refusals:
                raise
            return _refusal(request, asked, call, error)
        if chat.dropped != asked.dropped:
            _log(call, target, chat.dropped)
        headers = dropped_header(chat.dropped)
        if not wanted.stream:
            return MessageReply(encode_json(_message(answer, chat.options, seal)), headers)
        translator = StreamTranslator(chat.options, new_id, sign=seal.sign, request_id=call.request_id)
        events = _events(answer, translator, target)
        if request.stream:
            return StreamReply(_frames(events), headers)
        return MessageReply(encode_json(await _gathered(events, translator)), headers)

    async def count(self, body: RequestBody[CountTokensRequest], call: Call, route: Route) -> MessageReply:
        """Return the count of the backend's tokenizer, or an estimate; see ``Messages.count_tokens``."""
        request, target = parse(CreateMessageRequest, body.data).model_copy(update={"max_tokens": 1}), route.target
        ctx = await self._context(request, call, target, ThinkingSigner(self._key, target.model_id))
        chat = translate_request(request, ctx)
        _log(call, target, chat.dropped)
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

    async def close(self) -> None:
        """Release the threads and connections of the media loader."""
        await self._media.close()

    async def _context(
        self, request: CreateMessageRequest, call: Call, target: Target, seal: ThinkingSigner
    ) -> TranslationContext:
        """Return the translation context of a request, with its media loaded."""
        ctx = TranslationContext(self._profiles.of(target), self._policy, headers=call.headers, signer=seal)
        return replace(ctx, media=await self._media.load(request, ctx))

    async def _ask(
        self, request: CreateMessageRequest, ctx: TranslationContext, chat: ChatRequest, target: Target
    ) -> tuple[ChatRequest, Any]:
        """Return the accepted request and the backend's response; a rejected request is adapted and retried."""
        tried: dict[str, Adaptation] = {}
        while True:
            try:
                answer = await self._platform.chat(target, chat.fields)
            except Exception as error:  # providers raise any exception, and its status must be kept
                failure = translate_failure(error, target.provider_id, keys_of(target.provider))
                adaptation = adapt(failure, chat.fields, ctx.profile, tried)
                if adaptation is None:
                    raise failure from error
            else:
                self._learn(target, tried.values())
                return chat, answer
            logger.info(
                "retrying with an adapted request",
                model=target.model_id,
                because=adaptation.kind,
                refusal=failure.message,
            )
            ctx = _adapted(ctx, adaptation)
            chat = translate_request(request, ctx)
            tried[adaptation.kind] = adaptation

    def _learn(self, target: Target, adaptations: Iterable[Adaptation]) -> None:
        """Remember the adaptations of a successful retry; the error alone may only quote the client's own text."""
        for adaptation in adaptations:
            if adaptation.lasting:
                self._profiles.learn(target, adaptation.changes)


def _adapted(ctx: TranslationContext, adaptation: Adaptation) -> TranslationContext:
    return ctx.fresh(profile=ctx.profile.but(**adaptation.changes), room=adaptation.room or ctx.room)


def _stoppable(request: CreateMessageRequest) -> CreateMessageRequest:
    """Return the request to send; with stop sequences it is a stream, which can be ended at one of them."""
    if not request.stop_sequences or request.max_tokens == 0:
        return request
    return request.model_copy(update={"stream": True})


def _message(answer: object, form: ReplyOptions, seal: ThinkingSigner) -> dict[str, Any]:
    try:
        return translate_response(answer, form, new_id, sign=seal.sign)
    except ContentPolicyError as error:
        if not form.refusals:
            raise
        return refused(form, new_id, error.message)


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
    chunks: AsyncGenerator[Any], translator: StreamTranslator, target: Target
) -> AsyncGenerator[dict[str, Any]]:
    try:
        async for chunk in chunks:
            for event in translator.feed(chunk):
                yield event
            if translator.finished:  # a stop sequence or an error: the rest of the upstream's stream is not needed
                break
        events = translator.finish()
    except Exception as error:  # noqa: BLE001 - as above, after the response has started
        events = translator.fail(translate_failure(error, target.provider_id, keys_of(target.provider)))
    finally:
        await abandon(chunks)
    for event in events:
        yield event


async def _frames(events: AsyncGenerator[dict[str, Any]]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for event in events:
            yield encode_event(event)


async def _gathered(events: AsyncGenerator[dict[str, Any]], translator: StreamTranslator) -> dict[str, Any]:
    """Return the Message that the events of a stream add up to."""
    collected = [event async for event in events]
    if translator.failure:
        raise translator.failure
    return fold(collected)


def _log(call: Call, target: Target, dropped: tuple[Dropped, ...]) -> None:
    logger.debug("messages request", request_id=call.request_id, model=target.model_id, lane="translated")
    if dropped:
        text = dropped_text(dropped)
        logger.info("dropped in translation", request_id=call.request_id, model=target.model_id, dropped=text)
