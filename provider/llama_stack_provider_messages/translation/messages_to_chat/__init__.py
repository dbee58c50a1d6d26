"""Messages API -> chat completions: translates requests to the backend, and responses and errors back."""

from llama_stack_provider_messages.translation.inline_data import PDF, read_base64

from .backend.adapt import Adaptation, adapt
from .backend.presets import PRESETS, PROVIDER_PRESETS, profile_for
from .context import Failed, Loaded, LoadedFile, LoadedText, Policy, TranslationContext
from .profile import Profile
from .reply.options import ReplyOptions
from .reply.response import refused, translate_response
from .reply.stop_and_usage import usage_fields
from .reply.stream import StreamTranslator
from .request.media_loading import NeededMedia, classify_download, needed_media
from .request.request import ChatRequest, translate_request
from .thinking_signature import PREFIX as SIGNATURE_PREFIX
from .thinking_signature import ThinkingSigner

__all__ = [
    "PDF",
    "PRESETS",
    "PROVIDER_PRESETS",
    "SIGNATURE_PREFIX",
    "Adaptation",
    "ChatRequest",
    "Failed",
    "Loaded",
    "LoadedFile",
    "LoadedText",
    "NeededMedia",
    "Policy",
    "Profile",
    "ReplyOptions",
    "StreamTranslator",
    "ThinkingSigner",
    "TranslationContext",
    "adapt",
    "classify_download",
    "needed_media",
    "profile_for",
    "read_base64",
    "refused",
    "translate_request",
    "translate_response",
    "usage_fields",
]
