"""What goes wrong with tapes.

TapeError
  TapeFormatError     a file is not a tape, or one of a newer format
  TapeMissingError    there is no tape to replay, and nothing was to be recorded
  TapeConflictError   somebody else wrote the file while a tape was recorded, so it was not replaced
  UnsafeTapeError     a tape still holds what looks like a credential, so it was not saved
  TapeUsageError      a mode without what it needs, or a tape selected while another is
  TapeMismatchError   what happened is not what the tape holds
"""

from collections.abc import Sequence


class TapeError(Exception):
    """The root of the tree above."""


class TapeFormatError(TapeError):
    """A file is not a tape this version reads."""


class TapeMissingError(TapeError):
    """There is no tape of this name."""


class UnsafeTapeError(TapeError):
    """A tape was not saved, because it may hold a credential.

    Args:
        name: Of the tape.
        findings: Where, and what it looks like; never the value.
    """

    def __init__(self, name: str, findings: Sequence[str]) -> None:
        self.findings = tuple(findings)
        places = "\n".join(f"  {finding}" for finding in findings)
        super().__init__(
            f'tape "{name}" was not saved, it holds what looks like a credential:\n{places}\n'
            "Record it with made-up values in these places, or name a value that is none in Rules(harmless=...)."
        )


class TapeConflictError(TapeError):
    """A tape was not saved in its place, because somebody else wrote the file while it was recorded.

    Args:
        name: Of the tape.
        file: Its file, which is as they left it.
        kept: The file beside it that holds this recording.
    """

    def __init__(self, name: str, file: str, kept: str) -> None:
        self.kept = kept
        super().__init__(
            f'tape "{name}" was not saved: {file} was written by somebody else while this one was recorded, and is '
            f"left as it is. This recording is kept beside it, in {kept}: compare the two, give the one that is right "
            f"the name {file}, remove the other, and record a tape in one place at a time."
        )


class TapeUsageError(TapeError):
    """The harness was asked for what it cannot do."""


class TapeMismatchError(TapeError):
    """A program did not do what its tape holds.

    Args:
        name: Of the tape.
        failures: What happened, each a text of its own.
    """

    def __init__(self, name: str, failures: Sequence[str]) -> None:
        self.failures = tuple(failures)
        super().__init__(f'tape "{name}":\n' + "\n".join(failures))
