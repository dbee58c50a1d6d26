"""Fixtures that start the real child program with a test double of the engine in it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llama_stack_provider_messages.local.engine import COMMAND, EngineProcess

DOUBLE = Path(__file__).with_name("engine_double")


@pytest.fixture
def child_path(monkeypatch) -> None:
    """Let children started by the test import the double instead of the engine."""
    monkeypatch.setenv("PYTHONPATH", str(DOUBLE))


@pytest.fixture
def new_process(child_path, tmp_path) -> Iterator[Callable[..., EngineProcess]]:
    """Return a function that makes processes of the named behaviour; stop the processes that are left at the end."""
    made = []

    def make(behaviour: str, start_seconds: float = 60.0, stop_seconds: float = 3.0) -> EngineProcess:
        options = {"model.path": str(tmp_path / f"{behaviour}.gguf")}
        made.append(EngineProcess(COMMAND, options, start_seconds, stop_seconds))
        return made[-1]

    yield make
    for process in made:
        if process.pid:
            process.stop()
