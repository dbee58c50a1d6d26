"""Content blocks of a message -> deltas of a choice.

text                     content; web citations as annotations, at the end of the block they belong to
thinking                 reasoning_content, reasoning, and reasoning_details, by which it comes back signed
redacted_thinking        reasoning_details
tool_use                 a call; its arguments as they come, or at its end where they have to be unpacked first
all others               nothing: the upstream has done that work itself
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from llama_stack_provider_messages.translation.dropped import DropLog

from .form import ChatForm
from .json_text import JsonText

type Delta = dict[str, Any]
type Record = Mapping[str, Any]

_FORMAT = "anthropic-claude-v1"
"""How OpenRouter names signatures of this kind."""


class Answer:
    """What the parts of one answer share.

    Attributes:
        calls: How many calls it has so far.
        length: How many characters its text has so far.
    """

    def __init__(self, form: ChatForm, log: DropLog) -> None:
        self.form = form
        self.log = log
        self.calls = 0
        self.thoughts = 0
        self.length = 0
        self._texts = JsonText(fenced=form.json_object)

    def text(self, piece: object) -> list[Delta]:
        """Return the delta of a piece of text."""
        return self._shown(self._texts.add(text_of(piece)))

    def rest(self) -> list[Delta]:
        """Return the delta of the text that was held."""
        return self._shown(self._texts.rest())

    def _shown(self, text: str) -> list[Delta]:
        self.length += len(text)
        return [{"content": text}] if text else []


class Part:
    """A block of a kind that chat completions do not have."""

    def __init__(self, block: Record, answer: Answer, place: int) -> None:
        self.block = block
        self.answer = answer
        self.place = place

    def begin(self) -> list[Delta]:
        """Return the deltas that are due when the block begins."""
        kind = text_of(self.block.get("type"))
        self.answer.log.note(f"content.{self.place}", kind, "chat completions have no such part")
        return []

    def take(self, _delta: Record) -> list[Delta]:
        """Return those of one of its deltas."""
        return []

    def end(self) -> list[Delta]:
        """Return those that are due when it ends."""
        return []


class Text(Part):
    """Words, with the pages they draw on."""

    def begin(self) -> list[Delta]:
        """See ``Part``."""
        self._start = self.answer.length
        given = self.block.get("citations")
        self._citations = [*given] if isinstance(given, list) else []
        return self.answer.text(self.block.get("text"))

    def take(self, delta: Record) -> list[Delta]:
        """See ``Part``."""
        if delta.get("type") == "citations_delta":
            self._citations.append(delta.get("citation"))
        return self.answer.text(delta.get("text"))

    def end(self) -> list[Delta]:
        """See ``Part``."""
        pages = {text_of(page.get("url")): page for page in self._citations if isinstance(page, Mapping)}
        found = [self._annotation(url, text_of(page.get("title"))) for url, page in pages.items() if url]
        return [{"annotations": found}] if found else []

    def _annotation(self, url: str, title: str) -> Delta:
        place = {"start_index": self._start, "end_index": self.answer.length}
        return {"type": "url_citation", "url_citation": {"url": url, "title": title, **place}}


class Thinking(Part):
    """A thought with its signature."""

    def begin(self) -> list[Delta]:
        """See ``Part``."""
        self._number = self.answer.thoughts
        self.answer.thoughts += 1
        return [*self._text(self.block.get("thinking")), *self._signature(self.block.get("signature"))]

    def take(self, delta: Record) -> list[Delta]:
        """See ``Part``."""
        return [*self._text(delta.get("thinking")), *self._signature(delta.get("signature"))]

    def _text(self, piece: object) -> list[Delta]:
        text = text_of(piece)
        return [{"reasoning_content": text, "reasoning": text, **self._details({"text": text})}] if text else []

    def _signature(self, signature: object) -> list[Delta]:
        text = text_of(signature)
        return [self._details({"text": "", "signature": text})] if text else []

    def _details(self, detail: Delta) -> Delta:
        return {"reasoning_details": [{"type": "reasoning.text", **detail, "format": _FORMAT, "index": self._number}]}


class Redacted(Part):
    """A thought that only the upstream can read."""

    def begin(self) -> list[Delta]:
        """See ``Part``."""
        number = self.answer.thoughts
        self.answer.thoughts += 1
        detail = {"type": "reasoning.encrypted", "data": text_of(self.block.get("data"))}
        return [{"reasoning_details": [{**detail, "format": _FORMAT, "index": number}]}]


class Call(Part):
    """A call for the client, of one of the three kinds that chat completions have."""

    def begin(self) -> list[Delta]:
        """See ``Part``."""
        form, name = self.answer.form, text_of(self.block.get("name"))
        self._number = self.answer.calls
        self.answer.calls += 1
        self._pieces: list[str] = []
        self._custom = name in form.custom_tools
        self._held = self._custom or name in form.wrapped_tools
        name = form.tool_names.get(name, name)
        if form.legacy_functions:
            return self._legacy_begin(name)
        call: Delta = {"index": self._number, "id": text_of(self.block.get("id"))}
        if self._custom:
            return [{"tool_calls": [{**call, "type": "custom", "custom": {"name": name, "input": ""}}]}]
        return [{"tool_calls": [{**call, "type": "function", "function": {"name": name, "arguments": ""}}]}]

    def _legacy_begin(self, name: str) -> list[Delta]:
        if self._number:
            self.answer.log.note(f"content.{self.place}", "tool_use", "functions allow one call in an answer")
            return []
        return [{"function_call": {"name": name, "arguments": ""}}]

    def take(self, delta: Record) -> list[Delta]:
        """See ``Part``."""
        piece = text_of(delta.get("partial_json"))
        if not piece:
            return []
        self._pieces.append(piece)
        return [] if self._held else self._arguments(piece)

    def end(self) -> list[Delta]:
        """See ``Part``."""
        if not self._held:
            return [] if self._pieces else self._arguments(_compact(_object(self.block.get("input"))))
        return self._arguments(self._unpacked("".join(self._pieces)))

    def _unpacked(self, text: str) -> str:
        """Return what stands under ``input``; what is not there, or broke off, stays as the model wrote it."""
        try:
            value: object = json.loads(text) if text else self.block.get("input")
        except (ValueError, RecursionError):
            return text
        if isinstance(value, Mapping) and "input" in value:
            inner = value["input"]
            return inner if self._custom and isinstance(inner, str) else _compact(inner)
        return text or _compact(_object(value))

    def _arguments(self, text: str) -> list[Delta]:
        if self.answer.form.legacy_functions:
            return [] if self._number else [{"function_call": {"arguments": text}}]
        if self._custom:
            return [{"tool_calls": [{"index": self._number, "type": "custom", "custom": {"input": text}}]}]
        return [{"tool_calls": [{"index": self._number, "function": {"arguments": text}}]}]


_KINDS: dict[str, Callable[[Record, Answer, int], Part]] = {
    "text": Text,
    "thinking": Thinking,
    "redacted_thinking": Redacted,
    "tool_use": Call,
}


def part_of(block: Record, answer: Answer, place: int) -> Part:
    """Return the part of an answer that a block becomes.

    Args:
        block: As it begins.
        answer: It belongs to.
        place: Its number in the message.
    """
    return _KINDS.get(text_of(block.get("type")), Part)(block, answer, place)


def text_of(value: object) -> str:
    """Return a text; an empty one for everything else."""
    return value if isinstance(value, str) else ""


def _object(value: object) -> object:
    return value if isinstance(value, Mapping) else {}


def _compact(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return "{}"
