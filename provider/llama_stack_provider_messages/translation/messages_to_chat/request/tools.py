"""Decides which tools are sent to the backend, and translates ``tool_choice``.

The problem: in the Messages API, the tools may change during a conversation. A deferred tool is loaded when a tool
search finds it, system messages add and remove tools, and a compaction repeats the changes of the part that it
replaced. Chat completions has one list of tools. So the conversation is followed to its end, and the tools offered
there are sent:

    ``tools``                                   offered, except deferred ones
    tool_reference in a result, a tool search   loads a deferred tool
    tool_addition in a system message           loads a deferred tool, brings a removed one back, or defines one
    tool_removal in a system message            removes a tool
    tool_changes of a compaction                additions and removals of the part that was compacted

Order matters, because backends put tools at the beginning of the prompt and cache the prefix. Tools offered from the
start keep their order, and tools loaded later follow in the order of loading. So a new tool changes the prompt as late
as possible, and the same history gives the same prompt in every turn. A removed tool that is added again gets its old
position. Example: declared a, b (deferred), c (deferred); a search loads c, then b; a is removed and added again; the
backend gets a, c, b.

A reference to a tool that the request does not declare is dropped, not a 400: clients omit tools between turns. Strict
mode answers 400, as the API does.
"""

from collections.abc import Iterable
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import ToolChoice
from llama_stack_api_messages.models.content_beta import ToolChangeToolReference, ToolDefinition
from llama_stack_api_messages.models.request import InputMessage, PromptRequest
from llama_stack_api_messages.models.tools import Tool
from llama_stack_provider_messages.translation.fields import field, list_field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.names import backend_name

from .tool_functions import SEARCH_TOOLS, OfferedTool, function_of, kind_of, offered_tools

TOOL_CHOICES: dict[str, str] = {"auto": "auto", "any": "required", "none": "none"}
"""Types of ``tool_choice`` without a name -> OpenAI's modes; ``tool`` names a function."""

FORCED_CHOICES = ("any", "tool")
"""Types of ``tool_choice`` that require a tool call."""


_BLOCKS_WITH_CHANGES = frozenset(
    {"tool_addition", "tool_removal", "tool_result", "tool_search_tool_result", "compaction"}
)


def tool_fields(request: PromptRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return ``tools``, ``tool_choice`` and ``parallel_tool_calls``; ``{}`` if no tools are offered.

    Raises:
        InvalidRequestError: The tools or their changes contradict each other, or the choice cannot be fulfilled.
    """
    tool_set = ToolSet(request.tools or (), ctx)
    tool_set.follow(request.messages)
    tools = tool_set.offered()
    choice = request.tool_choice
    if not tools:
        if field(choice, "type") in FORCED_CHOICES:
            raise InvalidRequestError("tool_choice: a call is forced, but there are no tools the model can call")
        return {}
    fields: dict[str, Any] = {"tools": [function_of(tool, ctx) for tool in tools]}
    if choice is None:
        return fields
    if choice.type == "tool":
        name = _forced_name(field(choice, "name"), tools)
        fields["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif choice.type in TOOL_CHOICES:
        fields["tool_choice"] = TOOL_CHOICES[choice.type]
    else:
        raise InvalidRequestError(f"tool_choice.type: '{choice.type}' is not supported; use auto, any, tool or none")
    if field(choice, "disable_parallel_tool_use"):
        fields["parallel_tool_calls"] = False
    return fields if ctx.profile.forced_calls else fields | _unenforced_choice(choice, fields, ctx)


def _forced_name(name: str, tools: list[OfferedTool]) -> str:
    """Return the backend's name of the tool to call; toolsets and their members cannot be forced."""
    for tool in tools:
        if tool.name.toolset is None and tool.name.name == name:
            return tool.backend_name
    for known in (tool.name for tool in tools):
        if known.toolset and name in (known.toolset, known.name, f"{known.toolset}.{known.name}"):
            raise InvalidRequestError(
                f"tool_choice.name: '{name}' belongs to a toolset and cannot be forced; use any or auto"
            )
    raise InvalidRequestError(f"tool_choice.name: '{name}' is not among the tools the model can call")


def _unenforced_choice(choice: ToolChoice, fields: dict[str, Any], ctx: TranslationContext) -> dict[str, Any]:
    """Return the nearest fields for a backend that does not enforce a tool choice: ``required`` and only that tool."""
    if field(choice, "disable_parallel_tool_use"):
        ctx.drop("tool_choice.disable_parallel_tool_use", "disable_parallel_tool_use", "the backend may ignore it")
    if choice.type not in FORCED_CHOICES:
        return {}
    reason = "the backend may not enforce it, so the model may answer with text instead"
    ctx.drop("tool_choice", f"tool_choice {choice.type}", reason)
    if choice.type == "any":
        return {}
    name = fields["tool_choice"]["function"]["name"]
    named = [function for function in fields["tools"] if function["function"]["name"] == name]
    return {"tools": named, "tool_choice": "required"}


class ToolSet:
    """The tools of a request, and which of them are offered.

    Args:
        entries: The declared tools. With a server-side tool search, no tool is deferred.
        ctx: State of the translation; renamed tools are recorded in it.

    Raises:
        InvalidRequestError: Two tools have the same name.
    """

    def __init__(self, entries: Iterable[Tool], ctx: TranslationContext) -> None:
        self._ctx = ctx
        self._known: dict[str, OfferedTool] = {}
        """Every declared tool, by its backend name."""
        self._plain_names: set[str] = set()
        """Client's names of the tools outside toolsets."""
        self._toolsets: dict[str, list[str]] = {}
        """Name of a toolset -> backend names of its members."""
        self._dropped: set[str] = set()
        """Client's names of declared tools that are not sent to a backend."""
        declared = list(entries)
        for index, entry in enumerate(declared):
            for tool in self._declared_tools(entry, f"tools.{index}"):
                self._register(tool)
        has_search = any(kind_of(entry.type) in SEARCH_TOOLS for entry in declared)
        self._first = {name: True for name, tool in self._known.items() if has_search or not tool.deferred}
        """Tools offered from the start -> whether they are offered now."""
        self._loaded: dict[str, None] = {}
        """Tools loaded later, in order."""

    def offered(self) -> list[OfferedTool]:
        """Return the offered tools, in order."""
        first = [name for name, is_offered in self._first.items() if is_offered]
        return [self._known[name] for name in (*first, *self._loaded)]

    def follow(self, messages: Iterable[InputMessage]) -> None:
        """Apply the tool changes of the conversation.

        A cleared system message (``clear_at``) still changes the tools; only its text is omitted.

        Raises:
            InvalidRequestError: A change names no tool of the request, or defines a tool whose name is taken.
        """
        for index, message in enumerate(messages):
            if isinstance(message.content, str):
                continue
            for place, block in enumerate(message.content):
                if block.type in _BLOCKS_WITH_CHANGES:
                    self._follow_block(block, message.role, f"messages.{index}.content.{place}")

    def _follow_block(self, block: Any, role: str, path: str) -> None:  # noqa: ANN401 - any block
        """Apply the tool changes in a block; a failed compaction, without summary, is ignored."""
        kind = block.type
        if kind == "tool_result":
            for place, part in enumerate(block.content if isinstance(block.content, list) else ()):
                if part.type == "tool_reference":
                    self._load_found(part, f"{path}.content.{place}")
        elif kind in ("tool_addition", "tool_removal"):
            if role == "system":
                self._change(block, path)
        elif kind == "tool_search_tool_result":
            for place, part in enumerate(list_field(field(block, "content"), "tool_references")):
                self._load_found(part, f"{path}.content.tool_references.{place}")
        elif kind == "compaction" and field(block, "content") is not None:
            for place, change in enumerate(list_field(block, "tool_changes")):
                self._change(change, f"{path}.tool_changes.{place}")

    def _load_found(self, reference: object, path: str) -> None:
        """Load a tool found by a search. Lenient mode drops unknown tools: clients omit tools between turns."""
        name = text_field(reference, "tool_name")
        if self._ctx.policy.strict or self._is_declared(name):
            self._load(self._resolve(name, path))
        else:
            self._ctx.missing.add(name)
            self._ctx.drop(path, "tool_reference", f"the request has no tool '{name}'")

    def _change(self, change: object, path: str) -> None:
        """Apply a tool_addition or tool_removal."""
        kind, tool = text_field(change, "type"), field(change, "tool")
        if kind == "tool_addition" and isinstance(tool, ToolDefinition):
            self._define(tool.definition, f"{path}.tool.definition")
        elif kind == "tool_addition":
            self._load(self._referenced(tool, f"{path}.tool"))
        elif kind == "tool_removal":
            for name in self._referenced(tool, f"{path}.tool"):
                self._loaded.pop(name, None)
                if name in self._first:
                    self._first[name] = False
        else:
            self._ctx.drop(path, kind, "this server does not know the change")

    def _referenced(self, tool: Any, path: str) -> list[str]:  # noqa: ANN401 - a member of a union
        """Return the tools that a change names; MCP tools are not supported and give ``[]``."""
        if isinstance(tool, ToolChangeToolReference):
            return self._resolve(tool.name, f"{path}.name")
        if isinstance(tool, ToolDefinition):
            raise InvalidRequestError(f"{path}: a removal names a tool; use a tool_reference")
        self._ctx.drop(path, tool.type, "this server does not support references of this type")
        return []

    def _define(self, entry: Tool, path: str) -> None:
        """Offer a tool that is defined in a message; the same definition may be repeated."""
        for tool in self._declared_tools(entry, path):
            known = self._known.get(tool.backend_name)
            if known is None:
                self._register(tool)
            elif not known.same_as(tool):
                raise InvalidRequestError(
                    f"{path}: there is another tool named '{tool.name.name}'; choose another name",
                    details={"error_code": "tool_name_conflict"},
                )
            self._load([tool.backend_name])

    def _declared_tools(self, entry: Tool, path: str) -> list[OfferedTool]:
        tools = offered_tools(entry, path, self._ctx)
        if not tools and (name := text_field(entry, "name")):
            self._dropped.add(name)
        return tools

    def _register(self, tool: OfferedTool) -> None:
        """Add a tool.

        Raises:
            InvalidRequestError: Another tool or a toolset has its name, for the client or for the backend.
        """
        backend, name, toolset = tool.backend_name, tool.name.name, tool.name.toolset
        other = self._known.get(backend)
        if other and tool.name == other.name:
            raise InvalidRequestError("tools: Tool names must be unique.")
        if other:
            raise InvalidRequestError(
                f"{tool.path}: '{name}' and '{other.name.name}' ({other.path}) would have the same name, "
                f"'{backend}'; rename one of them"
            )
        if toolset in self._plain_names or (toolset is None and name in self._toolsets):
            raise InvalidRequestError(
                f"{tool.path}: a tool cannot have the same name as the {toolset or name} toolset; rename the tool"
            )
        if toolset is None:
            self._plain_names.add(name)
        else:
            self._toolsets.setdefault(toolset, []).append(backend)
        self._known[backend] = tool
        if toolset or name != backend:
            self._ctx.names[backend] = tool.name

    def _load(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._first:
                self._first[name] = True
            else:
                self._loaded[name] = None

    def _is_declared(self, name: str) -> bool:
        return bool(self._named(name)) or name in self._dropped

    def _resolve(self, name: str, path: str) -> list[str]:
        if not self._is_declared(name):
            raise InvalidRequestError(
                f"{path}: the request has no tool '{name}'; declare it in tools",
                details={"error_code": "tool_reference_unresolved"},
            )
        return self._named(name)

    def _named(self, name: str) -> list[str]:
        """Return the tools with a name; the name of a toolset gives all its members."""
        found = backend_name(name)
        return [found] if found in self._known else self._toolsets.get(name, [])
