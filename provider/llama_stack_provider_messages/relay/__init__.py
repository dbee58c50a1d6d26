"""What the native lane changes in bytes that pass by, and what it reads from them; pure."""

from .echo import ModelEcho, echoed
from .error_event import ErrorEventRedactor
from .failure import (
    carried_headers,
    not_a_message,
    redacted,
    redacted_error,
    redacted_json,
    redacted_text,
    upstream_failure,
)
from .outgoing import PROMPT_FIELDS, Outgoing, outgoing, request_headers, window_limit
from .watch import StreamWatch, usage_of

__all__ = [
    "PROMPT_FIELDS",
    "ErrorEventRedactor",
    "ModelEcho",
    "Outgoing",
    "StreamWatch",
    "carried_headers",
    "echoed",
    "not_a_message",
    "outgoing",
    "redacted",
    "redacted_error",
    "redacted_json",
    "redacted_text",
    "request_headers",
    "upstream_failure",
    "usage_of",
    "window_limit",
]
