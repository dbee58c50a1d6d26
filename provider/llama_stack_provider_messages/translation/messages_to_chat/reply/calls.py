"""Assigns tool call deltas to tool calls.

By the schema, ``index`` identifies the call, and the first delta has id and name. Servers differ:

    new id on a known index                  a new call (Gemini- and Ollama-like servers send 0 for all: ccNexus 89)
    new id, no name, call still incomplete   the same call, from a server that makes an id per delta
    no id, new name on a known index         a new call, unless the call has no name yet, or its name continues
    same name, call complete, more arguments a new call (LiteLLM's test_parallel_tool_calls); with the same id it may be
                                             the same call again, see below
    same name, call complete, no arguments   the name is repeated; arguments that follow are those of the row above
    same id, new name, call complete         a new call
    no index                                 by id; else the last call

A complete call may be repeated with its id and name: some servers repeat it at the end, send ``{}`` before the
arguments, or send all arguments so far each time. A client must not execute such a call twice. So the repetition is
held until its arguments are complete, and the decoded inputs are compared:

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

from collections.abc import Iterable, Iterator

from llama_stack_provider_messages.translation.fields import field, list_field, text_field
from llama_stack_provider_messages.translation.names import client_id
from llama_stack_provider_messages.translation.tool_arguments import arguments_text

from .blocks import ToolUseBlock
from .options import NewId, ReplyOptions
from .reasoning import call_extra


class CallIds:
    """Gives each call an id that is valid in the Messages API and unique in the response.

    Args:
        new_id: Makes an id for a prefix.
        taken: Ids in use: backends that count from 0 in every response repeat those of earlier calls.
    """

    def __init__(self, new_id: NewId, taken: Iterable[str] = ()) -> None:
        self._new_id = new_id
        self._taken = set(taken)

    def claim(self, upstream_id: str) -> str:
        """Return the client's form of the backend's id if it is valid and free, else a new id."""
        known = client_id(upstream_id)
        chosen = known if known and known not in self._taken else self._new_id("toolu_")
        self._taken.add(chosen)
        return chosen


class CallTracker:
    """Finds the block for each tool call delta of a stream.

    Args:
        new_id: Makes an id for a prefix.
        form: Holds the tool names of the request.
    """

    def __init__(self, new_id: NewId, form: ReplyOptions) -> None:
        self._ids = CallIds(new_id, form.call_ids)
        self._form = form
        self._by_index: dict[object, ToolUseBlock] = {}
        self.blocks: list[ToolUseBlock] = []

    def feed(self, delta: object) -> Iterator[ToolUseBlock]:
        """Process the tool calls of one delta; yield new blocks."""
        for call in list_field(delta, "tool_calls"):
            index = field(call, "index")
            yield from self._take(index if isinstance(index, int) else None, text_field(call, "id"), call)
        if (legacy := field(delta, "function_call")) is not None:
            yield from self._take("function_call", "", {"function": legacy})

    def finish(self) -> Iterator[ToolUseBlock]:
        """Resolve the held repetitions at the end of the stream; yield new blocks."""
        for block in list(self.blocks):
            yield from self._settle(block, None)

    def _take(self, index: int | str | None, call_id: str, call: object) -> Iterator[ToolUseBlock]:
        function = field(call, "function")
        name, arguments = text_field(function, "name"), arguments_text(field(function, "arguments"))
        block = self._known(index, call_id)
        grows = block is not None and self._goes_on(block, call_id, name)
        if block is None or (not grows and _starts_anew(block.latest, call_id, name)):
            if block is not None:
                yield from self._settle(block, index)
            block = self._new_block(call)
            block.add(call_id, name, arguments)
            yield from self._announce(block, index)
            return
        target = block.latest
        if grows:
            target.name += name
        elif block.complete and (name or (block.repeat and arguments.strip())):
            target = block.repeat = block.repeat or self._new_block(call)
        target.add(call_id, name or block.name, arguments)
        if block.repeat and not block.repeat.input.blank and (block.repeat.complete or not _same_id(block)):
            yield from self._settle(block, index)

    def _new_block(self, call: object) -> ToolUseBlock:
        return ToolUseBlock(self._ids.claim, self._form, call_extra(call))

    def _announce(self, block: ToolUseBlock, index: int | str | None) -> Iterator[ToolUseBlock]:
        self.blocks.append(block)
        self._by_index[index] = block
        yield block

    def _settle(self, block: ToolUseBlock, index: int | str | None) -> Iterator[ToolUseBlock]:
        """Merge a repetition into its call or, if it is another call, yield it."""
        again, same = block.repeat, _same_id(block)
        block.repeat = None
        if again and not again.input.blank and not (same and block.absorb(again)):
            yield from self._announce(again, index)

    def _goes_on(self, block: ToolUseBlock, call_id: str, name: str) -> bool:
        """Whether ``name`` continues the call's name; see the module's rule."""
        if not (name and block.name and block.input.blank and call_id in ("", block.upstream_id)):
            return False
        whole, tools = block.name + name, self._form.tools
        return any(tool.startswith(whole) for tool in tools) and not {block.name, name} <= tools

    def _known(self, index: int | str | None, call_id: str) -> ToolUseBlock | None:
        if index is not None:
            return self._by_index.get(index)
        if not call_id:
            return self.blocks[-1] if self.blocks else None
        return next((block for block in reversed(self.blocks) if block.upstream_id == call_id), None)


def _starts_anew(block: ToolUseBlock, call_id: str, name: str) -> bool:
    """Whether a delta for a known index certainly starts another call; see the module's first table."""
    same_id = bool(call_id) and call_id == block.upstream_id
    if call_id and block.upstream_id and not same_id:
        return bool(name) or block.input.blank or block.input.complete
    renamed = bool(name and block.name) and name != block.name
    return renamed and (block.complete or not same_id)


def _same_id(block: ToolUseBlock) -> bool:
    """Whether the call was repeated with its id."""
    return block.repeat is not None and bool(block.upstream_id) and block.repeat.upstream_id == block.upstream_id
