"""The ``tape`` fixture: opens the tape on a server or for a transport, and checks it at the end of the test."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, cast

from messages_tape.core.session import Session
from messages_tape.errors import HARMLESS_SETTING, Action, Report, TapeMissingError, TapeUsageError
from messages_tape.files.store import Mode, finish, open_tape, read_tape, recording_turn, tape_path
from messages_tape.http.transport import SyncTapeTransport, TapeTransport
from messages_tape.secrets.scrub import RawRequest

from .resources import HINT, TestResources

_ROUTES = {
    "server": "some requests already went through the tape server",
    "transport": "some requests already went through a transport",
}


class TapeFixture:
    """The value of the fixture ``tape``: transports for the test's own process, or a server for other processes.

    Args:
        resources: The resources of the run, with the tape servers.
        name: Name of the tape.
        upstream: Name of its upstream; empty for the default one.
        test: The node id of the test.

    Attributes:
        notes: Messages for the user at the end of the test that are not failures.
    """

    def __init__(self, resources: TestResources, name: str, upstream: str, test: str) -> None:
        self.name = name
        self.upstream = resources.settings.upstream(upstream).name
        self.path: Path = tape_path(resources.settings.folder_of(self.upstream), name)
        self._resources = resources
        self._test = test
        self._turn = ExitStack()
        self._recorded_marker: Path | None = None
        self._route: Literal["", "server", "transport"] = ""
        self._session: Session | None = None
        self._ended = False
        self.notes: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The address of the tape server; selects this tape on first use.

        Raises:
            TapeError: The tape to play does not exist, or the tape cannot be recorded; the message says what to do.
        """
        if self._first_use("server"):
            mode = self._mode_of_use()
            server = self._resources.server(self.upstream)
            self._resources.collect_requests_between_tests(server)
            server.select(self.name, mode)
            self._route = "server"
        return self._resources.server(self.upstream).url

    @property
    def session(self) -> Session:
        """The session for transports of this process.

        Raises:
            TapeError: See ``url``.
        """
        if self._first_use("transport"):
            folder = self._resources.settings.folder_of(self.upstream)
            self._session = open_tape(folder, self.name, self._mode_of_use(), rules=self._resources.rules, hint=HINT)
            self._route = "transport"
        return cast("Session", self._session)

    @property
    def upstream_url(self) -> str:
        """The upstream's base URL, for clients with a transport; a non-existent host if the mode only plays."""
        return self._resources.upstream_address(self.upstream)[0] or "http://upstream.invalid"

    @property
    def requests(self) -> tuple[RawRequest, ...]:
        """The requests so far in this test, without ambient calls; the same for playing and recording."""
        return tuple(self._current_session().requests)

    @property
    def action(self) -> Action:
        """The action of the session in this test."""
        return self._current_session().action

    @property
    def busy(self) -> bool:
        """Whether exchanges are in progress at the tape server, neither finished nor disconnected."""
        return self._resources.server(self.upstream).app.in_progress > 0

    def fail_after(self, chunks: int) -> None:
        """Make the upstream's connections fail from now on, as if it had crashed; played tapes contain the failure.

        Args:
            chunks: Number of body chunks delivered before the failure; 0 fails before the status line.
        """
        _ = self.url
        self._resources.server(self.upstream).upstream_transport.fails_after = chunks

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
        return self._resources.settings.model or recorded

    def end(self, *, passed: bool) -> tuple[str, Path | None]:
        """End the use of the tape; return the failure text (may be empty) and the file written (or None).

        A second call does nothing and returns an empty text and None.

        Args:
            passed: Whether the test itself passed; if not, nothing is saved and unplayed exchanges are not reported.
        """
        if self._ended:
            return "", None
        self._ended = True
        with self._turn:
            if not self._route:
                unused = (
                    f'This test is marked with the tape "{self.name}", but sent no request through it. '
                    'Use the fixture "stack", "tape_server" or "tape" (tape.url, tape.transport()), or remove the '
                    "marker."
                )
                return (unused if passed else ""), None
            report = self._report(keep=passed)
            self.notes = tuple(f"{self._test}: {self._display_path}, {note}" for note in report.notes)
            recorded = report.action is Action.RECORD and passed and not report.refused and report.exchanges > 0
            if self._recorded_marker and recorded:
                self._recorded_marker.touch()
        return self._failure_text(report, passed=passed), self.path if recorded else None

    def _first_use(self, route: str) -> bool:
        """Return whether this is the first use of the tape, through a server or a transport.

        Raises:
            TapeUsageError: The test is over, or already uses the tape in the other way.
        """
        if self._ended:
            raise TapeUsageError(f'the test of tape "{self.name}" is over')
        if self._route and self._route != route:
            raise TapeUsageError(
                f"{self._test} uses its tape through a server and through a transport; {_ROUTES[self._route]}"
            )
        return not self._route

    def _mode_of_use(self) -> Mode:
        """Return the mode of the tape; for recording, wait for the turn and keep it until the end of the test."""
        settings, found = self._resources.settings, self.path.exists()
        if settings.mode in (Mode.NONE, Mode.VERIFY) and not found:
            raise TapeMissingError(f"there is no tape {self._display_path}.\n{self._remedy(Mode.ONCE)}")
        if settings.mode is not Mode.REWRITE and (settings.mode is not Mode.ONCE or found):
            return settings.mode
        marker = self._turn.enter_context(recording_turn(self._resources.shared, self.path))
        if not marker.exists():
            self._recorded_marker = marker
            return settings.mode
        self._turn.close()  # another test has recorded it: play it
        return Mode.ONCE

    def _current_session(self) -> Session:
        if self._route == "transport":
            return self.session
        _ = self.url
        return cast("Session", self._resources.server(self.upstream).app.selection.selected)

    def _report(self, *, keep: bool) -> Report:
        """End the session and return its report; save the recording if ``keep``."""
        if self._route == "server":
            server = self._resources.server(self.upstream)
            server.upstream_transport.fails_after = None
            self._resources.collect_requests_between_tests(server)
            self._resources.ended = self._test
            return server.eject(keep=keep)
        session = cast("Session", self._session)
        if not keep:
            return session.report()
        return finish(
            session, self._resources.settings.folder_of(self.upstream), **self._resources.facts(self.upstream)
        )

    def _failure_text(self, report: Report, *, passed: bool) -> str:
        texts = []
        if report.refused:
            texts.append(report.refused.replace(HARMLESS_SETTING, "the ini option tape_harmless"))
        if found := report.mismatches(strict=passed and self._resources.settings.strict):
            mismatches = [text.replace(f"\n{HINT}", "") for text in found]
            texts.append("\n\n".join([f"The requests of this test do not match {self._display_path}.", *mismatches]))
        if report.differences:
            head = f"The responses of the upstream differ in shape from {self._display_path}:"
            texts.append("\n".join([head, *(f"  {line}" for line in report.differences)]))
        if found or report.differences:
            texts.append(self._remedy(Mode.REWRITE))
        return "\n\n".join(texts)

    @property
    def _display_path(self) -> str:
        folder = self._resources.settings.folder
        return (Path(folder.name) / self.path.relative_to(folder)).as_posix()

    def _remedy(self, mode: Mode) -> str:
        purpose = "again, if this is intended" if mode is Mode.REWRITE else "while the upstream can be reached"
        return f"To record it {purpose}:\n  {self._resources.settings.command(self._test, mode, self.upstream)}"
