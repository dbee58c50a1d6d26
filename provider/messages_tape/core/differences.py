"""Differences from a tape: why a request does not match, and how a live response differs in shape.

``explain`` is for a request that is not on the tape. It finds the closest recorded request, and lists the places where
the two differ, such as ``messages.0.content: at character 12, ...``, followed by a diff of the bodies.

``shape_diff`` is for the mode ``verify``. A model writes another text each time, so only the shape of a response is
compared: its status, its content type, how it ended, the order of its event types (repeated events of one type count
once), and the JSON type of each field. For fields such as ``type`` and ``finish_reason`` the value is compared as well;
generated structures, such as the input of a tool call, are not compared.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher, unified_diff
from itertools import groupby, zip_longest
from typing import Any

from messages_tape.format.json_values import Path, dotted
from messages_tape.format.model import Body, Exchange, Ignore, Request, Tape
from messages_tape.reading.responses import Document, documents

from .match import normalized

_MAX_PLACES = 5
_MAX_DIFF_LINES = 120
_MAX_LINE_CHARACTERS = 200
_MAX_VALUE_CHARACTERS = 60
_AROUND_CHARACTERS = 20
"""Text shown before and after a difference within a text."""
_NOTHING = object()

_VALUE_FIELDS = {"type", "object", "role", "finish_reason", "stop_reason", "done_reason", "done", "status"}
"""Fields whose value is part of the shape."""
_GENERATED_FIELDS = {"input", "arguments"}
_PING_EVENTS = {"ping"}
_MAX_MARKER_CHARACTERS = 20
"""A text event up to this length, such as ``[DONE]``, is a marker and counts as an event type of its own."""

type Fields = dict[str, set[str]]


def explain(request: Request, tape: Tape, unplayed: Iterable[int]) -> str:
    """Return a readable text that names the closest recorded exchange and its differences from a request.

    Args:
        request: The scrubbed request that matched no unplayed exchange.
        tape: The tape.
        unplayed: Positions of the exchanges that are still to be played.
    """
    unplayed = set(unplayed)
    if not tape.exchanges:
        return "The tape is empty."
    now = _body_lines(request.body, tape.ignore)

    def likeness(at: int) -> tuple[bool, bool, float, bool, int]:
        recorded = tape.exchanges[at].request
        before = _body_lines(recorded.body, tape.ignore)
        same_lines = SequenceMatcher(None, now, before, autojunk=False).ratio()
        body = same_lines + _common_ends("\n".join(now), "\n".join(before))
        return recorded.path == request.path, recorded.method == request.method, body, at in unplayed, -at

    number = max(range(len(tape.exchanges)), key=likeness)
    recorded = tape.exchanges[number].request
    played = "not" if number in unplayed else "already"
    text = [f"Closest is exchange {number + 1} of {len(tape.exchanges)}, {played} played:"]
    places = _places(recorded, request, tape.ignore)
    text += [f"  {place}" for place in places] or ["  the same request; it was recorded fewer times than it was made"]
    before = _body_lines(recorded.body, tape.ignore)
    diff = [*unified_diff(before, now, f"exchange {number + 1}", "this request", lineterm="")]
    for line in diff[:_MAX_DIFF_LINES]:
        long = len(line) > _MAX_LINE_CHARACTERS
        text.append(f"{line[:_MAX_LINE_CHARACTERS]}... ({len(line)} characters)" if long else line)
    if len(diff) > _MAX_DIFF_LINES:
        text.append(f"... {len(diff) - _MAX_DIFF_LINES} more lines")
    return "\n".join(text)


def _body_lines(body: Body | None, ignore: Ignore) -> list[str]:
    if body is None:
        return []
    if body.form == "json":
        return json.dumps(normalized(body.value, ignore), indent=1, sort_keys=True, ensure_ascii=False).split("\n")
    return body.value.split("\n") if body.form == "text" else [f"{len(body.value)} bytes: {body.value[:64].hex()}"]


def _common_ends(one: str, other: str) -> float:
    """Return the share of characters in the common prefix and suffix: high if only a small part differs."""
    shorter, longer = sorted((len(one), len(other)))
    before = _common_prefix(one, other)
    after = min(_common_prefix(one[::-1], other[::-1]), shorter - before)
    return (before + after) / longer if longer else 1.0


def _common_prefix(old: str, new: str) -> int:
    """Return the length of the common prefix of two texts."""
    return next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


def _places(recorded: Request, request: Request, ignore: Ignore) -> list[str]:
    """Return one line per difference between two requests, such as ``messages.0.content: at character 12 ...``."""
    found = []
    for name in ("method", "path", "query"):
        now, before = getattr(request, name), getattr(recorded, name)
        if now != before:
            found.append(f"{name}: recorded {before!r}, now {now!r}")
    old, new = recorded.body, request.body
    if old and new and old.form == new.form == "json":
        found += _value_places(normalized(old.value, ignore), normalized(new.value, ignore), ())
    elif (old and old.form) != (new and new.form):
        found.append(f"body: recorded {old.form if old else 'nothing'}, now {new.form if new else 'nothing'}")
    if len(found) > _MAX_PLACES:
        found[_MAX_PLACES:] = [f"and {len(found) - _MAX_PLACES} more"]
    return found


def _value_places(old: Any, new: Any, path: Path) -> Iterator[str]:  # noqa: ANN401 - any JSON values
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _value_places(old.get(key, _NOTHING), new.get(key, _NOTHING), (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for at, (before, now) in enumerate(zip_longest(old, new, fillvalue=_NOTHING)):
            yield from _value_places(before, now, (*path, at))
    elif isinstance(old, str) and isinstance(new, str):
        if old != new:
            at = _common_prefix(old, new)
            yield f"{dotted(path)}: at character {at}, recorded {_around(old, at)}, now {_around(new, at)}"
    elif type(old) is not type(new) or old != new:
        yield f"{dotted(path)}: recorded {_short(old)}, now {_short(new)}"


def _around(text: str, at: int) -> str:
    start, end = max(at - _AROUND_CHARACTERS, 0), at + _AROUND_CHARACTERS
    return f"{'...' if start else ''}{text[start:end]!r}{'...' if end < len(text) else ''}"


def _short(value: object) -> str:
    if value is _NOTHING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_VALUE_CHARACTERS else f"{text[:_MAX_VALUE_CHARACTERS]}..."


def shape_diff(recorded: Exchange, live: Exchange) -> list[str]:
    """Return one line per difference in shape between two exchanges; an empty list means equal shapes.

    If the recorded client disconnected early, only the common number of events is compared.
    """
    if not recorded.response or not live.response:
        before, now = (
            f"status {one.response.status}" if one.response else f"no response ({one.end.error or one.end.how})"
            for one in (recorded, live)
        )
        return [] if before == now else [f"response: {before} on the tape, {now} live"]
    found = []
    if recorded.response.status != live.response.status:
        found.append(f"status: {recorded.response.status} on the tape, {live.response.status} live")
    before, now = (
        one.headers.get("content-type", "none").partition(";")[0].strip() for one in (recorded.response, live.response)
    )
    if before != now:
        found.append(f"content-type: {before} on the tape, {now} live")
    old, new = (
        [document for document in documents(one) if document.name not in _PING_EVENTS]
        for one in (recorded.response, live.response)
    )
    if recorded.end.how == "client_closed":
        common = min(len(old), len(new))
        old, new = old[:common], new[:common]
    elif recorded.end.how != live.end.how:
        found.append(f"end: {recorded.end.how} on the tape, {live.end.how} live")
    if (old_order := _event_order(old)) != (new_order := _event_order(new)):
        found.append(f"events: {', '.join(old_order)} on the tape, {', '.join(new_order)} live")
    return [*found, *_field_differences(_fields(old), _fields(new))]


def _event_order(events: Sequence[Document]) -> list[str]:
    """Return the event types in order, repeated ones once."""

    def event_type(document: Document) -> str:
        if isinstance(document.value, str) and len(document.value) <= _MAX_MARKER_CHARACTERS:
            return document.value
        return document.name or "body"

    return [name for name, _ in groupby(map(event_type, events))]


def _fields(events: Sequence[Document]) -> Fields:
    """Return the kinds of values that each field has in any of the events."""
    found: Fields = {}
    for document in events:
        root = () if document.name in ("", "message") else (document.name,)
        for path, kind in _value_kinds(document.value, root):
            found.setdefault(".".join(path), set()).add(kind)
    return found


def _value_kinds(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    match value:
        case dict():
            yield path, "object"
            for key, item in value.items() if not path or path[-1] not in _GENERATED_FIELDS else ():
                yield from _value_kinds(item, (*path, key))
        case list():
            yield path, "list"
            for item in value:
                yield from _value_kinds(item, (*path, "*"))
        case str() | bool() if path and path[-1] in _VALUE_FIELDS:
            yield path, f'"{value}"'
        case str():
            yield path, "text"
        case bool():
            yield path, "true or false"
        case None:
            yield path, "null"
        case _:
            yield path, "number"


def _field_differences(old: Fields, new: Fields) -> Iterator[str]:
    """Yield the differences; of an object that only one side has, not its fields as well."""
    one_sided: set[str] = set()
    for path in dict.fromkeys([*old, *new]):
        before, now = (" | ".join(sorted(fields.get(path, ()))) for fields in (old, new))
        if before == now:
            continue
        if before and now:
            yield f"{path or 'body'}: {before} on the tape, {now} live"
            continue
        one_sided.add(path)
        if path.rpartition(".")[0] not in one_sided:
            yield f"{path or 'body'}: {before or now}, only {'on the tape' if before else 'live'}"
