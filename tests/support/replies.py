"""Helper to call an implementation of the API."""

from llama_stack_api_messages import PendingStream


async def answer(impl, body, call):
    """Return the response to a request; a pending stream is connected to its upstream first."""
    reply = await impl.create_message(body, call)
    while isinstance(reply, PendingStream):
        reply = await reply.connect()
    return reply
