"""What of a request and its answer goes on a tape. Nothing needs to be configured for it to be safe.

Headers go by lists of what may stay, in both directions. Fields of request bodies and query parameters that hold
secrets or name a user are blanked, and so is what the request sent as a secret wherever else it occurs. In responses
a secret becomes as many stars as it had bytes, so that every chunk keeps its length. ``scan.py`` refuses the rest.

A request is scrubbed in the same way before it is compared with a tape, so what is blanked never makes a difference.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import accumulate, pairwise
from urllib.parse import unquote_plus

from .known import REDACTED, Known, header_secrets
from .model import Body, Chunk, Request
from .paths import Path, leaves, mapped, matches
from .scan import is_secret_field

type HeaderPairs = Sequence[tuple[str, str]]

_REQUEST_HEADERS = ("accept", "content-type", "content-encoding", "anthropic-version", "anthropic-beta", "openai-beta")
_RESPONSE_HEADERS = (
    "content-type", "content-length", "content-encoding", "retry-after", "retry-after-ms", "x-should-retry",
    "request-id", "x-request-id", "anthropic-ratelimit-*", "x-ratelimit-*",
)  # fmt: skip
_USER_FIELDS = ("user", "metadata.user_id", "safety_identifier")
_SECRET_PARAMETER = re.compile(
    r"(?i)^(?:key|api[_-]?key|.*token|sig|.*signature|.*secret|.*password|auth|.*credential)$"
)
_BOUNDARY = re.compile(r'(?i)multipart/[^;]+;\s*boundary="?([^";]+)')
_USER_ID_CHARACTERS = 12
"""A shorter user id may be a word, which must stay where else it occurs."""

_STEADY = {
    "request-id": "req_{number:04d}",
    "x-request-id": "req_{number:04d}",
    "*ratelimit*remaining*": "1",
    "*ratelimit*reset*": "1s",
}
"""Response headers that differ each time -> what a tape holds instead, so that a new recording differs little."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT")
_STEADY_TIME = "2000-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it was sent, with everything in it.

    Args:
        method: In capitals.
        path: Percent-encoded, without the query.
        query: Behind the question mark.
        headers: All of them; names in any case.
        body: The bytes.
    """

    method: str
    path: str
    query: str = ""
    headers: HeaderPairs = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Rules:
    """What stays on a tape. The defaults are meant for every upstream; names may be patterns with ``*``.

    Args:
        request_headers: That stay.
        response_headers: That stay.
        secret_fields: Paths in request bodies to blank, beyond those whose name says it.
        user_fields: Paths in request bodies that name a user.
        harmless: Values that look like credentials, or were sent as such, and are none.
    """

    request_headers: tuple[str, ...] = _REQUEST_HEADERS
    response_headers: tuple[str, ...] = _RESPONSE_HEADERS
    secret_fields: tuple[str, ...] = ()
    user_fields: tuple[str, ...] = _USER_FIELDS
    harmless: frozenset[str] = frozenset()

    def known(self, asked: Asked) -> Known:
        """Return what a request itself shows to be secret."""
        found = [secret for name, value in asked.headers for secret in header_secrets(name.lower(), value)]
        for name, value in _parameters(asked.query):
            if _SECRET_PARAMETER.match(unquote_plus(name)):
                found.append(unquote_plus(value))
        body = Body.of(asked.body)
        for path, leaf in leaves(body.value) if body and body.form == "json" else ():
            if isinstance(leaf, str) and (self._is_secret(path) or self._is_user_id(path, leaf)):
                found.append(leaf)
        return Known.of(found, self.harmless)

    def request(self, asked: Asked, known: Known) -> Request:
        """Return a request as a tape holds it.

        Args:
            asked: As it was sent.
            known: What it shows to be secret, and what others before it did.
        """
        asked = _with_steady_boundary(asked)
        return Request(
            method=asked.method,
            path=known.blank(asked.path),
            query=known.blank("&".join(_blank_parameters(asked.query))),
            headers={name: known.blank(value) for name, value in _chosen(asked.headers, self.request_headers)},
            body=self._body(Body.of(asked.body), known),
        )

    def response_fields(self, headers: HeaderPairs, known: Known, number: int) -> dict[str, str]:
        """Return the headers of a response as a tape holds them.

        Args:
            headers: All of them.
            known: What must not stay.
            number: Of the exchange, for ids.
        """
        chosen = _chosen(headers, self.response_headers)
        return {name: known.blank(_steady(name, value, number)) for name, value in chosen}

    def _body(self, body: Body | None, known: Known) -> Body | None:
        if body is None:
            return None
        if body.form == "base64":
            return body._replace(value=known.blank_bytes(body.value))
        if body.form == "text":
            return body._replace(value=known.blank(body.value))
        return body._replace(value=mapped(body.value, lambda path, value: self._leaf(path, value, known)))

    def _leaf(self, path: Path, value: object, known: Known) -> object:
        if not isinstance(value, str):
            return value
        if self._is_secret(path) or _any_matches(path, self.user_fields):
            return REDACTED if value else value
        return known.blank(value)

    def _is_secret(self, path: Path) -> bool:
        return (bool(path) and is_secret_field(path[-1])) or _any_matches(path, self.secret_fields)

    def _is_user_id(self, path: Path, value: str) -> bool:
        return len(value) >= _USER_ID_CHARACTERS and _any_matches(path, self.user_fields)


def _with_steady_boundary(asked: Asked) -> Asked:
    """Return a form with the same boundary each time: clients draw lots for it."""
    kind = next((value for name, value in asked.headers if name.lower() == "content-type"), "")
    found = _BOUNDARY.match(kind)
    if not found:
        return asked
    headers = [(name, value.replace(found[1], "boundary")) for name, value in asked.headers]
    return replace(asked, headers=headers, body=asked.body.replace(found[1].encode(), b"boundary"))


def blank_chunks(chunks: Sequence[Chunk], known: Known) -> tuple[Chunk, ...]:
    """Return chunks of the same lengths without the secrets, also where one was cut in two."""
    joined = b"".join(chunk.data for chunk in chunks)
    blanked = known.blank_bytes(joined)
    if blanked == joined:
        return tuple(chunks)
    ends = accumulate((len(chunk.data) for chunk in chunks), initial=0)
    return tuple(
        chunk._replace(data=blanked[start:end]) for chunk, (start, end) in zip(chunks, pairwise(ends), strict=True)
    )


def _chosen(headers: HeaderPairs, allowed: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the headers that may stay, lower case, sorted, one for each name."""
    allowed = tuple(allowed)
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if any(fnmatchcase(name.lower(), pattern) for pattern in allowed):
            found.setdefault(name.lower(), []).append(value)
    yield from ((name, ", ".join(found[name])) for name in sorted(found))


def _steady(name: str, value: str, number: int) -> str:
    steady = next((text for pattern, text in _STEADY.items() if fnmatchcase(name, pattern)), None)
    if steady is None:
        return value
    return _STEADY_TIME if _TIME.match(value) else steady.format(number=number)


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        yield name, value


def _blank_parameters(query: str) -> Iterator[str]:
    for part in query.split("&") if query else ():
        name, mark, value = part.partition("=")
        secret = value and _SECRET_PARAMETER.match(unquote_plus(name))
        yield f"{name}={REDACTED}" if secret else name + mark + value


def _any_matches(path: Path, patterns: Iterable[str]) -> bool:
    return any(matches(path, pattern.split(".")) for pattern in patterns)
