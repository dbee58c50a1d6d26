"""Shared state of one request's translation: options for every step, and results that later steps need."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.dropped import DropLog

from .models import Traits
from .read import Record, printable

MAX_DROPPED = 10_000
"""Maximum number of dropped parts per request, unknown fields included; each is logged."""

MAX_ARGUMENT_MARKS = 2_000_000
"""Maximum number of brackets, quotes, commas and escapes in all tool call arguments of a request: about half a million
values."""

type Block = dict[str, Any]
"""A content block, tool or other part of the Messages request."""


@dataclass(frozen=True, slots=True)
class TranslationOptions:
    """Settings of the upstream and the model.

    Args:
        model: The upstream's name of the model.
        max_tokens: Output limit in tokens for requests without one, because the Messages API requires a limit;
            preferably the model's own maximum.
        traits: The settings the model supports; see ``traits_of``.
        strict: Answer 400 instead of dropping parts that change the response, and instead of repairing the history.
        max_output: The model's maximum output in tokens; None if unknown: no limit is lowered then.
    """

    model: str
    max_tokens: int = 4096
    traits: Traits = field(default_factory=Traits)
    strict: bool = False
    max_output: int | None = None


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """A cache breakpoint set by the client.

    Args:
        block: The content block that ends at the breakpoint.
        path: JSON path of the breakpoint in the request.
        ttl: Lifetime of the cache entry, ``5m`` or ``1h``.
    """

    block: Block
    path: str
    ttl: str


@dataclass(slots=True)
class TranslationContext:
    """State of one request's translation.

    Args:
        options: Settings of the upstream and the model.
        log: The parts dropped so far.
        client_names: Upstream's name of a renamed tool -> the client's name.
        custom_tools: Client's names of custom tools.
        wrapped_tools: Client's names of functions whose arguments are wrapped.
        breakpoints: Cache breakpoints in the order of the request.
        instructions: Texts to append to the system prompt.
        betas: Names for the ``anthropic-beta`` header.
        argument_marks: Structural characters in the tool call arguments so far; see ``MAX_ARGUMENT_MARKS``.
    """

    options: TranslationOptions
    log: DropLog = field(default_factory=DropLog)
    client_names: dict[str, str] = field(default_factory=dict)
    custom_tools: set[str] = field(default_factory=set)
    wrapped_tools: set[str] = field(default_factory=set)
    breakpoints: list[Breakpoint] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)
    betas: list[str] = field(default_factory=list)
    argument_marks: int = 0

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
                f"{path}: the request has more than {MAX_DROPPED} fields and other parts without an equivalent in the "
                "Messages API; remove them"
            )
        self.log.note(path, feature, reason)

    def hint_unknown(self, record: Record, known: Collection[str], path: str) -> None:
        """Record the unknown fields of an object; empty ones are ignored."""
        for name, value in record.items():
            if value and name not in known:
                self.hint(f"{path}.{printable(name)}", printable(name), "this server does not know the field")

    def count_argument_marks(self, count: int, path: str) -> None:
        """Add the structural characters of one call's arguments to the request's total.

        Raises:
            InvalidRequestError: The total exceeds ``MAX_ARGUMENT_MARKS``.
        """
        self.argument_marks += count
        if self.argument_marks > MAX_ARGUMENT_MARKS:
            raise InvalidRequestError(
                f"{path}: the tool calls up to here have more than {MAX_ARGUMENT_MARKS} brackets, quotes, commas and "
                "escapes in their arguments; shorten the conversation"
            )
