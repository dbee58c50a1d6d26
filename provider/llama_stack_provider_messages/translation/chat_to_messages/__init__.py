"""Chat completions -> Messages API: the answers, streams and errors on their way back."""

from .error import OpenAIError, openai_headers, translate_error
from .form import ChatForm
from .response import dropped_blocks, translate_response
from .stop_reason import continued, needs_continuation
from .stream import StreamTranslator
from .usage import translate_usage

__all__ = [
    "ChatForm",
    "OpenAIError",
    "StreamTranslator",
    "continued",
    "dropped_blocks",
    "needs_continuation",
    "openai_headers",
    "translate_error",
    "translate_response",
    "translate_usage",
]
