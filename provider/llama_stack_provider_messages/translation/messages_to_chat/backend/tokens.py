"""Counts the tokens of a prompt: with the backend's tokenizer if it has one, else by an estimate.

An estimate takes four bytes of UTF-8 for a token, which is about right in English and in code, and roughly so in other
languages. That is precise enough for the client's context meter.

With a tokenizer the count equals the ``prompt_tokens`` that the backend reports for the same request. A counting method
is a generator: it yields HTTP requests, receives their decoded responses, and returns the count. No request makes the
backend generate.

    vllm        /tokenize, which applies the template to messages and tools
    llama_cpp   /v1/chat/completions/input_tokens, which accepts a complete chat request; on older servers
                /apply-template, then /tokenize

llama.cpp builds the prompt in all routes with one function, so every field counts as in a completion. vLLM's
``/tokenize`` supports fewer fields than its chat completions; if an unsupported field may matter, the count is not
marked as exact.
"""

import json
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

_BYTES_PER_TOKEN = 4
_IMAGE_TOKENS = 1_500
"""Tokens of an image of usual size."""
_TEMPLATE_TOKENS_PER_MESSAGE = 4
"""Tokens that a chat template adds per message."""
_MEDIA = frozenset({"image", "image_url", "file", "input_audio"})
_NOT_READ = {"cache_control", "signature", "encrypted_content"}
"""Fields of a block that the model does not read."""

type Fields = Mapping[str, Any]
"""The fields of a chat completions request, without ``model``."""


def byte_length(text: str) -> int:
    """Return the UTF-8 length of a text in bytes; a lone surrogate counts as one byte."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def tokens_of_bytes(size: int) -> int:
    """Return the estimated tokens of a text of this many bytes, rounded up."""
    return -(-size // _BYTES_PER_TOKEN)


def estimate_tokens(fields: Fields) -> int:
    """Return the estimated prompt tokens of a chat request; messages, tools and response format make up the prompt.

    Raises:
        ValueError: A schema has a number that JSON does not have, such as infinity.
    """
    messages = fields.get("messages") or []
    size = _prompt_bytes(messages)
    for name in ("tools", "response_format"):
        if fields.get(name):
            size += byte_length(json.dumps(fields[name], ensure_ascii=False, allow_nan=False))
    return _TEMPLATE_TOKENS_PER_MESSAGE * len(messages) + tokens_of_bytes(size)


class BlockSizes:
    """Estimates parts of a Messages request. A block is measured once, however often it is asked for."""

    def __init__(self) -> None:
        self._bytes: dict[int, tuple[BaseModel, int]] = {}  # by identity; holding the block keeps it unique

    def tokens(self, content: str | BaseModel | Iterable[BaseModel] | None) -> int:
        """Return the estimated tokens of a text, a block, or a list of blocks or tools."""
        if content is None or isinstance(content, str):
            return tokens_of_bytes(byte_length(content or ""))
        return tokens_of_bytes(sum(map(self._size, [content] if isinstance(content, BaseModel) else content)))

    def _size(self, block: BaseModel) -> int:
        if id(block) not in self._bytes:
            size = _prompt_bytes(block.model_dump(exclude=_NOT_READ, warnings=False))
            self._bytes[id(block)] = block, size
        return self._bytes[id(block)][1]


def estimate_json(data: bytes) -> int:
    """Return the estimated tokens of a part of a request that was not parsed.

    Args:
        data: JSON, valid or not.
    """
    try:
        return tokens_of_bytes(_prompt_bytes(json.loads(data)))
    except (ValueError, RecursionError):
        return tokens_of_bytes(len(data))


def _prompt_bytes(value: object) -> int:
    """Return the bytes of all text in a JSON value; an image or file counts as its estimated tokens in bytes."""
    media = 0
    texts: list[str] = []
    values = [value]
    for part in values:  # grows while it is read
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            kind = part.get("type")
            if (isinstance(kind, str) and kind in _MEDIA) or part.get("media_type") == "application/pdf":
                media += 1
            else:
                values.extend(part.values())
        elif isinstance(part, list):
            values.extend(part)
    return byte_length("".join(texts)) + media * _IMAGE_TOKENS * _BYTES_PER_TOKEN


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
class TokenizerRequest:
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


type Steps = Generator[TokenizerRequest, Any, Count]
type CountingMethod = Callable[[Fields, str], Steps]
"""Arguments: the fields of a chat request and the backend's model name."""


def counting_methods(kind: str | None, fields: Fields) -> tuple[CountingMethod, ...]:
    """Return the counting methods for a prompt, best first; ``()`` if only an estimate is possible.

    Prompts with images or files are only estimated: their tokens depend on the model's image processing. Some servers
    run it for a count, which costs as much as the start of a completion, and others do not.

    Args:
        kind: The backend's tokenizer, a key of ``COUNTING_METHODS``.
        fields: The fields of the chat request.
    """
    for message in fields["messages"]:
        content = message.get("content")
        if isinstance(content, list) and any(part["type"] != "text" for part in content):
            return ()
    return COUNTING_METHODS.get(kind or "", ())


_VLLM_FIELDS = (
    "messages", "tools", "add_generation_prompt", "continue_final_message", "add_special_tokens", "chat_template",
    "chat_template_kwargs", "media_io_kwargs", "mm_processor_kwargs",
)  # fmt: skip
"""Fields of ``TokenizeChatRequest``. vLLM ignores others; older servers log a warning about them."""

_VLLM_MISSING_FIELDS = {"reasoning_effort", "documents", "truncate_prompt_tokens"}
"""Fields that change a prompt and that ``TokenizeChatRequest`` lacks. The effort is passed as a template argument."""


def _vllm(fields: Fields, model: str) -> Steps:
    """Count with ``/tokenize``; exact if it gets every field that changes the prompt.

    vLLM may be configured to omit tools from the prompt for ``tool_choice: none``. It builds prompts for gpt-oss
    without a template, except in the tokenizer.
    """
    body = {"model": model} | {name: fields[name] for name in _VLLM_FIELDS if name in fields}
    if effort := fields.get("reasoning_effort"):
        body["chat_template_kwargs"] = {**fields.get("chat_template_kwargs", {}), "reasoning_effort": effort}
    response = yield TokenizerRequest("/tokenize", body)
    tools_omitted = fields.get("tool_choice") == "none" and "tools" in fields
    differs = tools_omitted or _VLLM_MISSING_FIELDS & fields.keys() or "gpt-oss" in model.lower()
    return Count(_value(response, "count", int), exact=not differs)


_REPLY_FIELDS = {"stream", "stream_options", "max_tokens", "max_completion_tokens"}
"""Fields that do not change the prompt."""

_ONLY_LOADED = "?autoload=false"
"""Query that keeps a llama.cpp router from loading the model, and unloading another, only to count."""


def _llama_cpp(fields: Fields, model: str) -> Steps:
    """Count with ``/v1/chat/completions/input_tokens``."""
    path = f"/v1/chat/completions/input_tokens{_ONLY_LOADED}"
    response = yield TokenizerRequest(path, _prompt_fields(fields, model))
    return Count(_value(response, "input_tokens", int), exact=True)


def _llama_cpp_in_two_steps(fields: Fields, model: str) -> Steps:
    """Apply the template, then tokenize as a completion does: with the BOS token and special tokens."""
    response = yield TokenizerRequest(f"/apply-template{_ONLY_LOADED}", _prompt_fields(fields, model))
    text = {"content": _value(response, "prompt", str), "add_special": True, "parse_special": True}
    response = yield TokenizerRequest(f"/tokenize{_ONLY_LOADED}", {"model": model, **text})
    return Count(len(_value(response, "tokens", list)), exact=True)


def _prompt_fields(fields: Fields, model: str) -> dict[str, Any]:
    return {"model": model} | {name: value for name, value in fields.items() if name not in _REPLY_FIELDS}


def _value[T](response: object, name: str, kind: type[T]) -> T:
    """Return a value of a response, checked, because another server may have the same path."""
    value = response.get(name) if isinstance(response, dict) else None
    if type(value) is not kind:  # True is an int to isinstance
        raise TokenizerUnavailable
    return value


COUNTING_METHODS: dict[str, tuple[CountingMethod, ...]] = {
    "vllm": (_vllm,),
    "llama_cpp": (_llama_cpp, _llama_cpp_in_two_steps),
}
"""``Profile.tokenizer`` -> counting methods, best first."""
