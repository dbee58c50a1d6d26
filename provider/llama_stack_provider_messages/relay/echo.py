"""The model's name in an answer: a client reads the name it asked for, not the upstream's."""

import json
import re

from llama_stack_api_messages.members import Member, edited

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SPACE = rb"(?:[ \t\r\n]|(?<=[\r\n])data:)*+"
"""The data of an event may stand on several lines."""
_NESTED = 6
"""How deep values in front of the name may be nested; in what is known of ``message_start`` it is two."""
_LONGEST = 16_384
"""Bytes of a stream in which the name is searched."""


def _value(depth: int) -> bytes:
    inner = rb'[^\[\]{}"]++|' + _STRING
    container = rb"[\[{](?:" + inner + rb")*+[\]}]"
    for _ in range(depth):
        container = rb"[\[{](?:" + inner + rb"|" + container + rb")*+[\]}]"
    return rb"(?:" + _STRING + rb"|" + container + rb'|[^\s,\[\]{}"]++)'


_OTHER_MEMBERS = rb"(?:(?!%s)" + _STRING + _SPACE + rb":" + _SPACE + _value(_NESTED) + _SPACE + rb"," + _SPACE + rb")*+"
_EVENT_NAME = re.compile(rb"(?:^|[\r\n])event:[ ]?([^\r\n]*)")
_TYPE = re.compile(rb'"type"' + _SPACE + rb":" + _SPACE + b"(" + _STRING + b")")
_DATA = re.compile(rb"(?:^|(?<=[\r\n]))data:")
_EVENT_END = re.compile(rb"(?>\r\n|\r|\n){2}")
_BEFORE_NAME = re.compile(
    rb"data:" + _SPACE + rb"\{" + _SPACE + b"(" + _OTHER_MEMBERS % rb'"message"' + rb')"message"' + _SPACE + rb":"
    + _SPACE + rb"\{" + _SPACE + _OTHER_MEMBERS % rb'"model"' + rb'"model"' + _SPACE + rb":" + _SPACE + rb'(?=")',
    re.DOTALL,
)  # fmt: skip
_NAME = re.compile(_STRING, re.DOTALL)
_TOO_LATE = re.compile(rb'"(?:content_block_start|content_block_delta|message_delta|message_stop)"')


def _is_start(lines: bytes, members: bytes) -> bool:
    """Return whether an event is ``message_start``: by its type, else by its name, else by its form.

    Args:
        lines: Of the event, in front of its data.
        members: Of its data, in front of ``message``.
    """
    if kind := _TYPE.search(members):
        return kind[1] == b'"message_start"'
    name = _EVENT_NAME.search(lines)
    return name is None or name[1].strip() == b"message_start"


class ModelEcho:
    """Replaces the name in ``message_start`` as the bytes go by.

    Everything is passed on when it comes, except the name itself, which waits for its end.

    Args:
        model: What the client asked for.

    Attributes:
        done: Nothing more will be changed.
    """

    def __init__(self, model: str) -> None:
        self.done = False
        self._name = json.dumps(model).encode()
        self._seen = b""
        self._passed = 0
        self._event = 0  # where the first event begins that is not known to be another one

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those to pass on."""
        if self.done:
            return data
        self._seen += data
        before = self._find() if b'"model"' in self._seen else None
        if before is None:
            self.done = len(self._seen) > _LONGEST or bool(_TOO_LATE.search(self._seen))
            return self._pass_to(len(self._seen))
        name = _NAME.match(self._seen, before.end())
        if name is None and len(self._seen) <= 2 * _LONGEST:
            return self._pass_to(before.end())
        if name is None:
            return self.close()
        self.done = True
        return self._pass_to(before.end()) + self._name + self._seen[name.end() :]

    def close(self) -> bytes:
        """Return what is still held when the upstream has ended."""
        held = b"" if self.done else self._pass_to(len(self._seen))
        self.done = True
        return held

    def _find(self) -> re.Match[bytes] | None:
        """Return what stands in front of the name, once it is there."""
        while True:
            blank = _EVENT_END.search(self._seen, self._event, _LONGEST)
            data = _DATA.search(self._seen, self._event, blank.start() if blank else _LONGEST)
            before = _BEFORE_NAME.match(self._seen, data.start(), blank.end() if blank else _LONGEST) if data else None
            if data and before and _is_start(self._seen[self._event : data.start()], before[1]):
                return before
            if blank is None:
                return None
            self._event = blank.end()

    def _pass_to(self, end: int) -> bytes:
        start, self._passed = self._passed, end
        return self._seen[start:end]


def echoed(body: bytes, found: list[Member], model: str) -> bytes:
    """Return a whole Message under the name the client asked for.

    Args:
        body: As the upstream sent it.
        found: Its members.
        model: The name.
    """
    name = json.dumps(model).encode()
    places = [value for member, value in found if member == "model" and body.startswith(b'"', value.start)]
    return edited(body, [(place, name) for place in places if body[place.start : place.end] != name])
