"""Stream events, answers and errors are read as the protocol writes them."""

import pytest
from pydantic import TypeAdapter

from llama_stack_api_messages.errors import ERROR_BY_STATUS, MessagesError
from llama_stack_api_messages.models import (
    ERROR_TYPES,
    STOP_REASONS,
    CitationsDelta,
    CompactionDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorBody,
    ErrorEvent,
    Event,
    InputJsonDelta,
    Message,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    MessageTokensCount,
    PingEvent,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    UnknownBlock,
    UnknownDelta,
    UnknownEvent,
)

EVENT = TypeAdapter(Event)
START = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "stop_details": None,
    "usage": {"input_tokens": 3, "output_tokens": 0},
}


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ({"type": "message_start", "message": START}, MessageStartEvent),
        (
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            ContentBlockStartEvent,
        ),
        (
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
            ContentBlockDeltaEvent,
        ),
        ({"type": "content_block_stop", "index": 0}, ContentBlockStopEvent),
        (
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None, "safeguard_results": [{"type": "x"}]},
                "usage": {"output_tokens": 9},
                "context_management": {"applied_edits": []},
            },
            MessageDeltaEvent,
        ),
        ({"type": "message_stop"}, MessageStopEvent),
        ({"type": "ping"}, PingEvent),
        (
            {"type": "error", "error": {"type": "api_error", "message": "m", "details": {"a": 1}}, "request_id": None},
            ErrorEvent,
        ),
        ({"type": "event_of_2099", "x": 1}, UnknownEvent),
    ],
)
def test_an_event_is_read_and_written(sent, kind):
    """Each event has a model, and nothing is lost."""
    event = EVENT.validate_python(sent)
    assert type(event) is kind
    assert event.model_dump(exclude_unset=True, mode="json") == sent


@pytest.mark.parametrize(
    ("delta", "kind"),
    [
        ({"type": "text_delta", "text": "x"}, TextDelta),
        ({"type": "input_json_delta", "partial_json": ""}, InputJsonDelta),
        ({"type": "thinking_delta", "thinking": "x", "estimated_tokens": None}, ThinkingDelta),
        ({"type": "signature_delta", "signature": "x"}, SignatureDelta),
        ({"type": "citations_delta", "citation": {"type": "new_location"}}, CitationsDelta),
        ({"type": "compaction_delta", "content": None, "encrypted_content": "x"}, CompactionDelta),
        ({"type": "delta_of_2099"}, UnknownDelta),
    ],
)
def test_a_delta_is_read_and_written(delta, kind):
    """Each delta has a model, and nothing is lost."""
    sent = {"type": "content_block_delta", "index": 1, "delta": delta}
    event = EVENT.validate_python(sent)
    assert type(event.delta) is kind
    assert event.model_dump(exclude_unset=True) == sent


def test_a_message_accepts_unknown_values():
    """Unknown blocks, stop reasons and keys, as every client does."""
    sent = {**START, "content": [{"type": "hologram", "data": 1}], "stop_reason": "bored", "mood": "fine"}
    message = Message.model_validate(sent)
    assert isinstance(message.content[0], UnknownBlock)
    assert message.model_dump(exclude_unset=True) == sent


def test_every_stop_reason_of_the_protocol_is_listed():
    """Tables of other modules are checked against the tuple."""
    assert STOP_REASONS == (
        "end_turn",
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "refusal",
        "model_context_window_exceeded",
        "compaction",
    )


def test_every_error_class_has_a_known_type_and_a_valid_body():
    """The exceptions and the model of the error body agree."""
    for status, error in ERROR_BY_STATUS.items():
        assert error.error_type in ERROR_TYPES, status
    body = MessagesError("m", details={"error_code": "x"}).body("req_1")
    assert ErrorBody.model_validate(body).model_dump(exclude_unset=True) == body


def test_a_token_count_is_read_and_written():
    """With context management it has the count before the edits."""
    sent = {"input_tokens": 3, "context_management": {"original_input_tokens": 5}}
    assert MessageTokensCount.model_validate(sent).model_dump(exclude_unset=True) == sent
