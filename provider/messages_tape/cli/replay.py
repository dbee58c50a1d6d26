"""``messages-tape replay``: plays a tape to any client, and prints where the client differed from the recording."""

from argparse import Namespace

from messages_tape.reading.render import counted

from .files import existing
from .play import play
from .terminal import tell, tell_lines


def run(arguments: Namespace) -> int:
    """Play a tape; return the client's exit code, or 1 if the client succeeded but did not match the tape.

    Raises:
        TapeError: The tape does not exist or is not valid.
    """
    place, tape = existing(arguments.tape)
    code, report, _ = play(place, arguments, pace=arguments.pace, port=arguments.port)
    if report.failures:
        tell_lines(f"{place.path}: the client did not do what is on the tape", [*report.failures])
    else:
        tell(f"{place.path}: {counted(len(tape.exchanges), 'exchange')} played as recorded")
    return code or int(bool(report.failures))
