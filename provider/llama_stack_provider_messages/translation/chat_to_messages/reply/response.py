"""Translates a Message into a chat completion, with the helpers that the stream translation shares.

A chat completion has one text, one reasoning text and a list of tool calls. So the texts of all blocks are joined.
Blocks of server tools and of later API versions are dropped; ``dropped_blocks`` lists them.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_provider_messages.errors.body import error_of_event, is_error
from llama_stack_provider_messages.translation.dropped import DropLog, Dropped
from llama_stack_provider_messages.translation.fields import field, list_field, text_field
from llama_stack_provider_messages.translation.surrogates import replace_lone_surrogates
from llama_stack_provider_messages.translation.tool_arguments import dump_json

from .options import ReplyOptions
from .stop_reason import explanation, finish_reason, stop_match
from .usage import service_tier, translate_usage

BROKEN = "The backend did not answer in the form of the Messages API"
NO_PLACE = "a chat completion has no place for it"
ONE_CALL = "an answer with functions has one call"
_ID = "chatcmpl-"


def translate_response(message: Mapping[str, Any], form: ReplyOptions, *, created: int) -> dict[str, Any]:
    """Return the chat completion for a message, in the wire form.

    Args:
        message: The decoded message.
        form: Reply options from the request.
        created: Unix time in seconds.

    Raises:
        MessagesError: ``message`` is not a valid message; if it is an error body, that error.
    """
    answer = _read(message, form, created)
    usage = message.get("usage")
    counts = usage if isinstance(usage, Mapping) else {}
    return {
        "id": answer.id,
        "object": "chat.completion",
        "created": created,
        "model": form.model,
        **service_tier(counts),
        "choices": [answer.choice(message)],
        "usage": translate_usage(counts),
    }


def dropped_blocks(message: Mapping[str, Any], form: ReplyOptions) -> tuple[Dropped, ...]:
    """Return the parts of a message that its chat completion lacks, by their path in the message.

    Raises:
        MessagesError: As ``translate_response``.
    """
    return _read(message, form, 0).log.entries()


def completion_id(given: object) -> str:
    """Return the chat completion id for a message id, ``""`` if there is none."""
    if not isinstance(given, str) or not given:
        return ""
    return replace_lone_surrogates(given if given.startswith(_ID) else _ID + given.removeprefix("msg_"))


def call_id(given: object, completion: str, position: int) -> str:
    """Return the id of a tool call: the upstream's, or one made from the completion id and the call's position."""
    return (
        replace_lone_surrogates(given)
        if isinstance(given, str) and given
        else f"call_{completion.removeprefix(_ID)}_{position}"
    )


def call_name(block: object) -> str:
    """Return the upstream's name of the called tool.

    Raises:
        BadGatewayError: The call has no name.
    """
    if name := replace_lone_surrogates(text_field(block, "name")):
        return name
    raise BadGatewayError("The backend sent a tool call without the name of the tool")


def call_kind(name: str, form: ReplyOptions) -> Literal["plain", "wrapped", "custom"]:
    """Return how the arguments of a tool are returned; see ``ReplyOptions``."""
    if name in form.custom_tools and not form.legacy_functions:
        return "custom"
    return "wrapped" if name in form.wrapped_tools else "plain"


def arguments_of(tool_input: object, kind: Literal["plain", "wrapped", "custom"]) -> str:
    """Return the arguments of a call as JSON without white space, or the input text of a custom tool.

    If the model left out the wrapper, its input is used as it is. A custom tool call without a text gets the input as
    JSON.
    """
    value = {} if tool_input is None else tool_input
    inner = value["input"] if isinstance(value, dict) and value.keys() == {"input"} else None
    if kind == "custom" and isinstance(inner, str):
        return replace_lone_surrogates(inner)
    if kind == "wrapped" and isinstance(inner, dict):
        value = inner
    return _compact(value if isinstance(value, dict) else {"value": value})


def _compact(value: object) -> str:
    try:
        plain = json.loads(dump_json(value))  # removes values that JSON lacks, such as NaN
        return replace_lone_surrogates(json.dumps(plain, ensure_ascii=False, separators=(",", ":")))
    except RecursionError:
        raise BadGatewayError("The backend sent a tool call whose arguments are nested too deep") from None


class JsonText:
    """Extracts one JSON object from text, where the model only has an instruction to write one.

    Text that begins with a brace passes as it arrives. Any other text is held, because a model may put prose or a code
    fence around the object. At the end the object is returned, or the whole text if it holds none.
    """

    def __init__(self) -> None:
        self._passes = False
        self._held: list[str] = []

    def add(self, text: str) -> str:
        """Add text; return the text that can be sent."""
        if not (self._passes or self._held):
            text = text.lstrip()
            self._passes = text.startswith("{")
        if self._passes or not text:
            return text
        self._held.append(text)
        return ""

    def rest(self) -> str:
        """Return the text to send at the end."""
        text = "".join(self._held)
        self._held.clear()
        inner = text[text.find("{") : text.rfind("}") + 1]
        return inner if not _is_json(text) and _is_json(inner) else text


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class Words:
    """The text of a response and its citations; positions count characters of the text as sent.

    Attributes:
        annotations: The annotations so far.
    """

    def __init__(self, form: ReplyOptions, log: DropLog) -> None:
        self.annotations: list[dict[str, Any]] = []
        self.length = 0
        self._json = JsonText() if form.json_object else None
        self._log = log

    def add(self, text: str) -> str:
        """Add text of a block; return the text that can be sent now."""
        return self._shown(self._json.add(text) if self._json else text)

    def rest(self) -> str:
        """Return the text to send at the end."""
        return self._shown(self._json.rest() if self._json else "")

    def cite(self, citations: list[Any], start: int, path: str) -> None:
        """Annotate the text from ``start`` to its end: a citation covers its whole block."""
        for citation in citations:
            found = _annotation(citation, start, self.length)
            if found is None:
                self._log.note(f"{path}.citations", text_field(citation, "type") or "citation", NO_PLACE)
            elif found not in self.annotations:
                self.annotations.append(found)

    def _shown(self, text: str) -> str:
        self.length += len(text)
        return text


_SOURCES = {"web_search_result_location": "url", "search_result_location": "source"}
"""Type of a citation of a web source -> its field with the URL."""


def _annotation(citation: object, start: int, end: int) -> dict[str, Any] | None:
    """Return a citation as annotation, None if it has no URL; ``content`` is OpenRouter's extension."""
    url = replace_lone_surrogates(text_field(citation, _SOURCES.get(text_field(citation, "type"), "")))
    if not url.startswith(("https://", "http://")):
        return None
    record = {
        "url": url,
        "title": replace_lone_surrogates(text_field(citation, "title")),
        "start_index": start,
        "end_index": end,
    }
    passage = replace_lone_surrogates(text_field(citation, "cited_text"))
    return {"type": "url_citation", "url_citation": record | ({"content": passage} if passage else {})}


class _Answer:
    """Collects the contents of one message."""

    def __init__(self, form: ReplyOptions, completion: str) -> None:
        self.id = completion
        self.log = DropLog()
        self._form = form
        self._words = Words(form, self.log)
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []

    def take(self, block: object, path: str) -> None:
        kind = text_field(block, "type")
        step = _STEPS.get(kind)
        if step is None:
            self.log.note(path, kind or "block", NO_PLACE)
        else:
            step(self, block, path)

    def choice(self, message: Mapping[str, Any]) -> dict[str, Any]:
        reason, legacy = message.get("stop_reason"), self._form.legacy_functions
        return {
            "index": 0,
            "message": self._message(explanation(reason, message.get("stop_details"))),
            "logprobs": None,
            "finish_reason": finish_reason(reason, calls=bool(self._calls), legacy=legacy),
            **stop_match(reason, message.get("stop_sequence")),
        }

    def _message(self, refusal: str) -> dict[str, Any]:
        text = "".join([*self._texts, self._words.rest()])
        reasoning = "".join(self._reasoning)
        legacy = self._form.legacy_functions
        optional = {
            "reasoning_content": reasoning,
            "reasoning": reasoning,
            "reasoning_details": self._details,
            "annotations": self._words.annotations,
            "tool_calls": [] if legacy else self._calls,
            "function_call": next(iter(self._calls), None) if legacy else None,
        }
        return {
            "role": "assistant",
            "content": text or (None if self._calls or refusal else ""),
            "refusal": refusal or None,
            **{name: value for name, value in optional.items() if value},
        }

    def _text(self, block: object, path: str) -> None:
        start = self._words.length
        self._texts.append(self._words.add(replace_lone_surrogates(text_field(block, "text"))))
        self._words.cite(list_field(block, "citations"), start, path)

    def _thinking(self, block: object, _path: str) -> None:
        text, signature = (
            replace_lone_surrogates(text_field(block, "thinking")),
            replace_lone_surrogates(text_field(block, "signature")),
        )
        if text or signature:
            self._reasoning.append(text)
            signed = {"signature": signature} if signature else {}
            self._details.append({"type": "reasoning.text", "index": len(self._details), "text": text, **signed})

    def _redacted(self, block: object, _path: str) -> None:
        if data := replace_lone_surrogates(text_field(block, "data")):
            self._details.append({"type": "reasoning.encrypted", "index": len(self._details), "data": data})

    def _call(self, block: object, path: str) -> None:
        name = call_name(block)
        shown, kind = self._form.tool_names.get(name, name), call_kind(name, self._form)
        arguments = arguments_of(field(block, "input"), kind)
        if self._form.legacy_functions:
            if self._calls:
                self.log.note(path, "tool_use", ONE_CALL)
            self._calls.append({"name": shown, "arguments": arguments})
            return
        given = call_id(field(block, "id"), self.id, len(self._calls))
        member = {"name": shown, "input": arguments} if kind == "custom" else {"name": shown, "arguments": arguments}
        tool = "custom" if kind == "custom" else "function"
        self._calls.append({"id": given, "type": tool, tool: member})


_STEPS: dict[str, Callable[[_Answer, object, str], None]] = {
    "text": _Answer._text,  # noqa: SLF001 - the table belongs to the class
    "thinking": _Answer._thinking,  # noqa: SLF001
    "redacted_thinking": _Answer._redacted,  # noqa: SLF001
    "tool_use": _Answer._call,  # noqa: SLF001
}


def _read(message: Mapping[str, Any], form: ReplyOptions, created: int) -> _Answer:
    content = message.get("content")
    if is_error(message):
        raise error_of_event(message)
    if not isinstance(content, list):
        raise BadGatewayError(BROKEN)
    answer = _Answer(form, completion_id(message.get("id")) or completion_id(str(created)))
    for place, block in enumerate(content):
        answer.take(block, f"content.{place}")
    return answer
