"""Converts between plain JSON and the objects of the platform and of the openai SDK: requests, responses, errors."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from llama_stack_api_messages.error_response import CompletionError
from llama_stack_api_messages.errors import MessagesError
from llama_stack_provider_messages.errors.redaction import redact_by_pattern
from llama_stack_provider_messages.translation.chat_to_messages import translate_error


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


def completion(response: Mapping[str, Any]) -> ChatCompletion:
    """Return a response as the SDK's object, unknown fields included; the platform expects that of a provider."""
    return ChatCompletion.construct(**response)


def completion_chunk(chunk: Mapping[str, Any]) -> ChatCompletionChunk:
    """Return a chunk of a stream as the SDK's object, unknown fields included.

    The platform serializes missing fields as null, and the SDK's stream helper takes a null ``type`` as the type of a
    tool call: so every delta of a tool call gets its ``type``.
    """
    made = ChatCompletionChunk.construct(**chunk)
    for choice in made.choices:
        for call in choice.delta.tool_calls or ():
            kind = "custom" if getattr(call, "custom", None) else "function"
            call.type = call.type or kind  # type: ignore[assignment]  # the SDK does not stream custom tool calls
    return made


def reasoning_of(message: Any) -> str | None:  # noqa: ANN401 - a message or a delta of the SDK
    """Return the reasoning text of a message or a delta; return None if it has no reasoning."""
    text = getattr(message, "reasoning_content", None)
    return text if isinstance(text, str) and text else None


def completion_error(error: MessagesError) -> CompletionError:
    """Return an error with a body in OpenAI's form, as the platform's routes send it, without addresses."""
    error.message = redact_by_pattern(error.message)
    translated = translate_error(error, now=datetime.now(UTC))
    return CompletionError(translated.status, translated.body, translated.headers)


class ModelNotAllowedError(CompletionError, ValueError):
    """The model is not in ``allowed_models``; a ``ValueError``, as with other providers."""

    def __init__(self, model: str) -> None:
        super().__init__(
            400, _error_body(f"The model '{model}' is not in allowed_models of its provider", "model_not_allowed")
        )


class NotOfferedError(CompletionError, NotImplementedError):
    """The Messages API has no counterpart for a call.

    Args:
        what: What the call asks for.
    """

    def __init__(self, what: str) -> None:
        super().__init__(501, _error_body(f"remote::messages does not offer {what}", "not_implemented"))


def _error_body(text: str, code: str) -> dict[str, dict[str, str | None]]:
    return {"error": {"message": text, "type": "invalid_request_error", "code": code, "param": None}}
