"""The command ``messages-tape``: records and replays tapes for any client. docs/recording.md shows its use."""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from messages_tape.errors import TapeError

from .terminal import PROGRAM, print_message

_USAGE_ERROR = 2
"""The exit code for usage errors; the same as argparse's."""
_MODULES = {"record": "record", "replay": "record", "show": "inspect", "check": "inspect", "prune": "inspect"}
"""Command -> the module with a function of that name; only the module of the chosen command is imported."""
_WITH_CLIENT = {"prune", "record", "replay"}
"""Commands that take the command of a client after ``--``."""
_HARMLESS = "a value that looks like a credential and is not secret; may be given more than once"
_PORT = "the port to listen on, on 127.0.0.1; by default a free port"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        if message.startswith("unrecognized arguments"):
            message += " (write the command to run after --)"
        self.exit(_USAGE_ERROR, f"{PROGRAM}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        argv: The arguments; by default ``sys.argv[1:]``.
    """
    words = [*(sys.argv[1:] if argv is None else argv)]
    at = words.index("--") if "--" in words else len(words)
    arguments = parser().parse_args(words[:at])
    arguments.command = words[at + 1 :]
    if words[at:] and arguments.name not in _WITH_CLIENT:
        print_message(f"{arguments.name} runs no command; remove -- and what follows")
        return _USAGE_ERROR
    if words[at:] and not arguments.command:
        print_message("the command after -- is missing")
        return _USAGE_ERROR
    # drop the log records of the tape server: the report at the end has all of it
    logging.getLogger("messages_tape").addHandler(logging.NullHandler())
    try:
        module = importlib.import_module(f"messages_tape.cli.{_MODULES[arguments.name]}")
        code: int = getattr(module, arguments.name)(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TapeError, OSError) as error:
        print_message(str(error))
        return _USAGE_ERROR
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser for the arguments before ``--``."""
    top = _Parser(prog=PROGRAM, description="Record the exchanges of a client with a server, and replay them.")
    commands = top.add_subparsers(dest="name", required=True, metavar="COMMAND")

    def add(name: str, text: str, usage: str | None = None) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", usage=usage)

    record = add(
        "record",
        "run a client against a server and record their exchanges",
        f"{PROGRAM} record --upstream URL [options] [TAPE] [-- COMMAND]",
    )
    record.add_argument("tape", nargs="?", default="recorded.tape.yaml", metavar="TAPE", help="the file to write")
    record.add_argument("--upstream", required=True, metavar="URL", help="the server, such as http://127.0.0.1:8000")
    record.add_argument("--again", action="store_true", help="replace an existing tape")
    record.add_argument("--kind", default="", help="the kind of server, such as vllm; noted on the tape")
    record.add_argument("--model", default="", help="the model of the server; noted on the tape")
    record.add_argument("--version", default="", help="the version of the server; noted on the tape")
    record.add_argument("--harmless", action="append", default=[], metavar="VALUE", help=_HARMLESS)
    record.add_argument("--port", type=_port, default=0, help=_PORT)

    replay = add(
        "replay", "play a tape to a client in place of the server", f"{PROGRAM} replay [options] TAPE [-- COMMAND]"
    )
    replay.add_argument("tape", metavar="TAPE", help="the file of the tape")
    replay.add_argument("--pace", action="store_true", help="play at recorded speed; by default without delays")
    replay.add_argument("--port", type=_port, default=0, help=_PORT)

    show = add("show", "print a tape in readable form, streams as the message they add up to")
    show.add_argument("tape", metavar="TAPE", help="the file of the tape")
    show.add_argument("--raw", action="store_true", help="print responses as the recorded chunks")
    show.add_argument("--exchange", type=int, metavar="NUMBER", help="print only this exchange")

    check = add("check", "find tapes that no test names, secrets in tapes, and files that are not valid tapes")
    prune = add(
        "prune",
        "remove tapes that no test names, or exchanges that a client does not request",
        f"{PROGRAM} prune [--tests FOLDER] [--yes] [FOLDER]\n       {PROGRAM} prune [--yes] TAPE -- COMMAND",
    )
    for command in (check, prune):
        folder = "the folder of all tapes; by default recordings"
        command.add_argument("folder", nargs="?", type=Path, default=Path("recordings"), metavar="FOLDER", help=folder)
        tests = "the folder of the tests; by default tests"
        command.add_argument("--tests", type=Path, default=Path("tests"), metavar="FOLDER", help=tests)
    check.add_argument("--allow-unnamed", action="store_true", help="accept tapes that no test names")
    check.add_argument("--harmless", action="append", default=[], metavar="VALUE", help=_HARMLESS)
    prune.add_argument("--yes", action="store_true", help="remove; by default only print what would be removed")
    return top


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise ValueError
    return number


_port.__name__ = "port"  # argparse prints it: "invalid port value"

if __name__ == "__main__":
    sys.exit(main())
