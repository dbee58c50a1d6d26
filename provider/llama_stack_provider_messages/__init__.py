"""The builtin provider of the Messages API, ``inline::builtin``.

The root has the provider only: ``provider.py`` and ``config.py``, which the platform imports by name, and ``impl.py``,
which finds the route of a request and calls its lane. Everything else is in a room of its own; the rooms do not import
from here.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import MessagesConfig
    from .impl import MessagesImpl


async def get_provider_impl(config: "MessagesConfig", deps: dict[Any, Any]) -> "MessagesImpl":
    """Return the provider; the platform calls this in an event loop that does not serve requests.

    The imports are local so that ``config.py`` can be imported without the platform's server.
    """
    from .impl import MessagesImpl
    from .stack import STATE_FOLDER, Platform, register_routes
    from .translated.signing_key import signing_key

    register_routes()
    secret = config.signing_secret.get_secret_value() if config.signing_secret else None
    return MessagesImpl(config, Platform(deps), signing_key(secret, STATE_FOLDER / "signing_key"))
