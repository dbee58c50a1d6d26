"""Options that translating a response needs from its request."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """Options for the reply, taken from the request.

    A renamed tool is in ``custom_tools`` and ``wrapped_tools`` under both of its names.

    Args:
        model: The client's model name, echoed in the reply.
        include_usage: The stream ends with a chunk of usage (``stream_options.include_usage``).
        legacy_functions: The request had ``functions``: a tool call is returned as ``function_call``.
        custom_tools: Tools whose calls are returned as ``custom``, with the text under ``input`` as the input.
        wrapped_tools: Functions whose arguments come as ``{"input": ...}``: the value of that key is returned.
        json_object: ``response_format`` requires any JSON object; the model only has an instruction to write one.
        tool_names: Upstream's name of a renamed tool -> the client's name.
    """

    model: str
    include_usage: bool = False
    legacy_functions: bool = False
    custom_tools: frozenset[str] = frozenset()
    wrapped_tools: frozenset[str] = frozenset()
    json_object: bool = False
    tool_names: Mapping[str, str] = field(default_factory=dict)
