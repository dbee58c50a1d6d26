"""``messages-tape show``, ``check`` and ``prune``: print tapes, find problems in them, remove what is unused."""

import json
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from messages_tape.errors import TapeFormatError, TapeUsageError
from messages_tape.files.store import write_whole
from messages_tape.format.file import dump, json_schema, load, parse
from messages_tape.format.json_values import dotted
from messages_tape.reading.render import counted, render
from messages_tape.secrets.scan import scan, scan_text
from messages_tape.testing.names_in_source import unnamed_tapes

from .client import play
from .files import FORMAT_REMEDY, existing, named_by_tests, tapes_in
from .terminal import print_message, print_message_lines, print_result

_MAX_RULE_CHARACTERS = 100
LEAK_REMEDY = (
    "if it is real, revoke it; record the tape again with made-up values, or pass a value that is not secret with "
    "--harmless"
)


def show(arguments: Namespace) -> int:
    """Print a tape in readable form; return 0.

    Raises:
        TapeError: The tape does not exist, or has no exchange of this number.
    """
    file, tape = existing(arguments.tape)
    if arguments.exchange is not None and not 1 <= arguments.exchange <= len(tape.exchanges):
        raise TapeUsageError(
            f"{file.path} has {counted(len(tape.exchanges), 'exchange')}; --exchange takes a number from 1"
        )
    print_result(render(tape, file.name, raw=arguments.raw, only=arguments.exchange))
    return 0


def check(arguments: Namespace) -> int:
    """Print one line per problem in the tapes of a folder; return 1 if there are problems, else 0.

    Raises:
        TapeUsageError: The folder of the tapes or the folder of the tests is missing.
    """
    tapes = tapes_in(arguments.folder)
    named = None
    if not arguments.allow_unnamed:
        named = named_by_tests(arguments.tests, "name it with --tests, or pass --allow-unnamed to check without tests")
    harmless = frozenset(arguments.harmless)
    found = []
    for path in tapes:
        try:
            found += [f"{path}: {line}" for line in review(path.read_text(encoding="utf-8"), harmless)]
        except UnicodeDecodeError:
            found.append(f"{path}: not UTF-8; {FORMAT_REMEDY}")
    if named:
        computed = f" ({', '.join(named.computed)}: write these names as literals)" if named.computed else ""
        remedy = (
            f"name it in a test{computed}, remove it with `messages-tape prune --yes`, or pass --allow-unnamed if your "
            "tests do not name tapes"
        )
        found += [f"{path}: no test names it; {remedy}" for path in unnamed_tapes(tapes, arguments.folder, named)]
    for line in found:
        print_result(f"{line}\n")
    print_message(
        f"{counted(len(tapes), 'tape')} in {arguments.folder}: {counted(len(found), 'finding') if found else 'ok'}"
    )
    return int(bool(found))


def review(text: str, harmless: frozenset[str] = frozenset()) -> list[str]:
    """Return one line per problem in the text of a tape, with its remedy; an empty list means the tape is valid.

    Args:
        text: Text of the file.
        harmless: Values that look like credentials but are not secret.
    """
    found, leaks = [], []
    try:
        tape = load(text)
    except TapeFormatError as problem:
        found.append(f"{' '.join(str(problem).split())}; {FORMAT_REMEDY}")
    else:
        found += _schema_findings(text)
        leaks = scan(tape, harmless=harmless)
    leaks = leaks or scan_text(text, harmless=harmless)  # covers comments and invalid tapes
    return [*found, *(f"{place}; {LEAK_REMEDY}" for place in leaks)]


def _schema_findings(text: str) -> Iterator[str]:
    for error in Draft202012Validator(json_schema()).iter_errors(parse(text)):
        broken = best_match([error])  # of several alternatives, the closest one
        # the rule only: the value may be secret
        rule = f"{broken.validator}: {json.dumps(broken.validator_value)}"[:_MAX_RULE_CHARACTERS]
        path = dotted(tuple(broken.absolute_path))
        yield f"{path}: does not match the JSON Schema ({rule}); {FORMAT_REMEDY}"


def prune(arguments: Namespace) -> int:
    """List what is unused, and with ``--yes`` remove it; return 0, or the exit code of a client that failed.

    Returns 1 if the client succeeded but its requests do not match the tape.

    Raises:
        TapeError: It cannot be determined which tapes or exchanges are unused.
    """
    return _prune_exchanges(arguments) if arguments.command else _prune_tapes(arguments)


def _prune_tapes(arguments: Namespace) -> int:
    """Remove the tapes that no test names.

    Raises:
        TapeUsageError: A used tape could look unused: no test names a tape, or names are computed.
    """
    tapes = tapes_in(arguments.folder)
    named = named_by_tests(arguments.tests, "name the folder of your tests with --tests")
    if not named.tapes:
        raise TapeUsageError(f"no test in {arguments.tests} names a tape; name the folder of your tests with --tests")
    if named.computed:
        raise TapeUsageError(
            f"the tape names at {', '.join(named.computed)} are computed and known at run time only; write them as "
            "literals first"
        )
    unnamed = unnamed_tapes(tapes, arguments.folder, named)
    for path in unnamed:
        print_result(f"{path}: no test names it\n")
        if arguments.yes:
            path.unlink()
            if path.parent != arguments.folder:
                with suppress(OSError):  # the folder is not empty
                    path.parent.rmdir()
    _conclude(len(unnamed), "tape", done=arguments.yes)
    return 0


def _prune_exchanges(arguments: Namespace) -> int:
    """Play a tape to a client; remove the exchanges that it did not request."""
    file, tape = existing(str(arguments.folder))
    code, report, unplayed = play(file, arguments.command)
    mismatches = [*report.mismatches(strict=False)]
    reason = ""
    if code:
        reason = "the client failed"
    elif mismatches:
        reason = "the requests of the client do not match the tape"
    elif len(unplayed) == len(tape.exchanges):
        reason = "the client sent no request that is on the tape"
    if reason:
        print_message_lines(
            f"{file.path} was not changed: {reason}, so it is unknown which exchanges it needs", mismatches
        )
        return code or 1
    for number in unplayed:
        request = tape.exchanges[number].request
        print_result(f"{file.path}: exchange {number + 1} ({request.method} {request.path}) was not requested\n")
    if unplayed and arguments.yes:
        kept = tuple(exchange for number, exchange in enumerate(tape.exchanges) if number not in unplayed)
        write_whole(file.path, dump(tape.model_copy(update={"exchanges": kept})))
    _conclude(len(unplayed), "exchange", done=arguments.yes)
    return 0


def _conclude(number: int, what: str, *, done: bool) -> None:
    if not number:
        print_message("nothing to remove")
    elif done:
        print_message(f"{counted(number, what)} removed")
    else:
        print_message(f"{counted(number, what)} to remove; add --yes to remove")
