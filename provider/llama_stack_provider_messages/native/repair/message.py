"""Repairs the parts of a response; the same for a Message and for a stream."""

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_provider_messages.errors.body import is_error, translate_error
from llama_stack_provider_messages.errors.response import WRONG_FORM
from llama_stack_provider_messages.translation.fields import text_field
from llama_stack_provider_messages.translation.messages_to_chat import usage_fields
from llama_stack_provider_messages.translation.tool_arguments import load_tool_input

type NewId = Callable[[str], str]
type Block = dict[str, Any]

CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
"""Blocks with an ``input``."""
_TEXTS = {"text": ("text",), "thinking": ("thinking", "signature")}
"""Text fields that a block of a type always has."""
_USAGE_TYPES: dict[str, type | tuple[type, ...]] = {
    "input_tokens": int,
    "cache_creation_input_tokens": int,
    "cache_read_input_tokens": int,
    "cache_creation": Mapping,
    "output_tokens": int,
    "output_tokens_details": Mapping,
    "server_tool_use": Mapping,
    "service_tier": str,
    "inference_geo": str,
    "speed": str,
}
"""Documented ``usage`` field -> its type when it is not null."""


def repair_message(message: object, model: str, new_id: NewId) -> dict[str, Any]:
    """Return a repaired Message.

    Args:
        message: The decoded response body.
        model: The model name that the client requested.
        new_id: Makes an id from a prefix such as ``msg_``.

    Raises:
        BadGatewayError: The body is not a Message.
        MessagesError: The body is an error: that error.
    """
    if not isinstance(message, Mapping):
        raise BadGatewayError(WRONG_FORM)
    content = message.get("content")
    if not isinstance(content, list):
        raise translate_error(None, dict(message)) if is_error(message) else BadGatewayError(WRONG_FORM)
    blocks = [block_of(block, new_id) for block in content if is_block(block)]
    has_call = any(block["type"] == "tool_use" for block in blocks)
    shell = shell_of(message, model, new_id, counts_of(message.get("usage")))
    return {**shell, "content": blocks, **ending_of(message, has_call=has_call)}


def is_block(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a value is an object with a block type."""
    return isinstance(value, Mapping) and isinstance(value.get("type"), str)


def shell_of(message: Mapping[str, Any], model: str, new_id: NewId, counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without content, stop reason and stop sequence; unknown fields are kept.

    Args:
        message: The upstream's message or the start of it.
        model: The model name that the client requested.
        new_id: Makes the id, if the upstream's is not a message id.
        counts: The usage from ``counts_of``.
    """
    message_id = text_field(message, "id")
    if not message_id.startswith("msg_"):
        message_id = new_id("msg_")
    fixed = {"id": message_id, "type": "message", "role": "assistant", "model": model, "usage": complete_usage(counts)}
    return {"container": None, **message, **fixed}


def block_of(upstream_block: Mapping[str, Any], new_id: NewId) -> Block:
    """Return a block with all fields of its type; a block of unknown type is not changed.

    Raises:
        BadGatewayError: It is a call without a tool name, which the client could not answer.
    """
    kind = upstream_block["type"]
    block = {**upstream_block, **{name: text_field(upstream_block, name) for name in _TEXTS.get(kind, ())}}
    if kind in CALLS:
        given = upstream_block.get("input")
        block["input"] = dict(given) if isinstance(given, Mapping) else load_tool_input(text_field(block, "input"))
    if kind == "tool_use":
        if not text_field(block, "name"):
            raise BadGatewayError(f"{WRONG_FORM}: a call names no tool")
        block["id"] = text_field(block, "id") or new_id("toolu_")
    return block


def ending_of(ending: Mapping[str, Any], *, has_call: bool) -> dict[str, Any]:
    """Return the stop reason and the fields that belong to it.

    Args:
        ending: The upstream's object with stop reason and stop sequence.
        has_call: Whether the response has a client tool call.
    """
    sequence, reason = text_field(ending, "stop_sequence"), text_field(ending, "stop_reason") or "end_turn"
    if sequence:
        reason = "stop_sequence"
    elif has_call and reason == "end_turn":
        reason = "tool_use"
    details = ending.get("stop_details")
    return {
        "stop_reason": reason,
        "stop_sequence": sequence or None,
        "stop_details": details if isinstance(details, Mapping) else None,
    }


def counts_of(usage: object) -> dict[str, Any]:
    """Return the valid fields of an upstream's ``usage``: without nulls and values of a wrong type."""
    return {
        name: value
        for name, value in mapping_of(usage).items()
        if value is not None and not isinstance(value, bool) and isinstance(value, _USAGE_TYPES.get(name, object))
    }


def complete_usage(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``usage`` with all documented fields, from the counts that ``counts_of`` found."""
    return usage_fields({"cache_write": counts.get("cache_creation_input_tokens", 0)}) | dict(counts)


def mapping_of(value: object) -> Mapping[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}
