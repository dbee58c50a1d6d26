"""Chat completions -> Messages API: requests to an upstream that speaks Messages; answers, streams and errors back."""

from .error import OpenAIError, openai_headers, translate_error
from .form import ChatForm
from .options import Options
from .request import MessagesRequest, translate_request
from .response import dropped_blocks, translate_response
from .stop_reason import continued, needs_continuation
from .stream import StreamTranslator
from .traits import Traits, traits_of
from .usage import translate_usage

__all__ = [
    "ChatForm",
    "MessagesRequest",
    "OpenAIError",
    "Options",
    "StreamTranslator",
    "Traits",
    "continued",
    "dropped_blocks",
    "needs_continuation",
    "openai_headers",
    "traits_of",
    "translate_error",
    "translate_request",
    "translate_response",
    "translate_usage",
]
