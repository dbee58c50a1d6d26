"""``response_format`` -> ``output_config.format``, or an instruction to a model without structured outputs."""

import json
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import Record, record_at, shown, text_at

from .schemas import Schema, closed_schema

_JSON_ONLY = "Answer with one JSON object and nothing else: no text around it and no code fence."


def output_format(chat: Record, ctx: TranslationContext) -> tuple[dict[str, Any], bool]:
    """Return ``format`` for ``output_config``, and whether JSON is only requested by an instruction.

    Raises:
        InvalidRequestError: The format is not one of OpenAI's.
    """
    if chat.get("response_format") is None:
        return {}, False
    asked = record_at(chat["response_format"], "response_format")
    kind = asked.get("type")
    if kind == "text":
        return {}, False
    if kind not in ("json_object", "json_schema"):
        raise InvalidRequestError(
            f"response_format.type: {shown(kind)} is no format; send text, json_object or json_schema"
        )
    schema = _schema(asked, ctx) if kind == "json_schema" else None
    if schema is not None and ctx.traits.structured:
        return {"format": {"type": "json_schema", "schema": schema}}, False
    ctx.instructions.append(_told(schema))
    if schema is not None:
        ctx.drop("response_format", "json_schema", "the model cannot be held to a schema; it is told")
    return {}, True


def _schema(asked: Record, ctx: TranslationContext) -> Schema | None:
    """Return the schema, with name and description added if it lacks them; None if any object is allowed."""
    path = "response_format.json_schema"
    named = record_at(asked.get("json_schema"), path)
    if named.get("schema") is None:
        return None
    schema = closed_schema(named["schema"], f"{path}.schema", ctx)
    for key, name in (("title", "name"), ("description", "description")):
        if (text := text_at(named.get(name), f"{path}.{name}")) and key not in schema:
            schema[key] = text
    return schema


def _told(schema: Schema | None) -> str:
    if schema is None:
        return _JSON_ONLY
    return f"{_JSON_ONLY} It has to match this JSON schema:\n{json.dumps(schema, ensure_ascii=False)}"
