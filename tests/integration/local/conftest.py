"""The embedded engine with the bundled model."""

import asyncio
from collections.abc import Iterator

import pytest

from llama_stack_provider_messages.local.config import LlamaCppConfig
from llama_stack_provider_messages.local.impl import LlamaCppInference

CONTEXT_TOKENS = 8192


@pytest.fixture(scope="session")
def provider() -> Iterator[LlamaCppInference]:
    pytest.importorskip("xllamacpp")
    made = LlamaCppInference(config=LlamaCppConfig(context_size=CONTEXT_TOKENS, start_timeout_seconds=60))
    made.__provider_id__ = "local"
    yield made
    asyncio.run(made.shutdown())
