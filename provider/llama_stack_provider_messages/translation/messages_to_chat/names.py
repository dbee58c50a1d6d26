"""Names of tools and ids of calls, as a backend can take them, and back.

Both directions are pure functions of the name or id, so that nothing has to be remembered between requests and a
prompt stays the same from turn to turn.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientName:
    """A tool as the client knows it.

    Args:
        name: Its name, or that of a toolset's member.
        toolset: The toolset the member belongs to.
    """

    name: str
    toolset: str | None = None


def backend_name(name: str, _toolset: str | None = None) -> str:
    """Return the name a backend gets for a tool of the client."""
    return name


def client_id(upstream_id: str) -> str:
    """Return the id a client gets for a backend's; ``""`` when none can be made of it."""
    return upstream_id


def backend_id(call_id: str) -> str:
    """Return the id a backend gets for a client's: its own one, where the client got it from there."""
    return call_id
