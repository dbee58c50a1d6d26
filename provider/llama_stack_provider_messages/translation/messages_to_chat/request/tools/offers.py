"""Entries of ``tools`` -> functions: one per entry, or one per member of a toolset.

The tables are keyed by kind, the tool's ``type`` without the date. Server tools and tools of unknown types are dropped,
or rejected if the policy says so.
"""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, get_args

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.base import Unknown, type_tags
from llama_stack_api_messages.models.tools import BROWSER_MEMBERS_OFF_BY_DEFAULT, CustomTool, Tool, UnknownTool
from llama_stack_provider_messages.translation.fields import field, list_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.names import ClientName, backend_name
from llama_stack_provider_messages.translation.tool_arguments import dump_json

from .client_tools import CLIENT_TOOLS
from .schemas import Schema, is_strict_schema, object_schema
from .toolset_members import BROWSER_MEMBERS, COMPUTER_MEMBERS

_DATE = re.compile(r"_\d{8}$")
SEARCH_TOOLS = ("tool_search_tool_regex", "tool_search_tool_bm25")


def _custom(tool: CustomTool) -> Schema:
    return {"description": tool.description or "", "parameters": object_schema(tool.input_schema)}


TOOLS: dict[str, Callable[..., Schema]] = {"custom": _custom, **CLIENT_TOOLS}
"""Kind -> description and parameters of its function."""


@dataclass(frozen=True, slots=True)
class Toolset:
    """A tool entry that declares several tools.

    Args:
        name: ``toolset_name`` of its members.
        members: Name of a member -> description and parameters.
        off: Members that are off by default.
    """

    name: str
    members: dict[str, Schema]
    off: frozenset[str] = frozenset()


TOOLSETS: dict[str, Toolset] = {
    "computer_toolset": Toolset("computer", COMPUTER_MEMBERS),
    "browser_toolset": Toolset("browser", BROWSER_MEMBERS, BROWSER_MEMBERS_OFF_BY_DEFAULT),
}
"""Kind -> its toolset."""

REMOVED_TOOLS: dict[str, str] = {
    "web_search": "this server does not run web searches; the other tools are kept",
    "web_fetch": "this server does not fetch pages; the other tools are kept",
    "code_execution": "this server does not run code; the other tools are kept",
    **dict.fromkeys(SEARCH_TOOLS, "all tools are sent, so there is nothing to search"),
    "advisor": "this server has no advisor; the other tools are kept",
    "mcp_toolset": "this server does not connect to MCP servers; the other tools are kept",
}
"""Kind of server tool -> why it is dropped (agentgateway 2804: a server tool must not make the request fail)."""

_MEMBERS_OF_UNION = get_args(get_args(Tool.__value__)[0])
_TAGS = [tag for member in _MEMBERS_OF_UNION if not issubclass(member, Unknown) for tag in type_tags(member)]


def kind_of(tool_type: str | None) -> str:
    """Return a tool type without its date; ``custom`` if it is absent or empty (envoyproxy 1843)."""
    return _DATE.sub("", tool_type or "custom")


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """One function that may be offered to the model.

    Args:
        name: The client's name.
        path: JSON path of its entry in ``tools``.
        entry: The entry.
        deferred: It is not offered until a reference loads it.
    """

    name: ClientName
    path: str
    entry: Any
    deferred: bool = False

    @property
    def backend_name(self) -> str:
        """The backend's name."""
        return backend_name(self.name.name, self.name.toolset)

    def same_as(self, other: "OfferedTool") -> bool:
        """Whether both define the same tool, apart from ``cache_control``."""
        mine, theirs = (offer.entry.model_dump(exclude={"cache_control"}) for offer in (self, other))
        return self.name == other.name and bool(mine == theirs)


def offers_of(tool: Tool, path: str, ctx: TranslationContext) -> list[OfferedTool]:
    """Return the tools of an entry, ``[]`` if it is dropped."""
    kind = kind_of(tool.type)
    if kind in REMOVED_TOOLS:
        _leave_out(kind, path, ctx)
        return []
    if isinstance(tool, UnknownTool):
        _leave_out_unknown(tool, path, ctx)
        return []
    for name in tool.model_extra or ():
        if name != "allowed_callers":
            ctx.drop(f"{path}.{name}", name, "this server does not know the field")
    callers = list_field(tool, "allowed_callers")
    if callers and "direct" not in callers:
        ctx.drop(
            f"{path}.allowed_callers",
            "allowed_callers",
            "only code may call the tool, and this server does not run code",
        )
        return []
    if kind in TOOLSETS:
        return list(_member_offers(tool, TOOLSETS[kind], path, ctx))
    return [OfferedTool(ClientName(tool.name), path, tool, bool(tool.defer_loading))]  # type: ignore[union-attr]


def _leave_out(kind: str, path: str, ctx: TranslationContext) -> None:
    if ctx.policy.server_tools == "reject":
        raise InvalidRequestError(f"{path}: this server does not run tools of type '{kind}'; leave the tool out")
    ctx.drop(path, kind, REMOVED_TOOLS[kind])


def _leave_out_unknown(tool: UnknownTool, path: str, ctx: TranslationContext) -> None:
    if ctx.policy.strict or ctx.policy.server_tools == "reject":
        known = ", ".join(f"'{tag}'" for tag in _TAGS)
        raise InvalidRequestError(
            f"{path}: Input tag '{tool.type}' found using 'type' does not match any of the expected tags: {known}"
        )
    ctx.drop(path, tool.type, "this server does not know this type of tool; the other tools are kept")


def _member_offers(tool: Tool, toolset: Toolset, path: str, ctx: TranslationContext) -> Iterator[OfferedTool]:
    configs = field(tool, "configs") or {}
    for name in [name for name in configs if name not in toolset.members]:
        if ctx.policy.strict:
            raise InvalidRequestError(f"{path}.configs.{name}: Extra inputs are not permitted")
        ctx.drop(f"{path}.configs.{name}", name, "the toolset has no such member")
    found = 0
    for name in toolset.members:
        enabled = field(configs.get(name), "enabled")
        if name not in toolset.off if enabled is None else enabled:
            found += 1
            deferred = bool(field(configs.get(name), "defer_loading"))
            yield OfferedTool(ClientName(name, toolset.name), path, tool, deferred)
    if not found:
        raise InvalidRequestError(f"{path}.configs: every member is disabled; enable one or leave the toolset out")


def function_of(offer: OfferedTool, ctx: TranslationContext) -> dict[str, Any]:
    """Return the function for an offered tool; ``cache_control`` and ``eager_input_streaming`` are hints."""
    kind = kind_of(offer.entry.type)
    function: dict[str, Any] = {"name": offer.backend_name}
    if kind in TOOLSETS:  # a copy: the platform may modify the request, which must not change the table
        return {"type": "function", "function": function | deepcopy(TOOLSETS[kind].members[offer.name.name])}
    made = TOOLS[kind](offer.entry)
    if description := _with_examples(made["description"], offer.entry):
        function["description"] = description
    function["parameters"] = made["parameters"]
    if field(offer.entry, "strict"):
        if is_strict_schema(made["parameters"]):
            function["strict"] = True
        else:
            ctx.drop(f"{offer.path}.strict", "strict", "the schema is not closed, which strict functions need")
    return {"type": "function", "function": function}


def _with_examples(description: str, entry: object) -> str:
    examples = [dump_json(example) for example in list_field(entry, "input_examples")]
    return "\n".join([description, "Examples of input:", *examples]).strip() if examples else description
