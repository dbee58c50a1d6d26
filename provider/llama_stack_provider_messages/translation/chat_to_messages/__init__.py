"""Chat completions -> Messages API: translates requests to a Messages upstream, and responses and errors back."""

from llama_stack_provider_messages.translation.surrogates import replace_lone_surrogates

from .models import Traits, traits_of
from .options import TranslationOptions
from .reply.error import OpenAIError, translate_error
from .reply.options import ReplyOptions
from .reply.response import dropped_blocks, translate_response
from .reply.stop_reason import continued, needs_continuation, paused_content
from .reply.stream import StreamTranslator
from .reply.usage import translate_usage
from .request.request import MessagesRequest, translate_request
from .unary_events import events_of

__all__ = [
    "MessagesRequest",
    "OpenAIError",
    "ReplyOptions",
    "StreamTranslator",
    "Traits",
    "TranslationOptions",
    "continued",
    "dropped_blocks",
    "events_of",
    "needs_continuation",
    "paused_content",
    "replace_lone_surrogates",
    "traits_of",
    "translate_error",
    "translate_request",
    "translate_response",
    "translate_usage",
]
