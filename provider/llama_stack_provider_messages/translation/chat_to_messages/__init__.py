"""Chat completions -> Messages API: translates requests to a Messages upstream, and responses and errors back."""

from llama_stack_provider_messages.translation.events import events_of
from llama_stack_provider_messages.translation.surrogates import replace_lone_surrogates

from .context import TranslationOptions
from .models import Traits, traits_of
from .reply.error import OpenAIError, translate_error
from .reply.finish import continued, needs_continuation, paused_content
from .reply.response import ReplyOptions, dropped_blocks, translate_response
from .reply.stream import StreamTranslator
from .request.request import MessagesRequest, translate_request

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
]
