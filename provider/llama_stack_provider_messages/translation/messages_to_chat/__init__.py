"""Messages API -> chat completions: requests on their way in, answers, streams and errors on their way out."""

from llama_stack_provider_messages.translation.inline_data import PDF, read_base64

from .backend.adapt import Adaptation, adapt
from .backend.presets import PRESETS, PROVIDER_PRESETS, profile_for
from .context import Policy, Walk
from .loaded_media import Failed, Loaded, LoadedFile, LoadedText
from .profile import Profile
from .reply.options import ReplyForm
from .reply.response import refused, translate_response
from .reply.stream import StreamTranslator
from .reply.usage import usage_fields
from .request.media.needed import Wanted, wanted_media
from .request.media.received import received
from .request.request import ChatRequest, translate_request
from .thinking_signature import PREFIX as SIGNATURE_PREFIX
from .thinking_signature import Seal

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
    "Policy",
    "Profile",
    "ReplyForm",
    "Seal",
    "StreamTranslator",
    "Walk",
    "Wanted",
    "adapt",
    "profile_for",
    "read_base64",
    "received",
    "refused",
    "translate_request",
    "translate_response",
    "usage_fields",
    "wanted_media",
]
