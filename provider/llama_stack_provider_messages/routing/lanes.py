"""Selects the lane of a request: native (the backend's own Messages API) or translated (chat completions).

In order of precedence: the lane header of the request, if the operator allows it; the configuration of the inference
provider; the provider's own declaration (``SpeaksMessages``); the result of a probe of its backend.
"""

from collections.abc import Awaitable, Callable, Mapping

from llama_stack_api_messages import Call, SpeaksMessages
from llama_stack_api_messages.errors import ApiError, InvalidRequestError
from llama_stack_provider_messages.headers import LANE_HEADER
from llama_stack_provider_messages.stack import Target, get_logger
from llama_stack_provider_messages.upstream.address import NativeSettings, Upstream, declared_by, upstream_of

from .probe import Probes
from .route import LaneName, Route

logger = get_logger(__name__)

PROBED_TYPES = frozenset({"remote::ollama", "remote::vllm", "remote::anthropic"})
"""Provider types whose backends are probed without being configured. llama.cpp is not among them: its endpoint deviates
from the API (``repair`` mends that)."""

type Probe = Callable[[Target, Upstream], Awaitable[tuple[int, bytes]]]


class Lanes:
    """Selects the lane of each request.

    Args:
        native: The settings by inference provider id.
        probes: The probe results of upstreams.
        probe: Sends a probe.
        may_ask: Whether a request may select its lane by header.
    """

    def __init__(self, native: Mapping[str, NativeSettings], probes: Probes, probe: Probe, *, may_ask: bool) -> None:
        self._native = native
        self._probes = probes
        self._probe = probe
        self._may_ask = may_ask
        self._last: dict[str, str] = {}

    async def choose(self, target: Target, call: Call) -> Route:
        """Return the route of a request.

        Raises:
            InvalidRequestError: The request selects a lane that does not exist.
            MessagesError: The native lane is required, but the address of the backend is not available.
        """
        route = await self._choose(target, self._asked(call))
        if route.reason != "asked" and self._last.get(target.provider_id) != route.header:
            self._last[target.provider_id] = route.header
            logger.info("lane selected", provider_id=target.provider_id, lane=route.lane, reason=route.reason)
        return route

    def _asked(self, call: Call) -> LaneName | None:
        asked = call.headers.get(LANE_HEADER) if self._may_ask else None
        match asked:
            case None | "native" | "translated":
                return asked
        raise InvalidRequestError(f"{LANE_HEADER}: send native or translated")

    async def _choose(self, target: Target, asked: LaneName | None) -> Route:
        configured = self._native.get(target.provider_id)
        mode = configured.mode if configured else None
        if asked == "translated":
            return Route(target, "translated", "asked")
        if mode == "off" and asked is None:
            return Route(target, "translated", "configured")
        speaks = isinstance(target.provider, SpeaksMessages)
        declared = await declared_by(target) if speaks else None
        upstream = upstream_of(target, configured or NativeSettings(), declared)
        if asked == "native":
            return Route(target, "native", "asked", upstream or _nowhere(target, asked))
        if mode == "on":
            return Route(target, "native", "configured", upstream or _nowhere(target, asked))
        if speaks and (declared is None or declared.preferred):
            return Route(target, "native" if declared else "translated", "declared", upstream if declared else None)
        if upstream is None or (mode is None and target.provider_type not in PROBED_TYPES):
            return Route(target, "translated", "default")
        return await self._probed(target, upstream)

    async def _probed(self, target: Target, upstream: Upstream) -> Route:
        found = await self._probes.speaks_messages(target.provider_id, lambda: self._probe(target, upstream))
        if found:
            return Route(target, "native", "probed", upstream)
        return Route(target, "translated", "unanswered" if found is None else "probed")


def _nowhere(target: Target, asked: LaneName | None) -> Upstream:
    text = f"The backend '{target.provider_id}' has no known Messages API"
    if asked:
        raise InvalidRequestError(f"{LANE_HEADER}: {text}; leave this header out")
    raise ApiError(f"{text}; its operator has to set native.{target.provider_id}.base_url", retryable=False)
