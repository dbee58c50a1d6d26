"""The translated lane: Messages in, chat completions through the platform's inference, Messages out."""

from collections.abc import AsyncGenerator
from typing import Any

from llama_stack_api_messages import Call, MessageReply, StreamReply
from llama_stack_api_messages.disconnect import abandon
from llama_stack_api_messages.error_route import new_id
from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_api_messages.sse import encode_event, encode_json

from .config import MessagesConfig
from .failures import translate_failure
from .profiles import Profiles
from .stack import Platform, Target, get_logger
from .translation.dropped import Dropped
from .translation.messages_to_chat import (
    StreamTranslator,
    Walk,
    translate_request,
    translate_response,
    without_switches,
)

logger = get_logger(__name__)


class TranslatedBackend:
    """Answers through ``/v1/chat/completions`` of whatever provider serves the model.

    Args:
        platform: The stack's models and inference.
        config: The provider's configuration.
    """

    def __init__(self, platform: Platform, config: MessagesConfig) -> None:
        self._platform = platform
        self._policy = config.policy()
        self._profiles = Profiles(config.backends)

    async def create(self, request: CreateMessageRequest, call: Call, target: Target) -> MessageReply | StreamReply:
        """Answer the request; see ``Messages.create_message``."""
        chat = translate_request(request, Walk(self._profiles.of(target), self._policy))
        _log(call, target, chat.dropped)
        answer = await self._chat(target, chat.fields)
        if request.stream:
            translator = StreamTranslator(chat.form, new_id, request_id=call.request_id)
            return StreamReply(_frames(answer, translator, target))
        return MessageReply(encode_json(translate_response(answer, chat.form, new_id)))

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


def _log(call: Call, target: Target, dropped: tuple[Dropped, ...]) -> None:
    logger.debug("messages request", request_id=call.request_id, model=target.model_id, lane="translated")
    if dropped:
        paths = ", ".join(f"{entry.path} ({entry.reason})" for entry in dropped)
        logger.info("dropped in translation", request_id=call.request_id, model=target.model_id, dropped=paths)
