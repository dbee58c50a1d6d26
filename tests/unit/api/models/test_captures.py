"""Every captured request of a real client is read without loss."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from llama_stack_api_messages.models import (
    CreateMessageRequest,
    CustomTool,
    DocumentBlock,
    ImageBlock,
    InputMessage,
    ThinkingAdaptive,
    ThinkingEnabled,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
    Unknown,
)

CAPTURES = sorted((Path(__file__).parents[3] / "data" / "captures").glob("*.json"))


def body(path: Path) -> dict:
    return json.loads(path.read_text())["body"]


def parts(value):
    """Yield every model inside a model."""
    if isinstance(value, BaseModel):
        yield value
        for _, inner in value:
            yield from parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(inner)


def test_there_are_captures():
    """Without captures the tests below would pass and test nothing."""
    assert len(CAPTURES) == 9


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_capture_round_trips(path):
    """Values, unknown keys, and the order of keys in tool inputs are kept."""
    sent = body(path)
    request = CreateMessageRequest.model_validate_json(json.dumps(sent))
    assert request.model_dump(exclude_unset=True, mode="json") == sent
    assert json.loads(request.model_dump_json(exclude_unset=True)) == sent


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_capture_has_no_unknown_types(path):
    """No object of a real client is parsed as a fallback member."""
    request = CreateMessageRequest.model_validate(body(path))
    assert [part for part in parts(request) if isinstance(part, Unknown)] == []


def test_the_captures_have_the_blocks_and_tools_of_an_agent_session():
    """Together they contain each kind."""
    requests = [CreateMessageRequest.model_validate(body(path)) for path in CAPTURES]
    kinds = {type(part) for request in requests for part in parts(request)}
    assert kinds >= {
        CustomTool,
        DocumentBlock,
        ImageBlock,
        InputMessage,
        ThinkingAdaptive,
        ToolReferenceBlock,
        ToolResultBlock,
        ToolUseBlock,
        ThinkingEnabled,
    }
    assert {message.role for request in requests for message in request.messages} == {"user", "assistant", "system"}
