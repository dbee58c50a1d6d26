import os
import signal
import subprocess
import sys
import time

import pytest

from llama_stack_provider_messages.local.process import EngineError, EngineProcess

from .conftest import COMMAND


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid: int, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while is_alive(pid):
        assert time.monotonic() < deadline, f"{pid} is still there"
        time.sleep(0.01)


def test_ready_is_the_address_the_child_reports(new_process):
    process = new_process("serves")
    process.start()
    assert process.ready.result(20) == "http://127.0.0.1:9"
    assert is_alive(process.pid)


def test_stop_ends_the_child(new_process):
    process = new_process("serves")
    process.start()
    process.ready.result(20)
    process.stop()
    assert process.ended.is_set()
    assert process.end == "was stopped"
    assert not is_alive(process.pid)


def test_stop_kills_a_child_that_ignores_being_asked(new_process, monkeypatch):
    monkeypatch.setattr("llama_stack_provider_messages.local.process._STOP_SECONDS", 0.2)
    process = new_process("is_deaf")
    process.start()
    process.ready.result(20)
    process.stop()
    wait_until_gone(process.pid)


def test_stop_before_the_child_is_ready_fails_those_who_wait(new_process):
    process = new_process("hangs")
    process.start()
    deadline = time.monotonic() + 10
    while not process.pid:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.stop()
    with pytest.raises(EngineError, match="was stopped"):
        process.ready.result(0)
    assert not is_alive(process.pid)


def test_a_child_stopped_before_it_was_spawned_is_never_spawned(new_process):
    process = new_process("serves")
    process._stopping = True
    process.start()
    with pytest.raises(EngineError, match="was stopped"):
        process.ready.result(10)
    assert process.pid is None


def test_a_refused_model_is_an_error_with_the_reason_but_not_the_folder(new_process, tmp_path):
    process = new_process("refuses")
    process.start()
    with pytest.raises(EngineError, match="ended with code 1: load: tensor is not within the file bounds") as caught:
        process.ready.result(20)
    assert "refuses.gguf | init: exiting" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.status_code == 503


def test_a_child_that_is_not_ready_in_time_is_killed(new_process):
    process = new_process("hangs", start_seconds=0.3)
    process.start()
    with pytest.raises(EngineError, match=r"did not start within 0.3 s"):
        process.ready.result(20)
    assert process.ended.wait(5)
    assert not is_alive(process.pid)


def test_a_crash_names_its_signal(new_process, tmp_path):
    process = new_process("crashes_later")
    process.start()
    process.ready.result(20)
    (tmp_path / "now").touch()
    assert process.ended.wait(10)
    assert process.end.startswith("was ended by signal 11")


def test_a_noisy_child_neither_blocks_nor_fills_memory(new_process):
    process = new_process("is_noisy")
    process.start()
    assert process.ready.result(20) == "http://127.0.0.1:9"
    assert len(process._log) <= 40


def test_a_command_that_is_not_there_is_an_error():
    process = EngineProcess(("/nonexistent/python",), {}, 5)
    process.start()
    with pytest.raises(EngineError, match="could not be started: No such file"):
        process.ready.result(10)


def test_a_child_that_does_not_read_its_options_is_an_error():
    options = {"model.path": "x" * 1_000_000}  # more than a pipe holds
    process = EngineProcess((sys.executable, "-c", "raise SystemExit(3)"), options, 20)
    process.start()
    with pytest.raises(EngineError, match="ended with code 3"):
        process.ready.result(20)


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
    """Start a parent with a child, kill the parent, return the child's pid."""
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


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_the_child_ends_when_its_parent_is_killed_while_it_loads(child_path):
    wait_until_gone(orphan("loads"))


def test_the_child_ends_when_its_stdin_ends(child_path):
    pipe = subprocess.PIPE
    with subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as child:
        child.stdin.write(b'{"model.path": "serves.gguf"}\n')
        child.stdin.flush()
        assert child.stdout.readline() == b'{"address": "http://127.0.0.1:9"}\n'
        child.stdin.close()
        assert child.wait(10) == 0
