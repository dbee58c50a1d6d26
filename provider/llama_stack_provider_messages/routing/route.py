"""What can answer a Messages request: the contract of a lane, and what leads to it."""

from dataclasses import dataclass
from typing import Literal, Protocol

from llama_stack_api_messages import Call, MessageReply, RequestBody, StreamReply
from llama_stack_api_messages.models import CountTokensRequest, CreateMessageRequest
from llama_stack_provider_messages.stack import Target
from llama_stack_provider_messages.upstream.address import Upstream

type LaneName = Literal["native", "translated"]

LANE_HEADER = "x-messages-lane"
"""Response header with lane and reason; request header to ask for one, where the configuration allows it."""

COUNT_HEADER = "x-messages-token-count"
"""Whether a count is ``exact`` or an ``estimate``."""


@dataclass(frozen=True, slots=True)
class Route:
    """The lane chosen for one request.

    Attributes:
        target: The model that answers.
        lane: Which way it goes.
        reason: Why: ``configured``, ``declared`` (by the provider), ``probed``, ``default`` (of the provider type) or
            ``asked`` (by the request).
        upstream: Where to, on the native lane.
    """

    target: Target
    lane: LaneName
    reason: str
    upstream: Upstream | None = None

    @property
    def header(self) -> str:
        """The value of the response header."""
        return f"{self.lane}; reason={self.reason}"

    @property
    def status_first(self) -> bool:
        """Whether the status of the answer has to be known before anything is sent to the client."""
        return self.upstream is not None and not self.upstream.settings.ping_before_status


class Backend(Protocol):
    """A lane: turns a request into a reply."""

    async def create(self, body: RequestBody[CreateMessageRequest], call: Call, route: Route) -> MessageReply:
        """Answer a request for a whole Message; see ``Messages.create_message``."""
        ...

    async def stream(self, body: RequestBody[CreateMessageRequest], call: Call, route: Route) -> StreamReply:
        """Answer a request for a stream; returns once the upstream has accepted."""
        ...

    async def count(self, body: RequestBody[CountTokensRequest], call: Call, route: Route) -> MessageReply:
        """Count its tokens; see ``Messages.count_tokens``."""
        ...

    async def close(self) -> None:
        """Release connections and threads; called in the loop that served."""
        ...
