"""A request body: read with size limits, and parsed only when needed.

A body may have megabytes, and the native lane passes it on. So ``RequestBody`` keeps the bytes and reads two members;
code that needs more uses ``parsed``, which validates the whole request once. What would be expensive for every later
step is rejected first, on the bytes: decompression bombs here, too many parts in ``limits.py``.
"""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from typing import Protocol

from pydantic import BaseModel, ValidationError

from .errors import InvalidRequestError, RequestTimeoutError, RequestTooLargeError
from .json_bytes import JSONConstantError, reject_constant
from .json_members import MembersLimitError, members, text_at
from .limits import DEFAULT_LIMITS, BodyCheck, RequestLimits
from .models import PromptRequest, describe_validation_error

_GZIP = 16 + zlib.MAX_WBITS
"""zlib's ``wbits`` for the gzip format."""
_MAX_COMPRESSION_RATIO = 100
"""Highest compression ratio accepted: text reaches 20; a decompression bomb would keep the parser busy for seconds."""
_MAX_GZIP_MEMBERS = 64
"""Clients send one member; the bytes after each member are copied, so their number is limited."""
_SMALL_BODY_BYTES = 1024 * 1024
"""Size after decompression below which the ratio does not matter."""
_FLAGS = {b"true": True, b"false": False, b"null": False}
_BEFORE_VALUE = b":,[- \t\r\n"
_MAX_WORDS = 1_000
"""Words with NaN or Infinity in them that are looked at, before the body is decoded to find out."""
_MAX_DRAIN_FACTOR = 4
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


async def read_body(request: Incoming, limit: int, silence_seconds: float) -> bytes:
    """Return the decoded body.

    Args:
        request: The request.
        limit: Maximum number of bytes.
        silence_seconds: How long the next bytes may take.

    Raises:
        RequestTooLargeError: The body has more than ``limit`` bytes, before or after decompression.
        RequestTimeoutError: The body stopped arriving. The server then closes the connection.
        InvalidRequestError: The content encoding is not supported, or the compressed data are damaged.
    """
    parts: list[bytes] = []
    size = 0
    stream = request.stream()
    try:
        while size <= _MAX_DRAIN_FACTOR * limit:
            async with asyncio.timeout(silence_seconds):
                part = await anext(stream, None)
            if part is None:
                break
            size += len(part)
            if size <= limit:
                parts.append(part)
    except TimeoutError:
        raise RequestTimeoutError(
            f"The request body stopped arriving: no bytes for {silence_seconds:g} seconds; send the request again",
            headers={"connection": "close"},
        ) from None
    if size > limit:
        raise RequestTooLargeError(
            f"Request exceeds the maximum size of {limit} bytes; send less, or raise max_request_bytes"
        )
    return _decode(b"".join(parts), request.headers.get("content-encoding", "identity").strip().lower(), limit)


def _decode(body: bytes, encoding: str, limit: int) -> bytes:
    if encoding in ("", "identity") or not body:
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise InvalidRequestError(
            f"content-encoding: {encoding} is not supported; send gzip or no encoding",
            details={"error_code": "request_body_encoding_unsupported"},
        )
    allowed = min(limit, max(_SMALL_BODY_BYTES, _MAX_COMPRESSION_RATIO * len(body)))
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
        model_class: The class to parse them into.
        limits: The limits that the operator has set.

    Attributes:
        members: Its top-level members.
        model: The requested model.
        model_span: Position of that name in the bytes. The member must be unique: JSON parsers differ about which
            duplicate wins, Go even accepts ``Model``, and the model that was authorized has to be the one that is used.
        stream: Whether the client requested a stream. Of duplicates the last one wins, as in JSON parsers.

    Raises:
        InvalidRequestError: The bytes are not a JSON object, ``model`` is missing or duplicate, or a limit is exceeded.
    """

    def __init__(self, data: bytes, model_class: type[M], limits: RequestLimits = DEFAULT_LIMITS) -> None:
        self.data = data
        self._model_class = model_class
        check = BodyCheck(data, limits)
        try:
            self.members = members(data)
        except MembersLimitError as error:
            raise InvalidRequestError(f"request: {error}") from None
        except ValueError:  # parsing the whole body reports it
            self.members = []
        check.check_members(self.members)

        if sum(name.lower() == "model" for name, _ in self.members) > 1:
            raise InvalidRequestError("model: given more than once; send it once")
        self.model_span = next((value for name, value in self.members if name == "model"), None)
        self.model = text_at(data, self.model_span) or self.parsed.model

        literals = [data[value.start : value.end] for name, value in self.members if name == "stream"]
        literal = literals[-1] if literals else b"false"
        self.stream = _FLAGS[literal] if literal in _FLAGS else bool(getattr(self.parsed, "stream", False))

    @classmethod
    def of(cls, params: "RequestBody[M] | M", limits: RequestLimits = DEFAULT_LIMITS) -> "RequestBody[M]":
        """Return the body of a parsed request (library-client mode); a ``RequestBody`` is returned unchanged."""
        if isinstance(params, RequestBody):
            return params
        return cls(params.model_dump_json(by_alias=True, exclude_unset=True).encode(), type(params), limits)

    @cached_property
    def parsed(self) -> M:
        """Return the parsed and validated request.

        Raises:
            InvalidRequestError: The request is not valid; the message begins with the JSON path.
        """
        return parse(self._model_class, self.data, checked=bool(self.members))


def _has_constant(body: bytes) -> bool:
    """Return whether NaN or Infinity may be a value. In base64 and text the letters occur inside of words."""
    for name in (b"NaN", b"Infinity"):
        at = body.find(name)
        for _ in range(_MAX_WORDS):
            if at < 0:
                break
            if body[at - 1] in _BEFORE_VALUE:
                return True
            at = body.find(name, at + 1)
        else:
            return True
    return False


def parse[B: BaseModel](model: type[B], body: bytes, *, checked: bool = False) -> B:
    """Return the parsed body.

    Args:
        model: The class to parse it into.
        body: JSON.
        checked: NaN and Infinity have been ruled out, as ``members`` does; searching megabytes takes milliseconds.

    Raises:
        InvalidRequestError: The body is not valid; the message begins with the JSON path of the first invalid value.
    """
    if not checked and _has_constant(body):
        try:
            json.loads(body, parse_constant=reject_constant)
        except JSONConstantError as error:  # parsers differ about it, and the backend would receive it
            raise InvalidRequestError(f"The request body is not valid JSON: {error}; send null") from None
        except (ValueError, RecursionError):
            pass  # the validation below has better messages
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise InvalidRequestError(describe_validation_error(error)) from None
