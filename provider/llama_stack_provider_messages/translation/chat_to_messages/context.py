"""What every step of a request's translation needs, and where it leaves what later steps need."""

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
"""Unknown fields and other parts of a request that are left out; each is named in a log."""
MAX_ARGUMENT_MARKS = 2_000_000
"""Brackets, quotes, commas and escapes in the arguments of all calls of a request: about half a million values."""

type Block = dict[str, Any]
"""A content block, tool or other part of the Messages request."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place where the client wants the prompt cached up to.

    Args:
        block: The content block that ends there.
        path: Where the request says so.
        ttl: For how long.
    """

    block: Block
    path: str
    ttl: str


@dataclass(frozen=True, slots=True)
class TranslationContext:
    """One request on its way.

    Args:
        options: What the caller said about model and upstream.
        log: What was left out so far.
        names: Upstream's name of a renamed tool -> the client's.
        marks: Cache breakpoints in the order of the request.
        instructions: What the model has to be told in words, behind the system prompt.
        custom: Client's names of custom tools.
        wrapped: Client's names of functions whose arguments are wrapped.
        betas: Names for the ``anthropic-beta`` header.
        spent: What was counted so far against a limit of the request, by the name of what is limited.
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
        """What the model can."""
        return self.options.traits

    def drop(self, path: str, feature: str, reason: str) -> None:
        """Record something that was left out or repaired and may change the answer.

        Raises:
            InvalidRequestError: The translation is strict, or too much of the request was left out.
        """
        if self.options.strict:
            raise InvalidRequestError(f"{path}: {reason}; change the request, or turn strict translation off")
        self.hint(path, feature, reason)

    def hint(self, path: str, feature: str, reason: str) -> None:
        """Record something that was left out and the answer does not depend on.

        Raises:
            InvalidRequestError: Too much of the request was left out.
        """
        if len(self.log) == MAX_DROPPED:
            raise InvalidRequestError(
                f"{path}: the request has more than {MAX_DROPPED} fields and other parts that the Messages API lacks; "
                "remove them"
            )
        self.log.note(path, feature, reason)

    def unknown(self, record: Record, known: Collection[str], path: str) -> None:
        """Record the fields of an object that this server does not know; empty ones are no loss."""
        for name, value in record.items():
            if value and name not in known:
                self.hint(f"{path}.{plain(name)}", plain(name), "this server does not know the field")

    def add_marks(self, count: int, path: str) -> None:
        """Count the structure of the arguments of a call.

        Raises:
            InvalidRequestError: All calls up to this one have too much.
        """
        self.spent["marks"] += count
        if self.spent["marks"] > MAX_ARGUMENT_MARKS:
            raise InvalidRequestError(
                f"{path}: the tool calls up to here have more than {MAX_ARGUMENT_MARKS} brackets, quotes, commas and "
                "escapes in their arguments; shorten the conversation"
            )

    def upstream_name(self, name: str) -> str:
        """Return the upstream's name of a tool, remembered if it is another one."""
        found = upstream_name(name)
        if found != name:
            self.names[found] = name
        return found

    def both_names(self, names: set[str]) -> frozenset[str]:
        """Return tools under the client's and under the upstream's names."""
        return frozenset(names) | {upstream_name(name) for name in names}
