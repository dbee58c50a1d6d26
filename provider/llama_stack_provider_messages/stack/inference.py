"""What the platform has only for inference providers; beside ``stack.py`` of the package, the only importer of it."""

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
    """Return a language model as the platform lists it."""
    return Model(
        provider_id=provider_id,
        provider_resource_id=name,
        identifier=name,
        model_type=ModelType.llm,
        metadata=metadata,
    )


def stream_options(asked: dict[str, Any] | None, *, stream: bool) -> dict[str, Any] | None:
    """Return the options of a stream: usage is asked for while the platform traces, whatever the client says."""
    return get_stream_options_for_telemetry(asked, stream)  # type: ignore[no-any-return]


def chunk_with_reasoning(chunk: Any, text: str | None) -> Any:  # noqa: ANN401 - the SDK's object, the platform's wrapper
    """Return a chunk as the Responses API reads it."""
    return OpenAIChatCompletionChunkWithReasoning(chunk=chunk, reasoning_content=text)


def completion_with_reasoning(completion: Any, text: str | None) -> Any:  # noqa: ANN401 - likewise
    """Return a completion as the Responses API reads it."""
    return OpenAIChatCompletionWithReasoning(completion=completion, reasoning_content=text)
