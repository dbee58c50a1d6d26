"""The platform's names for inference providers. Only this module and ``llama_stack.py`` import the platform."""

from typing import Any

from llama_stack.providers.utils.inference.model_registry import RemoteInferenceProviderConfig
from llama_stack.providers.utils.inference.openai_compat import get_stream_options_for_telemetry
from llama_stack_api import ModelType, RemoteProviderSpec
from llama_stack_api.inference.models import OpenAIChatCompletionChunkWithReasoning, OpenAIChatCompletionWithReasoning

from .llama_stack import Api, HealthResponse, HealthStatus, Model, OpenAIMixin, ProviderSpec

__all__ = [
    "Api",
    "HealthResponse",
    "HealthStatus",
    "Model",
    "OpenAIMixin",
    "ProviderSpec",
    "RemoteInferenceProviderConfig",
    "RemoteProviderSpec",
    "chunk_with_reasoning",
    "completion_with_reasoning",
    "language_model",
    "stream_options",
]


def language_model(provider_id: str, name: str, metadata: dict[str, Any]) -> Model:
    """Return a language model for the platform's list."""
    return Model(
        provider_id=provider_id,
        provider_resource_id=name,
        identifier=name,
        model_type=ModelType.llm,
        metadata=metadata,
    )


def stream_options(asked: dict[str, Any] | None, *, stream: bool) -> dict[str, Any] | None:
    """Return the stream options; usage is always requested while the platform traces."""
    return get_stream_options_for_telemetry(asked, stream)  # type: ignore[no-any-return]


def chunk_with_reasoning(chunk: Any, text: str | None) -> Any:  # noqa: ANN401 - the SDK's object, the platform's wrapper
    """Return a chunk with reasoning in the form that the Responses API reads."""
    return OpenAIChatCompletionChunkWithReasoning(chunk=chunk, reasoning_content=text)


def completion_with_reasoning(completion: Any, text: str | None) -> Any:  # noqa: ANN401 - likewise
    """Return a completion with reasoning in the form that the Responses API reads."""
    return OpenAIChatCompletionWithReasoning(completion=completion, reasoning_content=text)
