"""One recorder per tape."""

import threading
from pathlib import Path

import pytest

from messages_tape.files.claims import claim

TAPE = Path("recordings/up/hello.tape.yaml")


def test_the_next_holder_learns_that_it_is_recorded(tmp_path):
    """What the first one says is kept for the run."""
    for before, after in ((False, False), (False, True), (True, True)):
        with claim(tmp_path, TAPE) as held:
            assert held.done is before
            held.done = after
    with claim(tmp_path, TAPE.with_name("bye.tape.yaml")) as held:
        assert not held.done


def test_a_holder_that_fails_says_nothing(tmp_path):
    """And does not keep the others waiting."""

    def fails():
        with claim(tmp_path, TAPE) as held:
            held.done = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with claim(tmp_path, TAPE) as held:
        assert not held.done


def test_a_second_one_waits_for_the_first(tmp_path):
    """It comes in when the first one is out, and knows."""
    came, learned = threading.Event(), []

    def second():
        with claim(tmp_path, TAPE) as held:
            learned.append(held.done)
            came.set()

    thread = threading.Thread(target=second)
    with claim(tmp_path, TAPE) as held:
        thread.start()
        assert not came.wait(0.1)
        held.done = True
    thread.join(10)
    assert learned == [True]
