"""Messages API -> chat completions: requests on their way in, answers, streams and errors on their way out."""

from .adapt import Adaptation, adapt
from .error import ContentPolicyError, translate_error
from .profile import PRESETS, PROVIDER_PRESETS, Profile, profile_for
from .redaction import redact
from .reply import ReplyForm
from .request import ChatRequest, translate_request
from .response import refused, translate_response
from .stream import StreamTranslator
from .thinking import without_switches
from .walk import Policy, Walk

__all__ = [
    "PRESETS",
    "PROVIDER_PRESETS",
    "Adaptation",
    "ChatRequest",
    "ContentPolicyError",
    "Policy",
    "Profile",
    "ReplyForm",
    "StreamTranslator",
    "Walk",
    "adapt",
    "profile_for",
    "redact",
    "refused",
    "translate_error",
    "translate_request",
    "translate_response",
    "without_switches",
]
