"""Tool names and tool call ids in the form the Messages API accepts.

Both depend only on the client's request, so the prompt stays the same from turn to turn.
"""

import re
from dataclasses import dataclass, field
from hashlib import sha256

from llama_stack_provider_messages.translation.names import client_id

LONGEST_NAME = 128
"""Characters in a tool name: ``^[a-zA-Z0-9_-]{1,128}$`` according to the API's error, 64 according to its guide."""

_LEGAL = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ODD = re.compile(r"[^a-zA-Z0-9_-]")
_DIGEST = 12


def upstream_name(name: str) -> str:
    """Return the upstream's name for a tool: unchanged, or a prefix of it plus a hash if the name is not valid."""
    if _LEGAL.fullmatch(name):
        return name
    digest = sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    return f"{_ODD.sub('_', name[: LONGEST_NAME - _DIGEST - 1])}_{digest}"


@dataclass(slots=True)
class CallIds:
    """Gives each call of a conversation a unique id; many backends count calls from 0 in every response."""

    _taken: set[str] = field(default_factory=set)
    _copies: dict[str, int] = field(default_factory=dict)

    def fresh(self, wanted: str, path: str) -> str:
        """Return the id for a call: the client's, if it is valid and not in use.

        Args:
            wanted: The client's id, ``""`` for none.
            path: JSON path of the call, from which a missing id is derived.
        """
        base = client_id(wanted) or f"call_{path.replace('.', '_')}"
        found = base
        while found in self._taken:
            self._copies[base] = self._copies.get(base, 1) + 1
            found = f"{base}_{self._copies[base]}"
        self._taken.add(found)
        return found
