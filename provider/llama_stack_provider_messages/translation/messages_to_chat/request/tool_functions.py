"""Entries of ``tools`` -> the functions they declare: one per tool, or one per member of a toolset.

The tables are keyed by kind, the tool's ``type`` without the date. Server tools and tools of unknown types are dropped,
or rejected if the policy says so. tools.py decides which functions are sent.
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

from .anthropic_tools import BROWSER_MEMBERS, CLIENT_TOOLS, COMPUTER_MEMBERS, Schema

_DATE = re.compile(r"_\d{8}$")
SEARCH_TOOLS = ("tool_search_tool_regex", "tool_search_tool_bm25")


def custom(tool: CustomTool) -> Schema:
    """Return description and parameters of a tool that the client defines.

    The schema has ``properties``, possibly empty: OpenAI requires it (kubernetes-mcp-server 340).
    """
    schema = tool.input_schema or {}
    if not {"type", "properties"} <= schema.keys():
        schema = {"type": "object", "properties": {}} | schema
    return {"description": tool.description or "", "parameters": schema}


TOOLS: dict[str, Callable[..., Schema]] = {"custom": custom, **CLIENT_TOOLS}
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

_TYPES = get_args(get_args(Tool.__value__)[0])
_KNOWN_TAGS = [tag for member in _TYPES if not issubclass(member, Unknown) for tag in type_tags(member)]


def kind_of(tool_type: str | None) -> str:
    """Return a tool type without its date; ``custom`` if it is absent or empty (envoyproxy 1843)."""
    return _DATE.sub("", tool_type) if tool_type else "custom"


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
        mine, theirs = (tool.entry.model_dump(exclude={"cache_control"}) for tool in (self, other))
        return self.name == other.name and bool(mine == theirs)


def offered_tools(entry: Tool, path: str, ctx: TranslationContext) -> list[OfferedTool]:
    """Return the tools that an entry of ``tools`` declares, ``[]`` if it is dropped.

    Raises:
        InvalidRequestError: The policy rejects the tool, or all members of a toolset are disabled.
    """
    kind = kind_of(entry.type)
    if kind in REMOVED_TOOLS:
        if ctx.policy.server_tools == "reject":
            raise InvalidRequestError(f"{path}: this server does not run tools of type '{kind}'; leave the tool out")
        ctx.drop(path, kind, REMOVED_TOOLS[kind])
        return []
    if isinstance(entry, UnknownTool):
        _drop_unknown_tool(entry, path, ctx)
        return []
    for name in entry.model_extra or ():
        if name != "allowed_callers":
            ctx.drop(f"{path}.{name}", name, "this server does not know the field")
    callers = list_field(entry, "allowed_callers")
    if callers and "direct" not in callers:
        reason = "only code may call the tool, and this server does not run code"
        ctx.drop(f"{path}.allowed_callers", "allowed_callers", reason)
        return []
    if kind in TOOLSETS:
        return list(_enabled_members(entry, TOOLSETS[kind], path, ctx))
    return [OfferedTool(ClientName(entry.name), path, entry, bool(entry.defer_loading))]  # type: ignore[union-attr]


def _drop_unknown_tool(tool: UnknownTool, path: str, ctx: TranslationContext) -> None:
    if ctx.policy.strict or ctx.policy.server_tools == "reject":
        known = ", ".join(f"'{tag}'" for tag in _KNOWN_TAGS)
        raise InvalidRequestError(
            f"{path}: Input tag '{tool.type}' found using 'type' does not match any of the expected tags: {known}"
        )
    ctx.drop(path, tool.type, "this server does not know this type of tool; the other tools are kept")


def _enabled_members(entry: Tool, toolset: Toolset, path: str, ctx: TranslationContext) -> Iterator[OfferedTool]:
    configs = field(entry, "configs") or {}
    for name in [name for name in configs if name not in toolset.members]:
        if ctx.policy.strict:
            raise InvalidRequestError(f"{path}.configs.{name}: Extra inputs are not permitted")
        ctx.drop(f"{path}.configs.{name}", name, "the toolset has no such member")
    count = 0
    for name in toolset.members:
        enabled = field(configs.get(name), "enabled")
        if name not in toolset.off if enabled is None else enabled:
            count += 1
            deferred = bool(field(configs.get(name), "defer_loading"))
            yield OfferedTool(ClientName(name, toolset.name), path, entry, deferred)
    if not count:
        raise InvalidRequestError(f"{path}.configs: every member is disabled; enable one or leave the toolset out")


def function_of(tool: OfferedTool, ctx: TranslationContext) -> dict[str, Any]:
    """Return the function for a tool; ``cache_control`` and ``eager_input_streaming`` are hints."""
    kind = kind_of(tool.entry.type)
    function: dict[str, Any] = {"name": tool.backend_name}
    if kind in TOOLSETS:  # a copy: the platform may modify the request, which must not change the table
        return {"type": "function", "function": function | deepcopy(TOOLSETS[kind].members[tool.name.name])}
    schema = TOOLS[kind](tool.entry)
    description = schema["description"]
    if examples := list_field(tool.entry, "input_examples"):
        description = "\n".join([description, "Examples of input:", *map(dump_json, examples)]).strip()
    if description:
        function["description"] = description
    function["parameters"] = schema["parameters"]
    if field(tool.entry, "strict"):
        if is_strict_schema(schema["parameters"]):
            function["strict"] = True
        else:
            ctx.drop(f"{tool.path}.strict", "strict", "the schema is not closed, which strict functions need")
    return {"type": "function", "function": function}


_REJECTED_KEYWORDS = frozenset(
    {"allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "default"}
)
"""Keywords that strict mode answers with 400.

Source: developers.openai.com/api/docs/guides/structured-outputs; instructor 961.
"""

_SCHEMAS_BY_NAME = ("properties", "$defs", "definitions", "patternProperties")
"""Keywords whose value is an object of schemas."""

_SUBSCHEMAS = ("items", "prefixItems", "anyOf")
"""Keywords whose value is a schema or a list of schemas."""


def is_strict_schema(schema: object) -> bool:
    """Whether OpenAI's strict mode accepts a schema: every object closed, and all its properties required."""
    if isinstance(schema, list):
        return all(is_strict_schema(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(properties, dict) or not isinstance(required, list) or not _REJECTED_KEYWORDS.isdisjoint(schema):
        return False
    is_object = bool(properties) or "object" in (schema.get("type"), *list_field(schema, "type"))
    closed = schema.get("additionalProperties") is False and sorted(map(str, required)) == sorted(properties)
    if is_object and not closed:
        return False
    named = [list(part.values()) for name in _SCHEMAS_BY_NAME if isinstance(part := schema.get(name), dict)]
    return is_strict_schema([*named, *(schema.get(name) for name in _SUBSCHEMAS)])
