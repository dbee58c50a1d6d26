"""Tool calls in earlier assistant messages -> ``tool_use`` blocks, and matching calls with results."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import Block, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.names import CallIds
from llama_stack_provider_messages.translation.chat_to_messages.read import (
    Record,
    name_at,
    record_at,
    records_at,
    shown,
    text_at,
)
from llama_stack_provider_messages.translation.tool_arguments import mark_count, parse_tool_input

from .schemas import WRAPPER


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call of an earlier assistant message.

    Args:
        block: Its ``tool_use`` block.
        key: How a result refers to it: ``id`` and the client's id, or ``name`` and the function of a legacy call.
        path: Its JSON path in the request.
    """

    block: Block
    key: tuple[str, str]
    path: str


@dataclass(slots=True)
class OpenCalls:
    """The calls of one turn without a result, by ``Call.key``."""

    _waiting: dict[tuple[str, str], deque[Call]] = field(default_factory=dict)

    def add(self, call: Call) -> None:
        """Add a call that needs a result."""
        self._waiting.setdefault(call.key, deque()).append(call)

    def answer(self, key: tuple[str, str]) -> Call | None:
        """Return the call of a result, the first of two with the same id; None if no call matches."""
        waiting = self._waiting.get(key)
        return waiting.popleft() if waiting else None


_FIELDS = frozenset({"id", "type", "index", "function", "custom"})


def calls_of(message: Record, path: str, ids: CallIds, ctx: TranslationContext) -> Iterator[Call]:
    """Yield the calls of an assistant message.

    Raises:
        InvalidRequestError: A call does not match the schema.
    """
    for call, where in records_at(message.get("tool_calls"), f"{path}.tool_calls"):
        wanted = text_at(call.get("id"), f"{where}.id")
        name, value = _called(call, where, ctx)
        ctx.unknown(call, _FIELDS, where)
        yield Call(_tool_use(ids.fresh(wanted, where), name, value, ctx), ("id", wanted), where)
    if message.get("function_call") is not None:
        where = f"{path}.function_call"
        name, value = _function(record_at(message["function_call"], where), where, ctx)
        yield Call(_tool_use(ids.fresh("", where), name, value, ctx), ("name", name), where)


def _called(call: Record, path: str, ctx: TranslationContext) -> tuple[str, Block]:
    """Return the client's tool name and the input of a call; some servers omit ``type`` of function calls."""
    kind = call.get("type")
    if kind == "custom":
        path = f"{path}.custom"
        custom = record_at(call.get("custom"), path)
        text = text_at(custom.get("input"), f"{path}.input")
        return name_at(custom.get("name"), f"{path}.name"), {WRAPPER: text}
    if kind not in (None, "", "function"):
        raise InvalidRequestError(f"{path}.type: {shown(kind)} is no kind of call; send function or custom")
    return _function(record_at(call.get("function"), f"{path}.function"), f"{path}.function", ctx)


def _function(function: Record, path: str, ctx: TranslationContext) -> tuple[str, Block]:
    name = name_at(function.get("name"), f"{path}.name")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        ctx.add_marks(mark_count(arguments), f"{path}.arguments")
    value = parse_tool_input(arguments)
    return name, {WRAPPER: value} if name in ctx.wrapped else value


def _tool_use(call_id: str, name: str, value: Block, ctx: TranslationContext) -> Block:
    return {"type": "tool_use", "id": call_id, "name": ctx.upstream_name(name), "input": value}
