"""Shared state of one request's translation: options for every step, and results that later steps need."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.dropped import DropLog

from .models import Traits
from .names import upstream_name
from .options import TranslationOptions
from .read import Record, plain

MAX_DROPPED = 10_000
"""Maximum number of dropped parts per request, unknown fields included; each is logged."""
MAX_ARGUMENT_MARKS = 2_000_000
"""Maximum number of brackets, quotes, commas and escapes in all tool call arguments of a request: about half a million
values."""

type Block = dict[str, Any]
"""A content block, tool or other part of the Messages request."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A cache breakpoint set by the client.

    Args:
        block: The content block that ends at the breakpoint.
        path: JSON path of the breakpoint in the request.
        ttl: Lifetime of the cache entry.
    """

    block: Block
    path: str
    ttl: str


@dataclass(frozen=True, slots=True)
class TranslationContext:
    """State of one request's translation.

    Args:
        options: The caller's settings for model and upstream.
        log: The parts dropped so far.
        names: Upstream's name of a renamed tool -> the client's name.
        marks: Cache breakpoints in the order of the request.
        instructions: Texts to append to the system prompt.
        custom: Client's names of custom tools.
        wrapped: Client's names of functions whose arguments are wrapped.
        betas: Names for the ``anthropic-beta`` header.
        spent: Name of a limit of the request -> the amount used so far.
    """

    options: TranslationOptions
    log: DropLog = field(default_factory=DropLog)
    names: dict[str, str] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)
    custom: set[str] = field(default_factory=set)
    wrapped: set[str] = field(default_factory=set)
    betas: list[str] = field(default_factory=list)
    spent: Counter[str] = field(default_factory=Counter)

    @property
    def traits(self) -> Traits:
        """The features and limits of the model."""
        return self.options.traits

    def drop(self, path: str, feature: str, reason: str) -> None:
        """Record a part that was dropped or repaired, where that may change the response.

        Raises:
            InvalidRequestError: The translation is strict, or too many parts were dropped.
        """
        if self.options.strict:
            raise InvalidRequestError(f"{path}: {reason}; change the request, or turn strict translation off")
        self.hint(path, feature, reason)

    def hint(self, path: str, feature: str, reason: str) -> None:
        """Record a dropped part that does not affect the response.

        Raises:
            InvalidRequestError: Too many parts were dropped.
        """
        if len(self.log) == MAX_DROPPED:
            raise InvalidRequestError(
                f"{path}: the request has more than {MAX_DROPPED} fields and other parts that the Messages API lacks; "
                "remove them"
            )
        self.log.note(path, feature, reason)

    def unknown(self, record: Record, known: Collection[str], path: str) -> None:
        """Record the unknown fields of an object; empty ones are ignored."""
        for name, value in record.items():
            if value and name not in known:
                self.hint(f"{path}.{plain(name)}", plain(name), "this server does not know the field")

    def add_marks(self, count: int, path: str) -> None:
        """Add the structural characters of one call's arguments to the request's total.

        Raises:
            InvalidRequestError: The total exceeds ``MAX_ARGUMENT_MARKS``.
        """
        self.spent["marks"] += count
        if self.spent["marks"] > MAX_ARGUMENT_MARKS:
            raise InvalidRequestError(
                f"{path}: the tool calls up to here have more than {MAX_ARGUMENT_MARKS} brackets, quotes, commas and "
                "escapes in their arguments; shorten the conversation"
            )

    def upstream_name(self, name: str) -> str:
        """Return the upstream's name of a tool; a changed name is recorded in ``names``."""
        found = upstream_name(name)
        if found != name:
            self.names[found] = name
        return found

    def both_names(self, names: set[str]) -> frozenset[str]:
        """Return the tool names, both the client's and the upstream's."""
        return frozenset(names) | {upstream_name(name) for name in names}
