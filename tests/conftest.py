"""What the suites with a running stack share."""

from collections.abc import Iterator

import pytest

from support.upstream import FakeUpstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as server:
        yield server
