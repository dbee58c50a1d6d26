"""Messages API -> chat completions: requests on their way in, answers, streams and errors on their way out."""

from .adapt import Adaptation, adapt
from .error import ContentPolicyError, ContextOverflowError, translate_error
from .inline_data import PDF, read_base64
from .loaded import Failed, Loaded, LoadedFile, LoadedText
from .presets import PRESETS, PROVIDER_PRESETS, profile_for
from .profile import Profile
from .received import received
from .redaction import redact
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
    "ContentPolicyError",
    "ContextOverflowError",
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
    "redact",
    "refused",
    "translate_error",
    "translate_request",
    "translate_response",
    "usage_fields",
    "wanted_media",
    "without_switches",
]
