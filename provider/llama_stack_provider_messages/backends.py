"""What can answer a Messages request: the contract of a lane, and what leads to it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from llama_stack_api_messages import Call, MessageReply, RequestBody, StreamReply
from llama_stack_api_messages.models import CountTokensRequest, CreateMessageRequest

from .native_settings import NativeSettings
from .stack import Target

type LaneName = Literal["native", "translated"]

LANE_HEADER = "x-messages-lane"
"""Response header with lane and reason; request header to ask for one, where the configuration allows it."""

COUNT_HEADER = "x-messages-token-count"
"""Whether a count is ``exact`` or an ``estimate``."""


_PUBLIC = frozenset({"anthropic-version", "anthropic-beta", "content-type", "accept", "user-agent"})
_LIKE_A_KEY = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z]).{8,}")
"""Letters and digits; a value of letters alone is a word, which errors may hold."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A backend that speaks the Messages API.

    Attributes:
        provider_id: Name of its inference provider, which messages may show.
        base_url: Without ``/v1``.
        headers: Credentials of this request, and others of the provider.
        settings: How the operator wants it used.
        anthropic: It is Anthropic's own API.
        secret: The key among the headers.
    """

    provider_id: str
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    settings: NativeSettings
    anthropic: bool = False
    secret: str | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What errors must not show: the key, and values of further headers that may be another one."""
        values = [text.split(" ")[-1] for name, text in self.headers.items() if name.lower() not in _PUBLIC]
        return tuple(filter(None, [self.secret, *filter(_LIKE_A_KEY.fullmatch, values)]))


@dataclass(frozen=True, slots=True)
class Route:
    """The way of one request.

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
