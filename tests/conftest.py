"""What all suites share: the order of the tests, and the scripted upstream of chat completions."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support.chat_upstream import ChatUpstream

# No test depends on how fast the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


LONG = (
    "test_printed_examples",
    "test_pytest_plugin",
    "test_recorded_suites",
    "test_cli",
    "test_scripts",
    "test_platform",
)
"""Modules whose tests take many seconds each. They run first, so that no process waits for them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the long tests to the front."""
    items.sort(key=lambda item: item.path.stem not in LONG or "unit" in item.path.parts)


@pytest.fixture(scope="session")
def upstream() -> Iterator[ChatUpstream]:
    with ChatUpstream() as server:
        yield server
