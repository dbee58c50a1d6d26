"""Opens, reads and saves tapes as files of a folder."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from messages_tape.core.session import Session
from messages_tape.errors import (
    Action,
    Report,
    TapeConflictError,
    TapeFormatError,
    TapeMismatchError,
    TapeMissingError,
    TapeUsageError,
    UnsafeTapeError,
)
from messages_tape.format.file import SUFFIX, dump, load
from messages_tape.format.model import Tape
from messages_tape.secrets.scan import scan_text

from .locking import NO_FILE, alone_in, keep_beside, stamp_of, write_whole

_NAME = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*")


class Mode(StrEnum):
    """How tapes are used."""

    NONE = "none"
    """Play only; never send a request to an upstream. For CI."""
    ONCE = "once"
    """Play existing tapes, record missing ones; decided per tape, not per request."""
    REWRITE = "rewrite"
    """Record and replace existing tapes."""
    VERIFY = "verify"
    """Play, also send each request to the upstream, and report how the shape of its responses differs."""
    LIVE = "live"
    """Use no tape: relay to the upstream."""


def tape_path(folder: Path, name: str) -> Path:
    """Return the path of a tape's file.

    Raises:
        TapeUsageError: The name is not valid: only letters, digits, ``_``, ``-``, ``.`` and ``/`` are allowed.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise TapeUsageError(f"{name!r} is no name of a tape; use letters, digits, _, -, . and /")
    return folder / f"{name}{SUFFIX}"


def read_tape(path: Path) -> Tape:
    """Read a tape from a file.

    Raises:
        TapeFormatError: The file is not a valid tape; the message names it.
        TapeMissingError: The file does not exist.
    """
    text = _text_of(path)
    if text is None:
        raise TapeMissingError(f"there is no tape {path.name}")
    return _tape_of(path, text)


def _text_of(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise TapeFormatError(f"{path.name}: {error}") from None


def _tape_of(path: Path, text: str) -> Tape:
    try:
        return load(text)
    except TapeFormatError as error:
        raise TapeFormatError(f"{path.name}: {error}") from None


def open_tape(folder: Path, name: str, mode: Mode = Mode.NONE, **options: Any) -> Session:  # noqa: ANN401
    """Open a tape and return its session.

    Args:
        folder: Folder of the tapes.
        name: Name of the tape; ``/`` separates subfolders.
        mode: Whether to play or record it.
        options: Passed to ``Session``.

    Raises:
        TapeMissingError: The mode plays the tape, and its file does not exist.
        TapeFormatError: The file is not a valid tape.
        TapeUsageError: The name is not valid.
    """
    path = tape_path(folder, name)
    if mode is Mode.LIVE:
        return Session(name, Tape(), Action.LIVE, **options)
    text = _text_of(path)
    if mode is Mode.REWRITE or (mode is Mode.ONCE and text is None):
        session = Session(name, Tape() if text is None else _tape_of(path, text), Action.RECORD, **options)
        session.stamp = NO_FILE if text is None else stamp_of(text)
        return session
    if text is None:
        raise TapeMissingError(
            f'there is no tape "{name}" ({path.name}); run this with mode "once" while the upstream can be reached'
        )
    return Session(name, _tape_of(path, text), Action.VERIFY if mode is Mode.VERIFY else Action.REPLAY, **options)


def save(session: Session, folder: Path, **facts: str) -> Path | None:
    """Write the recorded tape atomically; return its path, or None if nothing was recorded.

    Args:
        session: A session that recorded.
        folder: Folder of the tapes.
        facts: Facts about the upstream: ``kind``, ``model``, ``version``.

    Raises:
        UnsafeTapeError: The tape holds a value that looks like a credential. The file is not changed.
        TapeConflictError: Another process wrote the file since the session began. The file is not changed, and the
            recording is written next to it.
    """
    facts = {"date": datetime.now(UTC).date().isoformat(), **facts}
    tape = session.recorded(None, **facts)
    if tape is None:
        return None
    path = tape_path(folder, session.name)
    _safe_text(session, tape)
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone_in(path.parent):
        if session.stamp is not None and path.exists() and _stamp_there(path) != session.stamp:
            tape = _united(session, tape, path, facts)
        text = _safe_text(session, tape)
        write_whole(path, text)
    session.rebase(tape, stamp_of(text))
    return path


def _safe_text(session: Session, tape: Tape) -> str:
    text = dump(tape)
    if findings := scan_text(text, session.known, session.harmless):
        raise UnsafeTapeError(session.name, findings)
    return text


def _stamp_there(path: Path) -> str:
    return stamp_of(path.read_bytes().decode("utf-8", "surrogateescape"))


def _united(session: Session, tape: Tape, path: Path, facts: dict[str, str]) -> Tape:
    """Return a recording merged with the file that another process wrote meanwhile.

    Ambient calls have no order, so those of both are kept. Exchanges form one scenario and are not merged: those
    recorded, if any, have to be equal to those of the file.

    Raises:
        TapeConflictError: The exchanges differ, or the file is not a valid tape.
    """
    with suppress(TapeFormatError):  # not a valid tape: it is not replaced either
        there = read_tape(path)
        both = session.recorded(there, **facts)
        if both and both.exchanges == (there.exchanges if tape.exchanges else ()):
            return both.model_copy(update={"exchanges": there.exchanges})
    raise TapeConflictError(session.name, path.name, keep_beside(path, dump(tape)).name)


def finish(session: Session, folder: Path, **facts: str) -> Report:
    """Save the recorded tape and return the report; if saving is refused, the report says why.

    Args:
        session: The session that ends.
        folder: Folder of the tapes.
        facts: See ``save``.
    """
    try:
        save(session, folder, **facts)
    except (UnsafeTapeError, TapeConflictError) as error:
        return replace(session.report(), refused=str(error))
    return session.report()


@contextmanager
def use_tape(folder: Path, name: str, mode: Mode = Mode.NONE, **options: Any) -> Iterator[Session]:  # noqa: ANN401
    """Yield a session for transports; at the end of the block save the tape and raise on mismatches.

    If the block raises, nothing is saved: a partial recording does not replace a complete one.

    Args:
        folder: Folder of the tapes.
        name: Name of the tape.
        mode: Whether to play or record it.
        options: Passed to ``Session``.

    Raises:
        TapeError: See ``open_tape`` and ``save``.
        TapeMismatchError: Exchanges were not played, or requests are not on the tape.
    """
    session = open_tape(folder, name, mode, **options)
    yield session
    save(session, folder)
    if failures := session.report().failures:
        raise TapeMismatchError(name, failures)
