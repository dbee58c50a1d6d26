"""The parts of an answer, put right; the same for a whole one and for a stream."""

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_provider_messages.errors.body import translate_error
from llama_stack_provider_messages.translation.messages_to_chat import usage_fields
from llama_stack_provider_messages.translation.tool_arguments import load_tool_input

type NewId = Callable[[str], str]
type Block = dict[str, Any]

BROKEN = "The backend did not answer in the form of the Messages API"
CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
"""Blocks with an ``input``."""
_TEXTS = {"text": ("text",), "thinking": ("thinking", "signature")}
"""Fields of a block that are always there, and texts."""
_USAGE: dict[str, type | tuple[type, ...]] = {
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
"""What the documented fields of ``usage`` hold where they are not null."""


def repair_message(message: object, model: str, new_id: NewId) -> dict[str, Any]:
    """Return a whole Message, put right.

    Args:
        message: As decoded.
        model: The name the client asked for.
        new_id: Makes an id from a prefix such as ``msg_``.

    Raises:
        BadGatewayError: It is none.
        MessagesError: An error came in its place: that error.
    """
    if not isinstance(message, Mapping):
        raise BadGatewayError(BROKEN)
    content = message.get("content")
    if not isinstance(content, list):
        raise translate_error(None, dict(message)) if is_error(message) else BadGatewayError(BROKEN)
    blocks = [block_of(given, new_id) for given in content if is_block(given)]
    called = any(block["type"] == "tool_use" for block in blocks)
    shell = shell_of(message, model, new_id, counts_of(message.get("usage")))
    return {**shell, "content": blocks, **ending_of(message, called=called)}


def is_error(body: Mapping[str, Any]) -> bool:
    """Return whether an object of no known type is an error: one inside ``error``, or code and message alone.

    llama.cpp sends the latter where a stream fails, named ``event: error`` outside of the data.
    """
    bare = bool(text_of(body.get("message"))) and body.get("code") is not None
    return bare or bool(body.get("error"))


def is_block(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a value says which block it is."""
    return isinstance(value, Mapping) and isinstance(value.get("type"), str)


def shell_of(message: Mapping[str, Any], model: str, new_id: NewId, counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with everything but its content and end; fields of a later API stay.

    Args:
        message: As the upstream began it.
        model: The name the client asked for.
        new_id: Makes the id, if the upstream's is not one of a message.
        counts: See ``counts_of``.
    """
    given = message.get("id")
    own_id = given if isinstance(given, str) and given.startswith("msg_") else new_id("msg_")
    fixed = {"id": own_id, "type": "message", "role": "assistant", "model": model, "usage": usage_of(counts)}
    return {"container": None, **message, **fixed}


def block_of(given: Mapping[str, Any], new_id: NewId) -> Block:
    """Return a block with the fields of its kind; one of another kind is as it was.

    Raises:
        BadGatewayError: It is a call of nothing: nobody can answer that.
    """
    kind = given["type"]
    block = {**given, **{name: text_of(given.get(name)) for name in _TEXTS.get(kind, ())}}
    if kind in CALLS:
        block["input"] = _input_of(given.get("input"))
    if kind == "tool_use":
        if not text_of(given.get("name")):
            raise BadGatewayError(f"{BROKEN}: a call names no tool")
        block["id"] = text_of(given.get("id")) or new_id("toolu_")
    return block


def _input_of(given: object) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    return load_tool_input(text_of(given))


def ending_of(said: Mapping[str, Any], *, called: bool) -> dict[str, Any]:
    """Return the stop reason with what belongs to it.

    Args:
        said: What the upstream says of it.
        called: The answer has a call for the client.
    """
    sequence, reason = text_of(said.get("stop_sequence")), text_of(said.get("stop_reason")) or "end_turn"
    if sequence:
        reason = "stop_sequence"
    elif called and reason == "end_turn":
        reason = "tool_use"
    details = said.get("stop_details")
    return {
        "stop_reason": reason,
        "stop_sequence": sequence or None,
        "stop_details": details if isinstance(details, Mapping) else None,
    }


def counts_of(usage: object) -> dict[str, Any]:
    """Return what an upstream's ``usage`` tells: no nulls, and no field that holds something else than it has to."""
    return {name: value for name, value in mapping_of(usage).items() if _fits(name, value)}


def _fits(name: str, value: object) -> bool:
    return value is not None and not isinstance(value, bool) and isinstance(value, _USAGE.get(name, object))


def usage_of(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``usage`` with all its fields, those that ``counts_of`` found and the others."""
    return usage_fields({"cache_write": counts.get("cache_creation_input_tokens", 0)}) | dict(counts)


def mapping_of(value: object) -> Mapping[str, Any]:
    """Return an object; an empty one for everything else."""
    return value if isinstance(value, Mapping) else {}


def text_of(value: object) -> str:
    """Return a text; an empty one for everything else."""
    return value if isinstance(value, str) else ""
