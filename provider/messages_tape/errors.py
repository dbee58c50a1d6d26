"""The exceptions of this package.

TapeError
  TapeFormatError     a file is not a valid tape, or has a newer format
  TapeMissingError    the tape to replay does not exist, and the mode does not record
  TapeConflictError   another process wrote the file during the recording, so it was not replaced
  UnsafeTapeError     the tape contains a value that looks like a credential, so it was not saved
  TapeUsageError      a wrong use: a mode without its upstream, a tape selected while another one is
  TapeMismatchError   the program's requests do not match the tape
"""

from collections.abc import Sequence


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
            f'tape "{name}" was not saved, it holds what looks like a credential:\n{places}\n'
            "Record it with made-up values in these places, or name a value that is none in Rules(harmless=...)."
        )


class TapeConflictError(TapeError):
    """A tape was not saved to its file, because another process wrote the file during the recording.

    Args:
        name: Name of the tape.
        file: Its file, which was not changed.
        kept: The file next to it to which this recording was written.
    """

    def __init__(self, name: str, file: str, kept: str) -> None:
        self.kept = kept
        super().__init__(
            f'tape "{name}" was not saved: {file} was written by somebody else while this one was recorded, and is '
            f"left as it is. This recording is kept beside it, in {kept}: compare the two, give the one that is right "
            f"the name {file}, remove the other, and record a tape in one place at a time."
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
