"""Names of tools and ids of calls as the Messages API takes them.

Both are functions of what the client sent, so that the prompt stays the same from turn to turn.
"""

import re
from dataclasses import dataclass, field
from hashlib import sha256

from llama_stack_provider_messages.translation.names import client_id

LONGEST_NAME = 128
"""Characters of a tool's name: the API's error says ``^[a-zA-Z0-9_-]{1,128}$``, its guide 64."""

_LEGAL = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ODD = re.compile(r"[^a-zA-Z0-9_-]")
_DIGEST = 12


def upstream_name(name: str) -> str:
    """Return the name the upstream gets for a tool: itself, or its beginning and a hash where that is no legal name."""
    if _LEGAL.fullmatch(name):
        return name
    digest = sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    return f"{_ODD.sub('_', name[: LONGEST_NAME - _DIGEST - 1])}_{digest}"


@dataclass(slots=True)
class CallIds:
    """Gives each call of a conversation an id of its own; many backends count their calls from 0 in every answer."""

    _taken: set[str] = field(default_factory=set)
    _copies: dict[str, int] = field(default_factory=dict)

    def fresh(self, wanted: str, path: str) -> str:
        """Return the id for a call: the client's, if it is legal and still free.

        Args:
            wanted: The client's id, ``""`` for none.
            path: Where the call stands, for one without an id.
        """
        base = client_id(wanted) or f"call_{path.replace('.', '_')}"
        found = base
        while found in self._taken:
            self._copies[base] = self._copies.get(base, 1) + 1
            found = f"{base}_{self._copies[base]}"
        self._taken.add(found)
        return found
