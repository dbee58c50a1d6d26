"""The protocols of this API and their types: of an implementation, and of a backend that speaks the API itself.

``Messages`` is what the HTTP routes call. Its methods take the body of a request and a ``Call``, and return a reply:

    MessageReply     the whole response
    StreamReply      a stream that the upstream has accepted
    PendingStream    a stream whose upstream request has not been sent yet

``SpeaksMessages`` is an optional method of an inference provider. With it, the provider declares that its backend
speaks the Messages API; without it, such a backend is found by configuration or probe:

    class MyInference:
        async def messages_upstream(self, resource_id: str) -> MessagesUpstream | None:
            return MessagesUpstream("https://example.com", {"x-api-key": self.config.key})
"""

import secrets
import string
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from .limits import DEFAULT_LIMITS, RequestLimits
from .models import CountTokensRequest, CreateMessageRequest
from .models.catalog import ModelInfo, ModelList, ModelQuery
from .request_body import RequestBody

_ID_ALPHABET = string.ascii_letters + string.digits
_ID_TABLE = bytes(ord(_ID_ALPHABET[number % len(_ID_ALPHABET)]) for number in range(256))
"""Maps each random byte to a letter or digit; ids have to be unique, not unguessable."""


def new_id(prefix: str) -> str:
    """Return a new id in the form of the API: a prefix such as ``req_`` and 24 random characters."""
    return prefix + secrets.token_bytes(24).translate(_ID_TABLE).decode()


@dataclass(frozen=True, slots=True)
class Call:
    """The parts of one HTTP request that an implementation needs, apart from the body.

    Attributes:
        request_id: ``req_...``; sent back in the ``request-id`` header and in error bodies.
        headers: Request headers, names in lower case.
        query: The query string of the URL, without the ``?``, undecoded.
    """

    request_id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""


@dataclass(frozen=True, slots=True)
class MessageReply:
    """A non-streaming response: its JSON body and its response headers."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamReply:
    """A stream the upstream has accepted.

    Attributes:
        frames: Server-sent events as bytes. Closing it closes the upstream response. It may raise ``MessagesError``.
        headers: Response headers.
        relayed: The frames are the upstream's own chunks, which may end inside an event; each is sent on its own as
            soon as it arrives. Otherwise each frame is a complete event, and frames that are ready together are sent in
            one write.
    """

    frames: AsyncGenerator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    relayed: bool = False


@dataclass(frozen=True, slots=True)
class PendingStream:
    """A stream whose upstream request has not been sent yet.

    Attributes:
        connect: Sends the upstream request; returns once it is accepted, raises ``MessagesError`` if it is refused.
            While ``selecting``, it returns the next ``PendingStream``.
        headers: Response headers that are known before the upstream responds.
        status_first: Send nothing to the client before the upstream's status is known, so that it becomes the status of
            our response. Otherwise pings may be sent while the upstream is silent.
        selecting: The upstream is not known yet, so the first ping waits longer: ``connect`` may return a stream with
            ``status_first``.
    """

    connect: Callable[[], Awaitable["StreamReply | PendingStream"]]
    headers: Mapping[str, str] = field(default_factory=dict)
    status_first: bool = False
    selecting: bool = False


type Reply = MessageReply | StreamReply | PendingStream


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """The settings of an implementation that the routes need.

    Attributes:
        ping_seconds: Seconds of silence on a stream after which a ``ping`` event is sent.
        max_request_bytes: Limit of the request body, before and after decompression; larger ones get 413.
        silence_seconds: How long the next bytes of a request body may take; a request that stops arriving gets 408.
        limits: Limits on messages, content blocks and tools; requests with more get 400.
    """

    ping_seconds: float = 10.0
    max_request_bytes: int = 32 * 1024 * 1024
    silence_seconds: float = 60.0
    limits: RequestLimits = DEFAULT_LIMITS


@runtime_checkable
class Messages(Protocol):
    """The Messages API of a stack."""

    settings: ServeSettings

    async def create_message(self, body: RequestBody[CreateMessageRequest], call: Call) -> Reply:
        """Return the reply to a request: a stream if ``body.stream``, else a ``MessageReply``.

        A ``StreamReply`` is returned only after the upstream has accepted the request, so that an error
        response of the upstream can still become the HTTP status.

        Raises:
            MessagesError: Any failure that the client may see.
        """
        ...

    async def count_tokens(self, body: RequestBody[CountTokensRequest], call: Call) -> MessageReply:
        """Return ``{"input_tokens": N}`` for the prompt of a request, without generating anything.

        Raises:
            MessagesError: Any failure that the client may see.
        """
        ...

    async def list_models(self, query: ModelQuery) -> ModelList:
        """Return a page of the model names that the caller may use.

        Raises:
            MessagesError: Any failure that the client may see.
        """
        ...

    async def get_model(self, name: str) -> ModelInfo:
        """Return the entry of one model name.

        Raises:
            NotFoundError: No model has this name, or the caller may not use it.
        """
        ...


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
        """Return the Messages API upstream for a model; return None if it has no Messages API.

        Called for every request, in its context, so that it can return the credentials of the request.

        Args:
            resource_id: The backend's name of the model.
        """
        ...
