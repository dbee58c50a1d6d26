"""The providers that implement the Messages API."""

from .stack import API_NAME, Api, InlineProviderSpec, ProviderSpec


def available_providers() -> list[ProviderSpec]:
    """Return the provider specs. The platform calls this after it has added the API to its ``Api`` enum."""
    return [
        InlineProviderSpec(
            api=Api(API_NAME),
            provider_type="inline::builtin",
            pip_packages=["llama-stack-provider-messages"],
            module="llama_stack_provider_messages",
            config_class="llama_stack_provider_messages.config.MessagesConfig",
            api_dependencies=[Api.inference, Api.models],
            description="Translates Messages onto the platform's inference API.",
        )
    ]
