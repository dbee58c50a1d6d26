"""What all suites share: the order of the tests, and the scripted upstream of chat completions."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.chat_upstream import ChatUpstream

# No test depends on how fast the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


OWN_STACKS = ("test_printed_examples", "test_pytest_plugin", "test_recorded_suites", "test_cli", "test_scripts")
"""Modules of long tests whose stacks no other module uses."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests for two processes: each begins with one half of the list, then takes over tests of the other.

    Each half begins with the tests that start stacks and ends with short ones. So what a process takes over from the
    end of the other half needs no stack that is running in the other process.
    """
    first, second, short = [], [], []
    for item in items:
        room = item.path.relative_to(Path(__file__).parent, walk_up=True).parts[0]
        if room == "suites" or (room in ("contract", "integration") and item.path.stem in OWN_STACKS):
            first.append(item)
        else:
            (second if room in ("contract", "integration") else short).append(item)
    cut = max(0, len(items) // 2 - len(first))
    items[:] = [*first, *short[:cut], *second, *short[cut:]]


@pytest.fixture(scope="session")
def upstream() -> Iterator[ChatUpstream]:
    with ChatUpstream() as server:
        yield server
