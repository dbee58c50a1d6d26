"""The route of a request, and the interface of a lane."""

from dataclasses import dataclass
from typing import Literal, Protocol

from llama_stack_api_messages import Call, MessageReply, RequestBody, StreamReply
from llama_stack_api_messages.models import CountTokensRequest, CreateMessageRequest
from llama_stack_provider_messages.stack import Target
from llama_stack_provider_messages.upstream.address import Upstream

type LaneName = Literal["native", "translated"]


@dataclass(frozen=True, slots=True)
class Route:
    """The lane chosen for one request.

    Attributes:
        target: The model to use.
        lane: The selected lane.
        reason: Why it was selected: ``configured``, ``declared`` (by the provider), ``probed``, ``unanswered``
            (inconclusive probe), ``default`` (of the provider type) or ``asked`` (by the request).
        upstream: The upstream of the native lane; None on the translated lane.
    """

    target: Target
    lane: LaneName
    reason: str
    upstream: Upstream | None = None

    @property
    def header(self) -> str:
        """Return the value of ``LANE_HEADER``."""
        return f"{self.lane}; reason={self.reason}"

    @property
    def status_first(self) -> bool:
        """Return whether the upstream's status must be known before anything is sent to the client."""
        return self.upstream is not None and not self.upstream.settings.ping_before_status


class Backend(Protocol):
    """The interface of a lane, which turns a request into a reply."""

    async def create(self, body: RequestBody[CreateMessageRequest], call: Call, route: Route) -> MessageReply:
        """Return the reply to a non-streaming request; see ``Messages.create_message``."""
        ...

    async def stream(self, body: RequestBody[CreateMessageRequest], call: Call, route: Route) -> StreamReply:
        """Return the reply to a streaming request, once the upstream has accepted it."""
        ...

    async def count(self, body: RequestBody[CountTokensRequest], call: Call, route: Route) -> MessageReply:
        """Return the token count of a prompt; see ``Messages.count_tokens``."""
        ...

    async def close(self) -> None:
        """Release connections and threads; called in the event loop that served the requests."""
        ...
