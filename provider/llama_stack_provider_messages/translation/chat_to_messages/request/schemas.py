"""Rewrites JSON schemas into the subset that the Messages API accepts.

A tool's ``input_schema`` must be an object without alternatives at its top level. Schemas that constrain the model's
output (structured outputs and strict tools) allow fewer keywords: every object must be closed, and limits on numbers,
lengths and lists are rejected. Such a limit is moved into the description, where the model can read it.

Source: the API's guide on structured outputs, and ``input_schema does not support oneOf, allOf, or anyOf at the top
level``.
"""

import json
from collections.abc import Callable
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import Record, check_depth, printable, record_at

type Schema = dict[str, Any]

WRAPPER = "input"
"""The property that wraps parameters that are not a plain object."""

_ALTERNATIVES = ("oneOf", "anyOf", "allOf")
_DEFINITIONS = ("$defs", "definitions")


def closed_object(**properties: Schema) -> Schema:
    """Return a closed object schema with these properties, all required."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def needs_wrapper(schema: Record) -> bool:
    """Whether a function's parameters are not allowed at the top level of an ``input_schema``."""
    kind = schema.get("type")
    other = kind is not None and kind != "object" and not (isinstance(kind, list) and "object" in kind)
    return other or any(name in schema for name in _ALTERNATIVES)


def input_schema(parameters: object, path: str) -> Schema:
    """Return a function's parameters as an ``input_schema``, wrapped in ``input`` if necessary.

    Raises:
        InvalidRequestError: The parameters are not an object, or nested too deeply.
    """
    schema = dict(record_at({} if parameters is None else parameters, path))
    check_depth(schema, path)
    if not needs_wrapper(schema):
        properties = {} if schema.get("properties") is None else schema["properties"]
        return {**schema, "type": "object", "properties": properties}
    hoisted = {name: schema.pop(name) for name in _DEFINITIONS if name in schema}
    wrapped: Schema = _rebased({**closed_object(**{WRAPPER: schema}), **hoisted})
    return wrapped


def _rebased(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a schema with references to its old root updated; definitions stay at the root."""
    if isinstance(value, list):
        return [_rebased(item) for item in value]
    if not isinstance(value, dict):
        return value
    schema = {name: _rebased(item) for name, item in value.items()}
    target = schema.get("$ref")
    if isinstance(target, str) and target.startswith("#") and not target.startswith(_HOISTED):
        schema["$ref"] = f"#/properties/{WRAPPER}{target[1:]}"
    return schema


_HOISTED = tuple(f"#/{name}/" for name in _DEFINITIONS)


def closed_schema(schema: object, path: str, ctx: TranslationContext) -> Schema:
    """Return a schema that the API can enforce; keywords it cannot enforce are logged as dropped.

    Raises:
        InvalidRequestError: The schema is not an object, or nested too deeply.
    """
    check_depth(schema, path)
    return _closed(record_at(schema, path), path, ctx)


def _closed(schema: Record, path: str, ctx: TranslationContext) -> Schema:
    closed: Schema = {}
    described: list[str] = []
    for name, value in schema.items():
        where = f"{path}.{printable(name)}"
        if value is None and name not in _NULLABLE:
            continue
        if name in _KEPT or ((keep := _CHECKED.get(name)) and keep(value)):
            closed[name] = value
        elif name in _HOLDS_SCHEMAS:
            closed["anyOf" if name == "oneOf" else name] = _HOLDS_SCHEMAS[name](value, where, ctx)
        elif name not in _SILENT:
            reason = "the Messages API does not enforce this keyword; it is moved into the description"
            ctx.drop(where, printable(name), reason)
            try:
                described.append(f"{name}: {json.dumps(value, ensure_ascii=False)}")
            except (TypeError, ValueError) as error:
                raise InvalidRequestError(f"{where}: a valid JSON value is required") from error
    if described:
        description = closed.get("description") if isinstance(closed.get("description"), str) else ""
        closed["description"] = "\n\n".join(filter(None, (description, f"{{{', '.join(described)}}}")))
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema:
        if schema.get("additionalProperties") not in (None, False):
            reason = "the Messages API requires additionalProperties: false"
            ctx.drop(f"{path}.additionalProperties", "additionalProperties", reason)
        closed["additionalProperties"] = False
    return closed


def _one(value: object, path: str, ctx: TranslationContext) -> Schema:
    """Return a schema; ``true`` becomes one that accepts any value."""
    return _closed({} if isinstance(value, bool) else record_at(value, path), path, ctx)


def _list(value: object, path: str, ctx: TranslationContext) -> list[Schema]:
    if not isinstance(value, list):
        raise InvalidRequestError(f"{path}: a list of JSON schemas is required")
    return [_one(item, f"{path}.{index}", ctx) for index, item in enumerate(value)]


def _named(value: object, path: str, ctx: TranslationContext) -> dict[str, Schema]:
    return {name: _one(item, f"{path}.{printable(name)}", ctx) for name, item in record_at(value, path).items()}


_KEPT = frozenset({"type", "description", "title", "enum", "const", "default", "required", "pattern", "$ref"})
"""Keywords that are kept unchanged."""

_NULLABLE = ("const", "default")
"""Keywords that may be null; for all others null means absent."""

_HOLDS_SCHEMAS: dict[str, Callable[[object, str, TranslationContext], Any]] = {
    "items": _one,
    "anyOf": _list,
    "oneOf": _list,
    "allOf": _list,
    "properties": _named,
    "$defs": _named,
    "definitions": _named,
}
"""Keywords that hold schemas; ``oneOf`` becomes ``anyOf``, which is equivalent for a model that writes one value."""

_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)  # fmt: skip
_CHECKED: dict[str, Callable[[Any], bool]] = {
    "format": lambda value: isinstance(value, str) and value in _FORMATS,
    "minItems": lambda value: value in (0, 1) and not isinstance(value, bool),
}
"""Keywords that are kept for some values."""

_SILENT = frozenset({"$schema", "$id", "$comment", "additionalProperties"})
"""Keywords dropped without a log: they do not affect the output; ``additionalProperties`` has its own rule."""
