"""Scrubs requests and responses before they are recorded. The defaults are safe without configuration.

Headers are kept by allow lists, in both directions. Fields of request bodies and query parameters with secrets or user
ids are blanked. A secret that a request sent is also blanked everywhere else. In responses a secret is replaced by as
many stars as it had bytes, so that every chunk keeps its length. ``scan.py`` rejects a tape that still has a secret.

A request is scrubbed in the same way before it is matched with a tape, so blanked values never affect the match.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from messages_tape.format.json_values import Path, leaves, mapped, matches
from messages_tape.format.model import Body, Request, header_value

from .scan import is_secret_leaf
from .secret_values import REDACTED, SecretValues, header_secrets

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
_FORM_TYPE = "application/x-www-form-urlencoded"
_BOUNDARY = re.compile(r'(?i)multipart/[^;]+;\s*boundary="?([^";]+)')
_MIN_USER_ID_CHARACTERS = 12
"""Minimum length of a user id that is blanked everywhere; a shorter one may be an ordinary word."""

_CONSTANT_HEADERS = {
    "request-id": "req_{number:04d}",
    "x-request-id": "req_{number:04d}",
    "*ratelimit*remaining*": "1",
    "*ratelimit*reset*": "1s",
}
"""Response headers that change with every request -> a constant value, so that a new recording has a small diff."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT")
_CONSTANT_TIME = "2000-01-01T00:00:00Z"


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

    def secret_values(self, raw: RawRequest) -> SecretValues:
        """Return the secret values and user ids that a request contains."""
        found = [secret for name, value in raw.headers for secret in header_secrets(name.lower(), value)]
        body = Body.of(raw.body)
        forms = [raw.query]
        value: object = body.value if body and body.form == "json" else None
        if body and body.form == "text":
            if _is_form(raw):
                forms.append(body.value)
            with suppress(ValueError, RecursionError):  # JSON may be stored as text, see json_values.py
                value = json.loads(body.value, object_pairs_hook=lambda pairs: [{name: item} for name, item in pairs])
        for form in forms:
            fields = (part.partition("=") for part in form.split("&"))
            found += [unquote_plus(field) for name, _, field in fields if _is_secret_name(name)]
        for path, leaf in leaves(value):
            if self._is_secret(path, leaf):
                found.append(str(leaf))
            elif isinstance(leaf, str) and _any_matches(path, self.user_fields):
                found += [leaf] if len(leaf) >= _MIN_USER_ID_CHARACTERS else []
        return SecretValues.of(found, self.harmless)

    def request(self, raw: RawRequest, secret_values: SecretValues) -> Request:
        """Return the scrubbed request.

        Args:
            raw: The request as it was sent.
            secret_values: The secrets of this request and of earlier ones.
        """
        raw = _with_constant_boundary(raw)
        body = Body.of(raw.body)
        if body and body.form == "base64":
            body = body._replace(value=secret_values.blank_bytes(body.value))
        elif body and body.form == "text":
            text = "&".join(_blank_parameters(body.value)) if _is_form(raw) else body.value
            body = body._replace(value=secret_values.blank(text))
        elif body:
            value = mapped(body.value, lambda path, leaf: self._scrubbed_leaf(path, leaf, secret_values))
            body = body._replace(value=value)
        return Request(
            method=raw.method,
            path=secret_values.blank(raw.path),
            query=secret_values.blank("&".join(_blank_parameters(raw.query))),
            headers={name: secret_values.blank(value) for name, value in _chosen(raw.headers, self.request_headers)},
            body=body,
        )

    def response_headers_of(self, headers: HeaderPairs, secret_values: SecretValues, number: int) -> dict[str, str]:
        """Return the scrubbed headers of a response.

        Args:
            headers: All headers.
            secret_values: The secrets to blank.
            number: Number of the exchange, used in ids.
        """
        chosen = _chosen(headers, self.response_headers)
        return {name: secret_values.blank(_constant(name, value, number)) for name, value in chosen}

    def _scrubbed_leaf(self, path: Path, value: object, secret_values: SecretValues) -> object:
        if self._is_secret(path, value):
            return REDACTED
        if not isinstance(value, str):
            return value
        if _any_matches(path, self.user_fields):
            return REDACTED if value else value
        return secret_values.blank(value)

    def _is_secret(self, path: Path, leaf: object) -> bool:
        """Return whether a leaf is a secret: a non-empty string, or a nonzero number, in a field for secrets."""
        can_be = bool(leaf) and isinstance(leaf, str | int | float) and not isinstance(leaf, bool)
        return can_be and (is_secret_leaf(path, leaf) or _any_matches(path, self.secret_fields))


def _is_form(raw: RawRequest) -> bool:
    """Return whether the body is a URL-encoded form."""
    return any(name.lower() == "content-type" and value.lower().startswith(_FORM_TYPE) for name, value in raw.headers)


def _with_constant_boundary(raw: RawRequest) -> RawRequest:
    """Return a multipart request with a constant boundary: clients choose it at random."""
    content_type = next((value for name, value in raw.headers if name.lower() == "content-type"), "")
    found = _BOUNDARY.match(content_type)
    if not found:
        return raw
    headers = [(name, value.replace(found[1], "boundary")) for name, value in raw.headers]
    return replace(raw, headers=headers, body=raw.body.replace(found[1].encode(), b"boundary"))


def _chosen(headers: HeaderPairs, allowed: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the allowed headers: lower case, sorted, repeated ones joined with commas."""
    allowed = tuple(allowed)
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if any(fnmatchcase(name.lower(), pattern) for pattern in allowed):
            found.setdefault(name.lower(), []).append(header_value(value))
    yield from ((name, ", ".join(found[name])) for name in sorted(found))


def _constant(name: str, value: str, number: int) -> str:
    """Return the value of a response header as it is recorded: a constant one for ids, rate limits and times."""
    if name == "location":
        return _without_host(value)
    constant = next((text for pattern, text in _CONSTANT_HEADERS.items() if fnmatchcase(name, pattern)), None)
    if constant is None:
        return value
    return _CONSTANT_TIME if _TIME.match(value) else constant.format(number=number)


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


def _blank_parameters(query: str) -> Iterator[str]:
    for part in query.split("&") if query else ():
        name, mark, value = part.partition("=")
        yield f"{name}={REDACTED}" if value and _is_secret_name(name) else name + mark + value


def _is_secret_name(name: str) -> bool:
    return bool(_SECRET_PARAMETER.fullmatch(re.sub(r"[\s_-]", "", unquote_plus(name))))


def _any_matches(path: Path, patterns: Iterable[str]) -> bool:
    return any(matches(path, pattern.split(".")) for pattern in patterns)
