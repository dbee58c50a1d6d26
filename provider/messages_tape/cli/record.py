"""``messages-tape record`` and ``replay``: run a client with a tape server, and print how that ended."""

import socket
from argparse import Namespace
from urllib.parse import urlsplit

from messages_tape.core.session import Session
from messages_tape.errors import HARMLESS_SETTING, TapeConflictError, TapeUsageError, UnsafeTapeError
from messages_tape.files.store import Mode, save
from messages_tape.http.selection import TapeSelection
from messages_tape.reading.render import counted
from messages_tape.secrets.scrub import Rules

from .client import listening, play, run_client
from .files import TapeFile, existing, tape_file
from .terminal import print_message, print_message_lines

_CONNECT_SECONDS = 5.0
"""Connect timeout of the server."""
_PORTS = {"http": 80, "https": 443}
_ERROR_STATUS = 400
"""Status codes from here on are errors."""


def record(arguments: Namespace) -> int:
    """Record a tape; return the client's exit code, or 1 if the client succeeded but the tape was not saved.

    What would make the run of the client useless is found out before it: an existing or broken tape, a folder that
    cannot be written, a server that cannot be reached.

    Raises:
        TapeUsageError: The server cannot be reached, or the tape exists and ``--again`` is not given.
    """
    file, upstream = tape_file(arguments.tape), base_address(arguments.upstream)
    if file.path.exists():
        if not arguments.again:
            raise TapeUsageError(f"the tape {file.path} exists; add --again to replace it, or choose another name")
        existing(arguments.tape)
    try:
        file.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TapeUsageError(
            f"the folder {file.folder} cannot be written: {error.strerror or error}; choose another folder"
        ) from None
    _check_connection(upstream)
    rules = Rules(harmless=frozenset(arguments.harmless))
    facts = {name: getattr(arguments, name) for name in ("kind", "model", "version")}
    selection = TapeSelection(file.folder, Mode.REWRITE, upstream=upstream, rules=rules, facts=facts)
    session = selection.select(file.name)
    with listening(selection, arguments.port) as url:
        code = run_client(arguments.command, url, f"recording {upstream}")
        try:
            saved = _save(session, file, facts)
            report = selection.eject(keep=False)  # the tape is saved already; this saves the ambient tape
        except OSError as error:
            print_message(
                f"{file.path} could not be saved: {error.strerror or error}; free some disk space or check the "
                "permissions, and record it again"
            )
            saved, report = False, None
    if report and report.refused:
        print_message(report.refused.replace(HARMLESS_SETTING, "--harmless VALUE"))
        saved = False
    return code or int(not saved)


def base_address(text: str) -> str:
    """Return the base URL of a server, without ``/v1``.

    Args:
        text: The base URL; it may end with ``/v1``, as SDKs expect it.

    Raises:
        TapeUsageError: It is not a valid base URL.
    """
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError if it is not valid
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise TapeUsageError(f"{text!r} is not a valid address; write --upstream http://HOST:PORT")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise TapeUsageError("--upstream takes no keys, passwords or parameters; give them to the client")
    return text.rstrip("/").removesuffix("/v1")


def _check_connection(address: str) -> None:
    """Check that the server accepts connections before the client runs, for a clearer error message."""
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or _PORTS[parts.scheme]), _CONNECT_SECONDS).close()
    except OSError as error:
        raise TapeUsageError(
            f"no server accepts connections at {address} ({error.strerror or error}); start the server, or correct "
            "--upstream"
        ) from None


def _save(session: Session, file: TapeFile, facts: dict[str, str]) -> bool:
    """Save the tape and print the result; return whether it was saved."""
    try:
        path = save(session, file.folder, **facts)
    except UnsafeTapeError as error:
        print_message(
            f"{file.path} was not saved, it would contain what looks like a credential: {'; '.join(error.findings)}. "
            "Record it with made-up values there, or pass a value that is not secret with --harmless"
        )
        return False
    except TapeConflictError as error:
        print_message(str(error))
        return False
    if path is None:
        print_message(
            "the client sent no request that goes on a tape; set its base URL to TAPE_URL, OPENAI_BASE_URL or "
            "ANTHROPIC_BASE_URL"
        )
        return False
    print_message(f"{counted(session.report().exchanges, 'exchange')} recorded in {path}")
    errors = [
        f"exchange {number} ({status})" for number, status in enumerate(session.statuses, 1) if status >= _ERROR_STATUS
    ]
    if errors:
        print_message(
            f"the server responded with an error to {', '.join(errors)}; if the tape is not about errors, correct the "
            "client or --upstream, and record it with --again"
        )
    return True


def replay(arguments: Namespace) -> int:
    """Play a tape; return the client's exit code, or 1 if the client succeeded but did not match the tape.

    Raises:
        TapeError: The tape does not exist or is not valid.
    """
    file, tape = existing(arguments.tape)
    code, report, _ = play(file, arguments.command, pace=arguments.pace, port=arguments.port)
    if report.failures:
        print_message_lines(f"{file.path}: the requests of the client do not match the tape", [*report.failures])
    else:
        print_message(f"{file.path}: {counted(len(tape.exchanges), 'exchange')} played as recorded")
    return code or int(bool(report.failures))
