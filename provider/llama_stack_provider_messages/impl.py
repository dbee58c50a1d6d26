"""The Messages API over what the stack serves."""

from llama_stack_api_messages import Call, MessageReply, ServeSettings, StreamReply
from llama_stack_api_messages.errors import InvalidRequestError, NotFoundError
from llama_stack_api_messages.models import CreateMessageRequest

from .aliases import Aliases
from .backends import Backend
from .config import MessagesConfig
from .signing import random_key
from .stack import ModelTypeError, Platform, Target, get_logger
from .translated import TranslatedBackend

logger = get_logger(__name__)

_LISTED_MODELS = 20
"""Model names in a 404; more would hide the remedy."""
_LONGEST_NAME = 500
"""No model has a longer one, and logs and backends get it as it is."""


class MessagesImpl:
    """Finds the model a request is for and hands it to the lane that can answer.

    It keeps nothing that belongs to an event loop: the platform constructs it in one that does not serve.

    Args:
        config: The provider's configuration.
        platform: The stack's models and inference.
        key: Of the signatures; without one they are good for the life of the process.
    """

    def __init__(self, config: MessagesConfig, platform: Platform, key: bytes | None = None) -> None:
        self.settings = ServeSettings(config.ping_seconds, config.max_request_bytes)
        self._aliases = Aliases(config.aliases, config.default_model)
        self._platform = platform
        self._translated: Backend = TranslatedBackend(platform, config, key or random_key())

    async def shutdown(self) -> None:
        """Release what the lanes hold."""
        await self._translated.close()

    async def create_message(self, request: CreateMessageRequest, call: Call) -> MessageReply | StreamReply:
        """Answer a request; see ``Messages.create_message``."""
        target = await self._target(request.model)
        return await self._translated.create(request, call, target)

    async def _target(self, name: str) -> Target:
        model_id = self._aliases.resolve(name, self._platform.is_served) if _is_name(name) else None
        try:
            target = await self._platform.locate(model_id) if model_id else None
        except ModelTypeError:
            raise InvalidRequestError(f"model: {name} is not a language model") from None
        if target:
            return target
        if model_id not in (None, name):  # only for the operator: the caller may not be allowed to know
            logger.warning("model not available to the caller", requested=name, stands_for=model_id)
        raise NotFoundError(f"model: {name[:_LONGEST_NAME]} is not served here. {await self._remedy()}")

    async def _remedy(self) -> str:
        served = await self._platform.served_models()
        listed = ", ".join(served[:_LISTED_MODELS]) + (", ..." if len(served) > _LISTED_MODELS else "")
        return f"Served: {listed or 'nothing'}. An alias or default_model of the server can map the name"


def _is_name(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and name.isprintable()
