"""What an implementation of the API answers in the end."""

from llama_stack_api_messages import PendingStream


async def answer(impl, body, call):
    """Return the reply to a request; a stream is one its upstream has accepted."""
    reply = await impl.create_message(body, call)
    return await reply.connect() if isinstance(reply, PendingStream) else reply
