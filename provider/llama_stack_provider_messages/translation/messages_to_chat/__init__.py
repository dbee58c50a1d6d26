"""Messages API -> chat completions: requests on their way in, answers, streams and errors on their way out."""

from llama_stack_provider_messages.translation.inline_data import PDF, read_base64

from .adapt import Adaptation, adapt
from .loaded import Failed, Loaded, LoadedFile, LoadedText
from .presets import PRESETS, PROVIDER_PRESETS, profile_for
from .profile import Profile
from .received import received
from .reply import ReplyForm
from .request import ChatRequest, translate_request
from .response import refused, translate_response
from .seal import PREFIX as SIGNATURE_PREFIX
from .seal import Seal
from .stream import StreamTranslator
from .thinking import without_switches
from .usage import usage_fields
from .walk import Policy, Walk
from .wanted import Wanted, wanted_media

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
    "without_switches",
]
