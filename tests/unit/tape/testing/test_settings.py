"""The tape settings of a test run."""

import shlex
from pathlib import Path

import pytest

from messages_tape import Mode, TapeUsageError
from messages_tape.testing.settings import EMBEDDED, Settings, Upstream

FOLDER = Path("recordings")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("vllm", ""),
        (" vllm=http://127.0.0.1:8000 ", "http://127.0.0.1:8000"),
        ("vllm=http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000"),
        ("vllm=https://host/path", "https://host/path"),
        ("vllm=embedded", EMBEDDED),
    ],
)
def test_an_upstream_is_a_name_with_or_without_an_address(text, address):
    """The address is used without ``/v1``."""
    assert Upstream.of(text) == Upstream("vllm", address)


@pytest.mark.parametrize("text", ["", "=http://x", "../x", "a/b", "http://127.0.0.1:8000", "vllm=127.0.0.1:8000", ".x"])
def test_invalid_upstreams_are_rejected(text):
    """The name is used for a folder."""
    with pytest.raises(TapeUsageError, match="write NAME, NAME=http://HOST:PORT or NAME=embedded"):
        Upstream.of(text)


def test_the_error_message_does_not_contain_the_address():
    """It may contain a key."""
    with pytest.raises(TapeUsageError) as caught:
        Upstream.of("vllm=ftp://user:secret@host")
    assert "secret" not in str(caught.value)


def test_without_upstreams_the_embedded_engine_is_the_default():
    settings = Settings.of(FOLDER, "none", [])
    assert settings.upstream() == Upstream("local", EMBEDDED)


def test_the_first_upstream_is_the_default_and_the_first_address_wins():
    """The command line comes first; the ini file may have the address."""
    settings = Settings.of(FOLDER, "once", ["b", "a=http://one", "a=http://two", "b=http://three"])
    assert settings.mode is Mode.ONCE
    assert settings.upstream() == Upstream("b", "http://three")
    assert settings.upstream("a") == Upstream("a", "http://one")
    assert settings.upstream("new") == Upstream("new")
    assert settings.folder_of("new") == FOLDER / "new"


@pytest.mark.parametrize("test", ["tests/test_a.py::test_b", "t.py::test[it's a $b]", "t.py::test[\u00fc;x]"])
def test_the_command_is_quoted_for_a_shell(test):
    """For any test name; the address of a real server is not shown."""
    settings = Settings.of(FOLDER, "none", ["vllm=http://10.0.0.5:8000", "own=embedded"])
    assert shlex.split(settings.command(test, Mode.REWRITE, "vllm")) == [
        "pytest", test, "--tape-mode", "rewrite", "--tape-upstream", "vllm=http://HOST:PORT",
    ]  # fmt: skip
    assert settings.command("t.py", Mode.ONCE, "own").endswith("t.py --tape-mode once --tape-upstream own=embedded")
