"""Each fault of an upstream on each lane, whole and streamed: the table in docs/errors.md; nothing is left behind."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from llama_stack_api_messages.json_bytes import loads_or_none
from support.faults import (
    ADDRESS,
    CONFIGURED_KEY,
    CONNECTION_FAULTS,
    FAULTS,
    STREAM_FAULTS,
    WHOLE_FAULTS,
    FaultyUpstream,
)
from support.native_upstream import ERROR_TYPES, HANG_SECONDS, Reply, chat_request_body, post, request_body, wait_until
from support.scripted_upstream import UPSTREAM_KEY
from support.stack_process import ROOT, StackProcess, remote_messages, run_config, vllm

pytestmark = pytest.mark.integration

HEADING = "## Faults of a backend"
LANES = ("native", "translated", "remote")
"""In the order of the columns; each has one for whole answers and one for streams."""
NOT_POSSIBLE, COMPLETE = "-", "complete"
"""Cells: this kind of request cannot have this fault; it is not an error."""
SCRIPTS = FAULTS | WHOLE_FAULTS | STREAM_FAULTS
LOGGED = LANES
"""Lanes that log each failure in one line with the backend's name of the model."""
SLOW = {"error body that drips", "endless body", "line without an end", "event without an end"}
ROUNDS = 3
AT_ONCE = 6
SILENCE_SECONDS, CONNECT_SECONDS = 1.0, 0.5
SECRETS = (UPSTREAM_KEY, CONFIGURED_KEY, ADDRESS, "127.0.0.1")
STACK_WITH_COUNTS = [sys.executable, "-P", str(ROOT / "tests" / "support" / "counting_stack.py")]

type Case = tuple[str, str, bool]
"""Lane, fault, whether the request streams."""

CASES: list[Case] = [
    (lane, fault, stream)
    for lane in LANES
    for fault in (*CONNECTION_FAULTS, *SCRIPTS)
    for stream in (False, True)
    if fault not in (WHOLE_FAULTS if stream else STREAM_FAULTS)
]


def listed() -> dict[str, list[str]]:
    """Return the rows of the table in the page: fault -> cells."""
    section = (ROOT / "docs" / "errors.md").read_text().split(HEADING)[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.split("\n") if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows[2:]}


def cell(table: dict[str, list[str]], case: Case) -> str:
    lane, fault, stream = case
    return table[fault][2 * LANES.index(lane) + stream]


@dataclass
class Matrix:
    """The stack, its upstream, and the requests sent.

    Attributes:
        sent: The backend's name of the model of each request -> its case.
        at_start: What ``counts`` returns before the first request.
    """

    upstream: FaultyUpstream
    process: StackProcess
    counts_file: Path
    at_start: tuple[int, int] = (0, 0)
    sent: dict[str, Case] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)

    async def send_all(self, cases: list[Case]) -> list[Reply]:
        """Send a request for each case, some at a time."""
        free = asyncio.Semaphore(AT_ONCE)

        async def send(case: Case) -> Reply:
            async with free:
                return await self.send(case)

        return await asyncio.gather(*map(send, cases))

    async def send(self, case: Case) -> Reply:
        lane, fault, stream = case
        model = f"fault{next(self.numbers):04}"
        self.sent[model] = case
        provider = f"{lane} {fault}".replace(" ", "-")
        if fault in SCRIPTS:
            provider = lane
            self.upstream.scripts[model] = SCRIPTS[fault]("chat" if lane == "translated" else "messages", stream)
        if lane == "remote":
            body = chat_request_body(f"{provider}/{model}", stream)
            return await post(self.process.url, body, path="/v1/chat/completions")
        return await post(self.process.url, request_body(f"{provider}/{model}", stream))

    async def counts(self) -> tuple[int, int]:
        """Return the numbers of tasks and descriptors of the stack."""
        self.counts_file.unlink(missing_ok=True)
        os.kill(self.process.pid, signal.SIGUSR1)
        await wait_until(self.counts_file.exists, "the counts")
        tasks, descriptors = self.counts_file.read_text().split()
        return int(tasks), int(descriptors)

    def failures_logged(self) -> Counter[str]:
        """Return the number of log lines about a failure by the backend's name of the model."""
        lines = [json.loads(line) for line in self.process.log.split("\n") if line.startswith("{")]
        return Counter(line["model"] for line in lines if line["event"] == "upstream failed")


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    folder = tmp_path_factory.mktemp("matrix")
    with ExitStack() as stack:
        upstream = stack.enter_context(FaultyUpstream())
        bound = stack.enter_context(socket.socket())  # nothing listens on its port
        bound.bind(("127.0.0.1", 0))
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # a connection is neither accepted nor refused
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        bases = {"": upstream.address}
        for fault, one in zip(CONNECTION_FAULTS, (bound, full), strict=True):
            bases[f"-{fault.replace(' ', '-')}"] = f"http://127.0.0.1:{one.getsockname()[1]}"
        network = {
            "timeout": {"connect": CONNECT_SECONDS, "read": SILENCE_SECONDS},
            "headers": {"api-key": CONFIGURED_KEY},
        }
        inference: list[dict[str, Any]] = []
        for suffix, base in bases.items():
            chat = [vllm(f"{base}/v1", f"{lane}{suffix}") for lane in ("native", "translated")]
            for entry in chat:
                entry["config"]["network"] = network
            inference += [*chat, remote_messages(base, f"remote{suffix}", network=network, models=[])]
        modes = {
            f"{lane}{suffix}": mode for lane, mode in (("native", "on"), ("translated", "off")) for suffix in bases
        }
        config = run_config(inference, {"ping_seconds": 300, "native": modes})
        env = {"LLAMA_STACK_LOG_FORMAT": "json", "COUNTS_FILE": str(folder / "counts")}
        process = stack.enter_context(StackProcess(config, folder, env, STACK_WITH_COUNTS))
        matrix = Matrix(upstream, process, folder / "counts")
        matrix.at_start = asyncio.run(matrix.counts())
        yield matrix


def observed(case: Case, reply: Reply) -> str:
    """Return the cell for a reply, after a check of its envelope and of what it must not contain."""
    lane, _fault, _stream = case
    text = reply.body.decode(errors="replace")
    assert reply.ended, case
    assert not [secret for secret in SECRETS if secret in text + json.dumps(reply.headers)], (case, text[-500:])
    if reply.status != 200:
        return checked_error(case, reply)
    if text.endswith("data: [DONE]\n\n"):
        return COMPLETE
    last = loads_or_none(text.rstrip().rpartition("data: ")[2])
    assert isinstance(last, dict), (case, text[-500:])
    if lane == "remote":
        return f"event {last['error']['code']}" if "error" in last else COMPLETE
    if last["type"] != "error":
        return COMPLETE
    assert set(last) == {"type", "error"} or last["request_id"] == reply.headers["request-id"], case
    assert last["error"]["message"], case
    return f"event {last['error']['type']}"


def checked_error(case: Case, reply: Reply) -> str:
    """Return the status of an error response, after a check of its body."""
    error = reply.json["error"]
    assert error["message"], case
    assert "[[" not in error["message"], case
    if case[0] == "remote":
        assert set(error) == {"message", "type", "param", "code"}, case
    else:
        assert (reply.json["type"], reply.json["request_id"]) == ("error", reply.headers["request-id"]), case
        assert error["type"] in ERROR_TYPES[reply.status], case
    if reply.status == 429:
        assert reply.headers["retry-after"] == "1", case
    return str(reply.status)


async def test_each_fault_has_the_status_of_the_table(matrix):
    """Status or error event of every fault are those in docs/errors.md; each is logged once, without keys."""
    table = listed()
    assert set(table) == {*CONNECTION_FAULTS, *SCRIPTS}
    replies = await matrix.send_all(CASES)
    seen = {case: observed(case, reply) for case, reply in zip(CASES, replies, strict=True)}
    assert seen == {case: cell(table, case) for case in CASES}
    assert all(cell(table, (lane, fault, True)) == NOT_POSSIBLE for fault in WHOLE_FAULTS for lane in LANES)
    assert all(cell(table, (lane, fault, False)) == NOT_POSSIBLE for fault in STREAM_FAULTS for lane in LANES)

    expected = Counter(model for model, case in matrix.sent.items() if case[0] in LOGGED)
    assert matrix.failures_logged() == expected
    log = matrix.process.log.partition("Application startup complete")[
        2
    ]  # before it the platform prints its configuration
    assert log
    assert not [word for word in (*SECRETS[:3], "Traceback", "unexpected") if word in log]


async def test_faults_leave_no_tasks_or_descriptors(matrix):
    """After 200 and more faults the stack has no more tasks and open descriptors than at its start."""
    cases = [case for case in CASES if case[1] not in SLOW]
    assert ROUNDS * len(cases) >= 200
    for _ in range(ROUNDS):
        await matrix.send_all(cases)
    deadline = asyncio.get_running_loop().time() + HANG_SECONDS
    after = await matrix.counts()
    while after[0] > matrix.at_start[0] or after[1] > matrix.at_start[1]:
        assert asyncio.get_running_loop().time() < deadline, (matrix.at_start, after)
        matrix.upstream.close_connections()  # those that the stack keeps for its next request
        after = await matrix.counts()
