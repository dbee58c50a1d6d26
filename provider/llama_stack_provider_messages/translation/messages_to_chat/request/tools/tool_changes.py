"""Determines which tools are offered at the end of the conversation.

    ``tools``                                   offered, except deferred ones
    tool_reference in a result, a tool search   loads a deferred tool
    tool_addition in a system message           loads a deferred tool, brings a removed one back, or defines one
    tool_removal in a system message            removes a tool
    tool_changes of a compaction                additions and removals of the part that was compacted

Backends put tools at the beginning of the prompt. So tools offered from the start keep their order, and tools loaded
later follow in the order of loading: a new tool changes the prompt as late as possible, and the same history gives the
same prompt in every turn. A removed tool that is added again gets its old position.
"""

from collections.abc import Callable, Iterable
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.content_beta import ToolChangeToolReference, ToolDefinition
from llama_stack_api_messages.models.request import InputMessage
from llama_stack_api_messages.models.tools import Tool
from llama_stack_provider_messages.translation.fields import field, list_field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.names import ClientName, backend_name

from .offers import SEARCH_TOOLS, OfferedTool, kind_of, offers_of


class ToolSet:
    """The tools of a request, and which of them are offered.

    Args:
        tools: The declared tools. With a server-side tool search, no tool is deferred.
        ctx: State of the translation; renamed tools are recorded in it.

    Raises:
        InvalidRequestError: Two tools have the same name.
    """

    def __init__(self, tools: Iterable[Tool], ctx: TranslationContext) -> None:
        self._ctx = ctx
        self._known: dict[str, OfferedTool] = {}
        self._plain: set[str] = set()
        self._toolsets: dict[str, list[str]] = {}
        self._absent: set[str] = set()
        entries = list(tools)
        for index, tool in enumerate(entries):
            for offer in self._offers(tool, f"tools.{index}"):
                self._register(offer)
        searched = any(kind_of(tool.type) in SEARCH_TOOLS for tool in entries)
        first = [name for name, offer in self._known.items() if searched or not offer.deferred]
        self._first = dict.fromkeys(first, True)
        self._loaded: dict[str, None] = {}

    def offered(self) -> list[OfferedTool]:
        """Return the offered tools, in order."""
        first = [name for name, there in self._first.items() if there]
        return [self._known[name] for name in (*first, *self._loaded)]

    def follow(self, messages: Iterable[InputMessage]) -> None:
        """Apply the tool changes of the conversation.

        A cleared system message (``clear_at``) still changes the tools; only its text is omitted.

        Raises:
            InvalidRequestError: A change names no tool of the request, or defines a tool whose name is taken.
        """
        for index, message in enumerate(messages):
            for place, block in enumerate(list_field(message, "content")):
                kind = field(block, "type")
                if (step := _STEPS.get(kind)) and (kind not in _CHANGES or message.role == "system"):
                    step(self, block, f"messages.{index}.content.{place}")

    def _offers(self, tool: Tool, path: str) -> list[OfferedTool]:
        offers = offers_of(tool, path, self._ctx)
        if not offers and (name := text_field(tool, "name")):
            self._absent.add(name)
        return offers

    def _register(self, offer: OfferedTool) -> None:
        name = offer.backend_name
        if name in self._known:
            raise _taken(offer, self._known[name])
        self._keep_apart(offer)
        self._known[name] = offer
        if offer.name != ClientName(name):
            self._ctx.names[name] = offer.name

    def _keep_apart(self, offer: OfferedTool) -> None:
        """Reject a tool with the same name as a toolset, as the API does."""
        plain, toolset = offer.name.name, offer.name.toolset
        if toolset in self._plain or (toolset is None and plain in self._toolsets):
            raise InvalidRequestError(
                f"{offer.path}: a tool beside the {toolset or plain} toolset cannot have its name; rename the tool"
            )
        if toolset is None:
            self._plain.add(plain)
        else:
            self._toolsets.setdefault(toolset, []).append(offer.backend_name)

    def _from_result(self, block: object, path: str) -> None:
        for place, part in enumerate(list_field(block, "content")):
            if field(part, "type") == "tool_reference":
                self._load_known(part, f"{path}.content.{place}")

    def _from_search(self, block: object, path: str) -> None:
        for place, part in enumerate(list_field(field(block, "content"), "tool_references")):
            self._load_known(part, f"{path}.content.tool_references.{place}")

    def _load_known(self, reference: object, path: str) -> None:
        """Load a tool found by a search. Lenient mode drops unknown tools: clients omit tools between turns."""
        name = text_field(reference, "tool_name")
        if self._ctx.policy.strict or self._is_known(name):
            self._load(self._resolve(name, path))
        else:
            self._ctx.missing.add(name)
            self._ctx.drop(path, "tool_reference", f"the request has no tool '{name}'")

    def _from_compaction(self, block: object, path: str) -> None:
        """Apply the changes of a compaction; a failed one, without summary, is ignored."""
        if field(block, "content") is None:
            return
        for place, change in enumerate(list_field(block, "tool_changes")):
            if step := _CHANGES.get(field(change, "type")):
                step(self, change, f"{path}.tool_changes.{place}")
            else:
                self._ctx.drop(f"{path}.tool_changes.{place}", change.type, "this server does not know the change")

    def _add(self, block: object, path: str) -> None:
        tool = field(block, "tool")
        if isinstance(tool, ToolDefinition):
            self._define(tool.definition, f"{path}.tool.definition")
        else:
            self._load(self._referenced(tool, f"{path}.tool"))

    def _remove(self, block: object, path: str) -> None:
        for name in self._referenced(field(block, "tool"), f"{path}.tool"):
            self._loaded.pop(name, None)
            if name in self._first:
                self._first[name] = False

    def _referenced(self, tool: Any, path: str) -> list[str]:  # noqa: ANN401 - a member of a union
        """Return the tools that a change names; MCP tools are not supported and give ``[]``."""
        if isinstance(tool, ToolChangeToolReference):
            return self._resolve(tool.name, f"{path}.name")
        if isinstance(tool, ToolDefinition):
            raise InvalidRequestError(f"{path}: a removal names a tool; use a tool_reference")
        self._ctx.drop(path, tool.type, "this server does not support references of this type")
        return []

    def _define(self, tool: Tool, path: str) -> None:
        """Offer a tool that is defined in a message; the same definition may be repeated."""
        for offer in self._offers(tool, path):
            known = self._known.get(offer.backend_name)
            if known is None:
                self._register(offer)
            elif not known.same_as(offer):
                raise InvalidRequestError(
                    f"{path}: there is another tool named '{offer.name.name}'; choose another name",
                    details={"error_code": "tool_name_conflict"},
                )
            self._load([offer.backend_name])

    def _load(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._first:
                self._first[name] = True
            else:
                self._loaded[name] = None

    def _is_known(self, name: str) -> bool:
        return bool(self._named(name)) or name in self._absent

    def _resolve(self, name: str, path: str) -> list[str]:
        if not self._is_known(name):
            raise InvalidRequestError(
                f"{path}: the request has no tool '{name}'; declare it in tools",
                details={"error_code": "tool_reference_unresolved"},
            )
        return self._named(name)

    def _named(self, name: str) -> list[str]:
        """Return the tools with a name; the name of a toolset gives all its members."""
        found = backend_name(name)
        if found in self._known:
            return [found]
        return self._toolsets.get(name, [])


def _taken(offer: OfferedTool, other: OfferedTool) -> InvalidRequestError:
    if offer.name == other.name:
        return InvalidRequestError("tools: Tool names must be unique.")
    return InvalidRequestError(
        f"{offer.path}: '{offer.name.name}' and '{other.name.name}' ({other.path}) would have one name, "
        f"'{offer.backend_name}'; rename one of them"
    )


type _Step = Callable[[ToolSet, Any, str], None]

_CHANGES: dict[str, _Step] = {
    "tool_addition": ToolSet._add,  # noqa: SLF001 - the tables belong to the class
    "tool_removal": ToolSet._remove,  # noqa: SLF001
}
"""Tool changes in a system message or a compaction."""

_STEPS: dict[str, _Step] = {
    **_CHANGES,
    "tool_result": ToolSet._from_result,  # noqa: SLF001
    "tool_search_tool_result": ToolSet._from_search,  # noqa: SLF001
    "compaction": ToolSet._from_compaction,  # noqa: SLF001
}
"""Type of a block -> how it changes the tools."""
