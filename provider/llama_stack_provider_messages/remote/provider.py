"""The platform imports the provider spec from here if run.yaml names this package as its ``module``."""

from llama_stack_provider_messages.stack import Api, ProviderSpec, RemoteProviderSpec

_PACKAGE = "llama_stack_provider_messages.remote"


def get_provider_spec() -> ProviderSpec:
    """Return the spec of ``remote::messages``."""
    return RemoteProviderSpec(
        api=Api.inference,
        adapter_type="messages",
        provider_type="remote::messages",
        pip_packages=["llama-stack-provider-messages"],
        module=_PACKAGE,
        config_class=f"{_PACKAGE}.config.RemoteMessagesConfig",
        provider_data_validator=f"{_PACKAGE}.config.RemoteMessagesProviderData",
        description="Any server with the Anthropic Messages API: Azure AI Foundry, Anthropic, another stack.",
    )
