"""What an implementation of the Messages API offers to the routes."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from .models import CountTokensRequest, CreateMessageRequest
from .models.catalog import ModelInfo, ModelList, ModelQuery
from .request_body import RequestBody


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call, as far as an implementation needs to know it.

    Attributes:
        request_id: ``req_...``; sent back in the ``request-id`` header and in error bodies.
        headers: Request headers, names in lower case.
        query: What stands behind the ``?`` of the URL, as it was sent.
    """

    request_id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""


@dataclass(frozen=True, slots=True)
class MessageReply:
    """A whole Message: its JSON body and the response headers that go with it."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamReply:
    """A stream the upstream has accepted.

    Attributes:
        frames: Server-sent events as bytes. Closing it closes the upstream. It may raise ``MessagesError``.
        headers: Response headers.
        relayed: The frames are the upstream's own chunks, wherever it cut them: each is sent by itself, when it comes.
            Otherwise a frame is a whole event, and frames that are ready together leave together.
    """

    frames: AsyncGenerator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    relayed: bool = False


@dataclass(frozen=True, slots=True)
class PendingStream:
    """A stream whose upstream is still to be called.

    Attributes:
        connect: Calls the upstream; returns once it has accepted, raises ``MessagesError`` if it refuses.
        headers: Response headers that are known before.
        status_first: The upstream's status is to become ours: nothing is sent to the client before it has answered.
            Otherwise pings may go out while it is silent.
    """

    connect: Callable[[], Awaitable[StreamReply]]
    headers: Mapping[str, str] = field(default_factory=dict)
    status_first: bool = False


type Reply = MessageReply | StreamReply | PendingStream


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What the routes need to know of an implementation's configuration.

    Attributes:
        ping_seconds: A stream that was silent for so long gets a ``ping`` event.
        max_request_bytes: Larger bodies are answered with 413, before and after decompression.
    """

    ping_seconds: float = 10.0
    max_request_bytes: int = 32 * 1024 * 1024


@runtime_checkable
class Messages(Protocol):
    """The Messages API of a stack."""

    settings: ServeSettings

    async def create_message(self, body: RequestBody[CreateMessageRequest], call: Call) -> Reply:
        """Answer one request: with a stream if ``body.stream``, else with a ``MessageReply``.

        A ``StreamReply`` is returned once the upstream has accepted the request, so that a refusal
        can still be answered with its own HTTP status.

        Raises:
            MessagesError: Every failure a client may see.
        """
        ...

    async def count_tokens(self, body: RequestBody[CountTokensRequest], call: Call) -> MessageReply:
        """Return ``{"input_tokens": N}`` for the prompt of a request, without generating anything.

        Raises:
            MessagesError: Every failure a client may see.
        """
        ...

    async def list_models(self, query: ModelQuery) -> ModelList:
        """Return a page of the names that the caller may send as a model.

        Raises:
            MessagesError: Every failure a client may see.
        """
        ...

    async def get_model(self, name: str) -> ModelInfo:
        """Return what is known of a name that a message may be asked of.

        Raises:
            NotFoundError: Nothing answers it.
        """
        ...
