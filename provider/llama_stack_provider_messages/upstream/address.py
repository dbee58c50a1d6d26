"""Where a backend that speaks the Messages API is, and the credentials it is called with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .settings import NativeSettings

CREDENTIALS = frozenset({"x-api-key", "authorization"})
_PUBLIC = frozenset({"anthropic-version", "anthropic-beta", "content-type", "accept", "user-agent"})
_LIKE_A_KEY = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z]).{8,}")
"""Letters and digits; a value of letters alone is a word, which errors may hold."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A backend that speaks the Messages API.

    Attributes:
        provider_id: Name of its inference provider, which messages may show.
        base_url: Without ``/v1``.
        headers: Credentials of this request, and others of the provider.
        settings: How the operator wants it used.
        anthropic: It is Anthropic's own API.
        secret: The key among the headers.
    """

    provider_id: str
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    settings: NativeSettings
    anthropic: bool = False
    secret: str | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What errors must not show: the key, and other header values that look like keys."""
        values = [text.split(" ")[-1] for name, text in self.headers.items() if name.lower() not in _PUBLIC]
        return tuple(filter(None, [self.secret, *filter(_LIKE_A_KEY.fullmatch, values)]))
