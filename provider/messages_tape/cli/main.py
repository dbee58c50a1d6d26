"""The command ``messages-tape``: records and replays tapes for any client. docs/recording.md shows its use."""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from messages_tape.errors import TapeError

from .terminal import PROGRAM, tell

_PACKAGE = "messages_tape"
_USAGE = 2
"""The exit code for usage errors; the same as argparse's."""
_WITH_COMMAND = {"prune", "record", "replay"}
_HARMLESS = "a value that looks like a credential and is none; may be given more than once"
_PORT = "where to listen on 127.0.0.1; by default on a free port"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        if message.startswith("unrecognized arguments"):
            message += " (a command to run goes behind --)"
        self.exit(_USAGE, f"{PROGRAM}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser for the arguments before ``--``."""
    top = _Parser(prog=PROGRAM, description="Record what a server says to a client, and play it.")
    commands = top.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for name, add, text in (
        ("record", _record, "run a client against a server and record what they say"),
        ("replay", _replay, "play a tape to a client in place of the server"),
        ("show", _show, "print a tape for people, streams as the messages they add up to"),
        ("check", _check, "find tapes that no test names, secrets in tapes, and files that are no tapes"),
        ("prune", _prune, "remove tapes that no test names, or exchanges that a client does not ask for"),
    ):
        add(commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}."))
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        argv: The arguments; by default ``sys.argv[1:]``.
    """
    words = [*(sys.argv[1:] if argv is None else argv)]
    at = words.index("--") if "--" in words else len(words)
    arguments = parser().parse_args(words[:at])
    arguments.command = words[at + 1 :]
    if words[at:] and (mistake := _mistake(arguments)):
        tell(mistake)
        return _USAGE
    # drop the log records of the tape server: the report at the end has all of it
    logging.getLogger(_PACKAGE).addHandler(logging.NullHandler())
    try:
        # import only the chosen command
        command = importlib.import_module(f"{_PACKAGE}.cli.{arguments.name}")
        code: int = command.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TapeError, OSError) as error:
        tell(str(error))
        return _USAGE
    return code


def _mistake(arguments: argparse.Namespace) -> str:
    """Return what is wrong with the part after ``--``, or "" if it is valid."""
    if arguments.name not in _WITH_COMMAND:
        return f"{arguments.name} runs no command; leave -- out"
    return "" if arguments.command else "put a command behind --"


def _record(command: argparse.ArgumentParser) -> None:
    command.usage = f"{PROGRAM} record --upstream URL [options] [TAPE] [-- COMMAND]"
    command.add_argument("tape", nargs="?", default="recorded.tape.yaml", metavar="TAPE", help="the file to write")
    command.add_argument("--upstream", required=True, metavar="URL", help="the server, such as http://127.0.0.1:8000")
    command.add_argument("--again", action="store_true", help="record a tape anew that is there")
    for fact, text in (
        ("kind", "what the server is, such as vllm"),
        ("model", "its model"),
        ("version", "its version"),
    ):
        command.add_argument(f"--{fact}", default="", help=f"{text}; noted on the tape")
    command.add_argument("--harmless", action="append", default=[], metavar="VALUE", help=_HARMLESS)
    command.add_argument("--port", type=_port, default=0, help=_PORT)


def _replay(command: argparse.ArgumentParser) -> None:
    command.usage = f"{PROGRAM} replay [options] TAPE [-- COMMAND]"
    command.add_argument("tape", metavar="TAPE", help="a file")
    command.add_argument("--pace", action="store_true", help="as fast as it was recorded; else at once")
    command.add_argument("--port", type=_port, default=0, help=_PORT)


def _show(command: argparse.ArgumentParser) -> None:
    command.add_argument("tape", metavar="TAPE", help="a file")
    command.add_argument("--raw", action="store_true", help="answers in the pieces they came in")
    command.add_argument("--exchange", type=int, metavar="NUMBER", help="only this one")


def _check(command: argparse.ArgumentParser) -> None:
    _add_folders(command)
    command.add_argument("--allow-unnamed", action="store_true", help="do not ask for a test that names each tape")
    command.add_argument("--harmless", action="append", default=[], metavar="VALUE", help=_HARMLESS)


def _prune(command: argparse.ArgumentParser) -> None:
    command.usage = f"{PROGRAM} prune [--tests FOLDER] [--yes] [FOLDER]\n       {PROGRAM} prune [--yes] TAPE -- COMMAND"
    _add_folders(command)
    command.add_argument("--yes", action="store_true", help="do it; else only say what would be done")


def _add_folders(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", nargs="?", type=Path, default=Path("recordings"), help="of all tapes; recordings")
    command.add_argument("--tests", type=Path, default=Path("tests"), metavar="FOLDER", help="of the tests; tests")


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise ValueError
    return number


_port.__name__ = "port"  # argparse prints it: "invalid port value"

if __name__ == "__main__":
    sys.exit(main())
