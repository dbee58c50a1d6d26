"""Calls to a backend's tokenizer, so that the count equals the ``prompt_tokens`` of the same request.

A counting method is a generator: it yields HTTP calls, receives their decoded responses, and returns the count. No call
makes the backend generate.

    vllm        /tokenize, which applies the template to messages and tools
    llama_cpp   /v1/chat/completions/input_tokens, which accepts a complete chat request; on older servers
                /apply-template, then /tokenize

llama.cpp builds the prompt in all routes with one function, so every field counts as in a completion. vLLM's
``/tokenize`` supports fewer fields than its chat completions; if an unsupported field may matter, the count is not
marked as exact.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

type Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Count:
    """The number of tokens in a prompt.

    Args:
        tokens: The count, including cached tokens.
        exact: Whether the backend would report the same number.
    """

    tokens: int
    exact: bool


@dataclass(frozen=True, slots=True)
class TokenizerCall:
    """A POST request to the backend.

    Args:
        path: Path relative to the root of the server, not to ``/v1``.
        body: The JSON body.
    """

    path: str
    body: dict[str, Any]


class TokenizerUnavailable(Exception):  # noqa: N818 - a state of the backend, which the caller handles by estimating
    """The backend cannot count tokens.

    Args:
        status: HTTP status of its response; None without a response, or if the body was not readable.
    """

    def __init__(self, status: int | None = None) -> None:
        super().__init__(f"the tokenizer answered {status}" if status else "the tokenizer gave no answer")
        self.status = status


type Steps = Generator[TokenizerCall, Any, Count]
type Way = Callable[[Fields, str], Steps]
"""A counting method. Arguments: the fields of a chat request and the backend's model name."""


def ways_to_count(kind: str | None, fields: Fields) -> tuple[Way, ...]:
    """Return the counting methods for a prompt, best first; ``()`` if only an estimate is possible.

    Prompts with images or files are only estimated: their tokens depend on the model's image processing. Some servers
    run it for a count, which costs as much as the start of a completion, and others do not.

    Args:
        kind: The backend's tokenizer, a key of ``WAYS``.
        fields: The fields of the chat request.
    """
    return () if _has_media(fields) else WAYS.get(kind or "", ())


def _has_media(fields: Fields) -> bool:
    contents = (message.get("content") for message in fields["messages"])
    return any(part["type"] != "text" for content in contents if isinstance(content, list) for part in content)


_VLLM_FIELDS = (
    "messages", "tools", "add_generation_prompt", "continue_final_message", "add_special_tokens", "chat_template",
    "chat_template_kwargs", "media_io_kwargs", "mm_processor_kwargs",
)  # fmt: skip
"""Fields of ``TokenizeChatRequest``. vLLM ignores others; older servers log a warning about them."""

_VLLM_UNSEEN = {"reasoning_effort", "documents", "truncate_prompt_tokens"}
"""Fields that change a prompt and that ``TokenizeChatRequest`` lacks. The effort is passed as a template argument."""


def _vllm(fields: Fields, model: str) -> Steps:
    body = {"model": model} | {name: fields[name] for name in _VLLM_FIELDS if name in fields}
    if effort := fields.get("reasoning_effort"):
        body["chat_template_kwargs"] = {**fields.get("chat_template_kwargs", {}), "reasoning_effort": effort}
    answer = yield TokenizerCall("/tokenize", body)
    return Count(_value(answer, "count", int), exact=_is_seen_whole(fields, model))


def _is_seen_whole(fields: Fields, model: str) -> bool:
    """Whether vLLM's tokenizer gets every field that changes the prompt.

    vLLM may be configured to omit tools from the prompt for ``tool_choice: none``. It builds prompts for gpt-oss
    without a template, except in the tokenizer.
    """
    hidden = fields.get("tool_choice") == "none" and "tools" in fields
    return not (hidden or _VLLM_UNSEEN & fields.keys() or "gpt-oss" in model.lower())


_OF_THE_ANSWER = {"stream", "stream_options", "max_tokens", "max_completion_tokens"}
"""Fields that do not change the prompt."""

_ONLY_LOADED = "?autoload=false"
"""Query that keeps a llama.cpp router from loading the model, and unloading another, only to count."""


def _llama_cpp(fields: Fields, model: str) -> Steps:
    path = f"/v1/chat/completions/input_tokens{_ONLY_LOADED}"
    answer = yield TokenizerCall(path, _prompt_fields(fields, model))
    return Count(_value(answer, "input_tokens", int), exact=True)


def _llama_cpp_in_two_steps(fields: Fields, model: str) -> Steps:
    """Apply the template, then tokenize as a completion does: with the BOS token and special tokens."""
    answer = yield TokenizerCall(f"/apply-template{_ONLY_LOADED}", _prompt_fields(fields, model))
    text = {"content": _value(answer, "prompt", str), "add_special": True, "parse_special": True}
    answer = yield TokenizerCall(f"/tokenize{_ONLY_LOADED}", {"model": model, **text})
    return Count(len(_value(answer, "tokens", list)), exact=True)


def _prompt_fields(fields: Fields, model: str) -> dict[str, Any]:
    return {"model": model} | {name: value for name, value in fields.items() if name not in _OF_THE_ANSWER}


def _value[T](answer: object, name: str, kind: type[T]) -> T:
    """Return a value of a response, checked, because another server may have the same path."""
    value = answer.get(name) if isinstance(answer, dict) else None
    if type(value) is not kind:  # True is an int to isinstance
        raise TokenizerUnavailable
    return value


WAYS: dict[str, tuple[Way, ...]] = {"vllm": (_vllm,), "llama_cpp": (_llama_cpp, _llama_cpp_in_two_steps)}
"""``Profile.tokenizer`` -> counting methods, best first."""
