"""Tapes as files of a folder."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from .errors import TapeFormatError, TapeMismatchError, TapeMissingError, TapeUsageError, UnsafeTapeError
from .file import SUFFIX, dump, load
from .model import Tape
from .report import Action, Report
from .scan import scan_text
from .session import Session

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
    try:
        return load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TapeMissingError(f"there is no tape {path.name}") from None
    except (TapeFormatError, UnicodeDecodeError) as error:
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
    found = path.exists()
    if mode is Mode.REWRITE or (mode is Mode.ONCE and not found):
        return Session(name, read_tape(path) if found else Tape(), Action.RECORD, **options)
    if not found:
        raise TapeMissingError(
            f'there is no tape "{name}" ({path.name}); run this with mode "once" while the upstream can be reached'
        )
    return Session(name, read_tape(path), Action.VERIFY if mode is Mode.VERIFY else Action.REPLAY, **options)


def save(session: Session, folder: Path, **facts: str) -> Path | None:
    """Write what a session recorded, all or nothing; return where, None if there is nothing to write.

    Args:
        session: With a tape that was recorded.
        folder: Of the tapes.
        facts: What is known of the upstream: ``kind``, ``model``, ``version``.

    Raises:
        UnsafeTapeError: The tape holds what looks like a credential. The file is left as it was.
    """
    tape = session.recorded(date=datetime.now(UTC).date().isoformat(), **facts)
    if tape is None:
        return None
    text = dump(tape)
    if findings := scan_text(text, session.known, session.harmless):
        raise UnsafeTapeError(session.name, findings)
    path = tape_path(folder, session.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return path


def finish(session: Session, folder: Path, **facts: str) -> Report:
    """Save what was recorded and return what happened; a refusal to save is part of that.

    Args:
        session: That ends.
        folder: Of the tapes.
        facts: See ``save``.
    """
    try:
        save(session, folder, **facts)
    except UnsafeTapeError as error:
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


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody sees a part of it, whoever else writes it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
