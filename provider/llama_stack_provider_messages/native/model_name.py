"""Replaces the upstream's model name in a response with the name that the client requested.

Only two members are replaced: ``model`` of a Message, and ``message.model`` of a ``message_start`` event. Any other
member of that name, and the upstream's model name elsewhere (in content, metadata, another event), is not changed.
"""

import json
import re

from llama_stack_api_messages.json_members import Member, edited

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SPACE = rb"(?:[ \t\r\n]|(?<=[\r\n])data:)*+"
"""White space inside data, which may be split over several ``data:`` lines."""
_NESTED = 6
"""How deeply values before the name may be nested; in known ``message_start`` events it is two. After deeper ones the
upstream's name is not replaced: a regular expression needs a limit, no limit would take a parser."""
_LONGEST = 16_384
"""Bytes at the start of a stream in which the name is searched."""


def _value(depth: int) -> bytes:
    inner = rb'[^\[\]{}"]++|' + _STRING
    container = rb"[\[{](?:" + inner + rb")*+[\]}]"
    for _ in range(depth):
        container = rb"[\[{](?:" + inner + rb"|" + container + rb")*+[\]}]"
    return rb"(?:" + _STRING + rb"|" + container + rb'|[^\s,\[\]{}"]++)'


_OTHER_MEMBERS = rb"(?:(?!%s)" + _STRING + _SPACE + rb":" + _SPACE + _value(_NESTED) + _SPACE + rb"," + _SPACE + rb")*+"
_START = rb"(?:\A(?:\xef\xbb\xbf)?|(?<=[\r\n]))"
"""The start of a line; the first line may begin with a byte order mark."""
_EVENT_NAME = re.compile(_START + rb"event:[ ]?([^\r\n]*)")
_DATA = re.compile(_START + rb"(?=data:)")
_EVENT_END = re.compile(rb"(?>\r\n|\r|\n){2}")
_MEMBER = re.compile(
    b"(" + _STRING + b")" + _SPACE + b":" + _SPACE + b"(" + _value(_NESTED) + b")" + _SPACE + b"," + _SPACE
)
_BEFORE_NAME = re.compile(
    rb"data:" + _SPACE + rb"\{" + _SPACE + b"(" + _OTHER_MEMBERS % rb'"message"' + rb')"message"' + _SPACE + rb":"
    + _SPACE + rb"\{" + _SPACE + _OTHER_MEMBERS % rb'"model"' + rb'"model"' + _SPACE + rb":" + _SPACE + rb'(?=")',
    re.DOTALL,
)  # fmt: skip
_NAME = re.compile(_STRING, re.DOTALL)
_LONGEST_NAME = 4_096
_CANDIDATE = b'"model"'
_VALUE = re.compile(_CANDIDATE + _SPACE + b":" + _SPACE + b'(?=")')
_UNFINISHED = re.compile(_CANDIDATE + rb"[ \t\r\ndat:]{0,256}\Z")
_MOST_CANDIDATES = 64
"""How many members named ``model`` may be examined before the right one."""
_TOO_LATE = re.compile(
    _START + rb"event:[ ]?(?:content_block_|message_delta|message_stop)"
    rb'|"type"[ ]?:[ ]?"(?:content_block_start|content_block_delta|message_delta|message_stop)"'
)
_OVERLAP = 64
"""Bytes that the search overlaps with the previous chunk, for a pattern split between two chunks."""


def _is_start(lines: bytes, members: bytes) -> bool:
    """Return whether an event is ``message_start``: by its type, else by its name, else by its shape.

    Args:
        lines: The event's lines before its data.
        members: The members of its data before ``message``.
    """
    position = 0
    while member := _MEMBER.match(members, position):
        if member[1] == b'"type"':
            return member[2] == b'"message_start"'
        position = member.end()
    name = _EVENT_NAME.search(lines)
    return name is None or name[1].strip() == b"message_start"


class ModelNameRewriter:
    """Replaces the model name in ``message_start`` of a stream.

    All bytes are passed on as they arrive, except the name itself, which is held until it is complete. The buffer is
    searched once for each possible position of the name, not once for each chunk.

    Args:
        model: The model name that the client requested.

    Attributes:
        done: Whether all further bytes pass unchanged.
    """

    def __init__(self, model: str) -> None:
        self.done = False
        self._name = json.dumps(model).encode()
        self._seen = b""
        self._passed = 0
        self._event = 0  # start of the first event that may be message_start
        self._next = 0  # where to search on
        self._places = 0
        self._named: int | None = None  # position of the name

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those to pass on."""
        if self.done:
            return data
        before = len(self._seen)
        self._seen += data
        if self._named is None:
            self._named = self._find()
        if self._named is None:
            late = _TOO_LATE.search(self._seen, max(0, before - _OVERLAP))
            self.done = bool(late) or len(self._seen) > _LONGEST or self._places > _MOST_CANDIDATES
            return self._pass_to(len(self._seen))
        name = _NAME.match(self._seen, self._named)
        if name is None and len(self._seen) - self._named <= _LONGEST_NAME:
            return self._pass_to(self._named)
        if name is None:
            return self.close()
        self.done = True
        return self._pass_to(self._named) + self._name + self._seen[name.end() :]

    def close(self) -> bytes:
        """Return the bytes still held at the end of the stream."""
        held = b"" if self.done else self._pass_to(len(self._seen))
        self.done = True
        return held

    def _find(self) -> int | None:
        """Return the position of the name, once it has arrived."""
        while (place := self._seen.find(_CANDIDATE, self._next, _LONGEST)) >= 0:
            value = _VALUE.match(self._seen, place, _LONGEST)
            if value is None and _UNFINISHED.match(self._seen, place):
                return None
            self._next = place + len(_CANDIDATE)
            self._places += 1
            if value and (start := self._searched()) is not None:
                return start
        self._next = max(self._next, len(self._seen) - len(_CANDIDATE) + 1)
        return None

    def _searched(self) -> int | None:
        """Search the bytes received so far; return the position of the name, None if it is not among them."""
        while True:
            blank = _EVENT_END.search(self._seen, self._event, _LONGEST)
            data = _DATA.search(self._seen, self._event, blank.start() if blank else _LONGEST)
            before = _BEFORE_NAME.match(self._seen, data.end(), blank.end() if blank else _LONGEST) if data else None
            if data and before and _is_start(self._seen[self._event : data.end()], before[1]):
                return before.end()
            if blank is None:
                return None
            self._event = blank.end()

    def _pass_to(self, end: int) -> bytes:
        start, self._passed = self._passed, end
        return self._seen[start:end]


def echoed(body: bytes, found: list[Member], model: str) -> bytes:
    """Return a Message with the model name that the client requested.

    Args:
        body: The Message as the upstream sent it.
        found: Its top-level members.
        model: The requested model name.
    """
    name = json.dumps(model).encode()
    places = [value for member, value in found if member == "model" and body.startswith(b'"', value.start)]
    return edited(body, [(place, name) for place in places if body[place.start : place.end] != name])
