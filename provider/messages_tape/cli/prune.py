"""``messages-tape prune``: removes tapes that no test names, and exchanges that a client does not request."""

from argparse import Namespace
from contextlib import suppress
from pathlib import Path

from messages_tape.errors import TapeUsageError
from messages_tape.files.store import write_whole
from messages_tape.format.file import dump
from messages_tape.reading.render import counted
from messages_tape.testing.names_in_source import Named
from messages_tape.testing.orphans import orphans

from .files import existing, named_by_tests, tapes_in
from .play import play
from .terminal import give, tell, tell_lines


def run(arguments: Namespace) -> int:
    """List what is unused, and with ``--yes`` remove it; return 0, or the exit code of a client that failed.

    Returns 1 if the client succeeded but its requests do not match the tape.

    Raises:
        TapeError: It cannot be determined which tapes or exchanges are unused.
    """
    return _exchanges(arguments) if arguments.command else _tapes(arguments)


def _tapes(arguments: Namespace) -> int:
    tapes = tapes_in(arguments.folder)
    named = named_by_tests(arguments.tests)
    _check_names(named, arguments.tests)
    unnamed = orphans(tapes, arguments.folder, named)
    for path in unnamed:
        give(f"{path}: no test names it\n")
        if arguments.yes:
            _remove(path, arguments.folder)
    _conclude(counted(len(unnamed), "tape"), done=arguments.yes, anything=bool(unnamed))
    return 0


def _check_names(named: Named, tests: Path) -> None:
    """Raise TapeUsageError if a used tape could look unused: no test names a tape, or names are computed."""
    if not named.tapes:
        raise TapeUsageError(f"no test in {tests} names a tape; --tests says where your tests are")
    if named.computed:
        raise TapeUsageError(
            f"only a run can tell which tapes {', '.join(named.computed)} names; write the names as literals first"
        )


def _remove(path: Path, folder: Path) -> None:
    path.unlink()
    if path.parent != folder:
        with suppress(OSError):  # the folder is not empty
            path.parent.rmdir()


def _exchanges(arguments: Namespace) -> int:
    """Play a tape to a client; list the exchanges that it did not request, and with ``--yes`` remove them."""
    place, tape = existing(str(arguments.folder))
    code, report, unplayed = play(place, arguments)
    wrong = [*report.unexpected, *report.stayed]
    if reason := _why_not(code, wrong=bool(wrong), played=len(tape.exchanges) - len(unplayed)):
        tell_lines(f"{place.path} stays as it is: {reason}, so nobody can tell what it needs", wrong)
        return code or 1
    for number in unplayed:
        request = tape.exchanges[number].request
        give(f"{place.path}: exchange {number + 1} ({request.method} {request.path}) was not asked for\n")
    if unplayed and arguments.yes:
        kept = tuple(exchange for number, exchange in enumerate(tape.exchanges) if number not in unplayed)
        write_whole(place.path, dump(tape.model_copy(update={"exchanges": kept})))
    _conclude(counted(len(unplayed), "exchange"), done=arguments.yes, anything=bool(unplayed))
    return 0


def _why_not(code: int, *, wrong: bool, played: int) -> str:
    """Return why a run does not show which exchanges a client needs, or "" if it does."""
    if code:
        return "the client failed"
    if wrong:
        return "the client did not do what is on the tape"
    return "" if played else "the client asked for nothing that is on the tape"


def _conclude(what: str, *, done: bool, anything: bool) -> None:
    if not anything:
        tell("nothing to remove")
    else:
        tell(f"{what} removed" if done else f"{what} to remove; add --yes to do it")
