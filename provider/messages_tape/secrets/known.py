"""Which values are known to be secret: a program sends its keys where keys go, so the requests themselves tell."""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from messages_tape.format.paths import leaves

REDACTED = "REDACTED"

_SECRET_HEADER = re.compile(r"auth|api-?key|key$|token|secret|password|cookie|credential|signature|provider-data")
_NO_SECRET = re.compile(r"content-|accept|x-stainless-|idempotency-key")
_WORDS = re.compile(r"[^\s,;=\"']{6,}")
"""Of a header in several parts; names of these parts are mostly shorter."""
_SCHEMES = {"bearer", "basic", "digest", "token", "apikey", "negotiate"}

_DUMMIES = {"none", "empty", "dummy", "fake", "test", "ollama", "anything", "not-needed", "no-key", "lm-studio",
            "no_key_required", "required", "placeholder", "sk-no-key-required", "notused", "unused",
            "llama", "local", "nokey", "no_key", "token", "apikey", "api-key", "api_key"}  # fmt: skip
"""What people send where a server wants no key, in lower case. They occur in prose, and are no secret."""
_SCHEME_AND_KEY = re.compile(rf"(?i)(?:{'|'.join(sorted(_SCHEMES))})\s")
_WEAK_CHARACTERS = 5
_STRONG_CHARACTERS = 16
_STRONG_WITH_DIGIT = 8


@dataclass(frozen=True)
class SecretValues:
    """Values that must not reach a file.

    Args:
        strong: Long or odd enough that text holds them only as the secret; they are blanked wherever they are.
        weak: Ambiguous: it could be a word by chance, so a tape that holds one is not saved.
    """

    strong: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()

    @classmethod
    def of(cls, values: Iterable[str], harmless: frozenset[str] = frozenset()) -> "SecretValues":
        """Return the secrets among values that were sent as secrets."""
        found = {value for value in values if value not in harmless and value.lower() not in _DUMMIES}
        found = {value for value in found if not _SCHEME_AND_KEY.match(value)}  # the key alone is among them
        strong = frozenset(filter(_is_strong, found))
        return cls(strong, frozenset(value for value in found - strong if len(value) >= _WEAK_CHARACTERS))

    def blank(self, text: str) -> str:
        """Return a text with ``REDACTED`` in place of each strong secret, also of one that is percent-encoded."""
        return self._strong.sub(REDACTED, text) if self._strong else text

    def blank_bytes(self, data: bytes) -> bytes:
        """Return bytes with stars in place of each strong secret, as many as it had bytes."""
        return self._bytes.sub(lambda found: b"*" * len(found[0]), data) if self._bytes else data

    @cached_property
    def _strong(self) -> re.Pattern[str] | None:
        return _any_of({form for value in self.strong for form in (value, quote(value, safe=""))})

    @cached_property
    def _bytes(self) -> re.Pattern[bytes] | None:
        pattern = _any_of(self.strong)
        return re.compile(pattern.pattern.encode()) if pattern else None

    @cached_property
    def traces(self) -> re.Pattern[str] | None:
        """What betrays a secret in any text: itself, or how URLs, JSON, hex and base64 write it."""
        words = {rf"(?<![^\W_]){re.escape(value)}(?![^\W_])" for value in self.weak}
        forms = {re.escape(form) for value in self.strong for form in _forms(value)}
        return re.compile("|".join(sorted(words | forms, key=len, reverse=True))) if words | forms else None


def header_secrets(name: str, value: str) -> Iterator[str]:
    """Yield what a request header carries that nobody else may know, nothing for most headers.

    Args:
        name: In lower case.
        value: A key, a scheme and a key, cookies, or JSON.
    """
    if not _SECRET_HEADER.search(name) or _NO_SECRET.match(name):
        return
    if name == "cookie":
        yield from (part.partition("=")[2].strip() for part in value.split(";"))
    elif value.lstrip().startswith("{"):
        yield from _fields(value)
    else:
        scheme, _, rest = value.strip().partition(" ")
        if scheme.lower() == "basic":
            yield from _basic(rest)
        yield from (word for word in (value, rest.strip(), *_WORDS.findall(value)) if word.lower() not in _SCHEMES)


def _fields(value: str) -> Iterator[str]:
    try:
        found = [*leaves(json.loads(value))]
    except (ValueError, RecursionError):
        return
    yield from (item for _, item in found if isinstance(item, str))


def _basic(encoded: str) -> Iterator[str]:
    try:
        text = b64decode(encoded).decode()
    except ValueError:
        return
    yield text
    yield text.partition(":")[2]


def _is_strong(value: str) -> bool:
    needed = _STRONG_WITH_DIGIT if any(char.isdigit() for char in value) else _STRONG_CHARACTERS
    return len(value) >= needed


def _any_of(values: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern for any of the values, the longest first."""
    parts = [re.escape(value) for value in sorted(values, key=len, reverse=True)]
    return re.compile("|".join(parts)) if parts else None


def _forms(value: str) -> Iterator[str]:
    yield from (value, quote(value, safe=""), json.dumps(value)[1:-1], value.replace("/", "\\/"))
    digits = value.encode().hex()
    yield from (digits, digits.upper())
    for shift in range(3):  # base64 looks different at each position within three bytes
        encoded = b64encode(b"\0" * shift + value.encode()).rstrip(b"=").decode()
        core = encoded[(0, 2, 3)[shift] : -2]
        yield from (core, core.replace("+", "-").replace("/", "_"))
