"""JSON schemas: small makers for those this server writes itself, and what strict functions ask of one."""

from typing import Any

type Schema = dict[str, Any]


def described(text: str, required: dict[str, Schema] | None = None, /, **optional: Schema) -> Schema:
    """Return description and parameters of a function.

    Args:
        text: What it does and when to use it.
        required: Inputs it cannot do without.
        optional: The others.
    """
    parameters: Schema = {"type": "object", "properties": {**(required or {}), **optional}}
    if required:
        parameters["required"] = list(required)
    return {"description": text, "parameters": parameters}


def string(text: str, *values: str) -> Schema:
    """Return a string, one of the values if there are any."""
    return {"type": "string", **({"enum": list(values)} if values else {}), "description": text}


def integer(text: str) -> Schema:
    """Return a whole number."""
    return {"type": "integer", "description": text}


def number(text: str) -> Schema:
    """Return a number."""
    return {"type": "number", "description": text}


def boolean(text: str) -> Schema:
    """Return a boolean."""
    return {"type": "boolean", "description": text}


def strings(text: str) -> Schema:
    """Return a list of strings."""
    return {"type": "array", "items": {"type": "string"}, "description": text}


def integers(text: str, count: int) -> Schema:
    """Return a list of so many whole numbers."""
    return {"type": "array", "items": {"type": "integer"}, "minItems": count, "maxItems": count, "description": text}


def record(text: str, /, **fields: Schema) -> Schema:
    """Return an object whose fields are all required."""
    return {"type": "object", "properties": fields, "required": list(fields), "description": text}


def object_schema(schema: Schema | None) -> Schema:
    """Return a tool's schema with properties, even if none: OpenAI wants them (kubernetes-mcp-server 340)."""
    schema = schema or {}
    return schema if {"type", "properties"} <= schema.keys() else {"type": "object", "properties": {}} | schema


def is_strict_schema(schema: object) -> bool:
    """Whether OpenAI's strict mode takes a schema: every object closed, and all its properties required."""
    if isinstance(schema, list):
        return all(is_strict_schema(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if schema.get("type") == "object" or properties:
        if not isinstance(properties, dict) or not isinstance(required, list):
            return False
        if schema.get("additionalProperties") is not False or sorted(map(str, required)) != sorted(properties):
            return False
    return all(is_strict_schema(part) for part in schema.values())
