"""Replaces the upstream's model name in a response with the name that the client requested.

The model of a request may be an alias, and clients look prices and context windows up by the model of the response. So
``model`` of a Message is replaced, and ``message.model`` of a ``message_start`` event. Any other member of that name,
and the upstream's name elsewhere (in content, in metadata, in another event), is not changed.

``message_start`` is the first event of a stream, except for comments, pings and events of later API versions. The data
of each event up to it is held until the blank line, which costs nothing, because no client reads an event earlier. Then
the one value is replaced in place. All other bytes pass as they arrive:

    : comment                  passes
    event: message_start       passes
    data: {"type":"message_start","message":{"id":"msg_1","model":"up","usage":{...}}}
          ^ held from here on                                     ^^^^ replaced at the blank line

An event is ``message_start`` by the type in its data; without a type by its name; without both by its ``message``.
An upstream can make nothing large here: a stream passes unchanged after its first 16 KiB, and after its first content
block. Each event is parsed once, when it is complete: a search at each chunk once held the server for half a minute.
"""

import json

from llama_stack_api_messages.json_members import Member, edited, members, text_at, within
from llama_stack_provider_messages.upstream.sse import BOM, EVENT_END, field_of

_DATA = b"data:"
MAX_SEARCHED_BYTES = 16_384
"""Bytes at the start of a stream in which ``message_start`` must end; some hundred bytes are usual."""
_LATER_EVENTS = frozenset({
    "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
})  # fmt: skip
"""Events that come after ``message_start`` only."""


class ModelNameRewriter:
    """Replaces the model name in ``message_start`` of a stream.

    Args:
        model: The model name that the client requested.

    Attributes:
        done: Whether all further bytes pass unchanged.
    """

    def __init__(self, model: str) -> None:
        self.done = False
        self._model = json.dumps(model).encode()
        self._event = bytearray()  # the bytes of the current event
        self._passed = 0  # how many of them have been passed on
        self._searched = 0  # bytes of the events before it

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those to pass on."""
        if self.done:
            return data
        search_from = max(0, len(self._event) - 2)  # the blank line may have begun in the previous chunk
        self._event += data
        passing = b""
        while not self.done and (end := EVENT_END.search(self._event, search_from, self._left)):
            passing += self._renamed(bytes(self._event[: end.end()]))[self._passed :]
            del self._event[: end.end()]
            self._searched += end.end()
            self._passed = search_from = 0
        self.done |= len(self._event) > self._left
        # Of an event that is not complete, the bytes up to its first `data:` pass; after `done`, all of them.
        first_data = self._event.find(_DATA, max(0, self._passed - len(_DATA)))
        passed_before = self._passed
        self._passed = len(self._event) if self.done or first_data < 0 else first_data + len(_DATA)
        return passing + self._event[passed_before : self._passed]

    @property
    def _left(self) -> int:
        """How many more bytes are searched for ``message_start``."""
        return MAX_SEARCHED_BYTES - self._searched

    def close(self) -> bytes:
        """Return the bytes still held at the end of the stream; only the blank line of the event may be missing."""
        held = b"" if self.done else self._renamed(bytes(self._event))[self._passed :]
        self.done = True
        return held

    def _renamed(self, event: bytes) -> bytes:
        """Return an event with the name replaced, if it is ``message_start``."""
        bom = BOM if not self._searched and event.startswith(BOM) else b""
        name, data = "", bytearray(len(bom) * b" ")
        for line in event[len(bom) :].splitlines(keepends=True):
            field, value = field_of(line)
            if field == b"event":
                name = value.decode("utf-8", "replace").strip()
            # All but the data becomes spaces, so that positions in the JSON, on one line or several, are in the event.
            start = len(_DATA) if field == b"data" else len(line)
            data += len(line[:start]) * b" " + line[start:]
        json_text = bytes(data)
        try:
            found = dict(members(json_text))
            model = within(json_text, found["message"]).get("model") if "message" in found else None
        except ValueError:
            found, model = {}, None
        kind = text_at(json_text, found["type"]) if "type" in found else name or "message_start"
        if kind == "message_start" and model and json_text.startswith(b'"', model.start):
            self.done = True
            return edited(event, [(model, self._model)])
        self.done = kind in _LATER_EVENTS
        return event


def with_client_model(body: bytes, found: list[Member], model: str) -> bytes:
    """Return a Message with the model name that the client requested.

    Args:
        body: The Message as the upstream sent it.
        found: Its top-level members.
        model: The requested model name.
    """
    name = json.dumps(model).encode()
    places = [value for member, value in found if member == "model" and body.startswith(b'"', value.start)]
    return edited(body, [(place, name) for place in places if body[place.start : place.end] != name])
