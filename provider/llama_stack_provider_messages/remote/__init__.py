"""``remote::messages``: an inference provider for backends that speak only the Messages API."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import RemoteMessagesConfig
    from .impl import MessagesInference


async def get_adapter_impl(config: "RemoteMessagesConfig", _deps: dict[Any, Any]) -> "MessagesInference":
    """Return the provider; the platform calls this in an event loop that does not serve requests."""
    from .impl import MessagesInference

    provider = MessagesInference(config=config)
    await provider.initialize()  # the platform does not call it
    return provider
