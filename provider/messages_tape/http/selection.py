"""Which tape is in use, for a server whose clients are other processes."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from messages_tape.core.session import AMBIENT, HINT, Session
from messages_tape.errors import TapeUsageError
from messages_tape.files.store import Mode, finish, open_tape, tape_path
from messages_tape.format.model import Tape
from messages_tape.report import Action, Report
from messages_tape.secrets.scrub import RawRequest, Rules

AMBIENT_TAPE = "ambient"
"""The tape of ambient calls. They are made between scenarios and by the clock, so they are on no other tape."""
UNSELECTED = "(none selected)"
_NOBODY_HINT = "No tape was selected when this request came."


class TapeSelection:
    """Holds the selected tape and the one of ambient calls.

    Args:
        folder: Of the tapes.
        mode: For ambient calls, and for tapes that are selected without one.
        upstream: Its address in front of the path, such as ``http://127.0.0.1:8080``; none where tapes are only played.
        rules: What stays on tapes.
        ambient: Calls that do not count, see ``Session``.
        hint: What a person does about a request that is not on the tape.
        facts: What is known of the upstream: ``kind``, ``model``, ``version``.

    Raises:
        TapeUsageError: The mode needs an upstream.
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
        """Return the session of a tape that answers from now on.

        Args:
            name: Of the tape.
            mode: What to do with it; by default that of the deck.

        Raises:
            TapeError: See ``open_tape``; also if another tape is in use, or the mode needs an upstream.
        """
        if self._active:
            raise TapeUsageError(f'tape "{self._active.name}" is still in use; eject it first')
        if name == AMBIENT_TAPE:
            raise TapeUsageError(f'"{AMBIENT_TAPE}" is the tape of ambient calls; give this one another name')
        self._active = open_tape(self._folder, name, self._allowed(mode or self._mode), **self._options)
        return self._active

    def eject(self, *, keep: bool = True) -> Report | None:
        """End the use of the selected tape; return what happened, None if none is selected.

        Args:
            keep: Save what was recorded; not wanted where the program failed half-way.
        """
        session, self._active = self._active, None
        if session is None:
            return None
        report = finish(session, self._folder, **self._facts) if keep else session.report()
        requests_between_tests = self.requests_between_tests()
        refused = "\n".join(filter(None, [report.refused, self._save_house()]))
        return replace(report, unexpected=(*requests_between_tests, *report.unexpected), refused=refused)

    def requests_between_tests(self) -> tuple[str, ...]:
        """Return the requests that came while no tape was selected, and were not told of yet."""
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
        """Eject, save the ambient calls, and return the failures that are left to tell."""
        report = self.eject()
        if report:
            return report.failures
        return (*filter(None, [self._save_house()]), *self._nobody.report().unexpected)

    def report(self) -> Report:
        """Return what happened so far to the selected tape, or to requests without one."""
        return (self._active or self._nobody).report()

    def session_for(self, asked: RawRequest, answering: Session | None = None) -> Session:
        """Return who answers a request.

        Args:
            asked: The request.
            answering: Who did when it arrived, if that was before now.
        """
        answering = answering or self.answering
        if not self._house.is_ambient(asked) or answering.has_exchange(asked):
            return answering
        made_up = self._house.action is Action.REPLAY and not self._house.has_ambient(asked)
        if made_up and (answering.action is not Action.RECORD or asked.method == "POST"):
            return answering  # what routes an upstream has is nothing to guess while it can be asked
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
