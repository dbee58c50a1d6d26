"""The platform's objects <-> plain JSON."""

from collections.abc import Mapping
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel


def plain_request(params: BaseModel) -> dict[str, Any]:
    """Return a chat completions request as plain JSON, without what is not set.

    Fields the platform's class does not know are among it. Messages are objects, or plain already where somebody has
    put them past the platform's classes, so the object is not dumped as a whole.
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
    """Return an answer as the SDK's object, unknown members included, which the platform expects of a provider."""
    return ChatCompletion.construct(**answer)


def chunk(piece: Mapping[str, Any]) -> ChatCompletionChunk:
    """Return a part of a stream, likewise.

    The platform writes members that are not there as null, and the SDK's helper for streams takes a null ``type`` for
    the type of the call: so every part of a call has it.
    """
    made = ChatCompletionChunk.construct(**piece)
    for choice in made.choices:
        for call in choice.delta.tool_calls or ():
            kind = "custom" if getattr(call, "custom", None) else "function"
            call.type = call.type or kind  # type: ignore[assignment]  # the SDK does not stream custom calls
    return made


def reasoning_of(answer: Any) -> str | None:  # noqa: ANN401 - a message or a delta of the SDK
    """Return the text of the reasoning in a message or a delta, if there is any."""
    text = getattr(answer, "reasoning_content", None)
    return text if isinstance(text, str) and text else None
