"""A whole Message -> a whole chat completion: what its stream would have added up to."""

from collections.abc import Iterator, Mapping
from typing import Any

from llama_stack_api_messages.errors import BadGatewayError, MessagesError
from llama_stack_provider_messages.translation.messages_to_chat.error import translate_error as error_of

from .form import ChatForm
from .stream import Chunk, StreamTranslator
from .usage import added, translate_usage

_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
_LISTS = ("annotations", "reasoning_details")


def translate_response(message: Mapping[str, Any], form: ChatForm, *, created: int) -> dict[str, Any]:
    """Return the ``chat.completion``.

    Args:
        message: The upstream's answer; one that paused is ``continued`` first.
        form: How it has to look.
        created: Seconds since 1970.

    Raises:
        MessagesError: It is none, or an error.
    """
    content = message.get("content")
    if not isinstance(content, list):
        raise _failure(message)
    stream = StreamTranslator(form, created=created, new_id=lambda: "0")
    chunks = [chunk for event in _events(message, content) for chunk in stream.feed(event)]
    stream.complete = True
    folded = fold_chunks([*chunks, *stream.finish()])
    return {**folded, "usage": translate_usage(stream.usage)}


def _failure(message: Mapping[str, Any]) -> MessagesError:
    if message.get("error"):
        return error_of(None, dict(message))
    return BadGatewayError("The backend did not answer in the form of the Messages API")


def _events(message: Mapping[str, Any], content: list[Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the events of a message whose blocks come whole."""
    yield {"type": "message_start", "message": {"id": message.get("id"), "usage": message.get("usage")}}
    for index, block in enumerate(content):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_stop", "index": index}
    ending = {name: message.get(name) for name in ("stop_reason", "stop_details")}
    yield {"type": "message_delta", "delta": ending, "usage": None}


def continued(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return one message for one that paused and the one that went on with it."""
    content = [*(first.get("content") or ()), *(second.get("content") or ())]
    usage = added(first.get("usage") or {}, second.get("usage") or {})
    return {**second, "id": first.get("id"), "content": content, "usage": usage}


def fold_chunks(chunks: list[Chunk]) -> dict[str, Any]:
    """Return the completion that chunks add up to."""
    message: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    calls: dict[int, dict[str, Any]] = {}
    completion: dict[str, Any] = {"service_tier": None}
    reason = None
    for chunk in chunks:
        completion |= {name: value for name, value in chunk.items() if value is not None}
        for choice in chunk["choices"]:
            _add(message, calls, choice["delta"])
            reason = choice["finish_reason"] or reason
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    if not message["content"] and (calls or "function_call" in message):
        message["content"] = None
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return {**completion, "object": "chat.completion", "choices": [choice]}


def _add(message: dict[str, Any], calls: dict[int, dict[str, Any]], delta: Mapping[str, Any]) -> None:
    for name in _TEXTS:
        if name in delta:
            message[name] = (message.get(name) or "") + delta[name]
    for name in _LISTS:
        for entry in delta.get(name, ()):
            _add_entry(message.setdefault(name, []), entry)
    for call in delta.get("tool_calls", ()):
        _add_call(calls.setdefault(call["index"], {}), {k: v for k, v in call.items() if k != "index"})
    if "function_call" in delta:
        _add_call(message.setdefault("function_call", {}), delta["function_call"])


def _add_entry(entries: list[dict[str, Any]], entry: Mapping[str, Any]) -> None:
    """Add to a list; pieces of one thought have one index."""
    last = entries[-1] if entries else {}
    if entry["type"] == "reasoning.text" and last.get("index") == entry["index"]:
        entries[-1] = {**last, **entry, "text": last["text"] + entry["text"]}
    else:
        entries.append(dict(entry))


def _add_call(call: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, Mapping):
            _add_call(call.setdefault(name, {}), value)
        elif name in ("arguments", "input"):
            call[name] = call.get(name, "") + value
        else:
            call[name] = value
