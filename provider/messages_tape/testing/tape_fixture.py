"""The tape of one test: opened in the way the test uses it, and judged at the end of the test."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

from messages_tape.core.session import Session
from messages_tape.errors import TapeMissingError, TapeUsageError
from messages_tape.files.claims import Claim, claim
from messages_tape.files.store import Mode, finish, open_tape, read_tape, tape_path
from messages_tape.http.transport import SyncTapeTransport, TapeTransport
from messages_tape.report import Action, Report
from messages_tape.secrets.scrub import RawRequest

from .resources import HINT, TestResources

_WAYS = {
    "server": "its requests reach the tape through the tape server",
    "transport": "its requests reach the tape through a transport",
}


class TapeFixture:
    """What the fixture ``tape`` is: transports for the test's own process, or a server for other processes.

    Args:
        bench: Where servers come from.
        name: Of the tape.
        upstream: Whose tape; empty is the default one.
        test: How pytest names the test.

    Attributes:
        notes: What a person should know when the test is over, and what fails nothing.
    """

    def __init__(self, bench: TestResources, name: str, upstream: str, test: str) -> None:
        self.name = name
        self.upstream = bench.settings.upstream(upstream).name
        self.path: Path = tape_path(bench.settings.folder_of(self.upstream), name)
        self._bench = bench
        self._test = test
        self._held = ExitStack()
        self._claim: Claim | None = None
        self._way: Literal["", "server", "transport"] = ""
        self._session: Session | None = None
        self._ended = False
        self.notes: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The address of the tape server, on which this tape is selected from now on.

        Raises:
            TapeError: There is no tape to play, or it cannot be recorded; the message says what to do.
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
        """The tape for transports of this process.

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
        """Where the upstream is, for clients with a transport; an address that leads nowhere if it is not asked."""
        return self._bench.asked(self.upstream)[0] or "http://upstream.invalid"

    @property
    def asked(self) -> tuple[RawRequest, ...]:
        """What was asked so far in this test, ambient calls apart; the same whether a tape or the upstream answers."""
        return tuple(self._running_session().asked)

    @property
    def action(self) -> Action:
        """What is done with the tape in this test."""
        return self._running_session().action

    @property
    def busy(self) -> int:
        """How many exchanges are going on at the tape server: 0 once the program has left them all."""
        return self._bench.server(self.upstream).app.busy

    def dies_after(self, chunks: int) -> None:
        """Have the upstream's connections fail from now on, as if it had died; a tape that is played does so by itself.

        Args:
            chunks: Of a body that still come; 0 is before the status line.
        """
        _ = self.url
        self._bench.server(self.upstream).asking.dies_after = chunks

    def check_server(self, upstream: str) -> None:
        """Make sure that a test with the server of an upstream has a tape of it.

        Raises:
            TapeUsageError: It has one of another.
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
        """The model to ask for: the one that was named, else that of the tape; empty if nobody knows."""
        recorded = read_tape(self.path).upstream.model if self.path.exists() else ""
        return self._bench.settings.model or recorded

    def end(self, *, passed: bool) -> tuple[str, Path | None]:
        """Return what is wrong, empty if nothing is, and the file that was written; a second call returns nothing.

        Args:
            passed: Whether the test itself passed; else nothing is saved, and what was not played is no news.
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
            if self._claim:
                self._claim.done |= recorded
        return self._judged(report, passed=passed), self.path if recorded else None

    def _take(self, way: str) -> bool:
        """Say whether the test begins to use the tape in this way.

        Raises:
            TapeUsageError: It uses it in the other one.
        """
        if self._ended:
            raise TapeUsageError(f'the test of tape "{self.name}" is over')
        if self._way and self._way != way:
            raise TapeUsageError(f"{self._test} uses its tape in two ways; {_WAYS[self._way]} already")
        return not self._way

    def _begin(self) -> Mode:
        """Return what to do with the tape; if that is to record it, nobody else does until the end of the test."""
        settings, found = self._bench.settings, self.path.exists()
        if settings.mode in (Mode.NONE, Mode.VERIFY) and not found:
            raise TapeMissingError(f"there is no tape {self._shown}.\n{self._remedy(Mode.ONCE)}")
        if settings.mode is not Mode.REWRITE and (settings.mode is not Mode.ONCE or found):
            return settings.mode
        self._claim = self._held.enter_context(claim(self._bench.claims, self.path))
        if not self._claim.done:
            return settings.mode
        self._held.close()  # another test has just recorded it, so this one plays it
        self._claim = None
        return Mode.ONCE

    def _running_session(self) -> Session:
        if self._way == "transport":
            return self.session
        _ = self.url
        return cast("Session", self._bench.server(self.upstream).app.deck.selected)

    def _report(self, *, keep: bool) -> Report:
        if self._way == "server":
            server = self._bench.server(self.upstream)
            server.asking.dies_after = None
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
