"""The ``tape`` fixture: opens the tape on a server or for a transport, and checks it at the end of the test."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

from messages_tape.core.session import Session
from messages_tape.errors import Action, Report, TapeMissingError, TapeUsageError
from messages_tape.files.store import Mode, finish, open_tape, read_tape, recording_turn, tape_path
from messages_tape.http.transport import SyncTapeTransport, TapeTransport
from messages_tape.secrets.scrub import RawRequest

from .resources import HINT, TestResources

_WAYS = {
    "server": "its requests reach the tape through the tape server",
    "transport": "its requests reach the tape through a transport",
}


class TapeFixture:
    """The value of the fixture ``tape``: transports for the test's own process, or a server for other processes.

    Args:
        bench: The resources of the run, with the tape servers.
        name: Name of the tape.
        upstream: Name of its upstream; empty for the default one.
        test: The node id of the test.

    Attributes:
        notes: Messages for the user at the end of the test that are not failures.
    """

    def __init__(self, bench: TestResources, name: str, upstream: str, test: str) -> None:
        self.name = name
        self.upstream = bench.settings.upstream(upstream).name
        self.path: Path = tape_path(bench.settings.folder_of(self.upstream), name)
        self._bench = bench
        self._test = test
        self._held = ExitStack()
        self._recorded_marker: Path | None = None
        self._way: Literal["", "server", "transport"] = ""
        self._session: Session | None = None
        self._ended = False
        self.notes: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The address of the tape server; selects this tape on first use.

        Raises:
            TapeError: The tape to play does not exist, or the tape cannot be recorded; the message says what to do.
        """
        if self._take("server"):
            mode = self._begin()
            server = self._bench.server(self.upstream)
            self._bench.gather(server)
            server.select(self.name, mode)
            self._way = "server"
        return self._bench.server(self.upstream).url

    @property
    def session(self) -> Session:
        """The session for transports of this process.

        Raises:
            TapeError: See ``url``.
        """
        if self._take("transport"):
            folder = self._bench.settings.folder_of(self.upstream)
            self._session = open_tape(folder, self.name, self._begin(), rules=self._bench.rules, hint=HINT)
            self._way = "transport"
        return cast("Session", self._session)

    @property
    def upstream_url(self) -> str:
        """The upstream's base URL, for clients with a transport; a non-existent host if the mode only plays."""
        return self._bench.asked(self.upstream)[0] or "http://upstream.invalid"

    @property
    def requests(self) -> tuple[RawRequest, ...]:
        """The requests so far in this test, without ambient calls; the same for playing and recording."""
        return tuple(self._running_session().requests)

    @property
    def action(self) -> Action:
        """The action of the session in this test."""
        return self._running_session().action

    @property
    def busy(self) -> int:
        """The number of exchanges in progress at the tape server; 0 once all are finished or disconnected."""
        return self._bench.server(self.upstream).app.busy

    def fail_after(self, chunks: int) -> None:
        """Make the upstream's connections fail from now on, as if it had crashed; played tapes contain the failure.

        Args:
            chunks: Number of body chunks delivered before the failure; 0 fails before the status line.
        """
        _ = self.url
        self._bench.server(self.upstream).upstream_transport.fails_after = chunks

    def check_server(self, upstream: str) -> None:
        """Check that the tape belongs to the upstream of the tape server that the test uses.

        Raises:
            TapeUsageError: The tape belongs to another upstream.
        """
        if upstream != self.upstream:
            raise TapeUsageError(
                f'tape_server is the server of "{upstream}", and the tape is one of "{self.upstream}"; use tape.url.'
            )

    def transport(self, real: Any = None, **options: Any) -> TapeTransport:  # noqa: ANN401 - of httpx
        """Return a transport for ``httpx.AsyncClient``; see ``TapeTransport``."""
        return TapeTransport(self.session, real, **options)

    def sync_transport(self, real: Any = None, **options: Any) -> SyncTapeTransport:  # noqa: ANN401 - of httpx
        """Return a transport for ``httpx.Client``; see ``SyncTapeTransport``."""
        return SyncTapeTransport(self.session, real, **options)

    @property
    def model(self) -> str:
        """The model to request: the configured one, otherwise that of the tape; empty if unknown."""
        recorded = read_tape(self.path).upstream.model if self.path.exists() else ""
        return self._bench.settings.model or recorded

    def end(self, *, passed: bool) -> tuple[str, Path | None]:
        """End the use of the tape; return the failure text (may be empty) and the file written (or None).

        A second call does nothing and returns an empty text and None.

        Args:
            passed: Whether the test itself passed; if not, nothing is saved and unplayed exchanges are not reported.
        """
        if self._ended:
            return "", None
        self._ended = True
        with self._held:
            if not self._way:
                return (self._unused() if passed else ""), None
            report = self._report(keep=passed)
            self.notes = tuple(f"{self._test}: {self._shown}, {note}" for note in report.notes)
            recorded = report.action is Action.RECORD and passed and not report.refused and report.exchanges > 0
            if self._recorded_marker and recorded:
                self._recorded_marker.touch()
        return self._judged(report, passed=passed), self.path if recorded else None

    def _take(self, way: str) -> bool:
        """Return whether this is the first use of the tape, through a server or a transport.

        Raises:
            TapeUsageError: The test is over, or already uses the tape in the other way.
        """
        if self._ended:
            raise TapeUsageError(f'the test of tape "{self.name}" is over')
        if self._way and self._way != way:
            raise TapeUsageError(f"{self._test} uses its tape in two ways; {_WAYS[self._way]} already")
        return not self._way

    def _begin(self) -> Mode:
        """Return the mode of the tape; for recording, wait for the turn and keep it until the end of the test."""
        settings, found = self._bench.settings, self.path.exists()
        if settings.mode in (Mode.NONE, Mode.VERIFY) and not found:
            raise TapeMissingError(f"there is no tape {self._shown}.\n{self._remedy(Mode.ONCE)}")
        if settings.mode is not Mode.REWRITE and (settings.mode is not Mode.ONCE or found):
            return settings.mode
        marker = self._held.enter_context(recording_turn(self._bench.shared, self.path))
        if not marker.exists():
            self._recorded_marker = marker
            return settings.mode
        self._held.close()  # another test has recorded it: play it
        return Mode.ONCE

    def _running_session(self) -> Session:
        if self._way == "transport":
            return self.session
        _ = self.url
        return cast("Session", self._bench.server(self.upstream).app.selection.selected)

    def _report(self, *, keep: bool) -> Report:
        if self._way == "server":
            server = self._bench.server(self.upstream)
            server.upstream_transport.fails_after = None
            self._bench.gather(server)
            self._bench.ended = self._test
            return server.eject(keep=keep)
        session = cast("Session", self._session)
        if not keep:
            return session.report()
        return finish(session, self._bench.settings.folder_of(self.upstream), **self._bench.facts(self.upstream))

    def _judged(self, report: Report, *, passed: bool) -> str:
        if not passed or not self._bench.settings.strict:
            report = replace(report, unplayed=(), left=())
        texts = []
        if report.refused:
            texts.append(report.refused.replace("Rules(harmless=...)", "the ini option tape_harmless"))
        if found := (*report.unexpected, *report.stayed, *report.left, *report.unplayed):
            told = [text.replace(f"\n{HINT}", "") for text in found]
            texts.append("\n\n".join([f"The test did not do what {self._shown} holds.", *told]))
        if report.differences:
            head = f"The upstream no longer answers as on {self._shown}; in shape this differs:"
            texts.append("\n".join([head, *(f"  {line}" for line in report.differences)]))
        if found or report.differences:
            texts.append(self._remedy(Mode.REWRITE))
        return "\n\n".join(texts)

    def _unused(self) -> str:
        return (
            f'This test is marked with the tape "{self.name}" and sent nothing through it. '
            'Use the fixture "stack", "tape_server" or "tape" (tape.url, tape.transport()), or take the marker away.'
        )

    @property
    def _shown(self) -> str:
        folder = self._bench.settings.folder
        return (Path(folder.name) / self.path.relative_to(folder)).as_posix()

    def _remedy(self, mode: Mode) -> str:
        again = "again, if this is how it should be" if mode is Mode.REWRITE else "while the upstream can be reached"
        return f"To record it {again}:\n  {self._bench.settings.command(self._test, mode, self.upstream)}"
