"""What a test run says about tapes: where they are, what is done with them, who answers when they are recorded."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from messages_tape.errors import TapeUsageError
from messages_tape.files.store import Mode

EMBEDDED = "embedded"
"""In place of an address: the engine that comes with this package."""
_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server whose answers are on tapes.

    Args:
        name: Of the folder of its tapes.
        address: In front of the path, such as ``http://127.0.0.1:8000``; ``embedded``; empty if nobody named one.
    """

    name: str
    address: str = ""

    @classmethod
    def of(cls, text: str) -> "Upstream":
        """Return what ``NAME`` or ``NAME=ADDRESS`` says.

        Raises:
            TapeUsageError: It says neither.
        """
        name, _, address = text.strip().partition("=")
        right = address in ("", EMBEDDED) or address.startswith(("http://", "https://"))
        if not _NAME.fullmatch(name) or not right:
            raise TapeUsageError(
                f"{name!r} with its address is no upstream; write NAME, NAME=http://HOST:PORT or NAME={EMBEDDED}"
            )
        return cls(name, address.rstrip("/").removesuffix("/v1"))


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all tapes of a run.

    Args:
        folder: Of the upstreams' folders.
        mode: What is done with tapes.
        upstreams: By name.
        default: Whose tapes tests use that name no upstream.
        model: What the upstream is asked for when tapes are recorded; empty: the first one it lists.
        strict: Exchanges that were not played and tapes without a test are failures.
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
        """Return the settings that options spell.

        Args:
            folder: Of the upstreams' folders.
            mode: Its name.
            upstreams: As ``Upstream.of`` takes them. The first is the default; none at all is the embedded engine,
                called ``local``; of two addresses for one name the first counts.
            model: See the class.
            strict: See the class.

        Raises:
            TapeUsageError: An upstream is none.
        """
        named = [Upstream.of(text) for text in upstreams] or [Upstream("local", EMBEDDED)]
        known: dict[str, Upstream] = {}
        for one in named:
            if one.name not in known or not known[one.name].address:
                known[one.name] = one
        return cls(folder, Mode(mode), known, named[0].name, model, strict)

    def upstream(self, name: str = "") -> Upstream:
        """Return the upstream of a name, by default that of the run."""
        name = name or self.default
        return self.upstreams.get(name) or Upstream.of(name)

    def folder_of(self, upstream: str) -> Path:
        """Return where the tapes of an upstream are."""
        return self.folder / (upstream or self.default)

    def command(self, test: str, mode: Mode, upstream: str) -> str:
        """Return the shell command that runs a test in a mode.

        Args:
            test: How pytest names it.
            mode: That asks the upstream.
            upstream: Its name.
        """
        one = self.upstream(upstream)
        # an address of a person's network stays out of logs
        address = EMBEDDED if one.address == EMBEDDED else "http://HOST:PORT"
        return f"pytest {quoted(test)} --tape-mode {mode} --tape-upstream {one.name}={address}"


def quoted(text: str) -> str:
    """Return a word as shells take it."""
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII) else "'" + text.replace("'", "'\"'\"'") + "'"
