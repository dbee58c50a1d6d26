"""Prefill on the embedded engine, which repeats the prefill in unary responses but not in streams."""

import httpx
import pytest

from support.streams import sdk_message

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("prefill", ["1, 2,", '{"a": [', "one\n\ntwo  three"])
def test_the_response_has_only_the_continuation(local_stack, prefill):
    """The text continues where the prefill ends, and is the same with and without streaming (PROTOCOL 1.4)."""
    pytest.importorskip("xllamacpp")
    body = {
        "model": "m",
        "max_tokens": 16,
        "temperature": 0,
        "messages": [
            {"role": "user", "content": "Count from 1 to 20, separated by commas."},
            {"role": "assistant", "content": prefill},
        ],
    }
    with httpx.Client(base_url=local_stack.url, timeout=60) as client:
        unary = client.post("/v1/messages", json=body).json()
        streamed = sdk_message(client.post("/v1/messages", json={**body, "stream": True}).content)
    (text,) = (block["text"] for block in unary["content"])
    assert text
    assert not text.startswith(prefill)
    assert streamed["content"] == unary["content"]
