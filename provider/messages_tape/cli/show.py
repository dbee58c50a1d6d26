"""``messages-tape show``: prints a tape in readable form."""

from argparse import Namespace

from messages_tape.errors import TapeUsageError
from messages_tape.reading.render import counted, render

from .files import existing
from .terminal import give


def run(arguments: Namespace) -> int:
    """Print the tape; return 0.

    Raises:
        TapeError: The tape does not exist, or has no exchange of this number.
    """
    place, tape = existing(arguments.tape)
    if arguments.exchange is not None and not 1 <= arguments.exchange <= len(tape.exchanges):
        raise TapeUsageError(
            f"{place.path} has {counted(len(tape.exchanges), 'exchange')}; --exchange takes a number from 1"
        )
    give(render(tape, place.name, raw=arguments.raw, only=arguments.exchange))
    return 0
