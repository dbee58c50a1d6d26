"""Plays a tape to a client; what ``replay`` and ``prune`` share."""

from argparse import Namespace
from typing import NamedTuple

from messages_tape.http.selection import TapeSelection
from messages_tape.report import Report

from .client import accompany, listening
from .files import Place


class Played(NamedTuple):
    """What playing gave.

    Args:
        code: The exit code of the client.
        report: What happened to the tape.
        unplayed: Positions of the exchanges that no request came for.
    """

    code: int
    report: Report
    unplayed: list[int]


def play(place: Place, arguments: Namespace, *, pace: bool = False, port: int = 0) -> Played:
    """Serve a tape until the client ends.

    Args:
        place: Of the tape.
        arguments: With the ``command``.
        pace: At recorded speed.
        port: Where to listen; 0 is a free one.
    """
    hint = f"To record it again: messages-tape record --again --upstream URL {place.path} -- COMMAND"
    deck = TapeSelection(place.folder, hint=hint)
    session = deck.select(place.name)
    with listening(deck, port, pace=pace) as url:
        code = accompany(arguments.command, url, f"playing {place.path}")
        unplayed = session.unplayed
        report = deck.eject(keep=False) or session.report()
    return Played(code, report, unplayed)
