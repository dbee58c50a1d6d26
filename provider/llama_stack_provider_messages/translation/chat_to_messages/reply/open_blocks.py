"""Open content blocks of a streamed message: turns the events of each block into deltas of the chat completion.

Tool call arguments are sent one member at a time (tool_arguments.py), so the text sent so far is always the beginning
of a valid object. Arguments that must be unwrapped are sent at the end of their block. A truncated call is closed like
a broken one, never as if it were complete.
"""

from itertools import count
from typing import Any

from llama_stack_provider_messages.translation.fields import field, list_field, text_field
from llama_stack_provider_messages.translation.surrogates import SurrogateJoiner, replace_lone_surrogates
from llama_stack_provider_messages.translation.tool_arguments import ToolInput, load_tool_input

from .response import ReplyOptions, Words, arguments_of, call_id, call_kind, call_name

type Delta = dict[str, Any]

KIND_OF_DELTA: dict[str, str] = {
    "text_delta": "text",
    "citations_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "input_json_delta": "tool_use",
}
"""Type of a delta -> type of its block; other deltas belong to blocks that chat completions cannot show."""


class Text:
    """A text block, sent as it arrives."""

    kind = "text"

    def __init__(self, words: Words, block: object, path: str) -> None:
        self._words, self._path = words, path
        self._start = words.length
        self._start_text = text_field(block, "text")
        self._citations = list(list_field(block, "citations"))
        self._joiner = SurrogateJoiner()

    def begin(self) -> list[Delta]:
        """Return the text in ``content_block_start``."""
        return self._content(self._joiner.add(self._start_text))

    def add(self, delta: object) -> list[Delta]:
        """Add a text or citation delta."""
        if (citation := field(delta, "citation")) is not None:
            self._citations.append(citation)
        return self._content(self._joiner.add(text_field(delta, "text")))

    def end(self) -> list[Delta]:
        """Return the remaining text; citations are annotated now, when the end position is known."""
        rest = self._content(self._joiner.rest())
        self._words.cite(self._citations, self._start, self._path)
        return rest

    def _content(self, text: str) -> list[Delta]:
        content = self._words.add(text) if text else ""
        return [{"content": content}] if content else []


class Thinking:
    """A thinking block, sent under every field name that clients read.

    Args:
        indexes: Numbers the entries of ``reasoning_details``; clients join the pieces of an entry by its index.
        block: The block in ``content_block_start``.
    """

    kind = "thinking"

    def __init__(self, indexes: "count[int]", block: object) -> None:
        self._indexes = indexes
        self._block = block
        self._joiner = SurrogateJoiner()
        self._index: int | None = None

    def begin(self) -> list[Delta]:
        """Return the deltas for ``content_block_start``."""
        return self.add(self._block)

    def add(self, delta: object) -> list[Delta]:
        """Add a thinking or signature delta."""
        deltas = self._reasoning(self._joiner.add(text_field(delta, "thinking")))
        if signature := replace_lone_surrogates(text_field(delta, "signature")):
            deltas.append(self._entry(text="", signature=signature))
        return deltas

    def end(self) -> list[Delta]:
        """Return the remaining text."""
        return self._reasoning(self._joiner.rest())

    def _reasoning(self, text: str) -> list[Delta]:
        return [{"reasoning_content": text, "reasoning": text, **self._entry(text=text)}] if text else []

    def _entry(self, **fields: str) -> Delta:
        if self._index is None:
            self._index = next(self._indexes)
        return {"reasoning_details": [{"type": "reasoning.text", "index": self._index, **fields}]}


class Whole:
    """A block whose deltas, if any, are all known at its start."""

    kind = "whole"

    def __init__(self, *deltas: Delta) -> None:
        self._deltas = list(deltas)

    def begin(self) -> list[Delta]:
        """Return all deltas."""
        return self._deltas

    def add(self, _delta: object) -> list[Delta]:
        """Return nothing."""
        return []

    def end(self) -> list[Delta]:
        """Return nothing."""
        return []


def redacted_thinking_block(indexes: "count[int]", block: object) -> Whole:
    """Return a redacted thinking block, which only the upstream can read."""
    data = replace_lone_surrogates(text_field(block, "data"))
    if not data:
        return Whole()
    return Whole({"reasoning_details": [{"type": "reasoning.encrypted", "index": next(indexes), "data": data}]})


class Call:
    """An open tool call block.

    Args:
        options: Reply options from the request.
        block: The block in ``content_block_start``.
        completion: Id of the completion.
        position: Index of the call among the calls, from 0.

    Raises:
        BadGatewayError: The tool has no name.
    """

    kind = "tool_use"

    def __init__(self, options: ReplyOptions, block: object, completion: str, position: int) -> None:
        name = call_name(block)
        self._arguments_kind = call_kind(name, options)
        self._legacy = options.legacy_functions
        self._name = options.tool_names.get(name, name)
        self._id = call_id(field(block, "id"), completion, position)
        self._position = position
        self._start_input = field(block, "input")
        self._input, self._joiner = ToolInput(), SurrogateJoiner()

    def begin(self) -> list[Delta]:
        """Return the delta with id and name, without arguments."""
        if self._legacy:
            return [{"function_call": {"name": self._name, "arguments": ""}}]
        kind, member = ("custom", "input") if self._arguments_kind == "custom" else ("function", "arguments")
        entry = {"index": self._position, "id": self._id, "type": kind, kind: {"name": self._name, member: ""}}
        return [{"tool_calls": [entry]}]

    def add(self, delta: object) -> list[Delta]:
        """Add a piece of the input; return the arguments that are complete."""
        piece = field(delta, "partial_json")
        self._input.add(self._joiner.add(piece) if isinstance(piece, str) else piece)
        return self._arguments(self._input.take()) if self._arguments_kind == "plain" else []

    def end(self) -> list[Delta]:
        """Return the remaining arguments: all of them if they came with the block or must be unwrapped."""
        self._input.add(self._joiner.rest())
        if self._input.blank and self._start_input:
            return self._arguments(arguments_of(self._start_input, self._arguments_kind))
        rest = self._input.rest(cut=False)
        if self._arguments_kind != "plain":
            rest = arguments_of(load_tool_input(rest), self._arguments_kind)
        return self._arguments(rest)

    def _arguments(self, text: str) -> list[Delta]:
        """Return a delta with a piece of the arguments.

        The platform's chunks require a name in each delta, and clients append the names.
        """
        if not text:
            return []
        if self._legacy:
            return [{"function_call": {"arguments": text}}]
        if self._arguments_kind == "custom":
            return [{"tool_calls": [{"index": self._position, "custom": {"input": text}}]}]
        return [{"tool_calls": [{"index": self._position, "function": {"name": "", "arguments": text}}]}]


type Block = Text | Thinking | Whole | Call
