"""Tool call arguments: parses the model's text into the object that ``tool_use.input`` requires.

Problem: by the schema, ``arguments`` is the JSON text of an object, in a stream in pieces. Models and their servers
send less: no text for no arguments, arrays, doubly encoded objects, empty objects before the real one, text after it,
text that breaks off. A client's accumulator raises on broken JSON, and a gateway that did so itself lost the whole
response, text included (APISIX 13599). Empty arguments that were passed on made every later request of the
conversation fail (agentgateway 3002).

Rules:

- Arguments are released one complete top-level member at a time, as the Messages API does by default. So the text that
  has been released is always the beginning of a valid object.
- Text of the model is kept: key order and white space are not changed (ollama ac83ac20c).
- Clients execute tool calls, so values are never guessed. Missing brackets are added only after a complete value, and
  never inside an array, where more elements may have been intended:

    {"a": {"b": "c"    ->  {"a": {"b": "c"}}      after a string, a bracket, true, false, null
    {"limit": 1        ->  INVALID_JSON           it may be the start of 1000
    {"edits": [{}      ->  INVALID_JSON           more edits may be missing

- Arguments that cannot be repaired are put under the key ``INVALID_JSON``: the client gets a call it can reject, and
  the model sees its own output. A value that is not an object is put under ``value``.
- If the response was truncated, an object keeps its complete members and stays open, as in the Messages API.

Example, in three pieces; the last line is what ``rest`` returns:

    piece                  released
    {"path": "a.p          nothing
    y", "limit": 1         {"path": "a.py"
    00} and more           nothing
                           , "limit": 100}

Unary responses and streams use the same class.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from llama_stack_api_messages.json_bytes import reject_constant

_MAX_DEPTH = 200
"""Levels of nesting. Deeper input counts as invalid: a later JSON encoder may exceed its recursion limit."""
_MAX_REPAIRED_MARKS = 20_000
"""Maximum number of brackets, quotes, commas and escapes in arguments that ``parse_tool_input`` repairs. Repair visits
each several times, which takes seconds for a megabyte of them."""

_OUTSIDE_STRING = re.compile(r'["{}\[\],]')
_INSIDE_STRING = re.compile(r'["\\]')
_DEPTH_CHANGE = {"{": 1, "[": 1, "}": -1, "]": -1}


class ToolInput:
    """Collects the arguments of one tool call from pieces of any size."""

    def __init__(self) -> None:
        self._held: list[str] = []  # pieces since the last release
        self._ready: list[str] = []  # complete members not taken yet
        self._released = False
        self._first = ""  # the first non-blank character, "" until one arrives
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._broken = False
        self.complete = False

    def add(self, piece: object) -> None:
        """Add a piece of the arguments; servers send strings, whole objects, and null for nothing."""
        text = arguments_text(piece)
        if not text:
            return
        self._first = self._first or text.strip()[:1]
        if self._first != "{" or self.complete or self._broken:
            self._held.append(text)
        else:
            self._scan(text)

    @property
    def blank(self) -> bool:
        """Whether the arguments so far are empty or white space."""
        return not self._first

    def take(self) -> str:
        """Return the text of the members completed since the last call."""
        ready = "".join(self._ready)
        self._ready.clear()
        return ready

    def rest(self, *, cut: bool) -> str:
        """Return the text that completes the object.

        Args:
            cut: The response was truncated, so an incomplete object stays open, as in the Messages API.
        """
        ready, tail = self.take(), "".join(self._held)
        if cut and self._first == "{" and not self.complete:
            return ready
        if self._released:  # the held text begins with the comma after the last member; as "{" it opens an object
            body = _object_text("{" + tail[1:], raw=tail[1:].strip() or tail)
            return ready + ("}" if body == "{}" else "," + body[1:])
        return ready + _object_text(tail)

    def extend(self, members: dict[str, Any]) -> None:
        """Add one or more new members to a complete, non-empty object."""
        tail = "".join(self._held)
        body = _object_text("{" + tail[1:] if self._released else tail)
        self._held = [(tail[:1] if self._released else "{") + body[1:-1] + "," + dump_json(members)[1:]]

    def _scan(self, text: str) -> None:
        """Read a piece of the object: hold it, and release each member at the comma after it."""
        start = position = 0
        while position < len(text) and not (self.complete or self._broken):
            if self._in_string:
                position = self._skip_string(text, position)
                continue
            found = _OUTSIDE_STRING.search(text, position)
            if found is None:
                break
            position, mark = found.end(), found[0]
            self._in_string = mark == '"'
            self._depth += _DEPTH_CHANGE.get(mark, 0)
            self.complete = self._depth == 0
            if mark == "," and self._depth == 1:
                self._held.append(text[start : found.start()])
                start = found.start()
                self._release_member()
        self._held.append(text[start:])

    def _skip_string(self, text: str, position: int) -> int:
        """Return the position after the string or after the text, whichever ends first."""
        if self._escaped:
            self._escaped = False
            return position + 1
        found = _INSIDE_STRING.search(text, position)
        if found is None:
            return len(text)
        self._escaped = found[0] == "\\"
        self._in_string = self._escaped
        return found.end()

    def _release_member(self) -> None:
        member = "".join(self._held)
        value = _load("{" + (member[1:] if self._released else member[member.find("{") + 1 :]) + "}")
        if isinstance(value, dict) and value:
            self._ready.append(member)
            self._released = True
            self._held.clear()
        else:
            self._broken = True


def parse_tool_input(arguments: object, *, cut: bool = False) -> dict[str, Any]:
    """Return the input object for the arguments in a unary response.

    Args:
        arguments: A JSON string according to the schema; some servers send an object or null.
        cut: The response was truncated at the output limit.
    """
    if isinstance(arguments, str):
        value = _load(arguments)
        if isinstance(value, dict):
            return value
        if value is _INVALID and mark_count(arguments) > _MAX_REPAIRED_MARKS:
            return {"INVALID_JSON": arguments}
    collected = ToolInput()
    collected.add(arguments)
    return load_tool_input(collected.rest(cut=cut))


def load_tool_input(text: str) -> dict[str, Any]:
    """Return the object for accumulated ``partial_json``; if truncated, only its complete members."""
    for candidate in (text or "{}", text + "}"):
        value = _load(candidate)
        if value is not _INVALID:
            return value if isinstance(value, dict) else {"value": value}
    return {"INVALID_JSON": text}


def dump_json(value: object) -> str:
    """Return JSON as models write it: key order kept, a space after colon and comma, non-ASCII unescaped.

    Prompts must not change from turn to turn, or the backend's prefix cache misses (ollama ac83ac20c). NaN and
    Infinity, which JSON lacks, become null.
    """
    try:
        return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 cannot encode
        return json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None))


def arguments_text(arguments: object) -> str:
    """Return tool call arguments as text. Servers send a string, a whole object, or null for nothing.

    A value that is not valid JSON becomes text that is not valid JSON, which is detected when the text is parsed.
    """
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return f"<{type(arguments).__name__}>"


_INVALID = object()
_CONTAINERS = frozenset({dict, list})


def _load(text: str, *, strict: bool = True) -> object:
    """Return the value of a JSON text, or ``_INVALID``; NaN and Infinity, which Python accepts, are invalid."""
    try:
        value: object = json.loads(text, strict=strict, parse_float=_finite, parse_constant=reject_constant)
    except (ValueError, RecursionError):
        return _INVALID
    return _INVALID if text.count("{") + text.count("[") > _MAX_DEPTH and _is_deep(value) else value


def _finite(text: str) -> float:
    """Return a finite number; one beyond the float range would become Infinity, which is not valid JSON."""
    value = float(text)
    if not math.isfinite(value):
        reject_constant(text)
    return value


def _is_deep(value: object) -> bool:
    """Whether a value is nested deeper than ``_MAX_DEPTH``. Works level by level, without recursion."""
    level: list[Any] = [value] if type(value) in _CONTAINERS else []
    for _ in range(_MAX_DEPTH):
        inner = (part.values() if isinstance(part, dict) else part for part in level)
        level = [part for parts in inner for part in parts if type(part) in _CONTAINERS]
        if not level:
            return False
    return True


def mark_count(text: str) -> int:
    """Return the number of potentially structural JSON characters in a text, an upper bound for its values."""
    return sum(text.count(mark) for mark in '{}[],"\\')


def _object_text(text: str, *, raw: str = "") -> str:
    """Return arguments as JSON text of an object; ``raw`` is the model's original text, if it differs."""
    text = text.strip()
    value = _load(text or "{}")
    if isinstance(value, str):  # double-encoded
        inner = _load(value)
        value = inner if isinstance(inner, dict) else value
        return dump_json(value if isinstance(value, dict) else {"value": value})
    if isinstance(value, dict):
        return text or "{}"
    if value is not _INVALID:
        return "{}" if value is None else dump_json({"value": value})
    return _repaired(text, raw or text)


def _repaired(text: str, raw: str) -> str:
    """Return broken arguments as JSON text of an object, with ``INVALID_JSON`` as the last resort."""
    text = _FALSE_STARTS.sub("", text)
    end = next((position for position, _, depth in _structure(text) if depth == 0), len(text))
    head = text[:end]  # ignore anything after the object
    if isinstance(_load(head), dict):
        return head
    for candidate in (head, head + _closers(head)):
        value = _load(candidate, strict=False)
        if isinstance(value, dict):
            return dump_json(value)
    return dump_json({"INVALID_JSON": raw})


_FALSE_STARTS = re.compile(r"\A(?:\{\s*\}\s*)+(?=\{)")
"""Empty objects before the real object, as some servers send them."""


def _closers(text: str) -> str:
    """Return the closing brackets a text lacks; ``""`` where closing would be a guess (see the module's rules)."""
    stack: list[str] = []
    for _, mark, _ in _structure(text):
        if mark == _OPEN_STRING:
            return ""
        if mark in "{[":
            stack.append(mark)
        elif stack:
            stack.pop()
    return "}" * len(stack) if text.endswith(_COMPLETE_ENDINGS) and "[" not in stack else ""


_COMPLETE_ENDINGS = ("}", "]", '"', "true", "false", "null")
"""Endings of complete values, which no further character can extend."""
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?P<end>"?)|[{}\[\]]', re.DOTALL)
_OPEN_STRING = "open"


def _structure(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield each bracket, and an unfinished string, with the position after it and the depth there."""
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = token[0][0]
        if mark == '"':
            if not token["end"]:
                yield token.end(), _OPEN_STRING, depth
            continue
        depth += _DEPTH_CHANGE[mark]
        yield token.end(), mark, depth
