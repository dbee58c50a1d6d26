"""The Anthropic Messages API for llama-stack: protocol, models and routes.

The root of the package has what every user of the API needs, from the wire types (``models/``) to the protocol that a
provider implements (``api.py``). ``routes/`` turns a request into an HTTP response, ``streaming/`` sends a stream; both
import from the root, and the root does not import from them. The exceptions are the two names that the platform looks
up, ``available_providers`` and ``create_router``: they are loaded on first use, so that importing models or errors
loads neither FastAPI nor the platform.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .api import (
    Call,
    MessageReply,
    Messages,
    MessagesUpstream,
    PendingStream,
    Reply,
    ServeSettings,
    SpeaksMessages,
    StreamReply,
)
from .request_body import RequestBody

if TYPE_CHECKING:
    from .routes import create_router
    from .stack import available_providers

__all__ = [
    "Call",
    "MessageReply",
    "Messages",
    "MessagesUpstream",
    "PendingStream",
    "Reply",
    "RequestBody",
    "ServeSettings",
    "SpeaksMessages",
    "StreamReply",
    "available_providers",
    "create_router",
]

_LOADED_WHEN_USED = {"available_providers": ".stack", "create_router": ".routes"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes have any type
    if name not in _LOADED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LOADED_WHEN_USED[name], __name__), name)
