"""Finds the tapes that command line arguments name by file path."""

from pathlib import Path
from typing import NamedTuple, NoReturn

from messages_tape.errors import TapeFormatError, TapeMissingError, TapeUsageError
from messages_tape.files.store import read_tape, tape_path
from messages_tape.format.file import SUFFIX
from messages_tape.format.model import Tape
from messages_tape.testing.names_in_source import Named, named_by, tapes_under

FORMAT_REMEDY = "correct the file, or record the tape again"


class TapeFile(NamedTuple):
    """The location of a tape.

    Args:
        folder: Folder of the file.
        name: Name of the tape within the folder.
        path: Path of the file.
    """

    folder: Path
    name: str
    path: Path


def tape_file(text: str) -> TapeFile:
    """Return the location for a path, with or without the suffix ``.tape.yaml``.

    Raises:
        TapeUsageError: The path is not a valid name of a tape.
    """
    path = Path(text.removesuffix(SUFFIX))
    return TapeFile(path.parent, path.name, tape_path(path.parent, path.name))


def existing(text: str) -> tuple[TapeFile, Tape]:
    """Read the tape at a path; return its location and the tape.

    Raises:
        TapeMissingError: The file does not exist.
        TapeFormatError: The file is not a valid tape.
    """
    file = tape_file(text)
    try:
        return file, read_tape(file.path)
    except TapeMissingError:
        raise TapeMissingError(
            f"there is no tape {file.path}; give the path of its file, or record it with `messages-tape record`"
        ) from None
    except TapeFormatError as error:
        raise TapeFormatError(f"{file.folder / str(error)}; {FORMAT_REMEDY}") from None


def tapes_in(folder: Path) -> list[Path]:
    """Return the files of all tapes in a folder and its subfolders.

    Raises:
        TapeUsageError: The folder does not exist.
    """
    if not folder.is_dir():
        raise TapeUsageError(f"there is no folder {folder}; give the folder of your tapes")
    return tapes_under(folder)


def named_by_tests(folder: Path, remedy: str) -> Named:
    """Return the tapes that the tests in a folder name.

    Args:
        folder: The folder of the tests.
        remedy: What to do if the folder does not exist, for the message.

    Raises:
        TapeUsageError: The folder does not exist, or a file in it is not valid Python.
    """
    if not folder.is_dir():
        raise TapeUsageError(f"there is no test folder {folder}; {remedy}")

    def invalid(path: Path, error: SyntaxError) -> NoReturn:
        raise TapeUsageError(f"{path}:{error.lineno}: not valid Python ({error.msg}); correct the file first") from None

    return named_by([folder], invalid)
