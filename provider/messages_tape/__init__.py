"""Records HTTP exchanges with an upstream to tape files, and replays them in tests.

It needs neither llama-stack nor an SDK. Its folders; each imports only from folders listed before it:

    format/     the tape file: its model, YAML, JSON Schema, limits
    reading/    parses bodies and streams: events, folded messages, readable text
    secrets/    keeps credentials out of tapes
    core/       matches requests to recorded exchanges and records new ones; no network and no files
    files/      opens and saves tapes
    http/       two adapters: a transport inside a program, a server in place of the upstream
    testing/    the pytest plugin, and the stacks and servers that tests need
    cli/        the command ``messages-tape``

``errors.py`` is shared. docs/tapes.md describes the file format. Public names are loaded on first
use, because the pytest plugin is imported by every test run of an environment.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.session import AMBIENT, Session
    from .errors import (
        Action,
        Report,
        TapeConflictError,
        TapeError,
        TapeFormatError,
        TapeMismatchError,
        TapeMissingError,
        TapeUsageError,
        UnsafeTapeError,
    )
    from .files.store import Mode, finish, open_tape, read_tape, save, tape_path, use_tape
    from .format.file import SUFFIX, dump, json_schema, load
    from .format.model import Chunk, End, Exchange, Ignore, Request, Response, Tape, Upstream
    from .http.selection import TapeSelection
    from .http.server import CONTROL_PATH, TapeServer, serving
    from .http.transport import SyncTapeTransport, TapeTransport, transports_for
    from .secrets.scan import scan, scan_text
    from .secrets.scrub import Rules

__all__ = [
    "AMBIENT",
    "CONTROL_PATH",
    "SUFFIX",
    "Action",
    "Chunk",
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
    "TapeSelection",
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

_NAMES = {
    ".http.selection": ("TapeSelection",),
    ".errors": (
        "Action",
        "Report",
        "TapeConflictError",
        "TapeError",
        "TapeFormatError",
        "TapeMismatchError",
        "TapeMissingError",
        "TapeUsageError",
        "UnsafeTapeError",
    ),
    ".format.file": (
        "SUFFIX",
        "dump",
        "json_schema",
        "load",
    ),
    ".format.model": (
        "Chunk",
        "End",
        "Exchange",
        "Ignore",
        "Request",
        "Response",
        "Tape",
        "Upstream",
    ),
    ".secrets.scan": (
        "scan",
        "scan_text",
    ),
    ".secrets.scrub": ("Rules",),
    ".http.server": (
        "CONTROL_PATH",
        "TapeServer",
        "serving",
    ),
    ".core.session": (
        "AMBIENT",
        "Session",
    ),
    ".files.store": (
        "Mode",
        "finish",
        "open_tape",
        "read_tape",
        "save",
        "tape_path",
        "use_tape",
    ),
    ".http.transport": (
        "SyncTapeTransport",
        "TapeTransport",
        "transports_for",
    ),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes have any type
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name], __name__), name)
