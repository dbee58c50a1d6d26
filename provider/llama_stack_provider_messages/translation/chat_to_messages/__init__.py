"""Chat completions -> Messages API: requests on their way to an upstream that speaks Messages."""

from .form import ChatForm
from .options import Options
from .request import MessagesRequest, translate_request
from .traits import Traits, traits_of

__all__ = ["ChatForm", "MessagesRequest", "Options", "Traits", "traits_of", "translate_request"]
