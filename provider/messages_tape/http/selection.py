"""Selects the tape in use, for a tape server whose clients are other processes.

Three sessions share the requests. The selected tape gets the requests of its test. Ambient calls, which stacks make at
startup and periodically, have a tape of their own, which is played with any selected tape. A request that arrives while
no tape is selected is a failure of the next report: such a request may come from a test that has ended.
"""

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
_UNSELECTED_HINT = "No tape was selected when this request arrived."


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
        self._selected: Session | None = None
        self._unselected = self._new_unselected()
        ambient_mode = Mode.NONE if mode is Mode.VERIFY else mode
        if ambient_mode is Mode.NONE and not tape_path(folder, AMBIENT_TAPE).exists():
            self._ambient = Session(AMBIENT_TAPE, Tape(), Action.REPLAY, **self._options)
        else:
            self._ambient = open_tape(folder, AMBIENT_TAPE, ambient_mode, **self._options)

    def select(self, name: str, mode: Mode | None = None) -> Session:
        """Select the tape for the following requests; return its session.

        Args:
            name: Name of the tape.
            mode: Its mode; by default the mode of this selection.

        Raises:
            TapeError: See ``open_tape``; also if another tape is selected, or the mode needs an upstream.
        """
        if self._selected:
            raise TapeUsageError(f'tape "{self._selected.name}" is selected; eject it first')
        if name == AMBIENT_TAPE:
            raise TapeUsageError(f'"{AMBIENT_TAPE}" is the name of the tape of ambient calls; choose another name')
        self._selected = open_tape(self._folder, name, self._allowed(mode or self._mode), **self._options)
        return self._selected

    def eject(self, *, keep: bool = True) -> Report | None:
        """Deselect the tape, save its recording and the ambient calls; return its report, or None without a tape.

        Args:
            keep: Save the recording of the selected tape; pass False if the program failed, because the recording may
                be partial. The ambient tape is saved in any case, because its calls are independent of the program.
        """
        session, self._selected = self._selected, None
        if session is None:
            return None
        report = finish(session, self._folder, **self._facts) if keep else session.report()
        requests_between_tests = self.requests_between_tests()
        refused = "\n".join(filter(None, [report.refused, self._save_ambient()]))
        return replace(report, unexpected=(*requests_between_tests, *report.unexpected), refused=refused)

    def requests_between_tests(self) -> tuple[str, ...]:
        """Return the unreported requests that arrived while no tape was selected."""
        before, self._unselected = self._unselected, self._new_unselected()
        return before.report().unexpected

    @property
    def selected(self) -> Session | None:
        """The session of the selected tape."""
        return self._selected

    @property
    def current(self) -> Session:
        """The session for new requests, except ambient calls."""
        return self._selected or self._unselected

    def close(self) -> tuple[str, ...]:
        """Eject, save the ambient calls, and return the failures not reported yet."""
        report = self.eject()
        if report:
            return report.failures
        return (*filter(None, [self._save_ambient()]), *self._unselected.report().unexpected)

    def report(self) -> Report:
        """Return the report so far of the selected tape, or of the requests without one."""
        return self.current.report()

    def session_for(self, raw: RawRequest, current: Session | None = None) -> Session:
        """Return the session that handles a request: the selected tape's, or that of the ambient tape.

        Args:
            raw: The request.
            current: The value of ``current`` when the request arrived; by default the value now.
        """
        current = current or self.current
        if not self._ambient.is_ambient(raw) or current.has_exchange(raw):
            return current
        generated = self._ambient.action is Action.REPLAY and not self._ambient.has_ambient(raw)
        if generated and (current.action is not Action.RECORD or raw.method == "POST"):
            return current  # the response to a route probe is not generated while an upstream is available
        return self._ambient

    def _save_ambient(self) -> str:
        return finish(self._ambient, self._folder, **self._facts).refused

    def _allowed(self, mode: Mode) -> Mode:
        if mode is not Mode.NONE and not self.upstream:
            raise TapeUsageError(f'mode "{mode}" needs the address of an upstream')
        return mode

    def _new_unselected(self) -> Session:
        action = Action.LIVE if self._mode is Mode.LIVE else Action.REPLAY
        return Session(UNSELECTED, Tape(), action, **{**self._options, "hint": _UNSELECTED_HINT})
