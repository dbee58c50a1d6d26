"""Converts between the objects of the platform or SDK and plain JSON."""

from collections.abc import Mapping
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel


def plain_request(params: BaseModel) -> dict[str, Any]:
    """Return a chat completions request as plain JSON, without unset fields.

    Fields that the platform's class does not know are included. The object is not dumped as a whole, because its
    messages may be objects or already plain dicts (assigned after validation).
    """
    return {name: _plain(value) for name, value in params if value is not None}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, BaseModel):
        return {name: _plain(part) for name, part in value if part is not None}
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def completion(answer: Mapping[str, Any]) -> ChatCompletion:
    """Return a response as the SDK's object, unknown fields included; the platform expects that of a provider."""
    return ChatCompletion.construct(**answer)


def chunk(piece: Mapping[str, Any]) -> ChatCompletionChunk:
    """Return a chunk of a stream as the SDK's object, unknown fields included.

    The platform serializes missing fields as null, and the SDK's stream helper takes a null ``type`` as the type of a
    tool call: so every delta of a tool call gets its ``type``.
    """
    made = ChatCompletionChunk.construct(**piece)
    for choice in made.choices:
        for call in choice.delta.tool_calls or ():
            kind = "custom" if getattr(call, "custom", None) else "function"
            call.type = call.type or kind  # type: ignore[assignment]  # the SDK does not stream custom tool calls
    return made


def reasoning_of(answer: Any) -> str | None:  # noqa: ANN401 - a message or a delta of the SDK
    """Return the reasoning text of a message or a delta, None if there is none."""
    text = getattr(answer, "reasoning_content", None)
    return text if isinstance(text, str) and text else None
