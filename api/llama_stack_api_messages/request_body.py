"""A request body: read within bounds, and understood as far as somebody asks."""

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
"""zlib's way to ask for the gzip container."""
_MAX_RATIO = 100
"""Compression beyond this is no request: text reaches 20, and a bomb would keep the parser busy for seconds."""
_MAX_GZIP_MEMBERS = 64
"""What is left behind each is copied; clients send one."""
_SMALL_BODY = 1024 * 1024
"""Bytes after decompression below which the ratio does not matter."""
_FLAGS = {b"true": True, b"false": False, b"null": False}
_DRAIN_FACTOR = 4
"""How many times the limit is read and thrown away, so that a client that sends on still sees the answer."""


class Incoming(Protocol):
    """What is read of an HTTP request; Starlette's have it."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in any case."""
        ...

    def stream(self) -> AsyncIterator[bytes]:
        """Return the body in parts."""
        ...


async def read_body(request: Incoming, limit: int) -> bytes:
    """Return the decoded body.

    Raises:
        RequestTooLargeError: It has more than ``limit`` bytes, before or after decompression.
        InvalidRequestError: It is compressed in a way this server does not know, or damaged.
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
    """The body of a request for a model, as it came.

    Relaying needs two of its members only: the rest is neither parsed nor validated.

    Args:
        data: The bytes.
        kind: What they are to be parsed as.

    Attributes:
        members: Its top-level members.
        model: The model asked for.
        model_span: Where that name stands. It has to stand there once: readers differ about which of several counts,
            in Go even ``Model`` does, and the model that was checked has to be the one that answers.
        stream: Whether the answer has to be a stream.

    Raises:
        InvalidRequestError: The bytes are no JSON object, it names no model or several, or exceeds a limit.
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
        """Return the body of a request that came without bytes, in library-client mode; any other as it is."""
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
        """Return what the last member of a name says, as parsers do; what is no boolean may be refused."""
        said = [self.data[value.start : value.end] for member, value in self.members if member == name]
        if said and said[-1] not in _FLAGS:
            return bool(getattr(self.parsed, name, False))
        return bool(said) and _FLAGS[said[-1]]

    @cached_property
    def parsed(self) -> M:
        """The whole request.

        Raises:
            InvalidRequestError: It does not fit; the message begins with the JSON path.
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
    """Return the request; the error names the first place in the body that is wrong, and what is wrong with it."""
    if b"NaN" in body or b"Infinity" in body:
        _refuse_constants(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise InvalidRequestError(describe_validation_error(error)) from None


def _refuse_constants(body: bytes) -> None:
    """Refuse numbers that JSON does not have; parsers differ about them, and the backend would see them again."""

    def refuse(name: str) -> None:
        raise InvalidRequestError(f"The request body is not valid JSON: {name} is not a number; send null")

    with contextlib.suppress(ValueError, RecursionError):  # told better by the validation that follows
        json.loads(body, parse_constant=refuse)
