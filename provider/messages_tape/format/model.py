"""The model of a tape: requests to an upstream, and for each the response, its chunks, their timing and its end.

The classes define the file format (docs/tapes.md): ``file.py`` writes and reads them, ``tape.schema.json`` is
generated from them. They allow extra fields, so that a file keeps what a newer version or a person has added.
"""

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

from .http_rules import HEADERS_SCHEMA, STATUS, checked_headers, length_fault
from .limits import check_json, parse_json

FORMAT = 1
"""The only version of the format that this code reads and writes."""

_LONGEST = 1_000_000_000
"""Longest duration in seconds; clocks and sleeps do not accept much larger numbers."""
_DURATION = {"type": "number", "minimum": 0, "maximum": _LONGEST}
_BASE64 = {"type": "string", "contentEncoding": "base64"}
_ENCODED = {"type": "object", "required": ["base64"], "properties": {"base64": _BASE64}, "additionalProperties": False}


class Chunk(NamedTuple):
    """A chunk of a response body, as the connection delivered it.

    Args:
        seconds: Seconds since the previous chunk; for the first one, since the headers of the response.
        data: The bytes.
    """

    seconds: float
    data: bytes


def seconds_of(value: object) -> float:
    """Return a duration in seconds.

    Raises:
        ValueError: The value is not a number from 0 to ``_LONGEST``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 <= value <= _LONGEST):
        raise ValueError(f"a duration is a number of seconds, from 0 to {_LONGEST}")
    return float(value)


def _read_chunk(value: object) -> Chunk:
    if isinstance(value, Chunk):
        return value
    match value:
        case [seconds, str(text)]:
            return Chunk(seconds_of(seconds), text.encode())
        case [seconds, {"base64": str(encoded), **rest}] if not rest:
            return Chunk(seconds_of(seconds), b64decode(encoded, validate=True))
    raise ValueError('a chunk is [seconds, "text"] or [seconds, {base64: "..."}]')


def _write_chunk(chunk: Chunk) -> list[Any]:
    try:
        return [chunk.seconds, chunk.data.decode()]
    except UnicodeDecodeError:
        return [chunk.seconds, {"base64": b64encode(chunk.data).decode()}]


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


def _write_body(body: Body) -> dict[str, Any]:
    return {body.form: b64encode(body.value).decode() if body.form == "base64" else body.value}


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
    PlainSerializer(_write_body),
    WithJsonSchema({
        "type": "object",
        "properties": {"json": {}, "text": {"type": "string"}, "base64": _BASE64},
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }),
]  # fmt: skip
type Seconds = Annotated[float, PlainValidator(seconds_of), WithJsonSchema(_DURATION)]

type Headers = Annotated[dict[str, str], AfterValidator(checked_headers), WithJsonSchema(HEADERS_SCHEMA)]
_COMPLETE: dict[str, Any] = {"properties": {"end": {"properties": {"how": {"const": "complete"}}}}}
_ANSWERED: dict[str, Any] = {"required": ["response"], "properties": {"response": {"type": "object"}}}


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Upstream(_Open):
    """Who answered, as far as it is known; no address."""

    kind: str = Field(default="", description="What it is, such as `llama.cpp` or `vllm`.")
    model: str = Field(default="", description="The model that answered.")
    version: str = Field(default="", description="Of the upstream.")
    date: str = Field(default="", description="Of the recording, `YYYY-MM-DD`.")


class Ignore(_Open):
    """What the comparison of requests leaves out, for this tape."""

    query: tuple[str, ...] = Field(default=(), description="Query parameters by name; `*` is all of them.")
    body: tuple[str, ...] = Field(
        default=(),
        description="Paths into JSON bodies, such as `metadata.user_id` or `messages.*.content.0.id`; `*` is any key "
        "or position.",
    )


class Request(_Open):
    """What the upstream was asked, after scrubbing."""

    method: str = Field(description="In capitals.")
    path: str = Field(description="Without the query, percent-encoded as it was sent.")
    query: str = Field(default="", description="Behind the question mark, as it was sent.")
    headers: Headers = Field(default_factory=dict, description="Chosen ones, names in lower case.")
    body: BodyField | None = Field(default=None, description="None if it was empty.")


class Response(_Open):
    """What the upstream answered."""

    status: int = Field(ge=STATUS.start, lt=STATUS.stop)
    after: Seconds = Field(default=0.0, description="Seconds from the request to the status line.")
    headers: Headers = Field(default_factory=dict, description="Chosen ones, names in lower case.")
    chunks: tuple[ChunkField, ...] = Field(
        default=(),
        description="The body in the pieces it came in, each as seconds since the one before and its text; base64 "
        "where a piece is not valid UTF-8 by itself.",
    )


class End(_Open):
    """How an exchange ended."""

    how: Literal["complete", "client_closed", "reset"] = Field(
        description="`complete`: as the upstream wanted it. `client_closed`: the client left before that. "
        "`reset`: the connection failed."
    )
    after: Seconds = Field(default=0.0, description="Seconds since the last piece, or the request if nothing came.")
    error: str = Field(default="", description="What a client raises for a reset, as httpx names it.")
    message: str = Field(default="", description="What that says.")


def length_fault_of(request: Request, response: Response, *, complete: bool) -> str:
    """Return what is wrong with the content-length of a response; see ``length_fault``."""
    declared, came = response.headers.get("content-length", ""), sum(len(chunk.data) for chunk in response.chunks)
    return length_fault(request.method, response.status, declared, came, complete=complete)


class Exchange(_Open):
    """A request and what became of it."""

    model_config = ConfigDict(json_schema_extra={"if": _COMPLETE, "then": _ANSWERED})

    request: Request
    response: Response | None = Field(default=None, description="None if it ended before a status line came.")
    end: End

    @model_validator(mode="after")
    def _can_be_played(self) -> "Exchange":
        response, complete = self.response, self.end.how == "complete"
        if response is None:
            if complete:
                raise ValueError("it ended complete, and has no response")
            return self
        if fault := length_fault_of(self.request, response, complete=complete):
            raise ValueError(fault)
        return self


class Tape(_Open):
    """The recording of one scenario."""

    tape: Literal[1] = Field(default=1, description="The version of the format.")
    upstream: Upstream = Field(default_factory=Upstream)
    ignore: Ignore = Field(default_factory=Ignore)
    ambient: tuple[Exchange, ...] = Field(
        default=(), description="Calls a program makes or not, as often as it likes, such as `GET /v1/models`."
    )
    exchanges: tuple[Exchange, ...] = Field(default=(), description="In the order of the requests.")
