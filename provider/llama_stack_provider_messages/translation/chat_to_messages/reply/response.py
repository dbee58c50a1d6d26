"""Translates a Message into a chat completion; the stream translation shares the options and helpers of this module.

A chat completion has one text, one reasoning text and a list of tool calls. So the texts of all blocks are joined.
Blocks of server tools and of later API versions are dropped; ``dropped_blocks`` lists them.

    text                text of ``content``; citations of web pages become ``annotations``
    thinking            ``reasoning_content`` and ``reasoning``, for clients that read either; with its signature in
                        ``reasoning_details`` (OpenRouter's field), which the client returns with the next request
    redacted_thinking   ``reasoning_details`` only
    tool_use            ``tool_calls``, or ``function_call`` for a request with ``functions``
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_provider_messages.errors.body import error_of_event, is_error
from llama_stack_provider_messages.errors.response import WRONG_FORM
from llama_stack_provider_messages.translation.dropped import DropLog, Dropped
from llama_stack_provider_messages.translation.fields import field, list_field, text_field
from llama_stack_provider_messages.translation.surrogates import replace_lone_surrogates
from llama_stack_provider_messages.translation.tool_arguments import dump_json

from .finish import explanation, finish_reason, service_tier, stop_match, translate_usage

NO_PLACE = "a chat completion has no place for it"
ONE_CALL = "a response to a request with functions holds one call"
_ID_PREFIX = "chatcmpl-"

type ArgumentsKind = Literal["plain", "wrapped", "custom"]
"""How the arguments of a tool are returned; see ``ReplyOptions``."""


@dataclasses.dataclass(frozen=True, slots=True)
class ReplyOptions:
    """Options for the reply, taken from the request.

    A renamed tool is in ``custom_tools`` and ``wrapped_tools`` under both of its names.

    Args:
        model: The client's model name, echoed in the reply.
        include_usage: The stream ends with a chunk of usage (``stream_options.include_usage``).
        legacy_functions: The request had ``functions``: a tool call is returned as ``function_call``.
        custom_tools: Tools whose calls are returned as ``custom``, with the text under ``input`` as the input.
        wrapped_tools: Functions whose arguments come as ``{"input": ...}``: the value of that key is returned.
        json_object: ``response_format`` requires any JSON object; the model only has an instruction to write one.
        tool_names: Upstream's name of a renamed tool -> the client's name.
    """

    model: str
    include_usage: bool = False
    legacy_functions: bool = False
    custom_tools: frozenset[str] = frozenset()
    wrapped_tools: frozenset[str] = frozenset()
    json_object: bool = False
    tool_names: Mapping[str, str] = dataclasses.field(default_factory=dict)


def translate_response(message: Mapping[str, Any], options: ReplyOptions, *, created: int) -> dict[str, Any]:
    """Return the chat completion for a message, in the wire form.

    Args:
        message: The decoded message.
        options: Options from the request.
        created: Unix time in seconds.

    Raises:
        MessagesError: ``message`` is not a valid message; if it is an error body, that error.
    """
    completion = _read(message, options, created)
    usage = message.get("usage")
    counts = usage if isinstance(usage, Mapping) else {}
    return {
        "id": completion.id,
        "object": "chat.completion",
        "created": created,
        "model": options.model,
        **service_tier(counts),
        "choices": [completion.choice(message)],
        "usage": translate_usage(counts),
    }


def dropped_blocks(message: Mapping[str, Any], options: ReplyOptions) -> tuple[Dropped, ...]:
    """Return the parts of a message that its chat completion lacks, by their path in the message.

    Raises:
        MessagesError: As ``translate_response``.
    """
    return _read(message, options, 0).log.entries()


class _Completion:
    """Collects the parts of one chat completion."""

    def __init__(self, options: ReplyOptions, completion_id: str) -> None:
        self.id = completion_id
        self.log = DropLog()
        self._options = options
        self._words = Words(options, self.log)
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []

    def add_block(self, block: object, path: str) -> None:
        kind = text_field(block, "type")
        step = _STEPS.get(kind)
        if step is None:
            self.log.note(path, kind or "block", NO_PLACE)
        else:
            step(self, block, path)

    def add_text(self, block: object, path: str) -> None:
        start = self._words.length
        self._texts.append(self._words.add(replace_lone_surrogates(text_field(block, "text"))))
        self._words.cite(list_field(block, "citations"), start, path)

    def add_thinking(self, block: object, _path: str) -> None:
        text = replace_lone_surrogates(text_field(block, "thinking"))
        signature = replace_lone_surrogates(text_field(block, "signature"))
        if text or signature:
            self._reasoning.append(text)
            signed = {"signature": signature} if signature else {}
            self._details.append({"type": "reasoning.text", "index": len(self._details), "text": text, **signed})

    def add_redacted_thinking(self, block: object, _path: str) -> None:
        if data := replace_lone_surrogates(text_field(block, "data")):
            self._details.append({"type": "reasoning.encrypted", "index": len(self._details), "data": data})

    def add_call(self, block: object, path: str) -> None:
        upstream_name = call_name(block)
        name = self._options.tool_names.get(upstream_name, upstream_name)
        kind = call_kind(upstream_name, self._options)
        arguments = arguments_of(field(block, "input"), kind)
        if self._options.legacy_functions:
            if self._calls:
                self.log.note(path, "tool_use", ONE_CALL)
            self._calls.append({"name": name, "arguments": arguments})
            return
        tool, member = ("custom", "input") if kind == "custom" else ("function", "arguments")
        given_id = call_id(field(block, "id"), self.id, len(self._calls))
        self._calls.append({"id": given_id, "type": tool, tool: {"name": name, member: arguments}})

    def choice(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return the only choice of the completion."""
        reason, legacy = message.get("stop_reason"), self._options.legacy_functions
        refusal = explanation(reason, message.get("stop_details"))
        text = "".join([*self._texts, self._words.rest()])
        reasoning = "".join(self._reasoning)
        optional = {
            "reasoning_content": reasoning,
            "reasoning": reasoning,
            "reasoning_details": self._details,
            "annotations": self._words.annotations,
            "tool_calls": [] if legacy else self._calls,
            "function_call": next(iter(self._calls), None) if legacy else None,
        }
        return {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": text or (None if self._calls or refusal else ""),
                "refusal": refusal or None,
                **{name: value for name, value in optional.items() if value},
            },
            "logprobs": None,
            "finish_reason": finish_reason(reason, calls=bool(self._calls), legacy=legacy),
            **stop_match(reason, message.get("stop_sequence")),
        }


_STEPS: dict[str, Callable[[_Completion, object, str], None]] = {
    "text": _Completion.add_text,
    "thinking": _Completion.add_thinking,
    "redacted_thinking": _Completion.add_redacted_thinking,
    "tool_use": _Completion.add_call,
}


def _read(message: Mapping[str, Any], options: ReplyOptions, created: int) -> _Completion:
    content = message.get("content")
    if is_error(message):
        raise error_of_event(message)
    if not isinstance(content, list):
        raise BadGatewayError(WRONG_FORM)
    completion = _Completion(options, completion_id(message.get("id")) or completion_id(str(created)))
    for index, block in enumerate(content):
        completion.add_block(block, f"content.{index}")
    return completion


def completion_id(message_id: object) -> str:
    """Return the chat completion id for a message id; return ``""`` for an empty one."""
    if not isinstance(message_id, str) or not message_id:
        return ""
    prefixed = message_id.startswith(_ID_PREFIX)
    return replace_lone_surrogates(message_id if prefixed else _ID_PREFIX + message_id.removeprefix("msg_"))


def call_id(block_id: object, completion: str, position: int) -> str:
    """Return the id of a tool call: the upstream's, or one made from the completion id and the call's position."""
    if isinstance(block_id, str) and block_id:
        return replace_lone_surrogates(block_id)
    return f"call_{completion.removeprefix(_ID_PREFIX)}_{position}"


def call_name(block: object) -> str:
    """Return the upstream's name of the called tool.

    Raises:
        BadGatewayError: The call has no name.
    """
    if name := replace_lone_surrogates(text_field(block, "name")):
        return name
    raise BadGatewayError("The backend sent a tool call without the name of the tool")


def call_kind(name: str, options: ReplyOptions) -> ArgumentsKind:
    """Return how the arguments of a tool are returned."""
    if name in options.custom_tools and not options.legacy_functions:
        return "custom"
    return "wrapped" if name in options.wrapped_tools else "plain"


def arguments_of(tool_input: object, kind: ArgumentsKind) -> str:
    """Return the arguments of a call as JSON without white space, or the input text of a custom tool.

    If the model left out the wrapper, its input is used as it is. A custom tool call without a text gets the input as
    JSON.

    Raises:
        BadGatewayError: The input is nested too deep.
    """
    value = {} if tool_input is None else tool_input
    inner = value["input"] if isinstance(value, dict) and value.keys() == {"input"} else None
    if kind == "custom" and isinstance(inner, str):
        return replace_lone_surrogates(inner)
    if kind == "wrapped" and isinstance(inner, dict):
        value = inner
    value = value if isinstance(value, dict) else {"value": value}
    try:
        valid = json.loads(dump_json(value))  # removes values that JSON lacks, such as NaN
        return replace_lone_surrogates(json.dumps(valid, ensure_ascii=False, separators=(",", ":")))
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
        return inner if loads_or_none(text) is None and loads_or_none(inner) is not None else text


class Words:
    """The text of a response and its citations.

    Attributes:
        annotations: The annotations so far.
        length: Characters of the text as sent; positions of annotations count them.
    """

    def __init__(self, options: ReplyOptions, log: DropLog) -> None:
        self.annotations: list[dict[str, Any]] = []
        self.length = 0
        self._json = JsonText() if options.json_object else None
        self._log = log

    def add(self, text: str) -> str:
        """Add text of a block; return the text that can be sent now."""
        return self._counted(self._json.add(text) if self._json else text)

    def rest(self) -> str:
        """Return the text to send at the end."""
        return self._counted(self._json.rest() if self._json else "")

    def cite(self, citations: list[Any], start: int, path: str) -> None:
        """Annotate the text from ``start`` to its end: a citation covers its whole block."""
        for citation in citations:
            annotation = _annotation(citation, start, self.length)
            if annotation is None:
                self._log.note(f"{path}.citations", text_field(citation, "type") or "citation", NO_PLACE)
            elif annotation not in self.annotations:
                self.annotations.append(annotation)

    def _counted(self, text: str) -> str:
        self.length += len(text)
        return text


_URL_FIELDS = {"web_search_result_location": "url", "search_result_location": "source"}
"""Type of a citation of a web source -> its field with the URL."""


def _annotation(citation: object, start: int, end: int) -> dict[str, Any] | None:
    """Return a citation as annotation, None if it has no URL; ``content`` is OpenRouter's extension."""
    url = replace_lone_surrogates(text_field(citation, _URL_FIELDS.get(text_field(citation, "type"), "")))
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
