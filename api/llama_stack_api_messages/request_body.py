"""A request body: read with size limits, and parsed only when needed."""

import contextlib
import json
import zlib
from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from typing import Protocol

from pydantic import BaseModel, ValidationError

from .errors import InvalidRequestError, RequestTooLargeError
from .json_members import Member, MembersLimitError, Span, members, text_at
from .limits import check_edits, check_unknown_fields, check_values
from .models import PromptRequest, describe_validation_error

_GZIP = 16 + zlib.MAX_WBITS
"""zlib's ``wbits`` for the gzip format."""
_MAX_RATIO = 100
"""Highest compression ratio accepted: text reaches 20; a decompression bomb would keep the parser busy for seconds."""
_MAX_GZIP_MEMBERS = 64
"""Clients send one member; the bytes after each member are copied, so their number is limited."""
_SMALL_BODY = 1024 * 1024
"""Bytes after decompression below which the ratio does not matter."""
_FLAGS = {b"true": True, b"false": False, b"null": False}
_DRAIN_FACTOR = 4
"""A body that is too large is read and discarded up to this many times the limit, so that a client that is still
sending gets to read the error response."""


class Incoming(Protocol):
    """The part of Starlette's request that is needed here."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the request headers, names in any case."""
        ...

    def stream(self) -> AsyncIterator[bytes]:
        """Return the body in chunks."""
        ...


async def read_body(request: Incoming, limit: int) -> bytes:
    """Return the decoded body.

    Raises:
        RequestTooLargeError: The body has more than ``limit`` bytes, before or after decompression.
        InvalidRequestError: The content encoding is not supported, or the compressed data are damaged.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            parts.append(part)
        elif size > _DRAIN_FACTOR * limit:
            break
    if size > limit:
        raise RequestTooLargeError(f"Request exceeds the maximum size of {limit} bytes; send less, or raise the limit")
    return _decode(b"".join(parts), request.headers.get("content-encoding", "identity").strip().lower(), limit)


def _decode(body: bytes, encoding: str, limit: int) -> bytes:
    if encoding in ("", "identity") or not body:
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise InvalidRequestError(
            f"content-encoding: {encoding} is not supported; send gzip or no encoding",
            details={"error_code": "request_body_encoding_unsupported"},
        )
    allowed = min(limit, max(_SMALL_BODY, _MAX_RATIO * len(body)))
    data, rest = b"", body
    for _ in range(_MAX_GZIP_MEMBERS):  # gzip allows several members in a row
        inflate = zlib.decompressobj(_GZIP)
        try:
            data += inflate.decompress(rest, allowed - len(data) + 1)
        except zlib.error as error:
            raise _damaged() from error
        if len(data) > allowed:
            raise RequestTooLargeError(
                f"Request exceeds the maximum size of {allowed} bytes after decompression",
                details={"error_code": "request_body_too_large_after_decoding"},
            )
        if not inflate.eof:
            raise _damaged()
        rest = inflate.unused_data
        if not rest:
            return data
    raise _damaged()


def _damaged() -> InvalidRequestError:
    return InvalidRequestError(
        "The body is not valid gzip; send it again, or without content-encoding",
        details={"error_code": "request_body_encoding_invalid"},
    )


class RequestBody[M: PromptRequest]:
    """The body of a request that names a model, as received.

    Relaying needs two members only, ``model`` and ``stream``: the rest is neither parsed nor validated.

    Args:
        data: The bytes.
        kind: The class to parse them into.

    Attributes:
        members: Its top-level members.
        model: The requested model.
        model_span: Position of that name in the bytes. The member must be unique: JSON parsers differ about which
            duplicate wins, Go even accepts ``Model``, and the model that was authorized has to be the one that is used.
        stream: Whether the client requested a stream.

    Raises:
        InvalidRequestError: The bytes are not a JSON object, ``model`` is missing or duplicate, or a limit is exceeded.
    """

    def __init__(self, data: bytes, kind: type[M]) -> None:
        self.data = data
        self._kind = kind
        check_values(data)
        check_unknown_fields(data)
        self.members = _members(data)
        check_edits(data, self.members)
        self.model_span = self._only("model")
        self.model = self._name() or self.parsed.model
        self.stream = self._flag("stream")

    @classmethod
    def of(cls, params: "RequestBody[M] | M") -> "RequestBody[M]":
        """Return the body of a parsed request (library-client mode); a ``RequestBody`` is returned unchanged."""
        if isinstance(params, RequestBody):
            return params
        return cls(params.model_dump_json(by_alias=True, exclude_unset=True).encode(), type(params))

    def _only(self, name: str) -> Span | None:
        found = [value for member, value in self.members if member.lower() == name]
        if len(found) > 1:
            raise InvalidRequestError(f"{name}: given more than once; send it once")
        return found[0] if name in (member for member, _ in self.members) else None

    def _name(self) -> str | None:
        return text_at(self.data, self.model_span)

    def _flag(self, name: str) -> bool:
        """Return a boolean member; of duplicates the last one wins, as in JSON parsers. Other values are validated."""
        said = [self.data[value.start : value.end] for member, value in self.members if member == name]
        if said and said[-1] not in _FLAGS:
            return bool(getattr(self.parsed, name, False))
        return bool(said) and _FLAGS[said[-1]]

    @cached_property
    def parsed(self) -> M:
        """Return the parsed and validated request.

        Raises:
            InvalidRequestError: The request is not valid; the message begins with the JSON path.
        """
        return parse(self._kind, self.data)


def _members(data: bytes) -> list[Member]:
    try:
        return members(data)
    except MembersLimitError as error:
        raise InvalidRequestError(f"request: {error}") from None
    except ValueError:
        return []


def parse[B: BaseModel](model: type[B], body: bytes) -> B:
    """Return the parsed body; the error of an invalid one begins with the JSON path of its first invalid value."""
    if b"NaN" in body or b"Infinity" in body:
        _refuse_constants(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise InvalidRequestError(describe_validation_error(error)) from None


def _refuse_constants(body: bytes) -> None:
    """Reject NaN and Infinity, which are not JSON: parsers differ about them, and the backend would receive them."""

    def refuse(name: str) -> None:
        raise InvalidRequestError(f"The request body is not valid JSON: {name} is not a number; send null")

    with contextlib.suppress(ValueError, RecursionError):  # the validation that follows has better messages
        json.loads(body, parse_constant=refuse)
