"""What all suites share: the order of the tests, and the scripted upstream of chat completions."""

import tempfile
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path

import certifi
import pytest
from hypothesis import HealthCheck, settings

from support.chat_upstream import ChatUpstream

# No test depends on how fast the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Let the clients of httpx trust one authority instead of all: each client reads the file, 20 ms of CPU time."""
    one, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----\n")
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    file = Path(folder.name) / "authority.pem"
    file.write_text(one + end)
    certifi.where = lambda: str(file)


GROUPS = (
    ("/contract/test_printed_examples", "/integration/test_recorded_suites", "/suites/"),
    ("/integration/test_cli", "/integration/test_launch", "/integration/test_pytest_plugin", "/tape/testing/"),
    ("/contract/", "/integration/"),
)
"""Parts of paths of long tests, in groups of about the same duration whose stacks no other group uses."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests for as many processes as there are groups: each begins with one part of the list of this size.

    Each part begins with the long tests of a group, ordered as they were, and ends with short tests. So what a process
    takes over from the end of another one's part needs no stack that is running in that process.
    """
    groups: list[list[pytest.Item]] = [[] for _ in GROUPS]
    short: list[pytest.Item] = []
    for path, its_items in groupby(items, lambda item: item.path):
        place = next((at for at, parts in enumerate(GROUPS) if any(part in str(path) for part in parts)), None)
        (short if place is None else groups[place]).extend(its_items)
    ordered, rest = [], iter(short)
    for group in groups:
        ordered += [*group, *islice(rest, max(0, len(items) // len(groups) - len(group)))]
    items[:] = [*ordered, *rest]


@pytest.fixture(scope="session")
def upstream() -> Iterator[ChatUpstream]:
    with ChatUpstream() as server:
        yield server
