"""``remote::messages``: a backend that speaks the Messages API only, as an inference provider of the platform."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import RemoteMessagesConfig
    from .impl import MessagesInference


async def get_adapter_impl(config: "RemoteMessagesConfig", _deps: dict[Any, Any]) -> "MessagesInference":
    """Return the provider; called by the platform, in an event loop that does not serve."""
    from .impl import MessagesInference

    provider = MessagesInference(config=config)
    await provider.initialize()  # the platform leaves this to us
    return provider
