"""Selects the lane of each request: native (the backend's own Messages API) or translated (chat completions).

Four facts can decide. They are looked at in this order, and the first that has an entry in ``LANES`` decides:

1. The request selects a lane with the header ``x-messages-lane``, if the operator allows that.
2. The operator configured the inference provider: ``native: {my-vllm: on}``.
3. The provider declares its upstream (``SpeaksMessages``): one to be preferred, or none at all.
4. A probe of the backend finds a Messages API, or does not.

Each fact costs more than the one before: the third may start an engine, the fourth sends a request. So a later fact is
not looked at when an earlier one has decided. Example: vLLM without configuration, whose backend has ``/v1/messages``,
gets ``("native", "probed")``, which the client sees as ``x-messages-lane: native; reason=probed``.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from llama_stack_api_messages import Call, MessageReply, RequestBody, SpeaksMessages, StreamReply
from llama_stack_api_messages.errors import ApiError, InvalidRequestError, MessagesError
from llama_stack_api_messages.models import CountTokensRequest, CreateMessageRequest
from llama_stack_provider_messages.headers import LANE_HEADER
from llama_stack_provider_messages.stack import Target, get_logger
from llama_stack_provider_messages.upstream.address import Upstream, declared_by, upstream_of
from llama_stack_provider_messages.upstream.settings import NativeSettings

from .probe import Probes

logger = get_logger(__name__)

type LaneName = Literal["native", "translated"]

type Reason = Literal["asked", "configured", "declared", "default", "probed", "unanswered"]

REASONS: Mapping[Reason, str] = {
    "asked": "the request selected the lane with its header",
    "configured": "the configuration sets `native` of the provider to `on` or `off`",
    "declared": "the inference provider declares its Messages API, or that it has none",
    "default": "no address is known, or backends of this provider type are probed only when configured",
    "probed": "a probe showed whether the backend has a Messages API",
    "unanswered": "the probe was inconclusive, for example because the backend is down; it is repeated soon",
}
"""The meaning of each reason, as in docs/native-lane.md."""

LANES: Mapping[tuple[str, str | bool | None], tuple[LaneName, Reason]] = {
    ("header", "native"): ("native", "asked"),
    ("header", "translated"): ("translated", "asked"),
    ("mode", "on"): ("native", "configured"),
    ("mode", "off"): ("translated", "configured"),
    ("declaration", "preferred"): ("native", "declared"),
    ("declaration", "none"): ("translated", "declared"),
    ("probe", "not sent"): ("translated", "default"),
    ("probe", True): ("native", "probed"),
    ("probe", False): ("translated", "probed"),
    ("probe", None): ("translated", "unanswered"),
}
"""Maps a fact and its value to a lane and a reason. ``_choose`` checks the facts in this order; if the table does not
have the value of a fact, it checks the next fact."""

PROBED_TYPES = frozenset({"remote::ollama", "remote::vllm", "remote::anthropic"})
"""Provider types whose backends are probed without being configured. llama.cpp is not among them: its endpoint deviates
from the API (``repair`` mends that)."""


@dataclass(frozen=True, slots=True)
class _Route:
    """What both routes have.

    Attributes:
        target: The model to use.
        reason: Why the lane was selected, a key of ``REASONS``.
    """

    lane: ClassVar[LaneName]
    target: Target
    reason: Reason

    @property
    def header(self) -> str:
        """Return the value of ``LANE_HEADER``."""
        return f"{self.lane}; reason={self.reason}"


@dataclass(frozen=True, slots=True)
class NativeRoute(_Route):
    """The route of a request that is passed through.

    Attributes:
        upstream: The backend's Messages API, with the credentials for this request.
    """

    lane = "native"
    upstream: Upstream

    @property
    def status_first(self) -> bool:
        """Return whether the upstream's status must be known before anything is sent to the client."""
        return not self.upstream.settings.ping_before_status


@dataclass(frozen=True, slots=True)
class TranslatedRoute(_Route):
    """The route of a request that is converted to a chat completion."""

    lane = "translated"
    status_first: ClassVar[bool] = False


type Route = NativeRoute | TranslatedRoute


class Lane[R: Route](Protocol):
    """The interface of a lane, which turns a request into a reply."""

    async def reply(self, body: RequestBody[CreateMessageRequest], call: Call, route: R) -> MessageReply | StreamReply:
        """Return the reply to a request: a stream if ``body.stream``, once the upstream has accepted the request."""
        ...

    async def count(self, body: RequestBody[CountTokensRequest], call: Call, route: R) -> MessageReply:
        """Return the token count of a prompt; see ``Messages.count_tokens``."""
        ...

    async def close(self) -> None:
        """Release connections and threads; called in the event loop that served the requests."""
        ...


type Probe = Callable[[Target, Upstream], Awaitable[tuple[int, bytes]]]


class LaneSelector:
    """Selects the lane of each request.

    Args:
        native: The settings by inference provider id.
        probes: The probe results of upstreams.
        probe: Sends a probe.
        allow_header: Whether a request may select its lane by header.
    """

    def __init__(
        self, native: Mapping[str, NativeSettings], probes: Probes, probe: Probe, *, allow_header: bool
    ) -> None:
        self._native = native
        self._probes = probes
        self._probe = probe
        self._allow_header = allow_header
        self._logged: dict[str, str] = {}

    async def choose(self, target: Target, call: Call) -> Route:
        """Return the route of a request; log it if it is not that of the provider's last request.

        Raises:
            InvalidRequestError: The request selects a lane that does not exist.
            MessagesError: The native lane is required, but the address of the backend is not available.
        """
        header = call.headers.get(LANE_HEADER) if self._allow_header else None
        if header not in (None, "native", "translated"):
            raise InvalidRequestError(f"{LANE_HEADER}: send native or translated")
        route = await self._choose(target, header)
        if route.reason != "asked" and self._logged.get(target.provider_id) != route.header:
            self._logged[target.provider_id] = route.header
            logger.info("lane selected", provider_id=target.provider_id, lane=route.lane, reason=route.reason)
        return route

    async def _choose(self, target: Target, header: str | None) -> Route:
        configured = self._native.get(target.provider_id)
        decision = LANES.get(("header", header)) or LANES.get(("mode", configured.mode if configured else None))
        if decision and decision[0] == "translated":
            return TranslatedRoute(target, decision[1])

        declared = await declared_by(target)
        upstream = upstream_of(target, configured or NativeSettings(), declared)
        if decision and upstream is None:
            raise _no_upstream(target, selected_by_header=header is not None)
        if decision is None and isinstance(target.provider, SpeaksMessages):
            preference = "none" if declared is None else "preferred" if declared.preferred else "possible"
            decision = LANES.get(("declaration", preference))

        if decision is None and upstream and (configured or target.provider_type in PROBED_TYPES):
            found = await self._probes.speaks_messages(target.provider_id, lambda: self._probe(target, upstream))
            decision = LANES["probe", found]
        lane, reason = decision or LANES["probe", "not sent"]
        if upstream is None or lane == "translated":
            return TranslatedRoute(target, reason)
        return NativeRoute(target, reason, upstream)


def _no_upstream(target: Target, *, selected_by_header: bool) -> MessagesError:
    text = f"The backend '{target.provider_id}' has no known Messages API"
    if selected_by_header:
        return InvalidRequestError(f"{LANE_HEADER}: {text}; leave this header out")
    return ApiError(f"{text}; its operator has to set native.{target.provider_id}.base_url", retryable=False)
