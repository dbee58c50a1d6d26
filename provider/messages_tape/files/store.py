"""Tapes as files of a folder."""

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
    TapeConflictError,
    TapeFormatError,
    TapeMismatchError,
    TapeMissingError,
    TapeUsageError,
    UnsafeTapeError,
)
from messages_tape.format.file import SUFFIX, dump, load
from messages_tape.format.model import Tape
from messages_tape.report import Action, Report
from messages_tape.secrets.scan import scan_text

from .locking import NO_FILE, alone_in, keep_beside, stamp_of, write_whole

_NAME = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*")


class Mode(StrEnum):
    """How tapes are used."""

    NONE = "none"
    """Play; never ask an upstream. What CI uses."""
    ONCE = "once"
    """Play what there is, record what there is not: by tape, not by request."""
    REWRITE = "rewrite"
    """Record, in place of what there is."""
    VERIFY = "verify"
    """Play, ask the upstream again as well, and report how its answers differ in shape."""
    LIVE = "live"
    """No tape."""


def tape_path(folder: Path, name: str) -> Path:
    """Return where a tape is.

    Raises:
        TapeUsageError: The name is none: letters, digits, ``_``, ``-``, ``.`` and ``/`` make one.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise TapeUsageError(f"{name!r} is no name of a tape; use letters, digits, _, -, . and /")
    return folder / f"{name}{SUFFIX}"


def read_tape(path: Path) -> Tape:
    """Return the tape in a file.

    Raises:
        TapeFormatError: It holds none; says which file.
        TapeMissingError: There is no such file.
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
    """Return a session with a tape.

    Args:
        folder: Of the tapes.
        name: Of the tape, with ``/`` for folders inside.
        mode: What to do with it.
        options: Of ``Session``.

    Raises:
        TapeMissingError: It is to be played and there is none.
        TapeFormatError: Its file is no tape.
        TapeUsageError: The name is none.
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
    """Write what a session recorded, all or nothing; return where, None if there is nothing to write.

    Args:
        session: With a tape that was recorded.
        folder: Of the tapes.
        facts: What is known of the upstream: ``kind``, ``model``, ``version``.

    Raises:
        UnsafeTapeError: The tape holds what looks like a credential. The file is left as it was.
        TapeConflictError: The file was written by somebody else since the session began. It is left as it was, and
            the recording is kept beside it.
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
    """Return a recording together with the file that somebody else has written meanwhile.

    Ambient calls have no order, so those of both are kept. Exchanges are a scenario, of which there can be one.
    """
    with suppress(TapeFormatError):  # what is there is no tape, and nobody's to replace
        there = read_tape(path)
        both = session.recorded(there, **facts)
        if both and both.exchanges == (there.exchanges if tape.exchanges else ()):
            return both.model_copy(update={"exchanges": there.exchanges})
    raise TapeConflictError(session.name, path.name, keep_beside(path, dump(tape)).name)


def finish(session: Session, folder: Path, **facts: str) -> Report:
    """Save what was recorded and return what happened; a refusal to save is part of that.

    Args:
        session: That ends.
        folder: Of the tapes.
        facts: See ``save``.
    """
    try:
        save(session, folder, **facts)
    except (UnsafeTapeError, TapeConflictError) as error:
        return replace(session.report(), refused=str(error))
    return session.report()


@contextmanager
def use_tape(folder: Path, name: str, mode: Mode = Mode.NONE, **options: Any) -> Iterator[Session]:  # noqa: ANN401
    """Give a session for transports; save at the end, and raise where the program did not do what the tape holds.

    Where the block fails nothing is saved: half a scenario does not replace a whole one.

    Args:
        folder: Of the tapes.
        name: Of the tape.
        mode: What to do with it.
        options: Of ``Session``.

    Raises:
        TapeError: See ``open_tape`` and ``save``.
        TapeMismatchError: Exchanges were not played, or requests are not on the tape.
    """
    session = open_tape(folder, name, mode, **options)
    yield session
    save(session, folder)
    if failures := session.report().failures:
        raise TapeMismatchError(name, failures)
