"""``tool_choice``, ``function_call`` and ``parallel_tool_calls`` -> ``tool_choice`` of the Messages API.

    none                auto                required            a name              allowed_tools
    {"type": "none"}    {"type": "auto"}    {"type": "any"}     {"type": "tool"}    fewer tools, and auto or any

For a model that does not support a forced choice, an instruction is appended to the system prompt.
"""

from dataclasses import dataclass
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import Block, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import (
    Record,
    flag_at,
    name_at,
    record_at,
    records_at,
    shown,
)

MODES: dict[str, str] = {"none": "none", "auto": "auto", "required": "any"}
"""OpenAI's ``tool_choice`` modes -> types of the Messages API's ``tool_choice``."""

_ALLOWED = ("auto", "required")
_ONE_ONLY = ("auto", "any", "tool")
"""Types that accept ``disable_parallel_tool_use``."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tools the model may call, and whether it must call one.

    Args:
        type: Type of the Messages API's ``tool_choice``, ``""`` if the request has no choice.
        path: JSON path of the choice in the request.
        tool: Client's name of the tool that must be called.
        allowed: Client's names of the allowed tools; all tools if None.
    """

    type: str = ""
    path: str = "tool_choice"
    tool: str = ""
    allowed: frozenset[str] | None = None

    @property
    def forced(self) -> bool:
        """Whether the model must call a tool."""
        return self.type in ("any", "tool")


def choice_of(chat: Record, tools: dict[str, Block]) -> Choice:
    """Return the tool choice of a request.

    Raises:
        InvalidRequestError: The choice is invalid, or names a tool that is not in the request.
    """
    name = "tool_choice" if chat.get("tool_choice") is not None else "function_call"
    value = chat.get(name)
    choice = Choice() if value is None else _mode(value, name) if isinstance(value, str) else _object(value, name)
    for tool in sorted({*([choice.tool] if choice.tool else []), *(choice.allowed or ())}):
        if tool not in tools:
            raise InvalidRequestError(f"{choice.path}: there is no tool {shown(tool)}; name one of tools")
    return choice


def _mode(value: str, path: str, modes: tuple[str, ...] = tuple(MODES)) -> Choice:
    if value not in modes:
        raise InvalidRequestError(f"{path}: {shown(value)} is no mode; send {', '.join(modes)} or name a tool")
    return Choice(MODES[value], path)


def _object(value: object, path: str) -> Choice:
    choice = record_at(value, path)
    if path == "function_call":
        return Choice("tool", path, name_at(choice.get("name"), f"{path}.name"))
    if choice.get("type") == "allowed_tools":
        return _subset(record_at(choice.get("allowed_tools"), f"{path}.allowed_tools"), f"{path}.allowed_tools")
    return Choice("tool", path, _name(choice, path))


def _subset(allowed: Record, path: str) -> Choice:
    mode = name_at(allowed.get("mode"), f"{path}.mode")
    names = frozenset(_name(entry, where) for entry, where in records_at(allowed.get("tools"), f"{path}.tools"))
    if not names:
        raise InvalidRequestError(f"{path}.tools: name at least one tool, or send tool_choice none")
    return Choice(_mode(mode, f"{path}.mode", _ALLOWED).type, path, allowed=names)


def _name(entry: Record, path: str) -> str:
    kind = entry.get("type")
    if kind not in ("function", "custom"):
        raise InvalidRequestError(f"{path}.type: {shown(kind)} is none of function, custom and allowed_tools")
    path = f"{path}.{kind}"
    return name_at(record_at(entry.get(kind), path).get("name"), f"{path}.name")


def choice_field(choice: Choice, chat: Record, names: list[str], ctx: TranslationContext) -> dict[str, Any]:
    """Return the ``tool_choice`` field of the Messages request, ``{}`` if it has none.

    Args:
        choice: The tool choice of the request.
        chat: The request.
        names: Upstream's names of the allowed tools.
        ctx: State of the translation.

    Raises:
        InvalidRequestError: A call is required and there are no tools.
    """
    parallel = chat.get("parallel_tool_calls")
    single = (not flag_at(parallel, "parallel_tool_calls") and parallel is not None) or bool(chat.get("functions"))
    if choice.forced and not names:
        raise InvalidRequestError(f"{choice.path}: there is no tool to call; send tools")
    if not names or not (choice.type or single):
        return {}
    kind = _told(choice, ctx) if choice.forced and not ctx.traits.forced_tools else choice.type or "auto"
    named = {"name": ctx.upstream_name(choice.tool)} if kind == "tool" else {}
    one_only = {"disable_parallel_tool_use": True} if single and kind in _ONE_ONLY else {}
    return {"tool_choice": {"type": kind, **named, **one_only}}


def _told(choice: Choice, ctx: TranslationContext) -> str:
    """Add an instruction to call a tool; return the type to send in place of the forced choice."""
    ctx.drop(choice.path, "tool_choice", "the model cannot be forced to call a tool; it is asked to")
    tool = f"the tool {ctx.upstream_name(choice.tool)}" if choice.tool else "one of the tools"
    ctx.instructions.append(f"Answer by calling {tool}, not with text.")
    return "auto"
