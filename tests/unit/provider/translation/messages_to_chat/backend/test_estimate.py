"""The rough size of prompts."""

import pytest

from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.messages_to_chat.backend.estimate import (
    estimate_blocks,
    estimate_json,
    estimate_tokens,
)

DATA = "A" * 100_000


def blocks(*values):
    message = {"role": "user", "content": [*values]}
    return (
        CreateMessageRequest.model_validate({"model": "m", "max_tokens": 1, "messages": [message]}).messages[0].content
    )


@pytest.mark.parametrize(
    ("text", "tokens"), [(None, 0), ("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("\u4e2d" * 4, 3)]
)
def test_a_token_is_four_bytes_of_text(text, tokens):
    assert estimate_blocks(text) == tokens


def test_blocks_count_with_their_keys():
    block = blocks({"type": "text", "text": "x" * 400})
    assert 100 < estimate_blocks(block) < 110
    assert estimate_blocks(block[0]) == estimate_blocks(block)


def test_media_count_as_what_the_model_sees_of_them():
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": DATA}}
    assert estimate_blocks(blocks(image)) == 1_500
    assert 1_500 < estimate_blocks(blocks(pdf)) < 1_520
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}
    assert 1_500 < estimate_tokens({"messages": [{"role": "user", "content": [part]}]}) < 1_520


def test_what_the_model_does_not_read_is_free():
    thinking = {"type": "thinking", "thinking": "hm", "signature": DATA}
    assert 1 < estimate_blocks([CreateMessageRequest.model_validate({
        "model": "m", "max_tokens": 1, "messages": [{"role": "assistant", "content": [thinking]}],
    }).messages[0].content[0]]) < 12  # fmt: skip


def test_a_chat_request_counts_messages_tools_and_the_schema_of_the_answer():
    message, schema = {"role": "user", "content": "x" * 400}, {"type": ["string", "null"], "maxLength": 5}
    tool = {"type": "function", "function": {"name": "f", "description": "d" * 400, "parameters": schema}}
    alone = estimate_tokens({"messages": [message], "max_tokens": 10**9, "user": "u" * 400})
    assert 100 < alone < 110
    assert 210 < estimate_tokens({"messages": [message], "tools": [tool]}) < 240
    assert estimate_tokens({"messages": [message], "response_format": schema}) > alone
    assert estimate_tokens({}) == 0


@pytest.mark.parametrize(
    ("data", "tokens"),
    [
        (b'[{"role":"user","content":[{"type":"odd","text":"abcdefgh"}]}]', 4),
        (b'[{"type":"image","source":{"data":"' + b"x" * 90_000 + b'"}}]', 1_500),
        (b"no json", 2),
        (b"[" * 100_000, 25_000),
        (b"null", 0),
    ],
)
def test_a_part_that_nobody_understands_is_estimated_by_its_texts(data, tokens):
    """A picture counts as one; what is no JSON by its bytes."""
    assert estimate_json(data) == tokens
