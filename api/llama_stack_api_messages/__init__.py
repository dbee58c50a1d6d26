"""The Anthropic Messages API for llama-stack: models, routes and the protocol a provider implements."""

from .api import Call, MessageReply, Messages, ServeSettings, StreamReply
from .fastapi_routes import create_router
from .registry import available_providers

__all__ = [
    "Call",
    "MessageReply",
    "Messages",
    "ServeSettings",
    "StreamReply",
    "available_providers",
    "create_router",
]
