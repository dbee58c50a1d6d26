"""The only module of this package that imports the platform.

The platform's successor has the same names in other modules, so only this file has to change for it.
"""

from llama_stack_api import Api, ConflictError, InlineProviderSpec, ProviderSpec
from llama_stack_api.router_utils import PUBLIC_ROUTE_KEY

API_NAME = "messages"
"""Name of the external API: the key under ``providers:`` and the value in the platform's ``Api`` enum."""

__all__ = ["API_NAME", "PUBLIC_ROUTE_KEY", "Api", "ConflictError", "InlineProviderSpec", "ProviderSpec"]
