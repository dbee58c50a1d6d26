"""The embedded engine in a running stack."""

import json
import os
import signal
import time

import httpx
import pytest

from support.stack_process import PATIENT_LLAMA, StackProcess

JSON_LOGS = {"LLAMA_STACK_LOG_FORMAT": "json"}

pytestmark = pytest.mark.integration


def config(workers=1):
    local = {
        "provider_id": "local",
        "provider_type": "inline::llama-cpp",
        "module": "llama_stack_provider_messages.local",
        "config": {"model_path": "${env.MODEL_PATH:=}", "context_size": 4096, "preload": True},
    }
    return {
        "version": 2,
        "distro_name": "engine",
        "apis": ["inference", "models"],
        "providers": {"inference": [local]},
        "server": {"workers": workers},
    }


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def engine_pids(stack):
    """Return the pids of all engines that have been ready."""
    ready = (line for line in stack.log.splitlines() if '"embedded engine ready"' in line)
    return [json.loads(line)["pid"] for line in ready]


def post(stack):
    body = {"model": "local/default", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
    return httpx.post(f"{stack.url}/v1/chat/completions", json=body, timeout=60)


def wait_until(condition, what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
def test_each_worker_has_its_own_engine_that_ends_with_it(tmp_path, workers):
    with StackProcess(config(workers), tmp_path, JSON_LOGS, PATIENT_LLAMA) as stack:
        assert post(stack).json()["choices"][0]["message"]
        wait_until(lambda: len(engine_pids(stack)) == workers, "an engine is missing")
        assert all(map(is_alive, engine_pids(stack)))
    wait_until(lambda: not any(map(is_alive, engine_pids(stack))), "an engine is still running")


def test_a_crashed_engine_is_replaced_and_ends_with_a_killed_stack(tmp_path):
    with StackProcess(config(), tmp_path, JSON_LOGS) as stack:
        post(stack).raise_for_status()
        (first,) = engine_pids(stack)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: "was ended by signal 9" in stack.log, "the crash is not logged")
        post(stack).raise_for_status()
        _, second = engine_pids(stack)
        os.kill(stack.pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(second), "the engine is still running")


def test_a_missing_model_stops_the_stack_with_an_error_that_names_the_setting(tmp_path):
    with pytest.raises(AssertionError) as caught, StackProcess(config(), tmp_path, {"MODEL_PATH": "/gone.gguf"}):
        pass
    assert "model_path: no file at /gone.gguf; give the path of a GGUF file" in str(caught.value)
