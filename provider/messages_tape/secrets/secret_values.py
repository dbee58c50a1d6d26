"""The secret values of a recording: what its requests sent in headers and fields for secrets.

A value that was sent as a secret must not be on the tape anywhere, but some servers need no key, and then clients send
words such as ``test`` or ``none``, which also occur in prose. Therefore there are three groups:

- strong values, which are long or contain a digit, do not occur in text by chance: they are blanked everywhere
- weak values may be ordinary words: they are not blanked, but a tape that contains one is not saved
- dummy keys, such as ``ollama``, and values that the user declares harmless, are not secret

A secret may also be on the tape in another form: percent-encoded, in hex or base64, or in an escape of JSON. Such
forms are not blanked, but found before the tape is saved.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from urllib.parse import quote

from messages_tape.format.json_values import leaves
from messages_tape.format.model import Chunk

REDACTED = "REDACTED"

_SECRET_HEADER = re.compile(r"auth|api-?key|key$|token|secret|password|cookie|credential|signature|provider-data")
_NOT_SECRET_HEADER = re.compile(r"content-|accept|x-stainless-|idempotency-key")
_WORDS = re.compile(r"[^\s,;=\"']{6,}")
"""The parts of a header with several parts; six characters exclude most of the part names."""
_SCHEMES = {"bearer", "basic", "digest", "token", "apikey", "negotiate"}

_DUMMIES = {"none", "empty", "dummy", "fake", "test", "ollama", "anything", "not-needed", "no-key", "lm-studio",
            "no_key_required", "required", "placeholder", "sk-no-key-required", "notused", "unused",
            "llama", "local", "nokey", "no_key", "token", "apikey", "api-key", "api_key"}  # fmt: skip
"""Dummy keys, in lower case, for servers that need no key. They occur in prose, and are not secret."""
_SCHEME_AND_KEY = re.compile(rf"(?i)(?:{'|'.join(sorted(_SCHEMES))})\s")
_MIN_WEAK_CHARACTERS = 5
_MIN_STRONG_CHARACTERS = 16
_MIN_STRONG_CHARACTERS_WITH_DIGIT = 8


@dataclass(frozen=True)
class SecretValues:
    """Secret values, which must not be written to a file.

    Args:
        strong: Long or unusual values, which do not occur in text by chance; they are blanked everywhere.
        weak: Ambiguous values, which may also be ordinary words; a tape that contains one is not saved.
    """

    strong: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()

    @classmethod
    def of(cls, values: Iterable[str], harmless: frozenset[str] = frozenset()) -> "SecretValues":
        """Return the secrets among values sent as credentials; dummies, harmless and short values are left out."""
        found = {value for value in values if value not in harmless and value.lower() not in _DUMMIES}
        found = {value for value in found if not _SCHEME_AND_KEY.match(value)}  # the bare key is also in the set
        strong = {
            value
            for value in found
            if len(value) >= _MIN_STRONG_CHARACTERS
            or (len(value) >= _MIN_STRONG_CHARACTERS_WITH_DIGIT and any(char.isdigit() for char in value))
        }
        weak = {value for value in found - strong if len(value) >= _MIN_WEAK_CHARACTERS}
        return cls(frozenset(strong), frozenset(weak))

    def blank(self, text: str) -> str:
        """Return a text with each strong secret, also percent-encoded, replaced by ``REDACTED``."""
        return self._strong.sub(REDACTED, text) if self._strong else text

    def blank_bytes(self, data: bytes) -> bytes:
        """Return bytes with each strong secret replaced by stars; the length does not change."""
        return self._bytes.sub(lambda found: b"*" * len(found[0]), data) if self._bytes else data

    def blank_chunks(self, chunks: Sequence[Chunk]) -> tuple[Chunk, ...]:
        """Return chunks of the same lengths with strong secrets blanked, including secrets split over two chunks."""
        joined = b"".join(chunk.data for chunk in chunks)
        blanked = self.blank_bytes(joined)
        if blanked == joined:
            return tuple(chunks)
        ends = accumulate((len(chunk.data) for chunk in chunks), initial=0)
        return tuple(
            chunk._replace(data=blanked[start:end]) for chunk, (start, end) in zip(chunks, pairwise(ends), strict=True)
        )

    @cached_property
    def _strong(self) -> re.Pattern[str] | None:
        return _any_of({form for value in self.strong for form in (value, quote(value, safe=""))})

    @cached_property
    def _bytes(self) -> re.Pattern[bytes] | None:
        pattern = _any_of(self.strong)
        return re.compile(pattern.pattern.encode()) if pattern else None

    @cached_property
    def traces(self) -> re.Pattern[str] | None:
        """A pattern that finds the secrets in a text: plain, or encoded for URLs, JSON, hex or base64."""
        words = {rf"(?<![^\W_]){re.escape(value)}(?![^\W_])" for value in self.weak}
        forms = {re.escape(form) for value in self.strong for form in _encoded_forms(value)}
        return re.compile("|".join(sorted(words | forms, key=len, reverse=True))) if words | forms else None


def header_secrets(name: str, value: str) -> Iterator[str]:
    """Yield the secret values in a request header; most headers have none.

    Args:
        name: Name of the header, in lower case.
        value: A key, a scheme and a key, cookies, or JSON.
    """
    if not _SECRET_HEADER.search(name) or _NOT_SECRET_HEADER.match(name):
        return
    if name == "cookie":
        yield from (part.partition("=")[2].strip() for part in value.split(";"))
    elif value.lstrip().startswith("{"):
        with suppress(ValueError, RecursionError):  # not JSON
            yield from [item for _, item in leaves(json.loads(value)) if isinstance(item, str)]
    else:
        scheme, _, rest = value.strip().partition(" ")
        if scheme.lower() == "basic":
            with suppress(ValueError):  # not base64
                user_and_password = b64decode(rest).decode()
                yield from (user_and_password, user_and_password.partition(":")[2])
        yield from (word for word in (value, rest.strip(), *_WORDS.findall(value)) if word.lower() not in _SCHEMES)


def _any_of(values: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern that matches any of the values, the longest first; None if there are no values."""
    parts = [re.escape(value) for value in sorted(values, key=len, reverse=True)]
    return re.compile("|".join(parts)) if parts else None


def _encoded_forms(value: str) -> Iterator[str]:
    """Yield a secret as it is, then percent-encoded, with JSON escapes, in hex and in base64."""
    yield from (value, quote(value, safe=""), json.dumps(value)[1:-1], value.replace("/", "\\/"))
    digits = value.encode().hex()
    yield from (digits, digits.upper())
    for shift in range(3):  # the base64 text depends on the offset modulo 3
        encoded = b64encode(b"\0" * shift + value.encode()).rstrip(b"=").decode()
        core = encoded[(0, 2, 3)[shift] : -2]
        yield from (core, core.replace("+", "-").replace("/", "_"))
