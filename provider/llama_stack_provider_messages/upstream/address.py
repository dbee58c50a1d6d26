"""The address and credentials of a backend that speaks the Messages API."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from llama_stack_provider_messages.headers import NO_SECRETS

from .settings import NativeSettings

_LIKE_A_KEY = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z]).{8,}")
"""At least eight characters with letters and digits; a value without digits is a word, which errors may contain."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A backend that speaks the Messages API.

    Attributes:
        provider_id: Id of its inference provider, which errors may show.
        base_url: Base URL without ``/v1``.
        headers: Credentials for this request, and other headers of the provider.
        settings: The operator's settings of the native lane.
        anthropic: Whether it is Anthropic's own API.
        secret: The key in the headers.
    """

    provider_id: str
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    settings: NativeSettings
    anthropic: bool = False
    secret: str | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the values to redact from errors: the key, and other header values that look like keys."""
        values = [text.split(" ")[-1] for name, text in self.headers.items() if name.lower() not in NO_SECRETS]
        return tuple(filter(None, [self.secret, *filter(_LIKE_A_KEY.fullmatch, values)]))
