"""The platform imports the provider spec from here if run.yaml names this package as its ``module``."""

from llama_stack_provider_messages.stack import Api, InlineProviderSpec, ProviderSpec


def get_provider_spec() -> ProviderSpec:
    """Return the spec of ``inline::llama-cpp``."""
    return InlineProviderSpec(
        api=Api.inference,
        provider_type="inline::llama-cpp",
        pip_packages=["xllamacpp"],
        module="llama_stack_provider_messages.local",
        config_class="llama_stack_provider_messages.local.config.LlamaCppConfig",
        description="A GGUF model, run by llama.cpp in a process of the stack's own.",
    )
