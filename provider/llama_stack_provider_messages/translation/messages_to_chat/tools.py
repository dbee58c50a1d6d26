"""``tools`` and ``tool_choice`` -> functions.

One table says what becomes of each kind of tool: a kind is its ``type`` without the date.
"""

import re
from collections.abc import Callable
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.request import PromptRequest
from llama_stack_api_messages.models.thinking import ToolChoice
from llama_stack_api_messages.models.tools import CustomTool, Tool

from .record import field, list_field, text_field
from .tool_input import dump_json
from .walk import Walk

_DATE = re.compile(r"_\d{8}$")
SEARCH_TOOLS = ("tool_search_tool_regex", "tool_search_tool_bm25")
_EMPTY_SCHEMA = {"type": "object", "properties": {}}


def tool_fields(request: PromptRequest, walk: Walk) -> dict[str, Any]:
    """Return ``tools``, ``tool_choice`` and ``parallel_tool_calls``, as far as there are tools."""
    functions = [
        function
        for index, tool in _offered(request)
        if (function := _function(tool, f"tools.{index}", walk)) is not None
    ]
    names = [function["function"]["name"] for function in functions]
    if len(set(names)) < len(names):
        raise InvalidRequestError("tools: Tool names must be unique.")
    choice = request.tool_choice
    if not functions:
        _require_unforced(choice)
        return {}
    fields: dict[str, Any] = {"tools": functions}
    if choice is not None:
        fields["tool_choice"] = _choice(choice, names)
        if field(choice, "disable_parallel_tool_use"):
            fields["parallel_tool_calls"] = False
        if not walk.profile.forced_calls:
            fields |= _weakened(choice, functions, walk)
    return fields


def _offered(request: PromptRequest) -> list[tuple[int, Tool]]:
    """Return the tools the model may see now, with their places.

    A deferred tool waits for a tool reference; loaded ones come last, in the order of their references, so that
    loading one changes the prompt as late as possible. Where the server should search, every tool is there at once.
    """
    tools = list(enumerate(request.tools or ()))
    if any(kind_of(tool.type) in SEARCH_TOOLS for _, tool in tools):
        return tools
    deferred = {field(tool, "name"): (index, tool) for index, tool in tools if field(tool, "defer_loading")}
    loaded = [deferred[name] for name in _referenced(request) if name in deferred]
    return [(index, tool) for index, tool in tools if not field(tool, "defer_loading")] + loaded


def _referenced(request: PromptRequest) -> dict[str, None]:
    """Return the names that tool references in results load, in order, each once."""
    blocks = [block for message in request.messages for block in list_field(message, "content")]
    parts = [part for block in blocks for part in list_field(block, "content")]
    return dict.fromkeys(text_field(part, "tool_name") for part in parts if field(part, "type") == "tool_reference")


def kind_of(tool_type: str | None) -> str:
    """Return a tool type without its date; absent and empty mean custom (envoyproxy 1843)."""
    return _DATE.sub("", tool_type or "custom")


def _function(tool: Tool, path: str, walk: Walk) -> dict[str, Any] | None:
    kind = kind_of(tool.type)
    if kind in REMOVED_TOOLS:
        walk.note(path, kind, REMOVED_TOOLS[kind])
        return None
    if kind not in TOOLS:
        raise InvalidRequestError(
            f"{path}: tools of type '{tool.type}' are not supported for this model; "
            "remove the tool or describe it as a custom tool"
        )
    return TOOLS[kind](tool, path, walk)


def _custom(tool: CustomTool, path: str, walk: Walk) -> dict[str, Any]:
    """``cache_control`` and ``eager_input_streaming`` are hints."""
    function: dict[str, Any] = {"name": tool.name}
    if description := _description(tool):
        function["description"] = description
    function["parameters"] = tool.input_schema or _EMPTY_SCHEMA
    if tool.strict:
        if is_strict_schema(tool.input_schema):
            function["strict"] = True
        else:
            walk.note(f"{path}.strict", "strict", "the schema is not closed, which strict functions need")
    return {"type": "function", "function": function}


def _description(tool: CustomTool) -> str:
    examples = [dump_json(example) for example in tool.input_examples or ()]
    text = tool.description or ""
    return "\n".join([text, "Examples of input:", *examples]).strip() if examples else text


TOOLS: dict[str, Callable[[Any, str, Walk], dict[str, Any]]] = {"custom": _custom}
"""Kind -> the function it becomes."""

REMOVED_TOOLS: dict[str, str] = {
    "web_search": "this server runs no web search; the other tools are kept",
    "web_fetch": "this server fetches no pages; the other tools are kept",
    **dict.fromkeys(SEARCH_TOOLS, "every tool is sent at once, so there is nothing to search"),
    "advisor": "this server has no advisor; the other tools are kept",
}
"""Kind of server tool -> why it is left out (agentgateway 2804: one of them must not cost the request)."""


def is_strict_schema(schema: object) -> bool:
    """Whether OpenAI's strict mode takes a schema: every object closed, and all its properties required."""
    if isinstance(schema, list):
        return all(is_strict_schema(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if schema.get("type") == "object" or properties:
        if not (isinstance(properties, dict) and isinstance(required, list)):
            return False
        if schema.get("additionalProperties") is not False or sorted(map(str, required)) != sorted(properties):
            return False
    return all(is_strict_schema(part) for part in schema.values())


TOOL_CHOICES: dict[str, str] = {"auto": "auto", "any": "required", "none": "none"}
"""Choices without a name; ``tool`` names a function."""

FORCED_CHOICES = ("any", "tool")


def _choice(choice: ToolChoice, names: list[str]) -> str | dict[str, Any]:
    if choice.type == "tool":
        name = field(choice, "name")
        if name not in names:
            raise InvalidRequestError(f"tool_choice.name: '{name}' is not among the tools the model can call")
        return {"type": "function", "function": {"name": name}}
    if choice.type not in TOOL_CHOICES:
        raise InvalidRequestError(f"tool_choice.type: '{choice.type}' is not supported; use auto, any, tool or none")
    return TOOL_CHOICES[choice.type]


def _weakened(choice: ToolChoice, functions: list[dict[str, Any]], walk: Walk) -> dict[str, Any]:
    """Return the fields that come nearest to a choice where the backend does not hold the model to it."""
    if field(choice, "disable_parallel_tool_use"):
        walk.note("tool_choice.disable_parallel_tool_use", "disable_parallel_tool_use", "the backend may ignore it")
    if choice.type not in FORCED_CHOICES:
        return {}
    walk.note(
        "tool_choice", f"tool_choice {choice.type}", "the backend may let the model write text until it is cut off"
    )
    if choice.type == "any":
        return {}
    name = field(choice, "name")
    named = [function for function in functions if function["function"]["name"] == name]
    return {"tools": named, "tool_choice": "required"}


def _require_unforced(choice: object) -> None:
    if field(choice, "type") in FORCED_CHOICES:
        raise InvalidRequestError("tool_choice: a call is forced, but there are no tools the model can call")
