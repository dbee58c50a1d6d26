"""Folds the chunks of a chat completions stream into one completion, in the form of a non-streaming response.

It is used to display tapes, so it keeps fields beyond the API, such as ``reasoning_content``: strings are
concatenated, objects are merged, and list items are merged by their ``index``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

type Json = dict[str, Any]

_SAID_AT_ONCE = {"finish_reason", "format", "id", "name", "object", "role", "signature", "type"}
"""String fields that are sent whole, by some servers in every chunk. All other strings are concatenated."""


def is_chat_chunk(value: object) -> bool:
    """Return whether a JSON value is a chunk of a chat completions stream."""
    choices = value.get("choices") if isinstance(value, dict) else None
    return isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices)


def fold_chat(chunks: Iterable[Mapping[str, Any]]) -> Json:
    """Return the folded completion; for a truncated stream, the part that arrived.

    Args:
        chunks: Chunks as in ``is_chat_chunk``; objects without choices, such as errors, are allowed.
    """
    reply: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        reply |= {name: value for name, value in chunk.items() if value is not None or name not in reply}
        for choice in chunk.get("choices") or ():
            _add_choice(choices.setdefault(choice.get("index", 0), {}), choice)
    if reply.get("object") == "chat.completion.chunk":
        reply["object"] = "chat.completion"
    return {**reply, "choices": [*map(_finished, choices.values())]}


def _add_choice(into: Json, choice: Mapping[str, Any]) -> None:
    renamed = {"message" if name == "delta" else name: value for name, value in choice.items()}
    into.update(_merged(into, renamed))


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> Json:
    return {**old, **{name: _joined(name, old.get(name), value) for name, value in new.items()}}


def _joined(name: str, old: Any, new: Any) -> Any:  # noqa: ANN401 - any JSON values
    if new is None:
        return old
    if isinstance(new, dict):
        return _merged(old if isinstance(old, dict) else {}, new)
    if isinstance(new, list):
        return _extended(old if isinstance(old, list) else [], new)
    if isinstance(old, str) and isinstance(new, str):
        return (new or old) if name in _SAID_AT_ONCE else old + new
    return new


def _extended(old: list[Any], new: list[Any]) -> list[Any]:
    items = list(old)
    for item in new:
        at = _index(item)
        place = next((place for place, other in enumerate(items) if at is not None and _index(other) == at), None)
        if place is None:
            items.append(item)
        else:
            items[place] = _merged(items[place], item)
    return items


def _index(item: object) -> int | None:
    return item.get("index") if isinstance(item, dict) else None


def _finished(choice: Json) -> Json:
    """Return a choice without the ``index`` of its tool calls, which only streams have."""
    message = choice.get("message")
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(calls, list):
        return choice
    plain = [{name: value for name, value in call.items() if name != "index"} for call in calls]
    return {**choice, "message": {**message, "tool_calls": plain}}
