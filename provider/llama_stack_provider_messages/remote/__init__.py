"""``remote::messages``: an inference provider for backends that speak only the Messages API.

``impl.py`` is the provider, ``client.py`` sends its requests, ``continuation.py`` reads and continues responses,
``sdk_objects.py`` converts the objects of the platform, and ``config.py`` is its configuration. The translation itself
is in ``translation/chat_to_messages``. Imports go from here to ``upstream/`` and below; only the platform imports from
here.
"""

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
