"""Why a message ended: stop reasons of the Messages API -> finish reasons of chat completions."""

from collections.abc import Mapping
from typing import Any

FINISH_REASONS: dict[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "compaction": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""One row for each stop reason of the API; ``pause_turn`` only where nobody has asked the model to go on."""


def finish_reason(stop_reason: str | None, *, calls: bool, legacy: bool) -> str:
    """Return the finish reason of a choice.

    Clients run calls because of the reason, so one that promises calls has them, and the other way round.

    Args:
        stop_reason: Of the message; an unknown one is the end of a turn.
        calls: The answer holds calls for the client.
        legacy: They were asked for as ``functions``.
    """
    known = FINISH_REASONS.get(stop_reason or "", "stop")
    if known in ("stop", "tool_calls"):
        known = "tool_calls" if calls else "stop"
    return "function_call" if known == "tool_calls" and legacy else known


def needs_continuation(message: Mapping[str, Any]) -> bool:
    """Return whether a message has only paused: sent back as it is, the model goes on with it."""
    return message.get("stop_reason") == "pause_turn"
