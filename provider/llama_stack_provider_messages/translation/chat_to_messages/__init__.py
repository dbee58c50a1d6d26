"""Chat completions -> Messages API: requests on their way to an upstream that speaks Messages, and answers back."""

from .error import OpenAIError, translate_error
from .form import ChatForm
from .options import Options
from .request import MessagesRequest, translate_request
from .response import continued, translate_response
from .stop_reason import needs_continuation
from .stream import StreamTranslator
from .traits import Traits, traits_of

__all__ = [
    "ChatForm",
    "MessagesRequest",
    "OpenAIError",
    "Options",
    "StreamTranslator",
    "Traits",
    "continued",
    "needs_continuation",
    "traits_of",
    "translate_error",
    "translate_request",
    "translate_response",
]
