"""What the suites with a running stack share."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support.chat_upstream import ChatUpstream

# No test depends on how fast the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def upstream() -> Iterator[ChatUpstream]:
    with ChatUpstream() as server:
        yield server
