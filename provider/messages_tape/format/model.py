"""The model of a tape: requests to an upstream and, for each, the response, its chunks, their timing and the end.

The classes define the file format (docs/tapes.md): ``file.py`` writes and reads them, ``tape.schema.json`` is
generated from them. They allow extra fields, so that a file keeps what a newer version or a person has added.

A tape has to follow the rules of HTTP (RFC 9110, RFC 9112), because otherwise it could not be played: the status is
that of a final response, headers have no control characters, and ``content-length`` fits the chunks. Tapes are also
edited by hand, so these rules are checked when a tape is read.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from .json_values import check_json, parse_json

FORMAT = 1
"""The only version of the format that this code reads and writes."""
STATUS = range(200, 600)
"""Status codes of final responses; 1xx codes are interim (RFC 9110, 15)."""
_MAX_SECONDS = 1_000_000_000
"""Longest duration; clocks and sleeps do not accept much larger numbers."""
_NO_BODY_STATUS = (204, 304)

_NOT_IN_NAME = r"[^!#$%&'*+.^_`|~0-9A-Za-z-]"
_NOT_IN_VALUE = r"[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]$"
_HEADERS_SCHEMA = {
    "type": "object",
    "propertyNames": {"minLength": 1, "not": {"pattern": _NOT_IN_NAME}},
    "additionalProperties": {"type": "string", "not": {"pattern": _NOT_IN_VALUE}},
}
"""The rules of ``_checked_headers`` as JSON Schema."""
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")


class Chunk(NamedTuple):
    """A chunk of a response body, as the connection delivered it.

    Args:
        seconds: Seconds since the previous chunk; for the first one, since the headers of the response.
        data: The bytes.
    """

    seconds: float
    data: bytes


class Body(NamedTuple):
    """The body of a request.

    Args:
        form: ``json`` (a structure), ``text`` (other text), or ``base64`` (other bytes).
        value: A JSON value, a string, or bytes.
    """

    form: Literal["json", "text", "base64"]
    value: Any

    @classmethod
    def of(cls, raw: bytes) -> "Body | None":
        """Return the body for raw bytes, or None if they are empty."""
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return cls("base64", raw)
        try:
            return cls("json", parse_json(text)) if raw else None
        except ValueError:
            return cls("text", text)


def header_value(text: str) -> str:
    """Return a valid header value: control characters, which lenient HTTP clients accept, become spaces."""
    return _CONTROL.sub(" ", text).strip(" \t")


def _read_seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 <= value <= _MAX_SECONDS):
        raise ValueError(f"a duration is a number of seconds, from 0 to {_MAX_SECONDS}")
    return float(value)


def _read_chunk(value: object) -> Chunk:
    if isinstance(value, Chunk):
        return value
    match value:
        case [seconds, str(text)]:
            return Chunk(_read_seconds(seconds), text.encode())
        case [seconds, {"base64": str(encoded), **rest}] if not rest:
            return Chunk(_read_seconds(seconds), b64decode(encoded, validate=True))
    raise ValueError('a chunk is [seconds, "text"] or [seconds, {base64: "..."}]')


def _write_chunk(chunk: Chunk) -> list[Any]:
    try:
        return [chunk.seconds, chunk.data.decode()]
    except UnicodeDecodeError:
        return [chunk.seconds, {"base64": b64encode(chunk.data).decode()}]


def _read_body(value: object) -> Body:
    if isinstance(value, Body):
        return value
    if isinstance(value, Mapping) and len(value) == 1:
        match dict(value):
            case {"json": content}:
                check_json(content)
                return Body("json", content)
            case {"text": str(text)}:
                return Body("text", text)
            case {"base64": str(encoded)}:
                return Body("base64", b64decode(encoded, validate=True))
    raise ValueError("a body has one of json, text and base64")


def _checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers if they are valid (RFC 9110, 5.1 and 5.5).

    Raises:
        ValueError: A name or a value is not valid. The message has the name, not the value.
    """
    for name, value in headers.items():
        if not name or re.search(_NOT_IN_NAME, name):
            raise ValueError(f"{name!r} is not a valid header name")
        if re.search(_NOT_IN_VALUE, value):
            raise ValueError(f"the value of header {name} has a line break, a control character or a blank at its end")
        value.encode()  # a lone surrogate is a ValueError too
    return headers


_DURATION = {"type": "number", "minimum": 0, "maximum": _MAX_SECONDS}
_BASE64 = {"type": "string", "contentEncoding": "base64"}
_ENCODED = {"type": "object", "required": ["base64"], "properties": {"base64": _BASE64}, "additionalProperties": False}

type ChunkField = Annotated[
    Chunk,
    PlainValidator(_read_chunk),
    PlainSerializer(_write_chunk),
    WithJsonSchema({
        "type": "array",
        "prefixItems": [_DURATION, {"anyOf": [{"type": "string"}, _ENCODED]}],
        "minItems": 2,
        "maxItems": 2,
    }),
]  # fmt: skip
type BodyField = Annotated[
    Body,
    PlainValidator(_read_body),
    PlainSerializer(lambda body: {body.form: b64encode(body.value).decode() if body.form == "base64" else body.value}),
    WithJsonSchema({
        "type": "object",
        "properties": {"json": {}, "text": {"type": "string"}, "base64": _BASE64},
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }),
]  # fmt: skip
type Seconds = Annotated[float, PlainValidator(_read_seconds), WithJsonSchema(_DURATION)]
type Headers = Annotated[dict[str, str], AfterValidator(_checked_headers), WithJsonSchema(_HEADERS_SCHEMA)]


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Upstream(_Open):
    """The server that responded, as far as it is known; without its address."""

    kind: str = Field(default="", description="The kind of server, such as `llama.cpp` or `vllm`.")
    model: str = Field(default="", description="The model that responded.")
    version: str = Field(default="", description="The version of the server.")
    date: str = Field(default="", description="The date of the recording, `YYYY-MM-DD`.")


class Ignore(_Open):
    """The parts of requests that matching ignores on this tape."""

    query: tuple[str, ...] = Field(default=(), description="Names of query parameters; `*` stands for all of them.")
    body: tuple[str, ...] = Field(
        default=(),
        description="Paths into JSON bodies, such as `metadata.user_id` or `messages.*.content.0.id`; `*` stands for "
        "any key or position.",
    )


class Request(_Open):
    """A request to the upstream, without credentials."""

    method: str = Field(description="The HTTP method, in upper case.")
    path: str = Field(description="The path without the query, percent-encoded as it was sent.")
    query: str = Field(default="", description="The query without the question mark, as it was sent.")
    headers: Headers = Field(
        default_factory=dict, description="The headers that are kept on tapes; names in lower case."
    )
    body: BodyField | None = Field(default=None, description="The body; null if it was empty.")


class Response(_Open):
    """The response of the upstream."""

    status: int = Field(ge=STATUS.start, lt=STATUS.stop, description="The HTTP status code.")
    after: Seconds = Field(default=0.0, description="Seconds from the request to the status line.")
    headers: Headers = Field(
        default_factory=dict, description="The headers that are kept on tapes; names in lower case."
    )
    chunks: tuple[ChunkField, ...] = Field(
        default=(),
        description="The chunks of the body as the connection delivered them: the seconds since the previous chunk, "
        "and the text. A chunk that is not valid UTF-8 is written in base64.",
    )


class End(_Open):
    """The end of an exchange."""

    how: Literal["complete", "client_closed", "reset"] = Field(
        description="`complete`: the upstream sent the whole response. `client_closed`: the client disconnected first. "
        "`reset`: the connection failed."
    )
    after: Seconds = Field(
        default=0.0, description="Seconds since the last chunk; without chunks, since the status line or the request."
    )
    error: str = Field(
        default="", description="The httpx exception that a client gets for a `reset`, such as `ReadError`."
    )
    message: str = Field(default="", description="The message of that exception.")


_COMPLETE: dict[str, Any] = {"properties": {"end": {"properties": {"how": {"const": "complete"}}}}}
_ANSWERED: dict[str, Any] = {"required": ["response"], "properties": {"response": {"type": "object"}}}


class Exchange(_Open):
    """A request and its outcome."""

    model_config = ConfigDict(json_schema_extra={"if": _COMPLETE, "then": _ANSWERED})

    request: Request
    response: Response | None = Field(
        default=None, description="The response; null if the exchange ended before the status line."
    )
    end: End

    @model_validator(mode="after")
    def _can_be_played(self) -> "Exchange":
        complete = self.end.how == "complete"
        if complete and self.response is None:
            raise ValueError("the end is complete, but there is no response")
        if self.response and (fault := length_fault(self.request, self.response, complete=complete)):
            raise ValueError(fault)
        return self


def length_fault(request: Request, response: Response, *, complete: bool) -> str:
    """Return what is wrong with the content-length header of a response, or "" if it is valid or missing.

    Args:
        request: The request; the response to HEAD declares the length that GET would return.
        response: The response.
        complete: Whether the whole body was received.
    """
    declared, received = response.headers.get("content-length", ""), sum(len(chunk.data) for chunk in response.chunks)
    if not declared:
        return ""
    if not (declared.isascii() and declared.isdigit()):
        return "the header content-length is not a number"
    if not received and (request.method == "HEAD" or response.status in _NO_BODY_STATUS):
        return ""
    fits = received == int(declared) if complete else received <= int(declared)
    return "" if fits else f"the header content-length says {int(declared)} bytes, but the chunks have {received}"


class Tape(_Open):
    """The recording of one scenario."""

    tape: Literal[1] = Field(default=1, description="The version of the format.")
    upstream: Upstream = Field(default_factory=Upstream)
    ignore: Ignore = Field(default_factory=Ignore)
    ambient: tuple[Exchange, ...] = Field(
        default=(),
        description="Calls that a program may make any number of times, or never, such as `GET /v1/models`.",
    )
    exchanges: tuple[Exchange, ...] = Field(
        default=(), description="The exchanges of the scenario, in the order of their requests."
    )
