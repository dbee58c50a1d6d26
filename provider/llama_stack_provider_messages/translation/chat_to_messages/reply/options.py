"""How the answer to a chat completions request has to look, as far as only the request says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """What translating the reply needs from the request.

    A tool is in ``custom_tools`` and ``wrapped_tools`` under both of its names, where it had to be renamed.

    Args:
        model: The name the client asked for, echoed.
        include_usage: The stream ends with a chunk of usage (``stream_options.include_usage``).
        legacy_functions: The request had ``functions``: a call is answered as ``function_call``.
        custom_tools: Tools whose calls are answered as ``custom``, with the text under ``input`` as the input.
        wrapped_tools: Functions whose arguments came as ``{"input": ...}``: what is under that key are the arguments.
        json_object: ``response_format`` asked for any JSON object, which the model was told in words.
        tool_names: Upstream's name of a tool -> the client's, for the renamed ones.
    """

    model: str
    include_usage: bool = False
    legacy_functions: bool = False
    custom_tools: frozenset[str] = frozenset()
    wrapped_tools: frozenset[str] = frozenset()
    json_object: bool = False
    tool_names: Mapping[str, str] = field(default_factory=dict)
