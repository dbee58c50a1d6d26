"""Keeps a new recording close to the one it replaces: unchanged exchanges keep their recorded timings."""

from itertools import zip_longest
from typing import Any

from messages_tape.format.model import Chunk, Exchange, Response, Tape

from .match import Playlist


def settled(new: Tape, old: Tape) -> Tape:
    """Return the new tape with the old timings wherever the recorded bytes are the same.

    If only timings and the date differ, the old tape is returned unchanged, with its date.
    """
    update = {"exchanges": _settled(new.exchanges, old), "ambient": _settled(new.ambient, old, ambient=True)}
    kept = new.model_copy(update=update)
    date = {"date": old.upstream.date}
    same = kept.model_copy(update={"upstream": kept.upstream.model_copy(update=date)})
    return old if same == old else kept


def _settled(exchanges: tuple[Exchange, ...], old: Tape, *, ambient: bool = False) -> tuple[Exchange, ...]:
    before = old.ambient if ambient else old.exchanges
    playlist = Playlist(before, old.ignore)
    places = (playlist.take(exchange.request) for exchange in exchanges)
    return tuple(
        exchange if at is None else _exchange(exchange, before[at])
        for exchange, at in zip(exchanges, places, strict=True)
    )


def _exchange(new: Exchange, old: Exchange) -> Exchange:
    update: dict[str, Any] = {}
    if new.response and old.response:
        update["response"] = _response(new.response, old.response)
    if new.end.model_copy(update={"after": old.end.after}) == old.end:
        update["end"] = old.end
    return new.model_copy(update=update)


def _response(new: Response, old: Response) -> Response:
    pairs = zip_longest(new.chunks, old.chunks[: len(new.chunks)], fillvalue=Chunk(0.0, b""))
    chunks = tuple(
        ours._replace(seconds=theirs.seconds) if ours.data == theirs.data else ours for ours, theirs in pairs
    )
    after = old.after if new.status == old.status else new.after
    return new.model_copy(update={"chunks": chunks, "after": after})
