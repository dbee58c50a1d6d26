"""Tool calls of a reply: assigns streamed deltas to calls, and turns each call into a ``tool_use`` block.

By the schema, ``index`` identifies the call, and the first delta has id and name. Servers differ:

    id     name   arguments so far    the delta belongs to

    new    any    none, or complete   a new call (Gemini- and Ollama-like servers send index 0 for all: ccNexus 89)
    new    new    incomplete          a new call
    new    none   incomplete          the same call, from a server that makes an id per delta
    none   new    any                 a new call, unless the call has no name yet, or its name continues
    same   new    complete            a new call
    any    same   complete            with arguments: a new call (LiteLLM's test_parallel_tool_calls), but with the same
                                      id it may be the same call again, see below; without: the server repeats the name,
                                      and if arguments follow, they are such a new call

A delta without an index belongs to the call with its id, without an id to the last call.

A complete call may be repeated with its id and name: some servers repeat it at the end, send ``{}`` before the
arguments, or send all arguments so far each time. A client must not execute such a call twice. So the repetition is
held (``ToolUseBlock.repeat``) until its arguments are complete, and the decoded inputs are compared. Then the
repetition is merged into the call, or announced as a call of its own:

    first            second                  result
    {"city":"Oslo"}  {"city": "Oslo"}        one call: equal
    {}               {"city": "Oslo"}        one call with the second input, unless the first one is already closed
    {"city":"Oslo"}  {}                      one call with the first input
    {"a":1}          {"a":1,"b":2}           one call with the second input, or the first if that is already closed
    {"city":"Oslo"}  {"city":"Rome"}         two calls

A name usually arrives in one piece. A second piece continues it if all of this holds: the call is the same (index and
id, if sent), there are no arguments yet, both pieces together are a prefix of a tool name of the request, and the
pieces are not both tool names themselves. ``get_`` and ``weather`` are one call, ``time`` and ``date`` are two.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from llama_stack_provider_messages.translation.fields import field, list_field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import byte_length
from llama_stack_provider_messages.translation.names import client_id
from llama_stack_provider_messages.translation.tool_arguments import (
    ToolInput,
    arguments_text,
    load_tool_input,
    parse_tool_input,
)

from .options import NewId, ReplyOptions
from .reasoning import ReasoningPiece, call_extra

MISSING_NAME = "The backend sent a tool call without the name of the tool"
"""Error message for a call that cannot be sent to the client."""

_LEGACY_INDEX = object()
"""Index of the legacy ``function_call``, which has none."""


class ReplyCallIds:
    """Gives each call of a reply an id that is valid in the Messages API and unique; a new id replaces any other.

    Args:
        new_id: Makes an id for a prefix.
        taken: Ids in use: backends that count from 0 in every response repeat those of earlier calls.
    """

    def __init__(self, new_id: NewId, taken: Iterable[str] = ()) -> None:
        self._new_id = new_id
        self._taken = set(taken)

    def claim(self, backend_id: str) -> str:
        """Return the client's form of the backend's id if it is valid and free, else a new id."""
        wrapped = client_id(backend_id)
        chosen = wrapped if wrapped and wrapped not in self._taken else self._new_id("toolu_")
        self._taken.add(chosen)
        return chosen


class ToolUseBlock:
    """A tool call block. Its start waits for the name; it waits for the id only until there are arguments to send.

    Args:
        claim: Returns the client's id for the backend's id, which may be ``""``.
        options: Hold the tool names. A name that is a prefix of another may be incomplete; the start then waits for
            arguments.
        extra: The backend's signature of the call.

    Attributes:
        repeat: A repetition of this call that arrived after the call was complete. The block stays open until the
            repetition is resolved.
    """

    kind = "tool_use"

    def __init__(self, claim: Callable[[str], str], options: ReplyOptions, extra: ReasoningPiece | None = None) -> None:
        self.backend_id = ""
        self.name = ""
        self.input = ToolInput()
        self.extra = extra
        self.repeat: ToolUseBlock | None = None
        self.arguments: list[str] = []  # as received
        self._members: dict[str, str] = {}
        self._claim = claim
        self._options = options
        self._opened = self._closed = False
        self._released = ""

    def add(self, call_id: str, name: str, arguments: str) -> None:
        """Add one delta; the first id and the first name are kept."""
        self.backend_id = self.backend_id or call_id
        self.name = self.name or name
        self.arguments.append(arguments)
        self.input.add(arguments)

    @property
    def latest(self) -> "ToolUseBlock":
        """The block that receives the next piece of arguments: the repetition if that has arguments, too."""
        return self.repeat if self.repeat and not self.repeat.input.blank else self

    @property
    def repeats_id(self) -> bool:
        """Whether there is a repetition with the same id."""
        return self.repeat is not None and bool(self.backend_id) and self.repeat.backend_id == self.backend_id

    @property
    def ready(self) -> bool:
        """Whether the start can be sent."""
        self._released += self.input.take()
        if not self.name or self._released:
            return bool(self.name)
        longer_names = (tool for tool in self._options.tools if tool != self.name and tool.startswith(self.name))
        return bool(self.backend_id) and not (self.input.blank and any(longer_names))

    @property
    def complete(self) -> bool:
        """Whether the arguments are a complete object and no repetition is pending."""
        return bool(self.name) and self.input.complete and self.latest is self

    @property
    def empty(self) -> bool:
        """Whether the call is padding, without name and arguments."""
        return not self.name and self.input.blank

    def absorb(self, again: "ToolUseBlock") -> bool:
        """Adopt the input of a repetition with the same id; return False if it is another call."""
        first, second = self.comparable(), again.comparable()
        if not second or first == second:
            return True
        if not first:
            if not self._closed:
                self.input, self.arguments, self._members = again.input, again.arguments, second
            return not self._closed
        if not first.items() <= second.items():
            return False
        if not self._closed:
            value = parse_tool_input("".join(again.arguments))
            self.input.extend({name: value[name] for name in value if name not in first})
            self._members = second
        return True

    def comparable(self) -> dict[str, str]:
        """Return the members of the decoded input, each value as normalized JSON text; cached."""
        if not self._members:
            value = parse_tool_input("".join(self.arguments))
            self._members = {name: json.dumps(member, sort_keys=True) for name, member in value.items()}
        return self._members

    def start(self) -> dict[str, Any]:
        """Return the empty block of ``content_block_start``."""
        return self._options.tool_use(self._claim(self.backend_id), self.name, {})

    def deltas(self) -> list[dict[str, Any]]:
        """Return the new deltas since the last call; the first one is empty, as in the API."""
        text, self._released = self._released + self.input.take(), ""
        first = [] if self._opened else [""]
        self._opened = True
        return [{"type": "input_json_delta", "partial_json": piece} for piece in (*first, *([text] if text else ()))]

    def last_deltas(self, *, cut: bool) -> list[dict[str, Any]]:
        """Return the deltas to send before the stop."""
        self._closed = True
        text = self.input.rest(cut=cut)
        return [{"type": "input_json_delta", "partial_json": text}] if text else []

    def complete_block(self, *, cut: bool) -> dict[str, Any]:
        """Return the complete block of a unary response."""
        tool_input = load_tool_input(self.input.rest(cut=cut))
        return self._options.tool_use(self._claim(self.backend_id), self.name, tool_input)


def unary_calls(record: object, options: ReplyOptions, new_id: NewId) -> list[ToolUseBlock]:
    """Return the calls of a message; padding without name and arguments is skipped."""
    ids = ReplyCallIds(new_id, options.call_ids)
    blocks = []
    for call in _calls_of(record):
        function = field(call, "function")
        block = ToolUseBlock(ids.claim, options, call_extra(call))
        block.add(text_field(call, "id"), text_field(function, "name"), arguments_text(field(function, "arguments")))
        blocks.append(block)
    return [block for block in blocks if not block.empty]


def call_bytes(record: object) -> int:
    """Return the UTF-8 bytes of the arguments in the calls of a message or delta."""
    functions = (field(call, "function") for call in _calls_of(record))
    return sum(byte_length(arguments_text(field(function, "arguments"))) for function in functions)


def _calls_of(record: object) -> list[Any]:
    """Return the calls of a message or delta, the legacy ``function_call`` last and in the form of a call."""
    calls, legacy = list_field(record, "tool_calls"), field(record, "function_call")
    return calls if legacy is None else [*calls, {"index": _LEGACY_INDEX, "function": legacy}]


class CallTracker:
    """Finds the block for each tool call delta of a stream, by the rules of the module.

    Args:
        new_id: Makes an id for a prefix.
        options: Hold the tool names of the request.
    """

    def __init__(self, new_id: NewId, options: ReplyOptions) -> None:
        self._ids = ReplyCallIds(new_id, options.call_ids)
        self._options = options
        self._by_index: dict[object, ToolUseBlock] = {}
        self.blocks: list[ToolUseBlock] = []

    def feed(self, delta: object) -> Iterator[ToolUseBlock]:
        """Process the tool calls of one delta; yield new blocks."""
        for call in _calls_of(delta):
            index = field(call, "index")
            yield from self._add(index if isinstance(index, int) or index is _LEGACY_INDEX else None, call)

    def finish(self) -> Iterator[ToolUseBlock]:
        """Resolve the held repetitions at the end of the stream; yield new blocks."""
        for block in list(self.blocks):
            yield from self._resolve_repeat(block, None)

    def _add(self, index: object, call: object) -> Iterator[ToolUseBlock]:
        function, call_id = field(call, "function"), text_field(call, "id")
        name, arguments = text_field(function, "name"), arguments_text(field(function, "arguments"))
        block = self._find(index, call_id)
        continues = block is not None and self._continues_name(block, call_id, name)
        if block is None or (not continues and _is_new_call(block.latest, call_id, name)):  # the first table
            if block is not None:
                yield from self._resolve_repeat(block, index)
            block = ToolUseBlock(self._ids.claim, self._options, call_extra(call))
            block.add(call_id, name, arguments)
            yield from self._announce(block, index)
            return
        target = block.latest
        if continues:  # the last rule
            target.name += name
        elif block.complete and (name or (block.repeat and arguments.strip())):  # a repetition, held; the second table
            block.repeat = block.repeat or ToolUseBlock(self._ids.claim, self._options, call_extra(call))
            target = block.repeat
        target.add(call_id, name or block.name, arguments)
        if block.repeat and not block.repeat.input.blank and (block.repeat.complete or not block.repeats_id):
            yield from self._resolve_repeat(block, index)

    def _find(self, index: object, call_id: str) -> ToolUseBlock | None:
        """Return the block of a known call, by index, else by id, else the last one."""
        if index is not None:
            return self._by_index.get(index)
        if not call_id:
            return self.blocks[-1] if self.blocks else None
        return next((block for block in reversed(self.blocks) if block.backend_id == call_id), None)

    def _continues_name(self, block: ToolUseBlock, call_id: str, name: str) -> bool:
        """Whether ``name`` is the next piece of the call's name; see the module's last rule."""
        if not (name and block.name and block.input.blank and call_id in ("", block.backend_id)):
            return False
        joined, tools = block.name + name, self._options.tools
        return any(tool.startswith(joined) for tool in tools) and not {block.name, name} <= tools

    def _resolve_repeat(self, block: ToolUseBlock, index: object) -> Iterator[ToolUseBlock]:
        """Merge a repetition into its call or, if it is another call, yield it."""
        again, same_id = block.repeat, block.repeats_id
        block.repeat = None
        if again and not again.input.blank and not (same_id and block.absorb(again)):
            yield from self._announce(again, index)

    def _announce(self, block: ToolUseBlock, index: object) -> Iterator[ToolUseBlock]:
        self.blocks.append(block)
        self._by_index[index] = block
        yield block


def _is_new_call(block: ToolUseBlock, call_id: str, name: str) -> bool:
    """Whether a delta for a known index certainly starts another call; see the module's first table."""
    same_id = bool(call_id) and call_id == block.backend_id
    if call_id and block.backend_id and not same_id:
        return bool(name) or block.input.blank or block.input.complete
    renamed = bool(name and block.name) and name != block.name
    return renamed and (block.complete or not same_id)
