"""How an inference provider says that its backend speaks the Messages API itself.

A provider object that has this one method is asked before anything is guessed or probed:

    class MyInference:
        async def messages_upstream(self, resource_id: str) -> MessagesUpstream | None:
            return MessagesUpstream("https://example.com", {"x-api-key": self.config.key})
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class MessagesUpstream:
    """A server with ``/v1/messages``.

    Attributes:
        base_url: As an Anthropic SDK takes it, without ``/v1``.
        headers: Credentials for this request, and what else it needs; names in lower case. They win over
            the client's, but for ``anthropic-beta``, which is added to it.
        preferred: Whether requests should go there; False leaves that to the operator (``native: {...: on}``).
        anthropic: It is Anthropic's own API; None if the provider does not know.
        secret: The key, which is kept out of errors; needed where it is in another header than ``x-api-key`` and
            ``authorization``.
    """

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    preferred: bool = True
    anthropic: bool | None = None
    secret: str | None = field(default=None, repr=False)


@runtime_checkable
class SpeaksMessages(Protocol):
    """An inference provider with a Messages API behind it."""

    async def messages_upstream(self, resource_id: str) -> MessagesUpstream | None:
        """Return where requests for a model of this provider may go as they are, None if there is no such place.

        Called for every request, in its context, so that per-request credentials can be used.

        Args:
            resource_id: The model, as the backend names it.
        """
        ...
