"""Scrubs requests and responses before they are recorded. The defaults are safe without configuration.

Headers are kept by allow lists, in both directions. Fields of request bodies and query parameters with secrets or user
ids are blanked. A secret that a request sent is also blanked everywhere else. In responses a secret is replaced by as
many stars as it had bytes, so that every chunk keeps its length. ``scan.py`` rejects a tape that still has a secret.

A request is scrubbed in the same way before it is matched with a tape, so blanked values never affect the match.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import accumulate, pairwise
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from messages_tape.format.json_values import Path, leaves, mapped, matches
from messages_tape.format.model import Body, Chunk, Request, header_value

from .known import REDACTED, SecretValues, header_secrets
from .scan import is_secret_leaf

type HeaderPairs = Sequence[tuple[str, str]]

_REQUEST_HEADERS = ("accept", "content-type", "content-encoding", "anthropic-version", "anthropic-beta", "openai-beta")
_RESPONSE_HEADERS = (
    "content-type", "content-length", "content-encoding", "retry-after", "retry-after-ms", "x-should-retry",
    "location", "request-id", "x-request-id", "anthropic-ratelimit-*", "x-ratelimit-*",
)  # fmt: skip
_USER_FIELDS = ("user", "metadata.user_id", "safety_identifier")
_SECRET_PARAMETER = re.compile(
    r"(?i)(?:key|.*(?:api|access|subscription|function)key|.*token|sig|.*signature|.*secret|.*password|pwd|passphrase"
    r"|code|auth|.*credential)"
)
_FORM = "application/x-www-form-urlencoded"
_BOUNDARY = re.compile(r'(?i)multipart/[^;]+;\s*boundary="?([^";]+)')
_USER_ID_CHARACTERS = 12
"""Minimum length of a user id that is blanked everywhere; a shorter one may be an ordinary word."""

_STEADY = {
    "request-id": "req_{number:04d}",
    "x-request-id": "req_{number:04d}",
    "*ratelimit*remaining*": "1",
    "*ratelimit*reset*": "1s",
}
"""Response headers that change with every request -> a constant value, so that a new recording has a small diff."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT")
_STEADY_TIME = "2000-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it was sent, before scrubbing.

    Args:
        method: In upper case.
        path: Percent-encoded, without the query.
        query: The query string, without the question mark.
        headers: All headers; names in any case.
        body: The bytes.
    """

    method: str
    path: str
    query: str = ""
    headers: HeaderPairs = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which headers and fields are kept on a tape. The defaults suit every upstream; names may be ``*`` patterns.

    Args:
        request_headers: Request headers to keep.
        response_headers: Response headers to keep.
        secret_fields: Paths in request bodies to blank, in addition to fields whose name is that of a secret.
        user_fields: Paths in request bodies that hold a user id.
        harmless: Values that look like credentials, or were sent as credentials, but are not secret.
    """

    request_headers: tuple[str, ...] = _REQUEST_HEADERS
    response_headers: tuple[str, ...] = _RESPONSE_HEADERS
    secret_fields: tuple[str, ...] = ()
    user_fields: tuple[str, ...] = _USER_FIELDS
    harmless: frozenset[str] = frozenset()

    def known(self, asked: RawRequest) -> SecretValues:
        """Return the secret values and user ids that a request contains."""
        found = [secret for name, value in asked.headers for secret in header_secrets(name.lower(), value)]
        body = Body.of(asked.body)
        forms = [asked.query, body.value] if body and body.form == "text" and _is_form(asked) else [asked.query]
        found += [unquote_plus(value) for form in forms for name, value in _parameters(form) if _is_secret_name(name)]
        for path, leaf in leaves(_as_json(body)):
            if self._is_secret(path, leaf) and _is_value(leaf):
                found.append(str(leaf))
            elif isinstance(leaf, str) and self._is_user_id(path, leaf):
                found.append(leaf)
        return SecretValues.of(found, self.harmless)

    def request(self, asked: RawRequest, known: SecretValues) -> Request:
        """Return the scrubbed request.

        Args:
            asked: The request as it was sent.
            known: The secrets of this request and of earlier ones.
        """
        asked = _with_steady_boundary(asked)
        return Request(
            method=asked.method,
            path=known.blank(asked.path),
            query=known.blank("&".join(_blank_parameters(asked.query))),
            headers={name: known.blank(value) for name, value in _chosen(asked.headers, self.request_headers)},
            body=self._body(_form_body(asked) or Body.of(asked.body), known),
        )

    def response_fields(self, headers: HeaderPairs, known: SecretValues, number: int) -> dict[str, str]:
        """Return the scrubbed headers of a response.

        Args:
            headers: All headers.
            known: The secrets to blank.
            number: Number of the exchange, used in ids.
        """
        chosen = _chosen(headers, self.response_headers)
        return {name: known.blank(_steady(name, value, number)) for name, value in chosen}

    def _body(self, body: Body | None, known: SecretValues) -> Body | None:
        if body is None:
            return None
        if body.form == "base64":
            return body._replace(value=known.blank_bytes(body.value))
        if body.form == "text":
            return body._replace(value=known.blank(body.value))
        return body._replace(value=mapped(body.value, lambda path, value: self._leaf(path, value, known)))

    def _leaf(self, path: Path, value: object, known: SecretValues) -> object:
        if _is_value(value) and self._is_secret(path, value):
            return REDACTED
        if not isinstance(value, str):
            return value
        if _any_matches(path, self.user_fields):
            return REDACTED if value else value
        return known.blank(value)

    def _is_secret(self, path: Path, leaf: object) -> bool:
        return is_secret_leaf(path, leaf) or _any_matches(path, self.secret_fields)

    def _is_user_id(self, path: Path, value: str) -> bool:
        return len(value) >= _USER_ID_CHARACTERS and _any_matches(path, self.user_fields)


def _is_value(leaf: object) -> bool:
    """Return whether a leaf can be a secret: a non-empty string, or a nonzero number used as one."""
    return bool(leaf) and isinstance(leaf, str | int | float) and not isinstance(leaf, bool)


def _as_json(body: Body | None) -> object:
    """Return the JSON of a body; for JSON that is stored as text (see ``limits.py``), nested lists of its fields."""
    if body is None or body.form == "base64":
        return None
    if body.form == "json":
        return body.value
    try:
        return json.loads(body.value, object_pairs_hook=lambda pairs: [{name: value} for name, value in pairs])
    except (ValueError, RecursionError):
        return None


def _is_form(asked: RawRequest) -> bool:
    return any(name.lower() == "content-type" and value.lower().startswith(_FORM) for name, value in asked.headers)


def _form_body(asked: RawRequest) -> Body | None:
    """Return the scrubbed body of a URL-encoded form; None for other bodies."""
    body = Body.of(asked.body) if _is_form(asked) else None
    return body._replace(value="&".join(_blank_parameters(body.value))) if body and body.form == "text" else None


def _with_steady_boundary(asked: RawRequest) -> RawRequest:
    """Return a multipart request with a constant boundary: clients choose it at random."""
    kind = next((value for name, value in asked.headers if name.lower() == "content-type"), "")
    found = _BOUNDARY.match(kind)
    if not found:
        return asked
    headers = [(name, value.replace(found[1], "boundary")) for name, value in asked.headers]
    return replace(asked, headers=headers, body=asked.body.replace(found[1].encode(), b"boundary"))


def blank_chunks(chunks: Sequence[Chunk], known: SecretValues) -> tuple[Chunk, ...]:
    """Return chunks of the same lengths with secrets blanked, including secrets split over two chunks."""
    joined = b"".join(chunk.data for chunk in chunks)
    blanked = known.blank_bytes(joined)
    if blanked == joined:
        return tuple(chunks)
    ends = accumulate((len(chunk.data) for chunk in chunks), initial=0)
    return tuple(
        chunk._replace(data=blanked[start:end]) for chunk, (start, end) in zip(chunks, pairwise(ends), strict=True)
    )


def _chosen(headers: HeaderPairs, allowed: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the allowed headers: lower case, sorted, repeated ones joined with commas."""
    allowed = tuple(allowed)
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if any(fnmatchcase(name.lower(), pattern) for pattern in allowed):
            found.setdefault(name.lower(), []).append(header_value(value))
    yield from ((name, ", ".join(found[name])) for name in sorted(found))


def _steady(name: str, value: str, number: int) -> str:
    if name == "location":
        return _without_host(value)
    steady = next((text for pattern, text in _STEADY.items() if fnmatchcase(name, pattern)), None)
    if steady is None:
        return value
    return _STEADY_TIME if _TIME.match(value) else steady.format(number=number)


def _without_host(address: str) -> str:
    """Return a URL without its host and fragment, so that a played redirect leads to the tape server.

    The host is private. The fragment is not sent to servers and may hold a token.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    path = parts.path if parts.path or not parts.netloc else "/"
    path = re.sub("^/+", "/", path)  # two slashes would begin a host
    return urlunsplit(("", "", path, "&".join(_blank_parameters(parts.query)), ""))


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        yield name, value


def _blank_parameters(query: str) -> Iterator[str]:
    for part in query.split("&") if query else ():
        name, mark, value = part.partition("=")
        yield f"{name}={REDACTED}" if value and _is_secret_name(name) else name + mark + value


def _is_secret_name(name: str) -> bool:
    return bool(_SECRET_PARAMETER.fullmatch(re.sub(r"[\s_-]", "", unquote_plus(name))))


def _any_matches(path: Path, patterns: Iterable[str]) -> bool:
    return any(matches(path, pattern.split(".")) for pattern in patterns)
