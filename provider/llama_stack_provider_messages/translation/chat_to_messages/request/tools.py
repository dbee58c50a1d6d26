"""Functions and custom tools -> tools of the Messages API.

function                             {name, description, input_schema, strict}
function, schema not a plain object  the same, with its arguments wrapped in ``input``
custom tool                          a tool with one string ``input``; a grammar is described, not enforced
web_search_options                   the API's web search tool
no tools, but calls in the history   declarations of the called tools, not callable: the API requires them
"""

from collections.abc import Callable, Iterable
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
    text_at,
)

from .schemas import WRAPPER, Schema, closed_object, closed_schema, input_schema, needs_wrapper

WEB_SEARCH = {"type": "web_search_20250305", "name": "web_search"}
_FIELDS = frozenset({"name", "description", "parameters", "strict", "format"})
_LOCATION = ("city", "region", "country", "timezone")


def tools_of(chat: Record, ctx: TranslationContext) -> dict[str, Block]:
    """Return the tools of a request by the client's names; ``ctx`` records which are custom or wrapped.

    Raises:
        InvalidRequestError: A tool does not match the schema, or two different tools have the same name.
    """
    entries = list(records_at(chat.get("tools"), "tools"))
    legacy = list(records_at(chat.get("functions"), "functions"))
    if entries and legacy:
        raise InvalidRequestError("functions: cannot be combined with tools; send tools alone")
    tools: dict[str, Block] = {}
    for entry, path in entries:
        _add(tools, *_tool(entry, path, ctx), path, ctx)
    for entry, path in legacy:
        _add(tools, *_function(entry, path, ctx), path, ctx)
    if len({tool["name"] for tool in tools.values()}) < len(tools):
        raise InvalidRequestError("tools: two tool names collide after sanitizing; use only letters, digits, _ and -")
    return tools


def _add(tools: dict[str, Block], name: str, tool: Block, path: str, ctx: TranslationContext) -> None:
    if name in tools and tools[name] != tool:
        raise InvalidRequestError(f"{path}: another tool has the name {shown(name)}; give each its own")
    if name in tools:
        ctx.hint(path, "tools", "the same tool stands before it")
    tools[name] = tool


def _tool(entry: Record, path: str, ctx: TranslationContext) -> tuple[str, Block]:
    kind = entry.get("type")
    make = _KINDS.get(kind or "function") if isinstance(kind, str | None) else None
    if make is None:
        raise InvalidRequestError(f"{path}.type: {shown(kind)} is no kind of tool; send {' or '.join(_KINDS)}")
    ctx.unknown(entry, ("type", kind or "function"), path)
    where = f"{path}.{kind or 'function'}"
    return make(record_at(entry.get(kind or "function"), where), where, ctx)


def _function(function: Record, path: str, ctx: TranslationContext) -> tuple[str, Block]:
    name, parameters = name_at(function.get("name"), f"{path}.name"), function.get("parameters")
    schema = input_schema(parameters, f"{path}.parameters")
    if parameters is not None and needs_wrapper(parameters):
        ctx.wrapped.add(name)
    strict = flag_at(function.get("strict"), f"{path}.strict")
    if strict and not ctx.traits.structured:
        ctx.drop(f"{path}.strict", "strict", "the model cannot be held to a schema")
    elif strict:
        return name, _named(name, function, closed_schema(schema, f"{path}.parameters", ctx), path, ctx) | {
            "strict": True
        }
    return name, _named(name, function, schema, path, ctx)


def _named(name: str, function: Record, schema: Schema, path: str, ctx: TranslationContext) -> Block:
    ctx.unknown(function, _FIELDS, path)
    text = text_at(function.get("description"), f"{path}.description")
    return {"name": ctx.upstream_name(name), **({"description": text} if text else {}), "input_schema": schema}


def _custom(custom: Record, path: str, ctx: TranslationContext) -> tuple[str, Block]:
    name = name_at(custom.get("name"), f"{path}.name")
    texts = [text_at(custom.get("description"), f"{path}.description"), *_grammar(custom, path, ctx)]
    schema = closed_object(**{WRAPPER: {"type": "string", "description": "The whole input of the tool."}})
    ctx.custom.add(name)
    ctx.unknown(custom, _FIELDS, path)
    return name, _named(name, {"description": "\n\n".join(filter(None, texts))}, schema, path, ctx)


def _grammar(custom: Record, path: str, ctx: TranslationContext) -> Iterable[str]:
    if custom.get("format") is None:
        return
    path = f"{path}.format"
    form = record_at(custom["format"], path)
    if form.get("type") == "grammar":
        grammar = record_at(form.get("grammar", form), f"{path}.grammar")
        ctx.drop(path, "grammar", "the Messages API holds no tool to a grammar; the description tells it")
        syntax, rules = (text_at(grammar.get(name), f"{path}.grammar.{name}") for name in ("syntax", "definition"))
        yield f"The input has to match this grammar ({syntax or 'lark'}):\n{rules}"
    elif form.get("type") != "text":
        raise InvalidRequestError(f"{path}.type: {shown(form.get('type'))} is no format; send text or grammar")


_KINDS: dict[str, Callable[[Record, str, TranslationContext], tuple[str, Block]]] = {
    "function": _function,
    "custom": _custom,
}


def web_search(options: object, tools: dict[str, Block], ctx: TranslationContext) -> list[Block]:
    """Return the API's web search tool for ``web_search_options``, ``[]`` if they are absent.

    Raises:
        InvalidRequestError: A client's function has the same name.
    """
    path = "web_search_options"
    if options is None:
        return []
    asked = record_at(options, path)
    ctx.unknown(asked, ("search_context_size", "user_location"), path)
    if any(tool["name"] == WEB_SEARCH["name"] for tool in tools.values()):
        raise InvalidRequestError(f"{path}: a tool is named web_search; rename it, or leave {path} out")
    if asked.get("search_context_size") is not None:
        ctx.drop(f"{path}.search_context_size", "search_context_size", "the Messages API has one size")
    return [{**WEB_SEARCH, **_location(asked.get("user_location"), f"{path}.user_location", ctx)}]


def _location(location: object, path: str, ctx: TranslationContext) -> dict[str, Any]:
    if location is None:
        return {}
    path = f"{path}.approximate"
    place = record_at(record_at(location, path.rpartition(".")[0]).get("approximate"), path)
    ctx.unknown(place, _LOCATION, path)
    known = {name: text for name in _LOCATION if (text := text_at(place.get(name), f"{path}.{name}"))}
    return {"user_location": {"type": "approximate", **known}} if known else {}


def recalled(names: Iterable[str]) -> list[Block]:
    """Return declarations for the tools called in the history of a request without ``tools``."""
    return [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in dict.fromkeys(names)]
