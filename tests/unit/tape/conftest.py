"""Fixtures for the tests of the adapters and of the pytest plugin."""

import pytest

from messages_tape import dump
from support.plugin_runs import PLUGIN, asking
from support.scripted_upstream import ScriptedUpstream, four_chunks
from support.tapes import tape
from support.wire_client import CLIENTS


@pytest.fixture(scope="module")
def wire():
    """An upstream with the routes of the four-chunk experiment; tests add their own."""
    with ScriptedUpstream() as server:
        four_chunks(server)
        yield server


@pytest.fixture(params=CLIENTS)
def client(request):
    return CLIENTS[request.param]


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs pytest on a file, with the plugin, with warnings as errors, and only with other plugins that are asked for.

    In a process of its own: one inside this process would forget modules that it loaded first, and others keep them.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\nfilterwarnings = error\n")

    def go(source, *args, plugins=()):
        pytester.makepyfile(test_it=source)
        return pytester.runpytest_subprocess(*PLUGIN, *(f"-p{name}" for name in plugins), *args)

    return go


@pytest.fixture
def put(pytester):
    """Writes a tape with an exchange for each text."""

    def write(*texts, name="local/hello"):
        path = pytester.path / "recordings" / f"{name}.tape.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dump(tape(*map(asking, texts))), encoding="utf-8")
        return path

    return write
