"""JSON schemas: constructors for this server's own schemas, and the rules of strict functions."""

from typing import Any

from llama_stack_provider_messages.translation.fields import list_field

type Schema = dict[str, Any]


def described(text: str, required: dict[str, Schema] | None = None, /, **optional: Schema) -> Schema:
    """Return description and parameters of a function.

    Args:
        text: What it does and when to use it.
        required: Required inputs.
        optional: Optional inputs.
    """
    parameters: Schema = {"type": "object", "properties": {**(required or {}), **optional}}
    if required:
        parameters["required"] = list(required)
    return {"description": text, "parameters": parameters}


def string(text: str, *values: str) -> Schema:
    """Return a string schema, an enum if there are values."""
    return {"type": "string", **({"enum": list(values)} if values else {}), "description": text}


def integer(text: str) -> Schema:
    """Return an integer schema."""
    return {"type": "integer", "description": text}


def number(text: str) -> Schema:
    """Return a number schema."""
    return {"type": "number", "description": text}


def boolean(text: str) -> Schema:
    """Return a boolean schema."""
    return {"type": "boolean", "description": text}


def strings(text: str) -> Schema:
    """Return an array schema of strings."""
    return {"type": "array", "items": {"type": "string"}, "description": text}


def integers(text: str, count: int) -> Schema:
    """Return an array schema of ``count`` integers."""
    return {"type": "array", "items": {"type": "integer"}, "minItems": count, "maxItems": count, "description": text}


def record(text: str, /, **fields: Schema) -> Schema:
    """Return an object schema with all fields required."""
    return {"type": "object", "properties": fields, "required": list(fields), "description": text}


def object_schema(schema: Schema | None) -> Schema:
    """Return a tool's schema with ``properties``, possibly empty: OpenAI requires it (kubernetes-mcp-server 340)."""
    schema = schema or {}
    return schema if {"type", "properties"} <= schema.keys() else {"type": "object", "properties": {}} | schema


_UNSUPPORTED = frozenset(
    {"allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "default"}
)
"""Keywords that are a 400 in strict mode (developers.openai.com/api/docs/guides/structured-outputs; instructor 961)."""

_NAMED = ("properties", "$defs", "definitions", "patternProperties")
"""Keywords that hold schemas by name."""

_HELD = ("items", "prefixItems", "anyOf")
"""Keywords that hold one schema or several."""


def is_strict_schema(schema: object) -> bool:
    """Whether OpenAI's strict mode accepts a schema: every object closed, and all its properties required."""
    if isinstance(schema, list):
        return all(is_strict_schema(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(properties, dict) or not isinstance(required, list) or not _UNSUPPORTED.isdisjoint(schema):
        return False
    is_object = bool(properties) or "object" in (schema.get("type"), *list_field(schema, "type"))
    closed = schema.get("additionalProperties") is False and sorted(map(str, required)) == sorted(properties)
    if is_object and not closed:
        return False
    named = [list(part.values()) for name in _NAMED if isinstance(part := schema.get(name), dict)]
    return is_strict_schema([*named, *(schema.get(name) for name in _HELD)])
