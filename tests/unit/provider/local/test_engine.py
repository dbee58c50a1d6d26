"""The engine's child process: runs of the real child program, and restarts with scripted runs."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future

import pytest

from llama_stack_provider_messages.local import engine as module
from llama_stack_provider_messages.local.engine import COMMAND, Engine, EngineError, EngineProcess


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class ProcessDouble:
    """A run that the test starts and ends."""

    pid = 4711

    def __init__(self, clock):
        self._clock = clock
        self.ready = Future()
        self.ready.set_running_or_notify_cancel()
        self.ended = threading.Event()
        self.started_at = self.ended_at = clock()
        self.end = ""
        self.stopped = False

    def start(self):
        pass

    def stop(self):
        self.stopped = True
        self.finish("was stopped")

    def finish(self, end):
        self.end, self.ended_at = end, self._clock()
        if not self.ready.done():
            self.ready.set_exception(EngineError(end))
        self.ended.set()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def runs():
    return []


@pytest.fixture
def engine(clock, runs):
    def new():
        runs.append(ProcessDouble(clock))
        return runs[-1]

    return Engine(new, clock)


async def test_the_engine_is_not_started_before_the_first_request(engine, runs):
    assert runs == []
    assert engine.pid is None
    with pytest.raises(EngineError, match="not running"):
        _ = engine.running_address


async def test_concurrent_requests_start_one_process(engine, runs):
    waiting = [asyncio.create_task(engine.address()) for _ in range(50)]
    await asyncio.sleep(0)
    runs[0].ready.set_result("http://x")
    assert await asyncio.gather(*waiting) == ["http://x"] * 50
    assert len(runs) == 1
    assert engine.running_address == "http://x"
    assert engine.pid == 4711


async def test_a_cancelled_request_does_not_cancel_the_start_for_others(engine, runs):
    first, second = asyncio.create_task(engine.address()), asyncio.create_task(engine.address())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    runs[0].ready.set_result("http://x")
    assert await second == "http://x"
    assert first.cancelled()


def test_threads_and_loops_share_one_engine(engine, runs):
    """The platform starts providers in one event loop and serves in another."""
    engine.start()
    runs[0].ready.set_result("http://x")
    assert [asyncio.run(engine.address()) for _ in range(2)] == ["http://x"] * 2
    assert len(runs) == 1


async def test_a_failed_start_fails_the_waiting_requests_and_is_retried(engine, runs):
    waiting = [asyncio.create_task(engine.address()) for _ in range(3)]
    await asyncio.sleep(0)
    runs[0].finish("broken")
    assert all(isinstance(one, EngineError) for one in await asyncio.gather(*waiting, return_exceptions=True))
    assert engine.failure == "broken"
    engine.start()
    assert len(runs) == 2
    assert engine.failure == ""


def test_the_first_request_after_a_crash_starts_a_new_process(engine, runs):
    engine.start()
    runs[0].ready.set_result("http://x")
    runs[0].finish("crashed")
    assert engine.wait_for_end(0) == "crashed"
    engine.start()
    assert len(runs) == 2


def can_start(engine):
    try:
        engine.start()
    except EngineError:
        return False
    return True


def test_the_pauses_of_a_crash_loop_double(engine, runs, clock):
    """The third failure in a row waits a second, then the pauses double up to 30 s."""
    pauses = []
    for _ in range(10):
        start = clock.now
        while not can_start(engine):
            clock.now += 0.5
        pauses.append(clock.now - start)
        runs[-1].finish("crashed")
    assert pauses == [0, 0, 0, 1, 2, 4, 8, 16, 30, 30]


def test_a_long_run_resets_the_count_of_failures(engine, runs, clock):
    for _ in range(3):
        engine.start()
        runs[-1].finish("crashed")
    with pytest.raises(EngineError, match="3 times in a row and is retried in 1 s; last time it crashed"):
        engine.start()
    clock.now += 1
    engine.start()
    clock.now += 60
    runs[-1].finish("crashed")
    engine.start()
    assert len(runs) == 5


def test_close_stops_the_engine_and_prevents_restarts(engine, runs):
    engine.start()
    engine.close()
    assert runs[0].stopped
    with pytest.raises(EngineError, match="shut down"):
        engine.start()


def test_close_without_an_engine_does_nothing(engine):
    engine.close()
    assert engine.wait_for_end(0) == ""


def test_wait_for_end_returns_empty_while_the_engine_runs(engine, runs):
    engine.start()
    assert engine.wait_for_end(0.01) == ""


async def test_a_killed_child_is_restarted(new_process):
    """With real processes: kill -9, then the next request gets a new address."""
    engine = Engine(lambda: new_process("serves"))
    await engine.address()
    first = engine.pid
    os.kill(first, signal.SIGKILL)
    assert await asyncio.to_thread(engine.wait_for_end, 60) == "was ended by signal 9 (Killed)"
    assert await engine.address() == "http://127.0.0.1:9"
    assert engine.pid not in (None, first)
    await asyncio.to_thread(engine.close)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid: int, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still running"
        time.sleep(0.01)


def test_ready_is_the_address_that_the_child_reports(new_process):
    process = new_process("serves")
    process.start()
    assert process.ready.result(60) == "http://127.0.0.1:9"
    assert is_alive(process.pid)


def test_stop_ends_the_child(new_process):
    process = new_process("serves")
    process.start()
    process.ready.result(60)
    process.stop()
    assert process.ended.is_set()
    assert process.end == "was stopped"
    assert not is_alive(process.pid)


def test_stop_kills_a_child_that_ignores_sigterm(new_process):
    process = new_process("ignores_sigterm", stop_seconds=0.2)
    process.start()
    process.ready.result(60)
    process.stop()
    wait_until_gone(process.pid)


def test_stop_before_the_child_is_ready_fails_the_waiting_requests(new_process):
    process = new_process("hangs")
    process.start()
    deadline = time.monotonic() + 60
    while not process.pid:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.stop()
    with pytest.raises(EngineError, match="was stopped"):
        process.ready.result(0)
    assert not is_alive(process.pid)


def test_a_process_that_is_stopped_before_its_start_is_never_spawned(new_process):
    process = new_process("serves")
    process.stop()
    process.start()
    with pytest.raises(EngineError, match="was stopped"):
        process.ready.result(60)
    assert process.pid is None


def test_a_model_that_cannot_be_loaded_is_an_error_with_the_reason_but_without_the_folder(new_process, tmp_path):
    process = new_process("rejects_model")
    process.start()
    with pytest.raises(EngineError, match="ended with code 1: load: tensor is not within the file bounds") as caught:
        process.ready.result(60)
    assert "rejects_model.gguf | init: exiting" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.status_code == 503


def test_a_child_that_is_not_ready_in_time_is_killed(new_process):
    process = new_process("hangs", start_seconds=0.3)
    process.start()
    with pytest.raises(EngineError, match=r"did not start within 0.3 s"):
        process.ready.result(60)
    assert process.ended.wait(60)
    assert not is_alive(process.pid)


def test_the_end_of_a_crashed_child_names_the_signal(new_process, tmp_path):
    process = new_process("crashes_later")
    process.start()
    process.ready.result(60)
    (tmp_path / "now").touch()
    assert process.ended.wait(60)
    assert process.end.startswith("was ended by signal 11")


def test_a_child_with_much_output_is_not_blocked_and_only_the_end_of_its_log_is_kept(new_process, monkeypatch):
    errors = []
    monkeypatch.setattr(module.logger, "error", lambda *_args, **fields: errors.append(fields))
    process = new_process("logs_much")
    process.start()
    assert process.ready.result(60) == "http://127.0.0.1:9"
    os.kill(process.pid, signal.SIGKILL)
    assert process.ended.wait(60)
    assert errors[0]["how"] == "was ended by signal 9 (Killed)"
    assert 0 < len(errors[0]["log"].splitlines()) <= 40


def test_a_command_that_does_not_exist_is_an_error():
    process = EngineProcess(("/nonexistent/python",), {}, 60)
    process.start()
    with pytest.raises(EngineError, match="could not be started: No such file"):
        process.ready.result(60)


def test_a_child_that_does_not_read_its_options_is_an_error():
    options = {"model.path": "x" * 1_000_000}  # more than a pipe holds
    process = EngineProcess((sys.executable, "-c", "raise SystemExit(3)"), options, 60)
    process.start()
    with pytest.raises(EngineError, match="ended with code 3"):
        process.ready.result(60)


PARENT = """
import json, subprocess, sys
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(json.dumps({"model.path": sys.argv[1]}).encode() + b"\\n")
child.stdin.flush()
while b"loading" not in child.stderr.readline():
    pass
print(child.pid, flush=True)
sys.stdin.read()
"""


def orphan(behaviour: str) -> int:
    """Start a parent with a child, kill the parent; return the child's pid."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, f"{behaviour}.gguf", *COMMAND], stdin=pipe, stdout=pipe
    ) as parent:
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
    return pid


def test_the_child_ends_when_its_parent_is_killed(child_path):
    wait_until_gone(orphan("serves"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the end of a parent")
def test_the_child_ends_when_its_parent_is_killed_while_it_loads(child_path):
    wait_until_gone(orphan("loads"))


def test_the_child_ends_when_its_stdin_ends(child_path):
    pipe = subprocess.PIPE
    with subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as child:
        child.stdin.write(b'{"model.path": "serves.gguf"}\n')
        child.stdin.flush()
        assert child.stdout.readline() == b'{"address": "http://127.0.0.1:9"}\n'
        child.stdin.close()
        assert child.wait(60) == 0
