"""The Anthropic Messages API for llama-stack: models, routes and the protocol a provider implements."""

from .api import Call, MessageReply, Messages, PendingStream, Reply, ServeSettings, StreamReply
from .fastapi_routes import create_router
from .registry import available_providers
from .request_body import RequestBody
from .upstream import MessagesUpstream, SpeaksMessages

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
