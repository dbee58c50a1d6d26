"""The only module of this package that imports the platform: its types, and the provider of this API in its form.

The platform's successor has the same names in other modules, so only this file of the package has to change for it.
"""

from llama_stack_api import Api, ConflictError, InlineProviderSpec, ProviderSpec
from llama_stack_api.router_utils import PUBLIC_ROUTE_KEY

__all__ = ["API_NAME", "PUBLIC_ROUTE_KEY", "ConflictError", "available_providers"]

API_NAME = "messages"
"""Name of the external API: the key under ``providers:`` and the value in the platform's ``Api`` enum."""


def available_providers() -> list[ProviderSpec]:
    """Return the providers of this API. The platform calls this after it has added the API to its ``Api`` enum."""
    return [
        InlineProviderSpec(
            api=Api(API_NAME),
            provider_type="inline::builtin",
            pip_packages=["llama-stack-provider-messages"],
            module="llama_stack_provider_messages",
            config_class="llama_stack_provider_messages.config.MessagesConfig",
            api_dependencies=[Api.inference, Api.models],
            description="Serves the Messages API: passes requests through to backends that speak it, and translates "
            "them to chat completions for all others.",
        )
    ]
