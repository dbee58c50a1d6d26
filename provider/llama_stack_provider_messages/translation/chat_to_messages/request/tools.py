"""Which tools the model may call: ``tools``, ``functions``, ``web_search_options`` and the tool choice.

    function                             {name, description, input_schema, strict}
    function, schema not a plain object  the same, with its arguments wrapped in ``input``
    custom tool                          a tool with one string ``input``; a grammar is described, not enforced
    web_search_options                   the API's web search tool
    no tools, but calls in the history   declarations of the called tools, not callable: the API requires them

    tool choice  none              auto              required         a name            allowed_tools
    becomes      {"type": "none"}  {"type": "auto"}  {"type": "any"}  {"type": "tool"}  fewer tools, and auto or any

For a model that does not support a forced choice, an instruction is appended to the system prompt. A tool name that the
API would reject is replaced. The new name depends on the name alone, so the prompt stays the same from turn to turn.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import Block, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import (
    Record,
    flag_at,
    name_at,
    quoted,
    record_at,
    records_at,
    text_at,
)

from .schemas import WRAPPER, Schema, closed_object, closed_schema, input_schema, needs_wrapper

WEB_SEARCH = {"type": "web_search_20250305", "name": "web_search"}

CHOICE_TYPES: dict[str, str] = {"none": "none", "auto": "auto", "required": "any"}
"""OpenAI's ``tool_choice`` modes -> types of the Messages API's ``tool_choice``."""

_ALLOWED_TOOLS_MODES = ("auto", "required")
_PARALLEL_TYPES = ("auto", "any", "tool")
"""Types that accept ``disable_parallel_tool_use``."""

MAX_NAME_CHARACTERS = 128
"""Limit of a tool name: ``^[a-zA-Z0-9_-]{1,128}$`` according to the API's error, 64 according to its guide."""

_VALID_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_INVALID_CHARACTER = re.compile(r"[^a-zA-Z0-9_-]")
_HASH_CHARACTERS = 12

_TOOL_FIELDS = frozenset({"name", "description", "parameters", "strict", "format"})
_LOCATION_FIELDS = ("city", "region", "country", "timezone")


def upstream_name(name: str, ctx: TranslationContext) -> str:
    """Return the upstream's name of a tool: unchanged, or a prefix of it plus a hash if the name is not valid.

    A changed name is recorded in ``ctx.client_names``.
    """
    if _VALID_NAME.fullmatch(name):
        return name
    digest = sha256(name.encode(errors="surrogatepass")).hexdigest()[:_HASH_CHARACTERS]
    beginning = _INVALID_CHARACTER.sub("_", name[: MAX_NAME_CHARACTERS - _HASH_CHARACTERS - 1])
    changed = f"{beginning}_{digest}"
    ctx.client_names[changed] = name
    return changed


def both_names(names: set[str], ctx: TranslationContext) -> frozenset[str]:
    """Return tool names, both the client's and the upstream's."""
    return frozenset(names) | {upstream_name(name, ctx) for name in names}


def declared_tools(chat: Record, ctx: TranslationContext) -> dict[str, Block]:
    """Return the tools of a request by the client's names; ``ctx`` records which are custom or wrapped.

    Raises:
        InvalidRequestError: A tool does not match the schema, or two different tools have the same name.
    """
    entries = list(records_at(chat.get("tools"), "tools"))
    legacy = list(records_at(chat.get("functions"), "functions"))
    if entries and legacy:
        raise InvalidRequestError("functions: cannot be combined with tools; send only tools")
    tools: dict[str, Block] = {}
    for entry, path in entries:
        kind = "function" if entry.get("type") in (None, "") else entry["type"]
        translate = _TOOL_TYPES.get(kind) if isinstance(kind, str) else None
        if translate is None:
            types = " or ".join(_TOOL_TYPES)
            raise InvalidRequestError(f"{path}.type: {quoted(kind)} is not a valid tool type; send {types}")
        ctx.hint_unknown(entry, ("type", kind), path)
        _add(tools, *translate(record_at(entry.get(kind), f"{path}.{kind}"), f"{path}.{kind}", ctx), path, ctx)
    for entry, path in legacy:
        _add(tools, *_function(entry, path, ctx), path, ctx)
    if len({tool["name"] for tool in tools.values()}) < len(tools):
        raise InvalidRequestError("tools: two tool names collide after sanitizing; use only letters, digits, _ and -")
    return tools


def _add(tools: dict[str, Block], name: str, tool: Block, path: str, ctx: TranslationContext) -> None:
    if name in tools and tools[name] != tool:
        raise InvalidRequestError(f"{path}: another tool has the name {quoted(name)}; tool names must be unique")
    if name in tools:
        ctx.hint(path, "tools", "duplicate of an earlier tool")
    tools[name] = tool


def _function(function: Record, path: str, ctx: TranslationContext) -> tuple[str, Block]:
    name, parameters = name_at(function.get("name"), f"{path}.name"), function.get("parameters")
    schema = input_schema(parameters, f"{path}.parameters")
    if parameters is not None and needs_wrapper(parameters):
        ctx.wrapped_tools.add(name)
    strict = flag_at(function.get("strict"), f"{path}.strict")
    if strict and not ctx.traits.structured:
        ctx.drop(f"{path}.strict", "strict", "the model does not support strict tools")
    elif strict:
        schema = closed_schema(schema, f"{path}.parameters", ctx)
        return name, _tool(name, function, schema, path, ctx) | {"strict": True}
    return name, _tool(name, function, schema, path, ctx)


def _custom(custom: Record, path: str, ctx: TranslationContext) -> tuple[str, Block]:
    name = name_at(custom.get("name"), f"{path}.name")
    texts = [text_at(custom.get("description"), f"{path}.description"), *_grammar(custom, path, ctx)]
    schema = closed_object(**{WRAPPER: {"type": "string", "description": "The whole input of the tool."}})
    ctx.custom_tools.add(name)
    ctx.hint_unknown(custom, _TOOL_FIELDS, path)
    return name, _tool(name, {"description": "\n\n".join(filter(None, texts))}, schema, path, ctx)


def _grammar(custom: Record, path: str, ctx: TranslationContext) -> Iterable[str]:
    """Yield the description of a custom tool's grammar, if it has one."""
    if custom.get("format") is None:
        return
    path = f"{path}.format"
    form = record_at(custom["format"], path)
    if form.get("type") == "grammar":
        grammar = record_at(form.get("grammar", form), f"{path}.grammar")
        reason = "the Messages API does not enforce grammars; the grammar is added to the description"
        ctx.drop(path, "grammar", reason)
        syntax, rules = (text_at(grammar.get(name), f"{path}.grammar.{name}") for name in ("syntax", "definition"))
        yield f"The input has to match this grammar ({syntax or 'lark'}):\n{rules}"
    elif form.get("type") != "text":
        kind = quoted(form.get("type"))
        raise InvalidRequestError(f"{path}.type: {kind} is not a valid format; send text or grammar")


def _tool(name: str, function: Record, schema: Schema, path: str, ctx: TranslationContext) -> Block:
    ctx.hint_unknown(function, _TOOL_FIELDS, path)
    text = text_at(function.get("description"), f"{path}.description")
    return {"name": upstream_name(name, ctx), **({"description": text} if text else {}), "input_schema": schema}


_TOOL_TYPES: dict[str, Callable[[Record, str, TranslationContext], tuple[str, Block]]] = {
    "function": _function,
    "custom": _custom,
}


@dataclass(frozen=True, slots=True)
class ToolChoice:
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


def choose_tools(
    chat: Record, declared: dict[str, Block], messages: list[Block], ctx: TranslationContext
) -> tuple[list[Block], Block]:
    """Return ``tools`` and ``tool_choice`` of the Messages request; the choice is empty if the request has none.

    Args:
        chat: The chat request.
        declared: The tools of the request by the client's names.
        messages: The messages for the upstream.
        ctx: State of the translation.

    Raises:
        InvalidRequestError: The choice is invalid, names a tool that is not in the request, or requires a call although
            the request has no tools.
    """
    choice = _read_choice(chat, declared)
    tools = [tool for name, tool in declared.items() if choice.allowed is None or name in choice.allowed]
    tools += _web_search(chat.get("web_search_options"), declared, ctx)
    parallel = chat.get("parallel_tool_calls")
    several_calls = parallel is None or flag_at(parallel, "parallel_tool_calls")
    single = not several_calls or bool(chat.get("functions"))  # function_call holds one call
    if not tools:
        if choice.type in ("any", "tool"):
            raise InvalidRequestError(f"{choice.path}: a call is required, but the request has no tools; send tools")
        blocks = (block for message in messages for block in message["content"])
        called = dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use")
        tools = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in called]
        return tools, {"type": "none"} if tools else {}
    if not choice.type and not single:
        return tools, {}
    kind = choice.type or "auto"
    if kind in ("any", "tool") and not ctx.traits.forced_tools:
        reason = "the model does not support forced tool calls; an instruction is added to the system prompt"
        ctx.drop(choice.path, "tool_choice", reason)
        tool = f"the tool {upstream_name(choice.tool, ctx)}" if choice.tool else "one of the tools"
        ctx.instructions.append(f"Answer by calling {tool}, not with text.")
        kind = "auto"
    name = {"name": upstream_name(choice.tool, ctx)} if kind == "tool" else {}
    one_call = {"disable_parallel_tool_use": True} if single and kind in _PARALLEL_TYPES else {}
    return tools, {"type": kind, **name, **one_call}


def _read_choice(chat: Record, declared: dict[str, Block]) -> ToolChoice:
    """Return the tool choice of a request; ``function_call`` is its older form."""
    path = "tool_choice" if chat.get("tool_choice") is not None else "function_call"
    value = chat.get(path)
    if value is None:
        return ToolChoice()
    if isinstance(value, str):
        choice = ToolChoice(_choice_type(value, path, tuple(CHOICE_TYPES)), path)
    elif path == "function_call":
        choice = ToolChoice("tool", path, name_at(record_at(value, path).get("name"), f"{path}.name"))
    elif (entry := record_at(value, path)).get("type") == "allowed_tools":
        choice = _allowed_tools(entry.get("allowed_tools"), f"{path}.allowed_tools")
    else:
        choice = ToolChoice("tool", path, _tool_name(entry, path))
    for tool in sorted({*([choice.tool] if choice.tool else []), *(choice.allowed or ())}):
        if tool not in declared:
            raise InvalidRequestError(
                f"{choice.path}: there is no tool named {quoted(tool)}; send the name of a declared tool"
            )
    return choice


def _choice_type(mode: str, path: str, modes: tuple[str, ...]) -> str:
    if mode not in modes:
        raise InvalidRequestError(
            f"{path}: {quoted(mode)} is not a valid mode; send {', '.join(modes)}, or name a tool"
        )
    return CHOICE_TYPES[mode]


def _allowed_tools(value: object, path: str) -> ToolChoice:
    allowed = record_at(value, path)
    mode = name_at(allowed.get("mode"), f"{path}.mode")
    entries = records_at(allowed.get("tools"), f"{path}.tools")
    names = frozenset(_tool_name(entry, where) for entry, where in entries)
    if not names:
        raise InvalidRequestError(f"{path}.tools: name at least one tool, or send tool_choice none")
    return ToolChoice(_choice_type(mode, f"{path}.mode", _ALLOWED_TOOLS_MODES), path, allowed=names)


def _tool_name(entry: Record, path: str) -> str:
    kind = entry.get("type")
    if kind not in ("function", "custom"):
        raise InvalidRequestError(
            f"{path}.type: {quoted(kind)} is not a valid type; send function, custom or allowed_tools"
        )
    path = f"{path}.{kind}"
    return name_at(record_at(entry.get(kind), path).get("name"), f"{path}.name")


def _web_search(options: object, declared: dict[str, Block], ctx: TranslationContext) -> list[Block]:
    """Return the API's web search tool for ``web_search_options``, ``[]`` if they are absent."""
    path = "web_search_options"
    if options is None:
        return []
    settings = record_at(options, path)
    ctx.hint_unknown(settings, ("search_context_size", "user_location"), path)
    if any(tool["name"] == WEB_SEARCH["name"] for tool in declared.values()):
        raise InvalidRequestError(f"{path}: a tool has the name web_search; rename it, or remove {path}")
    if settings.get("search_context_size") is not None:
        reason = "the Messages API has no search context size"
        ctx.drop(f"{path}.search_context_size", "search_context_size", reason)
    if settings.get("user_location") is None:
        return [dict(WEB_SEARCH)]
    path = f"{path}.user_location"
    location = record_at(settings["user_location"], path)
    path = f"{path}.approximate"
    place = record_at(location.get("approximate"), path)
    ctx.hint_unknown(place, _LOCATION_FIELDS, path)
    known = {name: text for name in _LOCATION_FIELDS if (text := text_at(place.get(name), f"{path}.{name}"))}
    return [{**WEB_SEARCH, **({"user_location": {"type": "approximate", **known}} if known else {})}]
