"""Plays a tape to a client; used by ``replay`` and ``prune``."""

from argparse import Namespace
from typing import NamedTuple

from messages_tape.errors import Report
from messages_tape.http.selection import TapeSelection

from .client import accompany, listening
from .files import Place


class Played(NamedTuple):
    """The result of playing a tape.

    Args:
        code: The exit code of the client.
        report: The report of the session.
        unplayed: Positions of the exchanges that were not played.
    """

    code: int
    report: Report
    unplayed: list[int]


def play(place: Place, arguments: Namespace, *, pace: bool = False, port: int = 0) -> Played:
    """Serve a tape until the client exits.

    Args:
        place: Location of the tape.
        arguments: The parsed arguments; ``command`` is the client's command.
        pace: Play at recorded speed.
        port: The port to listen on; 0 picks a free one.
    """
    hint = f"To record it again: messages-tape record --again --upstream URL {place.path} -- COMMAND"
    selection = TapeSelection(place.folder, hint=hint)
    session = selection.select(place.name)
    with listening(selection, port, pace=pace) as url:
        code = accompany(arguments.command, url, f"playing {place.path}")
        unplayed = session.unplayed
        report = selection.eject(keep=False) or session.report()
    return Played(code, report, unplayed)
