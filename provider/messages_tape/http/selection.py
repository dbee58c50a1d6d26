"""Selects the tape in use, for a tape server whose clients are other processes."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from messages_tape.core.session import AMBIENT, HINT, Session
from messages_tape.errors import Action, Report, TapeUsageError
from messages_tape.files.store import Mode, finish, open_tape, tape_path
from messages_tape.format.model import Tape
from messages_tape.secrets.scrub import RawRequest, Rules

AMBIENT_TAPE = "ambient"
"""The tape of ambient calls. They happen between scenarios and periodically, so they are on no other tape."""
UNSELECTED = "(none selected)"
_NOBODY_HINT = "No tape was selected when this request came."


class TapeSelection:
    """Holds the session of the selected tape and the session of the ambient tape.

    Args:
        folder: Folder of the tapes.
        mode: Mode of the ambient tape, and default mode of selected tapes.
        upstream: Base URL of the upstream, such as ``http://127.0.0.1:8080``; empty if tapes are only played.
        rules: Which headers and fields are kept on tapes.
        ambient: Patterns of ambient calls, see ``Session``.
        hint: Advice for the user about a request that is not on the tape.
        facts: Facts about the upstream: ``kind``, ``model``, ``version``.

    Raises:
        TapeUsageError: The mode needs an upstream, and none is given.
    """

    def __init__(
        self,
        folder: Path,
        mode: Mode = Mode.NONE,
        *,
        upstream: str = "",
        rules: Rules | None = None,
        ambient: Iterable[str] = AMBIENT,
        hint: str = HINT,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self.upstream = upstream
        self._mode = self._allowed(mode)
        self._options: dict[str, Any] = {"rules": rules, "ambient": tuple(ambient), "hint": hint}
        self._facts = dict(facts or {})
        self._active: Session | None = None
        self._house = self._open_house()
        self._nobody = self._new_nobody()

    def select(self, name: str, mode: Mode | None = None) -> Session:
        """Select the tape for the following requests; return its session.

        Args:
            name: Name of the tape.
            mode: Its mode; by default the mode of this selection.

        Raises:
            TapeError: See ``open_tape``; also if another tape is selected, or the mode needs an upstream.
        """
        if self._active:
            raise TapeUsageError(f'tape "{self._active.name}" is still in use; eject it first')
        if name == AMBIENT_TAPE:
            raise TapeUsageError(f'"{AMBIENT_TAPE}" is the tape of ambient calls; give this one another name')
        self._active = open_tape(self._folder, name, self._allowed(mode or self._mode), **self._options)
        return self._active

    def eject(self, *, keep: bool = True) -> Report | None:
        """Deselect the tape; return its report, or None if no tape was selected.

        Args:
            keep: Save the recording; pass False if the program failed, because the recording may be partial.
        """
        session, self._active = self._active, None
        if session is None:
            return None
        report = finish(session, self._folder, **self._facts) if keep else session.report()
        requests_between_tests = self.requests_between_tests()
        refused = "\n".join(filter(None, [report.refused, self._save_house()]))
        return replace(report, unexpected=(*requests_between_tests, *report.unexpected), refused=refused)

    def requests_between_tests(self) -> tuple[str, ...]:
        """Return the unreported requests that arrived while no tape was selected."""
        before, self._nobody = self._nobody, self._new_nobody()
        return before.report().unexpected

    @property
    def answering(self) -> Session:
        """The session for new requests, ambient calls excluded."""
        return self._active or self._nobody

    @property
    def selected(self) -> Session | None:
        """The session of the selected tape."""
        return self._active

    def close(self) -> tuple[str, ...]:
        """Eject, save the ambient calls, and return the failures not reported yet."""
        report = self.eject()
        if report:
            return report.failures
        return (*filter(None, [self._save_house()]), *self._nobody.report().unexpected)

    def report(self) -> Report:
        """Return the report so far of the selected tape, or of the requests without one."""
        return (self._active or self._nobody).report()

    def session_for(self, asked: RawRequest, answering: Session | None = None) -> Session:
        """Return the session that handles a request: the selected tape's, or that of the ambient tape.

        Args:
            asked: The request.
            answering: The value of ``answering`` when the request arrived; by default the current one.
        """
        answering = answering or self.answering
        if not self._house.is_ambient(asked) or answering.has_exchange(asked):
            return answering
        made_up = self._house.action is Action.REPLAY and not self._house.has_ambient(asked)
        if made_up and (answering.action is not Action.RECORD or asked.method == "POST"):
            return answering  # route probes are not guessed while an upstream is available
        return self._house

    def _save_house(self) -> str:
        return finish(self._house, self._folder, **self._facts).refused

    def _allowed(self, mode: Mode) -> Mode:
        if mode is not Mode.NONE and not self.upstream:
            raise TapeUsageError(f'mode "{mode}" needs an upstream to ask')
        return mode

    def _open_house(self) -> Session:
        found = tape_path(self._folder, AMBIENT_TAPE).exists()
        mode = Mode.NONE if self._mode is Mode.VERIFY else self._mode
        if mode is Mode.NONE and not found:
            return Session(AMBIENT_TAPE, Tape(), Action.REPLAY, **self._options)
        return open_tape(self._folder, AMBIENT_TAPE, mode, **self._options)

    def _new_nobody(self) -> Session:
        action = Action.LIVE if self._mode is Mode.LIVE else Action.REPLAY
        return Session(UNSELECTED, Tape(), action, **{**self._options, "hint": _NOBODY_HINT})
