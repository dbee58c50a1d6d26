"""What can answer a Messages request: the contract of a lane."""

from typing import Protocol

from llama_stack_api_messages import Call, MessageReply, StreamReply
from llama_stack_api_messages.models import CreateMessageRequest

from .stack import Target


class Backend(Protocol):
    """A lane: turns a request for a target into a reply."""

    async def create(self, request: CreateMessageRequest, call: Call, target: Target) -> MessageReply | StreamReply:
        """Answer the request; see ``Messages.create_message``."""
        ...

    async def close(self) -> None:
        """Release connections and threads; called in the loop that served."""
        ...
