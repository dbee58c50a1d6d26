"""How a use of a tape ends: the report of its session, or an exception.

TapeError
  TapeFormatError     a file is not a valid tape, or has a newer format
  TapeMissingError    the tape to replay does not exist, and the mode does not record
  TapeConflictError   another process changed the file during the recording, so it was not replaced
  UnsafeTapeError     the tape contains a value that looks like a credential, so it was not saved
  TapeUsageError      a wrong use: a mode without its upstream, a tape selected while another one is
  TapeMismatchError   the program's requests do not match the tape
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

HARMLESS_SETTING = "Rules(harmless=...)"
"""How ``UnsafeTapeError`` names the setting; the plugin and the command replace it with the name of their own."""


class Action(StrEnum):
    """What a session does with its tape, see ``core/session.py``."""

    REPLAY = "replay"
    RECORD = "record"
    VERIFY = "verify"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a session.

    Args:
        tape: Name of the tape.
        action: The action of the session.
        exchanges: Number of exchanges on the tape; when recording, number of recorded exchanges.
        unplayed: Exchanges that no request matched.
        unexpected: Requests that are not on the tape, each with the closest exchange and a diff.
        stayed: Exchanges whose recorded client disconnected early, while this one kept waiting.
        left: Exchanges that were recorded to the end, and whose client disconnected early now.
        notes: Like ``left``, for clients of a tape server, where the number of received chunks is not exact; these
            are not failures.
        differences: Differences in shape between live and recorded responses (``verify``).
        refused: Why the tape was not saved; empty if it was.
    """

    tape: str
    action: Action
    exchanges: int
    unplayed: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    stayed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    refused: str = ""

    @property
    def failures(self) -> tuple[str, ...]:
        """The texts that fail a test: everything except the differences and the notes."""
        return (*filter(None, [self.refused]), *self.mismatches())

    def mismatches(self, *, strict: bool = True) -> tuple[str, ...]:
        """Return the texts about requests and clients that do not match the tape.

        Args:
            strict: Whether to include what a partial run leaves: early disconnects and unplayed exchanges.
        """
        return (*self.unexpected, *self.stayed, *((*self.left, *self.unplayed) if strict else ()))


class TapeError(Exception):
    """The base class of all exceptions of this package."""


class TapeFormatError(TapeError):
    """A file is not a tape that this version can read."""


class TapeMissingError(TapeError):
    """A tape does not exist."""


class UnsafeTapeError(TapeError):
    """A tape was not saved, because it may contain a credential.

    Args:
        name: Name of the tape.
        findings: Place and kind of each suspected credential; never the value.
    """

    def __init__(self, name: str, findings: Sequence[str]) -> None:
        self.findings = tuple(findings)
        places = "\n".join(f"  {finding}" for finding in findings)
        super().__init__(
            f'tape "{name}" was not saved, it contains what looks like a credential:\n{places}\n'
            f"Record it with made-up values in these places, or pass a value that is not secret in {HARMLESS_SETTING}."
        )


class TapeConflictError(TapeError):
    """A tape was not saved to its file, because another process changed the file during the recording.

    Args:
        name: Name of the tape.
        file: Path of its file, which was not changed.
        kept: Path of the file next to it to which this recording was written.
    """

    def __init__(self, name: str, file: str, kept: str) -> None:
        self.kept = kept
        super().__init__(
            f'tape "{name}" was not saved: another process changed {file} during this recording, so that file was not '
            f"replaced. This recording is in {kept}: compare the two files, rename the right one to {file}, and delete "
            "the other. Record each tape in one process at a time."
        )


class TapeUsageError(TapeError):
    """An argument, option or call that the package cannot handle."""


class TapeMismatchError(TapeError):
    """A program's requests did not match its tape.

    Args:
        name: Name of the tape.
        failures: One text per mismatch.
    """

    def __init__(self, name: str, failures: Sequence[str]) -> None:
        self.failures = tuple(failures)
        super().__init__(f'tape "{name}":\n' + "\n".join(failures))
