"""Messages API -> chat completions: requests on their way in, answers, streams and errors on their way out."""

from .error import translate_error
from .profile import PROFILES, Profile, profile_for
from .redaction import redact
from .request import translate_request
from .response import translate_response
from .stream import StreamTranslator
from .thinking import without_switches

__all__ = [
    "PROFILES",
    "Profile",
    "StreamTranslator",
    "profile_for",
    "redact",
    "translate_error",
    "translate_request",
    "translate_response",
    "without_switches",
]
