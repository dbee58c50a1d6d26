"""What to ask the tokenizer of a backend, so that a count is the ``prompt_tokens`` the same request would report.

A way to count is a generator: it yields calls, is sent their decoded answers, and returns the count. None of the
calls makes the backend generate.

    vllm        /tokenize, which applies the template to messages and tools
    llama_cpp   /v1/chat/completions/input_tokens, which reads a chat request whole; servers from before it was there:
                /apply-template, then /tokenize

llama.cpp builds the prompt in all its routes with one function, so each field counts as it does in an answer. vLLM's
``/tokenize`` knows fewer fields than its chat completions; where one of the others may matter, the count says so.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

type Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Count:
    """How many tokens a prompt has.

    Args:
        tokens: With those the backend may have cached.
        exact: Whether the backend would report the same number.
    """

    tokens: int
    exact: bool


@dataclass(frozen=True, slots=True)
class TokenizerCall:
    """A POST to make.

    Args:
        path: Below the root of the server, not below ``/v1``.
        body: To be sent as JSON.
    """

    path: str
    body: dict[str, Any]


class TokenizerUnavailable(Exception):  # noqa: N818 - a state of the backend, which counting.py gets by with
    """The backend does not count.

    Args:
        status: What it answered; None when nothing came, or nothing that can be read.
    """

    def __init__(self, status: int | None = None) -> None:
        super().__init__(f"the tokenizer answered {status}" if status else "the tokenizer gave no answer")
        self.status = status


type Steps = Generator[TokenizerCall, Any, Count]
type Way = Callable[[Fields, str], Steps]
"""Takes the fields of a chat request and the backend's name of the model."""


def ways_to_count(kind: str | None, fields: Fields) -> tuple[Way, ...]:
    """Return the ways to have a prompt counted, best first; none where an estimate has to do.

    Pictures and files are one of these cases: their tokens depend on how the model cuts them up, which some servers
    do for a count, at the cost of an answer's beginning, and others do not.

    Args:
        kind: Which tokenizer the backend has, a key of ``WAYS``.
        fields: Of the chat request.
    """
    return () if _has_media(fields) else WAYS.get(kind or "", ())


def _has_media(fields: Fields) -> bool:
    contents = (message.get("content") for message in fields["messages"])
    return any(part["type"] != "text" for content in contents if isinstance(content, list) for part in content)


_VLLM_FIELDS = (
    "messages", "tools", "add_generation_prompt", "continue_final_message", "add_special_tokens", "chat_template",
    "chat_template_kwargs", "media_io_kwargs", "mm_processor_kwargs",
)  # fmt: skip
"""Of its ``TokenizeChatRequest``; any other is ignored, and older servers log a warning about it."""

_VLLM_UNSEEN = {"reasoning_effort", "documents", "truncate_prompt_tokens"}
"""What shapes a prompt and ``TokenizeChatRequest`` does not have. The effort goes in as the template gets it."""


def _vllm(fields: Fields, model: str) -> Steps:
    body = {"model": model} | {name: fields[name] for name in _VLLM_FIELDS if name in fields}
    if effort := fields.get("reasoning_effort"):
        body["chat_template_kwargs"] = {**fields.get("chat_template_kwargs", {}), "reasoning_effort": effort}
    answer = yield TokenizerCall("/tokenize", body)
    return Count(_value(answer, "count", int), exact=_is_seen_whole(fields, model))


def _is_seen_whole(fields: Fields, model: str) -> bool:
    """Whether vLLM's tokenizer is told all that shapes the prompt.

    It may be set to leave tools out of the prompt when none is to be called, and it writes prompts for gpt-oss
    without a template, unless it counts them.
    """
    hidden = fields.get("tool_choice") == "none" and "tools" in fields
    return not (hidden or _VLLM_UNSEEN & fields.keys() or "gpt-oss" in model.lower())


_OF_THE_ANSWER = {"stream", "stream_options", "max_tokens", "max_completion_tokens"}
"""Fields that say nothing of a prompt."""

_ONLY_LOADED = "?autoload=false"
"""A router of llama.cpp servers would load the model, and unload another, only to count."""


def _llama_cpp(fields: Fields, model: str) -> Steps:
    path = f"/v1/chat/completions/input_tokens{_ONLY_LOADED}"
    answer = yield TokenizerCall(path, _prompt_fields(fields, model))
    return Count(_value(answer, "input_tokens", int), exact=True)


def _llama_cpp_in_two_steps(fields: Fields, model: str) -> Steps:
    """The second step does what an answer begins with: it adds the BOS token, and knows special tokens in the text."""
    answer = yield TokenizerCall(f"/apply-template{_ONLY_LOADED}", _prompt_fields(fields, model))
    text = {"content": _value(answer, "prompt", str), "add_special": True, "parse_special": True}
    answer = yield TokenizerCall(f"/tokenize{_ONLY_LOADED}", {"model": model, **text})
    return Count(len(_value(answer, "tokens", list)), exact=True)


def _prompt_fields(fields: Fields, model: str) -> dict[str, Any]:
    return {"model": model} | {name: value for name, value in fields.items() if name not in _OF_THE_ANSWER}


def _value[T](answer: object, name: str, kind: type[T]) -> T:
    """Return a value of an answer; another server may have the same path."""
    value = answer.get(name) if isinstance(answer, dict) else None
    if type(value) is not kind:  # True is an int to isinstance
        raise TokenizerUnavailable
    return value


WAYS: dict[str, tuple[Way, ...]] = {"vllm": (_vllm,), "llama_cpp": (_llama_cpp, _llama_cpp_in_two_steps)}
"""``Profile.tokenizer`` -> the ways to count, best first."""
