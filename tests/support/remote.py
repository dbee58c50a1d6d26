"""Helpers for the tests of ``remote::messages``."""

import json
from typing import Any

KEY = "sk-upstream-secret-0123456789"


def remote(base_url: str, provider_id: str = "up", **config: Any) -> dict[str, Any]:
    """Return an inference provider entry for a server with the Messages API."""
    fields = {"base_url": base_url, "api_key": KEY, **config}
    return {
        "provider_id": provider_id,
        "provider_type": "remote::messages",
        "module": "llama_stack_provider_messages.remote",
        "config": {name: value for name, value in fields.items() if value is not None},
    }


def chat_request_body(model: str, stream: bool = False, **more: Any) -> bytes:
    """Return the bytes of a minimal chat completions request."""
    fields = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    return json.dumps(fields | ({"stream": True} if stream else {}) | more).encode()
