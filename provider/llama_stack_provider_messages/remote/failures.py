"""Errors raised by this provider itself, with bodies in OpenAI's form."""

from llama_stack_api_messages.error_response import CompletionError


class ModelNotAllowedError(CompletionError, ValueError):
    """The model is not in ``allowed_models``; a ``ValueError``, as with other providers."""

    def __init__(self, model: str) -> None:
        text = f"The model '{model}' is not in allowed_models of its provider"
        super().__init__(400, _body(text, "invalid_request_error", "model_not_allowed"))


class NotOfferedError(CompletionError, NotImplementedError):
    """The Messages API has no counterpart for the call."""


def not_offered(what: str) -> NotOfferedError:
    """Return the error for a call that has no counterpart in the Messages API."""
    text = f"remote::messages does not offer {what}"
    return NotOfferedError(501, _body(text, "invalid_request_error", "not_implemented"))


def _body(text: str, kind: str, code: str) -> dict[str, dict[str, str | None]]:
    return {"error": {"message": text, "type": kind, "code": code, "param": None}}
