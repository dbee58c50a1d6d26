"""Helpers for pytest runs inside tests, with the plugin for tapes: test sources, and the parsed output."""

import re

import pytest

from support.tapes import exchange, reply

PLUGIN = ("-p", "llama_stack_provider_messages.pytest_plugin", "-p", "no:cacheprovider")
ASKS = """
import httpx
import pytest

def ask(url, text="Hello", path="/v1/chat/completions"):
    return httpx.post(url + path, json={"model": "tiny", "text": text})
"""
HELLO = f"""{ASKS}
@pytest.mark.tape("hello")
def test_hello(tape_server):
    assert ask(tape_server.url).json() == {{"said": "hi"}}
"""


def asking(text):
    """Return the exchange that ``ask`` plays."""
    return exchange({"model": "tiny", "text": text}, reply({"said": "hi"}), path="/v1/chat/completions")


def text_of(result):
    """Return the output of a run."""
    return result.stdout.str()


def failure_of(result, test):
    """Return a matcher for the output lines about one failed test."""
    parts = re.split(r"^_{3,} (?:ERROR at \w+ of )?(\S+) _{3,}$|^=+ .* =+$", text_of(result), flags=re.MULTILINE)
    (text,) = [after for name, after in zip(parts[1::2], parts[2::2], strict=True) if name == test]
    return pytest.LineMatcher(text.strip().split("\n"))
