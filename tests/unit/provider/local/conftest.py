"""The real child program with a double of the engine in it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llama_stack_provider_messages.local import server
from llama_stack_provider_messages.local.process import EngineProcess

COMMAND = (sys.executable, "-P", server.__file__)
DOUBLE = Path(__file__).with_name("engine_double")


@pytest.fixture
def child_path(monkeypatch) -> None:
    """Children started by the test find the double instead of the engine."""
    monkeypatch.setenv("PYTHONPATH", str(DOUBLE))


@pytest.fixture
def new_process(child_path, tmp_path) -> Iterator[Callable[..., EngineProcess]]:
    """Makes processes that behave as the name says; ends those that are left."""
    made = []

    def make(behaviour: str, start_seconds: float = 20.0) -> EngineProcess:
        made.append(EngineProcess(COMMAND, {"model.path": str(tmp_path / f"{behaviour}.gguf")}, start_seconds))
        return made[-1]

    yield make
    for process in made:
        if process.pid:
            process.stop()
