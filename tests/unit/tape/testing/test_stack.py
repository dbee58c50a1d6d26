"""Stacks for tests, without starting one."""

import pytest

from messages_tape import TapeUsageError
from messages_tape.testing import stack as stack_process
from messages_tape.testing.stack import StackProcess, choose_model, distributions, stack_environment


def test_the_distributions_are_found():
    """In a checkout; a wheel is tested by its installation."""
    assert (distributions() / "apis.d" / "messages.yaml").is_file()
    assert (distributions() / "ci-tests" / "run.yaml").is_file()


@pytest.mark.parametrize(
    ("wanted", "chosen"), [("b", "up/b"), ("up/b", "up/b"), ("x/y", "up/x/y"), ("", "up/a"), ("new", "up/a")]
)
def test_the_model_of_the_tape_is_chosen(wanted, chosen):
    """With any provider prefix; the first served model if it is not served."""
    assert choose_model(["up/a", "up/b", "up/x/y"], wanted) == chosen


def test_a_stack_without_models_is_an_error():
    with pytest.raises(TapeUsageError, match="serves no model"):
        choose_model([], "a")


def test_the_environment_names_the_upstream_or_the_engine(monkeypatch):
    """One of the two; the address of the tape server wins over the environment."""
    monkeypatch.setenv("TAPE_URL", "http://of.another/run")
    monkeypatch.setenv("MESSAGES_APIS_DIR", "mine")
    taped = stack_environment("http://127.0.0.1:1", engine=False, more={"A": "b"})
    assert (taped["TAPE_URL"], taped["TAPE_ENGINE"], taped["A"]) == ("http://127.0.0.1:1", "__disabled__", "b")
    assert taped["MESSAGES_APIS_DIR"] == "mine"
    lone = stack_environment("", engine=True, more={})
    assert (lone["TAPE_URL"], lone["TAPE_ENGINE"]) == ("", "")


def program(tmp_path, monkeypatch, text):
    """Put a shell script in place of the platform's command."""
    command = tmp_path / "bin" / "llama"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\n{text}\n")
    command.chmod(0o755)
    monkeypatch.setattr(stack_process.sys, "executable", str(command.with_name("python")))
    return StackProcess({"version": 2}, tmp_path, {})


def test_a_stack_that_exits_is_an_error_with_the_end_of_its_log(tmp_path, monkeypatch):
    stack = program(tmp_path, monkeypatch, "echo what went wrong; exit 3")
    with pytest.raises(TapeUsageError, match=r"exited with code 3 while starting.*\n.*what went wrong"):
        stack.start()
    assert stack.pid is None
    assert (tmp_path / "run.yaml").read_text() == "version: 2\n"


def test_a_stack_that_is_not_healthy_in_time_is_stopped(tmp_path, monkeypatch):
    """The error has the end of its log."""
    monkeypatch.setattr(stack_process, "START_SECONDS", 0.3)
    stack = program(tmp_path, monkeypatch, "echo still thinking; exec sleep 60")
    with pytest.raises(TapeUsageError, match=r"was not healthy within 0 s.*\n.*still thinking"):
        stack.start()
    assert stack.pid is None
    stack.stop()  # a second time does nothing
