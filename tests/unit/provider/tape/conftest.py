"""What the tests of the adapters share."""

import pytest

from support.wire_client import CLIENTS
from support.wire_upstream import WireUpstream, four_chunks


@pytest.fixture(scope="module")
def wire():
    """An upstream with the routes of the four-chunk experiment; tests add their own."""
    with WireUpstream() as server:
        four_chunks(server)
        yield server


@pytest.fixture(params=CLIENTS)
def client(request):
    return CLIENTS[request.param]
