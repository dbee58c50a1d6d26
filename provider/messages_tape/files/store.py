"""Opens, reads and saves tapes as files of a folder.

Several processes may record into one folder, such as the workers of pytest-xdist. Three rules keep their work:

- A file is written whole or not at all: the text goes to a file next to it, which then replaces it.
- One process at a time saves into a folder, and it merges its recording into what the file holds by then. Ambient calls
  have no order, so those of all recorders are kept. Exchanges form one scenario and are not merged: if another
  process changed those of the file in the meantime, this recording has to begin with them, in their order. Otherwise
  the file stays, this recording is written next to it, and saving fails with a ``TapeConflictError``.
- Tests of one run that share a tape take turns to record it (``recording_turn``): the first one records it, the others
  play it.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

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
        raise TapeUsageError(f"{name!r} is not a valid tape name; use letters, digits, _, -, . and /")
    return folder / f"{name}{SUFFIX}"


def read_tape(path: Path) -> Tape:
    """Read a tape from a file.

    Raises:
        TapeFormatError: The file is not a valid tape; the message names it.
        TapeMissingError: The file does not exist.
    """
    try:
        return load(path.read_bytes().decode())
    except FileNotFoundError:
        raise TapeMissingError(f"there is no tape {path.name}") from None
    except (UnicodeDecodeError, TapeFormatError) as error:
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
    try:
        tape = read_tape(path)
    except TapeMissingError:
        if mode in (Mode.ONCE, Mode.REWRITE):
            return Session(name, Tape(), Action.RECORD, **options)
        raise TapeMissingError(
            f'there is no tape "{name}" ({path.name}); run this with mode "once" while the upstream can be reached'
        ) from None
    actions = {Mode.REWRITE: Action.RECORD, Mode.VERIFY: Action.VERIFY}
    return Session(name, tape, actions.get(mode, Action.REPLAY), **options)


def save(session: Session, folder: Path, **facts: str) -> Path | None:
    """Write the recorded tape; return its path, or None if nothing was recorded.

    Args:
        session: A session that recorded.
        folder: Folder of the tapes.
        facts: Facts about the upstream: ``kind``, ``model``, ``version``.

    Raises:
        UnsafeTapeError: The tape holds a value that looks like a credential. The file is not changed.
        TapeConflictError: Another process recorded other exchanges since the session began. The file is not changed,
            and the recording is written next to it.
    """
    facts = {"date": datetime.now(UTC).date().isoformat(), **facts}
    tape = session.recorded(**facts)
    if tape is None:
        return None
    path = tape_path(folder, session.name)
    text = _safe_text(session, tape)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        merged = _merged(session, tape, path, facts)
        if merged is None:
            numbered = (path.with_name(f"{path.name}.conflict-{number}") for number in count(1))
            beside = next(file for file in numbered if not file.exists())
            write_whole(beside, text)
            raise TapeConflictError(session.name, str(path), str(beside))
        if merged is not tape:
            text = _safe_text(session, merged)
        write_whole(path, text)
    session.tape = merged  # what this session replaces if it is saved again
    return path


def _merged(session: Session, tape: Tape, path: Path, facts: dict[str, str]) -> Tape | None:
    """Return the recorded tape with what another process added to the file; None if their exchanges conflict.

    Args:
        session: The session that recorded.
        tape: Its recording, in place of the tape that it was opened with.
        path: The file of the tape.
        facts: See ``save``.
    """
    try:
        current = read_tape(path)
    except TapeMissingError:
        return tape
    except TapeFormatError:
        return None  # somebody is editing the file
    if current == session.tape:
        return tape
    both = session.recorded(current, **facts) or tape
    if not both.exchanges:  # only ambient calls were recorded
        return both.model_copy(update={"exchanges": current.exchanges})
    others = current.exchanges
    unchanged = others == session.tape.exchanges
    return both if unchanged or both.exchanges[: len(others)] == others else None


def _safe_text(session: Session, tape: Tape) -> str:
    text = dump(tape)
    if findings := scan_text(text, session.secret_values, session.harmless):
        raise UnsafeTapeError(session.name, findings)
    return text


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


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically: readers and concurrent writers never see a partial file."""
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def recording_turn(shared: Path, tape: Path) -> Iterator[Path]:
    """Wait for the tests of this run that record the same tape, and keep them waiting while the block runs.

    Yields a marker file: it exists if the tape was already recorded in this run; a test that recorded it creates it.

    Args:
        shared: A folder that the processes of the run share.
        tape: The file of the tape.
    """
    marker = shared / sha256(str(tape.resolve()).encode()).hexdigest()
    lock = marker.with_suffix(".lock")
    lock.touch()
    with locked(lock):
        yield marker


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file or folder against other threads and processes while the block runs.

    Platforms and network drives without file locks skip the lock: there, two processes that save a tape within the same
    milliseconds may miss each other.

    Args:
        path: An existing file or folder; it is not changed.
    """
    try:
        import fcntl  # not available on every platform; needed for recording only
    except ImportError:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network drives have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed, or this process ends
        yield
    finally:
        os.close(descriptor)
