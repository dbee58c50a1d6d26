"""Repairs responses of an endpoint that deviates from the API: llama.cpp's ``/v1/messages``.

Observed (xllamacpp 2026.10.11549)                   becomes
all blocks end together, at the end of the stream    a block ends where the next one begins
``thinking`` begins without ``signature``            ``signature: ""``
a signature for a block that is followed by others   exactly one, right before the end of its block
``tool_use`` begins without ``input``                ``input: {}``
stop reason ``end_turn`` with a stop sequence        ``stop_sequence``
``tool_use`` with one, which cut the arguments       ``stop_sequence``: the call is truncated
``chatcmpl-...`` as the id of a message              ``msg_...``
usage that lacks fields; at the end only output      all fields, input counts of the start included
``event: error`` with code, message and type alone   an ``error`` event in the envelope

``message.py`` repairs the parts that a Message and a stream share, ``stream.py`` the order of events.
"""

from .message import repair_message
from .stream import StreamRepair

__all__ = ["StreamRepair", "repair_message"]
