"""``messages-tape record``: runs a client against a server through a tape server, and saves their exchanges."""

import socket
from argparse import Namespace
from pathlib import Path
from urllib.parse import urlsplit

from messages_tape.core.session import Session
from messages_tape.errors import TapeConflictError, TapeUsageError, UnsafeTapeError
from messages_tape.files.store import Mode, save
from messages_tape.http.selection import TapeSelection
from messages_tape.reading.render import counted
from messages_tape.secrets.scrub import Rules

from .client import accompany, listening
from .files import Place, existing, place_of
from .terminal import tell

_SECONDS = 5.0
"""Connect timeout of the server."""
_PORTS = {"http": 80, "https": 443}


def run(arguments: Namespace) -> int:
    """Record a tape; return the client's exit code, or 1 if the client succeeded but the tape was not saved.

    Raises:
        TapeUsageError: The server cannot be reached, or the tape exists and ``--again`` is not given.
    """
    place, upstream = place_of(arguments.tape), base_address(arguments.upstream)
    if place.path.exists() and not arguments.again:
        raise TapeUsageError(f"there is a tape {place.path}; add --again to record it anew, or give another name")
    if place.path.exists():
        existing(arguments.tape)  # fails before the client runs if the file is broken
    _make(place.folder)
    _reach(upstream)
    rules = Rules(harmless=frozenset(arguments.harmless))
    facts = {name: getattr(arguments, name) for name in ("kind", "model", "version")}
    selection = TapeSelection(place.folder, Mode.REWRITE, upstream=upstream, rules=rules, facts=facts)
    session = selection.select(place.name)
    with listening(selection, arguments.port) as url:
        code = accompany(arguments.command, url, f"recording {upstream}")
        try:
            saved = _save(session, place, facts)
            report = selection.eject(keep=False)  # saves the ambient tape
        except OSError as error:
            tell(f"{place.path} could not be saved: {error.strerror or error}; make room, and record it again")
            saved, report = False, None
    if report and report.refused:
        tell(f"{report.refused.replace('Rules(harmless=...)', '--harmless VALUE')}")
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
        raise TapeUsageError(f"{text!r} is no address; write --upstream http://HOST:PORT")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise TapeUsageError("--upstream takes no keys, passwords or parameters; give them to the client")
    return text.rstrip("/").removesuffix("/v1")


def _reach(address: str) -> None:
    """Check that the server accepts connections before the client runs, for a clearer error message."""
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or _PORTS[parts.scheme]), _SECONDS).close()
    except OSError as error:
        raise TapeUsageError(
            f"nothing answers at {address} ({error.strerror or error}); start the server, or correct --upstream"
        ) from None


def _make(folder: Path) -> None:
    """Create the folder of the tape before the client runs, so that a failure does not waste the run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TapeUsageError(f"{folder} cannot be written: {error.strerror or error}; name another place") from None


def _save(session: Session, place: Place, facts: dict[str, str]) -> bool:
    """Save the tape and print the result; return whether it was saved."""
    try:
        path = save(session, place.folder, **facts)
    except UnsafeTapeError as error:
        tell(
            f"{place.path} was not saved, it would hold what looks like a credential: {'; '.join(error.findings)}. "
            "Record it with made-up values there, or pass a value that is no secret with --harmless"
        )
        return False
    except TapeConflictError as error:
        tell(f"{place.path}: {error}")
        return False
    if path is None:
        tell(
            "the client asked nothing that goes on a tape; point it at TAPE_URL, OPENAI_BASE_URL or ANTHROPIC_BASE_URL"
        )
        return False
    tell(f"{counted(session.report().exchanges, 'exchange')} recorded in {path}")
    return True
