"""Resources shared by the tests of one process: tape servers, stacks, the engine. Each starts on first use."""

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from messages_tape.errors import Action, Report, TapeMismatchError, TapeUsageError
from messages_tape.files.store import Mode
from messages_tape.http.selection import UNSELECTED, TapeSelection
from messages_tape.http.server import CONTROL_PATH, TapeServer, serving
from messages_tape.http.transport import FailingTransport
from messages_tape.secrets.scrub import Rules

from .settings import EMBEDDED, Settings
from .stack import StackProcess, embedded_engine, stack_environment

HINT = "To record it again, run the test with --tape-mode rewrite."
"""The hint in error responses; the test failure has the complete command."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running tape server, in a thread of this process.

    ``select``, ``eject`` and ``report`` use the control route, so that they run in the event loop of the server: after
    the events that it has already received, such as the disconnect of a client, and not while it handles a request.
    Other members of ``app`` are used directly where that is a single read or assignment.

    Args:
        url: Its address, used instead of the upstream's.
        upstream: Name of the upstream whose tapes it plays.
        app: The ASGI app.
        upstream_transport: The transport to the upstream.
        client: The client of the control route.
    """

    url: str
    upstream: str
    app: TapeServer
    upstream_transport: FailingTransport
    client: httpx.Client

    def select(self, name: str, mode: Mode) -> None:
        """Select a tape for the following requests.

        Raises:
            TapeUsageError: The server rejects it; the message says why.
        """
        self._control("PUT", {"name": name, "mode": str(mode)})

    def eject(self, *, keep: bool) -> Report:
        """Deselect the tape, save the recording if ``keep``, and return the report."""
        return _report(self._control("DELETE", query="" if keep else "?keep=no"))

    def requests_between_tests(self) -> tuple[str, ...]:
        """Return the requests that arrived while no tape was selected; each is returned once."""
        return self.app.selection.requests_between_tests()

    def report(self) -> Report:
        """Return the report so far."""
        return _report(self._control("GET"))

    def _control(self, method: str, body: Mapping[str, str] | None = None, query: str = "") -> dict[str, Any]:
        address = f"{self.url}{CONTROL_PATH}{query}"
        response = self.client.request(method, address, json=body)
        result: dict[str, Any] = response.json()
        if response.is_error:
            raise TapeUsageError(result["error"])
        return result


class TestResources:
    """Starts each resource on first use, and stops all of them on exit.

    Args:
        settings: Settings of the run.
        folder: Folder for the files of stacks.
        shared: Folder that all processes of the run share, see ``recording_turn``.
        rules: The scrubbing rules of tapes.

    Attributes:
        ended: The last test with a tape that ended.
        requests_between_tests: Pairs of a test and a request that arrived after its end, before the next tape was
            selected.
    """

    def __init__(self, settings: Settings, folder: Path, shared: Path, rules: Rules | None = None) -> None:
        self.settings = settings
        self.rules = rules or Rules()
        self.ended = ""
        self.requests_between_tests: list[tuple[str, str]] = []
        self.shared = shared
        self._folder = folder
        self._running = ExitStack()
        self._servers: dict[str, RunningServer] = {}
        self._upstreams: dict[str, tuple[str, dict[str, str]]] = {}
        self._stacks: dict[str, StackProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._running:
            for stack in self._stacks.values():
                self._running.callback(stack.stop)
            failures = [text for server in self._servers.values() for text in server.report().failures]
        if failures:
            raise TapeMismatchError(UNSELECTED, failures)

    def server(self, upstream: str = "") -> RunningServer:
        """Return the tape server of an upstream.

        Raises:
            TapeUsageError: The mode needs the upstream, and its address is not configured.
        """
        one = self.settings.upstream(upstream)
        if one.name not in self._servers:
            address, facts = self.upstream_address(one.name)
            selection = TapeSelection(
                self.settings.folder_of(one.name), self.settings.mode,
                upstream=address, rules=self.rules, hint=HINT, facts=facts,
            )  # fmt: skip
            upstream_transport = FailingTransport()
            app = TapeServer(selection, upstream_transport)
            url = self._running.enter_context(serving(app))
            # One client, because each one reads the certificate store (20 ms of CPU time). No connection stays open.
            limits = httpx.Limits(max_keepalive_connections=0)
            client = self._running.enter_context(httpx.Client(timeout=60, trust_env=False, limits=limits))
            self._servers[one.name] = RunningServer(url, one.name, app, upstream_transport, client)
        return self._servers[one.name]

    def collect_requests_between_tests(self, server: RunningServer) -> None:
        """Collect the requests that a server received between two tests, so that they do not fail the second test."""
        self.requests_between_tests += [(self.ended, text) for text in server.requests_between_tests()]

    def stack(self, config: Path | Mapping[str, Any], tape_url: str, env: Mapping[str, str]) -> StackProcess:
        """Return a running stack for a configuration; equal arguments share one stack.

        Args:
            config: The path or the content of a run.yaml.
            tape_url: Address of its upstream; empty for a stack with the embedded engine.
            env: Additional environment variables.

        Raises:
            TapeUsageError: The stack does not start.
        """
        text = config.read_text(encoding="utf-8") if isinstance(config, Path) else json.dumps(config, sort_keys=True)
        key = json.dumps([str(config) if isinstance(config, Path) else "", text, tape_url, sorted(env.items())])
        if key not in self._stacks:
            folder = self._folder / f"stack-{len(self._stacks)}"
            folder.mkdir(parents=True)
            complete_env = stack_environment(tape_url, engine=not tape_url, more=env)
            self._stacks[key] = StackProcess(config, folder, complete_env).start()
        return self._stacks[key]

    def upstream_address(self, upstream: str) -> tuple[str, dict[str, str]]:
        """Return the address of an upstream and its facts; both are empty in mode ``none``. May start the engine.

        Raises:
            TapeUsageError: See ``server``.
        """
        if self.settings.mode is Mode.NONE:
            return "", {}
        if upstream not in self._upstreams:
            one, facts = self.settings.upstream(upstream), {"model": self.settings.model}
            if not one.address:
                raise TapeUsageError(
                    f'mode "{self.settings.mode}" needs the address of the upstream "{one.name}"; add '
                    f"--tape-upstream {one.name}=http://HOST:PORT"
                )
            if one.address == EMBEDDED:
                engine = embedded_engine(key=os.environ.get("TAPE_API_KEY", ""))
                address, about = self._running.enter_context(engine)
                self._upstreams[upstream] = address, facts | about
            else:
                self._upstreams[upstream] = one.address, facts | {"kind": one.name}
        return self._upstreams[upstream]

    def facts(self, upstream: str) -> dict[str, str]:
        """Return the facts about an upstream, without starting it."""
        configured = {"kind": upstream, "model": self.settings.model}
        return self._upstreams[upstream][1] if upstream in self._upstreams else configured


def _report(body: Mapping[str, Any]) -> Report:
    """Parse the report in a response of the control route."""
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in body.items()}
    del fields["failures"]
    return Report(**fields | {"action": Action(body["action"])})
