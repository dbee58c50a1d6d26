"""The record and replay harness: what an upstream said on the wire, as a file that tests play.

The core knows no network: ``session.py`` decides, ``recording.py`` collects, ``file.py`` writes and reads, ``scrub.py``
and ``scan.py`` keep secrets out. Two adapters share it and its files: ``transport.py`` inside a program,
``server.py`` in front of another one. docs/tapes.md describes the files.
"""

from .deck import Deck
from .errors import (
    TapeConflictError,
    TapeError,
    TapeFormatError,
    TapeMismatchError,
    TapeMissingError,
    TapeUsageError,
    UnsafeTapeError,
)
from .file import SUFFIX, dump, json_schema, load
from .model import Chunk, End, Exchange, Ignore, Request, Response, Tape, Upstream
from .report import Action, Report
from .runner import serving
from .scan import scan, scan_text
from .scrub import Rules
from .server import CONTROL_PATH, TapeServer
from .session import AMBIENT, Session
from .store import Mode, finish, open_tape, read_tape, save, tape_path, use_tape
from .transport import SyncTapeTransport, TapeTransport, transports_for

__all__ = [
    "AMBIENT",
    "CONTROL_PATH",
    "SUFFIX",
    "Action",
    "Chunk",
    "Deck",
    "End",
    "Exchange",
    "Ignore",
    "Mode",
    "Report",
    "Request",
    "Response",
    "Rules",
    "Session",
    "SyncTapeTransport",
    "Tape",
    "TapeConflictError",
    "TapeError",
    "TapeFormatError",
    "TapeMismatchError",
    "TapeMissingError",
    "TapeServer",
    "TapeTransport",
    "TapeUsageError",
    "UnsafeTapeError",
    "Upstream",
    "dump",
    "finish",
    "json_schema",
    "load",
    "open_tape",
    "read_tape",
    "save",
    "scan",
    "scan_text",
    "serving",
    "tape_path",
    "transports_for",
    "use_tape",
]
