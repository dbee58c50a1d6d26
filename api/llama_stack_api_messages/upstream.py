"""The optional method by which an inference provider declares that its backend speaks the Messages API.

A provider that has this method is used as declared; without it, the backend is found by configuration or probe:

    class MyInference:
        async def messages_upstream(self, resource_id: str) -> MessagesUpstream | None:
            return MessagesUpstream("https://example.com", {"x-api-key": self.config.key})
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class MessagesUpstream:
    """A server with the endpoint ``/v1/messages``.

    Attributes:
        base_url: Base URL as an Anthropic SDK takes it, without ``/v1``.
        headers: Credentials and other headers for this request, names in lower case. They win over the
            client's headers, except ``anthropic-beta``, which is merged with the client's.
        preferred: Whether the native lane is the default; False: only if the operator sets ``native: {...: on}``.
        anthropic: Whether it is Anthropic's own API; None if the provider does not know.
        secret: The key, to be redacted from errors; needed if it is in another header than ``x-api-key`` and
            ``authorization``.
    """

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    preferred: bool = True
    anthropic: bool | None = None
    secret: str | None = field(default=None, repr=False)


@runtime_checkable
class SpeaksMessages(Protocol):
    """An inference provider whose backend has a Messages API."""

    async def messages_upstream(self, resource_id: str) -> MessagesUpstream | None:
        """Return the Messages API upstream for a model of this provider, None if there is none.

        Called for every request, in its context, so that it can return the credentials of the request.

        Args:
            resource_id: The backend's name of the model.
        """
        ...
