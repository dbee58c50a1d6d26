"""The translated lane: Messages in, chat completions through the platform's inference, Messages out."""

from collections.abc import AsyncGenerator
from typing import Any

from llama_stack_api_messages import Call, MessageReply, StreamReply
from llama_stack_api_messages.disconnect import abandon
from llama_stack_api_messages.error_route import new_id
from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_api_messages.sse import encode_event, encode_json

from .failures import translate_failure
from .stack import Platform, Target, get_logger
from .translation.dropped import Dropped
from .translation.messages_to_chat import (
    StreamTranslator,
    profile_for,
    translate_request,
    translate_response,
    without_switches,
)

logger = get_logger(__name__)


class TranslatedBackend:
    """Answers through ``/v1/chat/completions`` of whatever provider serves the model.

    Args:
        platform: The stack's models and inference.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def create(self, request: CreateMessageRequest, call: Call, target: Target) -> MessageReply | StreamReply:
        """Answer the request; see ``Messages.create_message``."""
        translated = translate_request(request, profile_for(target.provider_type, target.resource_id))
        prefill = _prefill(translated.value)
        _log(call, target, translated.dropped)
        answer = await self._chat(target, translated.value)
        if request.stream:
            translator = StreamTranslator(request, new_id, request_id=call.request_id, prefill=prefill)
            return StreamReply(_frames(answer, translator, target))
        return MessageReply(encode_json(translate_response(answer, request, new_id, prefill=prefill)))

    async def _chat(self, target: Target, fields: dict[str, Any]) -> Any:  # noqa: ANN401 - objects of the openai SDK
        try:
            return await self._platform.chat(target, fields)
        except Exception as error:  # providers raise anything, and a failure must keep its status
            failure = translate_failure(error, target.provider_id)
            if (
                not isinstance(failure, InvalidRequestError)
                or (plain := without_switches(fields, failure.message)) is None
            ):
                raise failure from error
        logger.info("asking again without switching thinking", model=target.model_id, refusal=failure.message)
        return await self._chat(target, plain)


async def _frames(chunks: AsyncGenerator[Any], translator: StreamTranslator, target: Target) -> AsyncGenerator[bytes]:
    try:
        async for chunk in chunks:
            for event in translator.feed(chunk):
                yield encode_event(event)
            if translator.finished:  # a stop sequence or an error: what the upstream still says is for nobody
                break
        events = translator.finish()
    except Exception as error:  # noqa: BLE001 - as above, when the answer has begun
        events = translator.fail(translate_failure(error, target.provider_id))
    finally:
        await abandon(chunks)
    for event in events:
        yield encode_event(event)


def _prefill(fields: dict[str, Any]) -> str:
    """Return the text the backend continues and may repeat in front of its answer.

    One that is told to continue (``continue_final_message``) answers with the continuation by contract, which may begin
    with the same words.
    """
    last = fields["messages"][-1]
    if last["role"] != "assistant" or fields.get("continue_final_message"):
        return ""
    return last["content"] or ""


def _log(call: Call, target: Target, dropped: tuple[Dropped, ...]) -> None:
    logger.debug("messages request", request_id=call.request_id, model=target.model_id, lane="translated")
    if dropped:
        paths = ", ".join(f"{entry.path} ({entry.reason})" for entry in dropped)
        logger.info("dropped in translation", request_id=call.request_id, model=target.model_id, dropped=paths)
