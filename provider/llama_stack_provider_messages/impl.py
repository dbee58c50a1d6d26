"""The builtin implementation of the Messages API, over the models that the stack serves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from llama_stack_api_messages import Call, MessageReply, PendingStream, Reply, RequestBody, StreamReply
from llama_stack_api_messages.errors import MessagesError
from llama_stack_api_messages.models import CountTokensRequest, CreateMessageRequest
from llama_stack_api_messages.models.catalog import ModelInfo, ModelList, ModelQuery

from .config import MessagesConfig
from .errors.exceptions import check_key_and_headers
from .headers import LANE_HEADER, MODEL_HEADER
from .native.lane import NativeLane
from .routing.catalog import Aliases, Catalog, NamedTarget
from .routing.lanes import LaneSelector, NativeRoute, Route
from .routing.limits import ModelLimits
from .routing.probe import Probes
from .stack import Platform
from .translated.chat_backend import ChatBackend
from .translated.lane import Profiles, TranslatedLane
from .translated.media.fetch import Fetcher
from .translated.media.loader import MediaLoader
from .upstream.client import UpstreamClient


class MessagesImpl:
    """Resolves the model of a request, selects the lane, and returns the reply of the lane.

    It is not bound to an event loop: the platform constructs it in one that does not serve requests.

    Args:
        config: The provider's configuration.
        platform: The stack's models and inference.
        key: Signs thinking blocks.
    """

    def __init__(self, config: MessagesConfig, platform: Platform, key: bytes) -> None:
        self.settings = config.serve_settings()
        probes, client = Probes(config.native_probe_seconds), UpstreamClient(config.connect_retries)
        self._limits = ModelLimits(client, config.backends)
        self._catalog = Catalog(platform, Aliases(config.aliases, config.default_model), self._limits)
        self._translated = TranslatedLane(
            platform,
            client,
            key,
            backend=ChatBackend(platform, client, config.wire),
            policy=config.policy(),
            profiles=Profiles(config.backends),
            media=MediaLoader(Fetcher(config.media_hosts, config.media_timeout_seconds), config.media_max_bytes),
        )
        self._native = NativeLane(platform, client, probes, self._translated)
        self._lanes = LaneSelector(config.native, probes, self._native.probe, allow_header=config.allow_lane_header)

    async def create_message(self, body: RequestBody[CreateMessageRequest], call: Call) -> Reply:
        """Return the reply to a request; see ``Messages.create_message``."""
        found = await self._catalog.resolve(body.model)

        async def select() -> PendingStream:
            route, headers = await self._route(found, call)

            async def connect() -> StreamReply:
                reply = await self._reply(body, call, route, headers)
                if not isinstance(reply, StreamReply):
                    raise TypeError(f"the {route.lane} lane did not return a stream")
                return reply

            return PendingStream(connect, headers, route.status_first)

        if body.stream:
            return PendingStream(select, {MODEL_HEADER: found.header}, selecting=True)
        return await self._reply(body, call, *await self._route(found, call))

    async def _reply(
        self, body: RequestBody[CreateMessageRequest], call: Call, route: Route, headers: Mapping[str, str]
    ) -> MessageReply | StreamReply:
        with _errors_with(headers):
            if isinstance(route, NativeRoute):
                reply = await self._native.reply(body, call, route)
            else:
                reply = await self._translated.reply(body, call, route)
        return replace(reply, headers={**reply.headers, **headers})

    async def count_tokens(self, body: RequestBody[CountTokensRequest], call: Call) -> MessageReply:
        """Return the token count of a prompt; see ``Messages.count_tokens``."""
        route, headers = await self._route(await self._catalog.resolve(body.model), call)
        with _errors_with(headers):
            if isinstance(route, NativeRoute):
                reply = await self._native.count(body, call, route)
            else:
                reply = await self._translated.count(body, call, route)
        return replace(reply, headers={**reply.headers, **headers})

    async def _route(self, found: NamedTarget, call: Call) -> tuple[Route, dict[str, str]]:
        """Return the route of a request, and the headers of its reply that name the model and the lane."""
        headers = {MODEL_HEADER: found.header}
        with _errors_with(headers):
            check_key_and_headers(found.target.provider, found.target.provider_id)
            route = await self._lanes.choose(found.target, call)
        return route, headers | {LANE_HEADER: route.header}

    async def list_models(self, query: ModelQuery) -> ModelList:
        """Return a page of the model names; see ``Messages.list_models``."""
        return await self._catalog.page(query)

    async def get_model(self, name: str) -> ModelInfo:
        """Return the entry of one model name; see ``Messages.get_model``."""
        return await self._catalog.entry(name)

    async def shutdown(self) -> None:
        """Close the connections and threads of the lanes."""
        await self._limits.close()
        await self._native.close()
        await self._translated.close()


@contextmanager
def _errors_with(headers: Mapping[str, str]) -> Iterator[None]:
    """Add these headers to an error that is raised inside."""
    try:
        yield
    except MessagesError as error:
        error.headers = {**headers, **error.headers}
        raise
