"""Tapes as people name them on a command line: by their files."""

from pathlib import Path
from typing import NamedTuple

from messages_tape.errors import TapeFormatError, TapeMissingError, TapeUsageError
from messages_tape.files.review import FORMAT_REMEDY
from messages_tape.files.store import read_tape, tape_path
from messages_tape.format.file import SUFFIX
from messages_tape.format.model import Tape
from messages_tape.testing.names_in_source import Named, named_in
from messages_tape.testing.orphans import sources, tapes_under


class Place(NamedTuple):
    """Where a tape is.

    Args:
        folder: Of its file.
        name: In it.
        path: Of its file.
    """

    folder: Path
    name: str
    path: Path


def place_of(text: str) -> Place:
    """Return the place that a path names, with or without ``.tape.yaml``.

    Raises:
        TapeUsageError: A tape cannot be called so.
    """
    path = Path(text.removesuffix(SUFFIX))
    return Place(path.parent, path.name, tape_path(path.parent, path.name))


def existing(text: str) -> tuple[Place, Tape]:
    """Return the place that a path names, and the tape there.

    Raises:
        TapeMissingError: There is none.
        TapeFormatError: What is there is none.
    """
    place = place_of(text)
    try:
        return place, read_tape(place.path)
    except TapeMissingError:
        raise TapeMissingError(
            f"there is no tape {place.path}; give the path of its file, or record it with `messages-tape record`"
        ) from None
    except TapeFormatError as error:
        raise TapeFormatError(f"{place.folder / str(error)}; {FORMAT_REMEDY}") from None


def tapes_in(folder: Path) -> list[Path]:
    """Return the files of all tapes in a folder and its folders.

    Raises:
        TapeUsageError: There is no such folder.
    """
    if not folder.is_dir():
        raise TapeUsageError(f"there is no folder {folder}; name the folder of your tapes")
    return tapes_under(folder)


def named_by_tests(folder: Path) -> Named:
    """Return what the tests in a folder name.

    Raises:
        TapeUsageError: There is no such folder, or a file in it is not Python.
    """
    if not folder.is_dir():
        raise TapeUsageError(f"there is no folder {folder}; --tests says where your tests are")
    named = Named()
    for path in sources(folder):
        try:
            named |= named_in(path.read_text(encoding="utf-8", errors="replace"), str(path))
        except SyntaxError as error:
            raise TapeUsageError(f"{path}:{error.lineno}: not Python ({error.msg}); correct it first") from None
    return named
