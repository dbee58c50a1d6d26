"""The builtin implementation of the Messages API, over the models that the stack serves."""

from collections.abc import Awaitable
from dataclasses import replace

from llama_stack_api_messages import Call, MessageReply, PendingStream, Reply, RequestBody, ServeSettings, StreamReply
from llama_stack_api_messages.errors import InvalidRequestError, MessagesError, NotFoundError
from llama_stack_api_messages.models import CountTokensRequest, CreateMessageRequest
from llama_stack_api_messages.models.catalog import ModelInfo, ModelList, ModelQuery

from .config import MessagesConfig
from .headers import LANE_HEADER
from .native.backend import NativeBackend
from .routing.aliases import Aliases
from .routing.catalog import Catalog, model_info
from .routing.lanes import Lanes
from .routing.probe import Probes
from .routing.route import Backend, LaneName, Route
from .stack import ModelTypeError, Platform, Target, check_allowed, get_logger
from .translated.backend import TranslatedBackend
from .translated.media.loader import MediaLoader
from .translated.profiles import Profiles
from .translated.signing_key import random_key
from .upstream.client import UpstreamClient

logger = get_logger(__name__)

_LISTED_MODELS = 20
"""Limit of model names listed in a 404; more would hide the advice at its end."""
_LONGEST_NAME = 500
"""Limit of a model name in characters; logs and backends get the name unchanged."""


class MessagesImpl:
    """Resolves the model of a request, selects the lane, and returns the reply of the lane.

    It is not bound to an event loop: the platform constructs it in one that does not serve requests.

    Args:
        config: The provider's configuration.
        platform: The stack's models and inference.
        key: Signs thinking blocks; without it a random key is used, and signatures are valid until the process ends.
    """

    def __init__(self, config: MessagesConfig, platform: Platform, key: bytes | None = None) -> None:
        self.settings = ServeSettings(config.ping_seconds, config.max_request_bytes)
        self._aliases = Aliases(config.aliases, config.default_model)
        self._platform = platform
        self._catalog = Catalog(platform, self._aliases.exact)
        probes, client = Probes(config.native_probe_seconds), UpstreamClient()
        translated = TranslatedBackend(
            platform,
            client,
            key or random_key(),
            policy=config.policy(),
            profiles=Profiles(config.backends),
            media=MediaLoader(config.media_hosts, config.media_max_bytes, config.media_timeout_seconds),
        )
        native = NativeBackend(platform, client, probes, translated)
        self._lanes = Lanes(config.native, probes, native.probe, may_ask=config.allow_lane_header)
        self._backends: dict[LaneName, Backend] = {"native": native, "translated": translated}

    async def shutdown(self) -> None:
        """Close the connections and threads of the lanes."""
        for backend in self._backends.values():
            await backend.close()

    async def create_message(self, body: RequestBody[CreateMessageRequest], call: Call) -> Reply:
        """Return the reply to a request; see ``Messages.create_message``."""
        route = await self._route(body.model, call)
        backend = self._backends[route.lane]
        if not body.stream:
            return await _told(route, backend.create(body, call, route))

        async def connect() -> StreamReply:
            return await _told(route, backend.stream(body, call, route))

        return PendingStream(connect, {LANE_HEADER: route.header}, route.status_first)

    async def count_tokens(self, body: RequestBody[CountTokensRequest], call: Call) -> MessageReply:
        """Return the token count of a prompt; see ``Messages.count_tokens``."""
        route = await self._route(body.model, call)
        return await _told(route, self._backends[route.lane].count(body, call, route))

    async def list_models(self, query: ModelQuery) -> ModelList:
        """Return a page of the model names; see ``Messages.list_models``."""
        return await self._catalog.page(query)

    async def get_model(self, name: str) -> ModelInfo:
        """Return the entry of one model name; see ``Messages.get_model``."""
        target = await self._target(name)
        try:
            check_allowed(target)
        except ValueError:
            raise await self._not_served(name) from None
        return model_info(name, target.model_id)

    async def _route(self, name: str, call: Call) -> Route:
        target = await self._target(name)
        try:
            check_allowed(target)
        except ValueError:  # its message lists all allowed models and reveals the target of an alias
            text = f"model: {name[:_LONGEST_NAME]} is not among the models that its provider allows"
            raise InvalidRequestError(f"{text}. {await self._remedy()}") from None
        return await self._lanes.choose(target, call)

    async def _target(self, name: str) -> Target:
        model_id = self._aliases.resolve(name, self._platform.is_served) if _is_name(name) else None
        try:
            target = await self._platform.locate(model_id) if model_id else None
        except ModelTypeError:
            raise InvalidRequestError(f"model: {name} is not a language model") from None
        if target:
            return target
        if model_id not in (None, name):  # log only: the caller may not be allowed to know
            logger.warning("model not available to the caller", requested=name, stands_for=model_id)
        raise await self._not_served(name)

    async def _not_served(self, name: str) -> NotFoundError:
        return NotFoundError(f"model: {name[:_LONGEST_NAME]} is not served here. {await self._remedy()}")

    async def _remedy(self) -> str:
        served = await self._platform.served_models()
        listed = ", ".join(served[:_LISTED_MODELS]) + (", ..." if len(served) > _LISTED_MODELS else "")
        return f"Served: {listed or 'nothing'}. An alias or default_model of the server can map the name"


async def _told[R: MessageReply | StreamReply](route: Route, work: Awaitable[R]) -> R:
    """Return the lane's reply, or raise its error, with the lane header added."""
    try:
        reply = await work
    except MessagesError as error:
        error.headers.setdefault(LANE_HEADER, route.header)
        raise
    return replace(reply, headers={**reply.headers, LANE_HEADER: route.header})


def _is_name(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and name.isprintable()
