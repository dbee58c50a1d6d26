"""Compares the shape of a live response with the recorded one, not the text that the model generated.

The shape of a response is its status, its content type, how it ended, the order of its event types (repeated events
of one type count once), and the JSON type of each field. For fields such as ``type`` and ``finish_reason`` the value
is compared as well; generated structures, such as the input of a tool call, are not compared.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from messages_tape.format.model import Exchange, Response
from messages_tape.reading.responses import Document, documents

_TELLING = {"type", "object", "role", "finish_reason", "stop_reason", "done_reason", "done", "status"}
_MADE_UP = {"input", "arguments"}
_PINGS = {"ping"}
_MAX_MARK = 20

type Fields = dict[str, set[str]]


def differences(recorded: Exchange, live: Exchange) -> list[str]:
    """Return one line per difference in shape between two exchanges; an empty list means equal shapes.

    If the recorded client disconnected early, only the common number of events is compared.
    """
    if not recorded.response or not live.response:
        return _unanswered(recorded, live)
    old, new = _said(recorded.response), _said(live.response)
    found = [*_heads(recorded.response, live.response)]
    if recorded.end.how == "client_closed":
        common = min(len(old), len(new))
        old, new = old[:common], new[:common]
    elif recorded.end.how != live.end.how:
        found.append(f"end: {recorded.end.how} on the tape, {live.end.how} live")
    if (before := _order(old)) != (now := _order(new)):
        found.append(f"events: {', '.join(before)} on the tape, {', '.join(now)} live")
    return [*found, *_field_differences(_fields(old), _fields(new))]


def _unanswered(recorded: Exchange, live: Exchange) -> list[str]:
    old, new = (
        f"status {one.response.status}" if one.response else f"no answer ({one.end.error or one.end.how})"
        for one in (recorded, live)
    )
    return [] if old == new else [f"answer: {old} on the tape, {new} live"]


def _said(response: Response) -> list[Document]:
    return [one for one in documents(response) if one.name not in _PINGS]


def _heads(recorded: Response, live: Response) -> Iterator[str]:
    if recorded.status != live.status:
        yield f"status: {recorded.status} on the tape, {live.status} live"
    old, new = (one.headers.get("content-type", "none").partition(";")[0].strip() for one in (recorded, live))
    if old != new:
        yield f"content-type: {old} on the tape, {new} live"


def _order(said: Sequence[Document]) -> list[str]:
    return [name for name, _ in groupby(map(_kind_of_event, said))]


def _kind_of_event(document: Document) -> str:
    if isinstance(document.value, str) and len(document.value) <= _MAX_MARK:
        return document.value
    return document.name or "body"


def _fields(said: Sequence[Document]) -> Fields:
    found: Fields = {}
    for document in said:
        root = () if document.name in ("", "message") else (document.name,)
        for path, kind in _kinds(document.value, root):
            found.setdefault(".".join(path), set()).add(kind)
    return found


def _kinds(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    match value:
        case dict():
            yield path, "object"
            for key, item in value.items() if not path or path[-1] not in _MADE_UP else ():
                yield from _kinds(item, (*path, key))
        case list():
            yield path, "list"
            for item in value:
                yield from _kinds(item, (*path, "*"))
        case str() | bool() if path and path[-1] in _TELLING:
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
    one_sided: set[str] = set()
    for path in dict.fromkeys([*old, *new]):
        before, now = old.get(path), new.get(path)
        if before == now:
            continue
        if before and now:
            yield f"{path or 'body'}: {_list(before)} on the tape, {_list(now)} live"
            continue
        one_sided.add(path)
        if path.rpartition(".")[0] not in one_sided:
            yield f"{path or 'body'}: {_list(before or now or set())}, only {'on the tape' if before else 'live'}"


def _list(kinds: set[str]) -> str:
    return " | ".join(sorted(kinds))
