"""What an implementation of the Messages API offers to the routes."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from .models import CreateMessageRequest


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call, as far as an implementation needs to know it.

    Attributes:
        request_id: ``req_...``; sent back in the ``request-id`` header and in error bodies.
        headers: Request headers, names in lower case.
        body: The request body as received, decompressed; empty in library-client mode.
    """

    request_id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


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
    """

    frames: AsyncGenerator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


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

    async def create_message(self, request: CreateMessageRequest, call: Call) -> MessageReply | StreamReply:
        """Answer one request: a ``StreamReply`` if ``request.stream``, else a ``MessageReply``.

        A ``StreamReply`` is returned once the upstream has accepted the request, so that a refusal
        can still be answered with its own HTTP status.

        Raises:
            MessagesError: Every failure a client may see.
        """
        ...
