"""The tape settings of a test run: the folder, the mode, and the upstreams."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from messages_tape.errors import TapeUsageError
from messages_tape.files.store import Mode

EMBEDDED = "embedded"
"""Used instead of an address: the engine included in this package."""
_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server whose responses are recorded.

    Args:
        name: Its name, also the name of the folder of its tapes.
        address: Base URL, such as ``http://127.0.0.1:8000``; or ``embedded``; empty if not configured.
    """

    name: str
    address: str = ""

    @classmethod
    def of(cls, text: str) -> "Upstream":
        """Parse ``NAME`` or ``NAME=ADDRESS``.

        Raises:
            TapeUsageError: The text has neither form.
        """
        name, _, address = text.strip().partition("=")
        right = address in ("", EMBEDDED) or address.startswith(("http://", "https://"))
        if not _NAME.fullmatch(name) or not right:
            raise TapeUsageError(
                f"{name!r} with its address is not a valid upstream; write NAME, NAME=http://HOST:PORT or "
                f"NAME={EMBEDDED}"
            )
        return cls(name, address.rstrip("/").removesuffix("/v1"))


@dataclass(frozen=True, slots=True)
class Settings:
    """The tape settings of a run.

    Args:
        folder: Folder that contains the folders of the upstreams.
        mode: Mode of all tapes.
        upstreams: Upstreams by name.
        default: Name of the upstream for tests that name none.
        model: Model to request when recording; empty for the first one that the upstream lists.
        strict: Whether unplayed exchanges and tapes without a test are failures.
    """

    folder: Path
    mode: Mode = Mode.NONE
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    default: str = ""
    model: str = ""
    strict: bool = True

    @classmethod
    def of(
        cls,
        folder: Path,
        mode: str,
        upstreams: Iterable[str],
        *,
        model: str = "",
        strict: bool = True,
    ) -> "Settings":
        """Return the settings for option values.

        Args:
            folder: Folder that contains the folders of the upstreams.
            mode: Name of the mode.
            upstreams: Texts for ``Upstream.of``. The first is the default. If empty, the embedded engine is used under
                the name ``local``. If a name has two addresses, the first one is used.
            model: See the class.
            strict: See the class.

        Raises:
            TapeUsageError: An upstream is not valid.
        """
        named = [Upstream.of(text) for text in upstreams] or [Upstream("local", EMBEDDED)]
        known: dict[str, Upstream] = {}
        for one in named:
            if one.name not in known or not known[one.name].address:
                known[one.name] = one
        return cls(folder, Mode(mode), known, named[0].name, model, strict)

    def upstream(self, name: str = "") -> Upstream:
        """Return the upstream with this name; for an empty name the default one."""
        name = name or self.default
        return self.upstreams.get(name) or Upstream.of(name)

    def folder_of(self, upstream: str) -> Path:
        """Return the folder of an upstream's tapes."""
        return self.folder / (upstream or self.default)

    def command(self, test: str, mode: Mode, upstream: str) -> str:
        """Return the shell command that runs a test in a mode.

        Args:
            test: The node id of the test.
            mode: A mode that records.
            upstream: Name of the upstream.
        """
        one = self.upstream(upstream)
        # private addresses are kept out of logs
        address = EMBEDDED if one.address == EMBEDDED else "http://HOST:PORT"
        return f"pytest {quoted(test)} --tape-mode {mode} --tape-upstream {one.name}={address}"


def quoted(text: str) -> str:
    """Return a word quoted for a shell."""
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII) else "'" + text.replace("'", "'\"'\"'") + "'"
