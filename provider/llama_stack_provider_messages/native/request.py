"""Builds the request for a Messages API upstream from the client's bytes, with as few changes as possible.

The bytes are edited in place, not decoded and encoded: that would change the order of keys and the spelling of numbers
in the prompt, and the upstream would compute again what it has in its prefix cache (ollama ac83ac20c).

model                 always replaced with the upstream's name of the model
billing block         removed from ``system`` unless the upstream is Anthropic's: it changes with every request, which
                      defeats the prefix cache
thinking blocks       those with signatures of this server are removed if the upstream verifies signatures, because it
                      would respond with 400; all, if it has rejected another signature (CLIProxyAPI 2172)
max_tokens            lowered if the upstream has rejected it as larger than its context window (vLLM)
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.json_members import MembersLimitError, Span, cuts, edited, elements, text_at, within
from llama_stack_api_messages.models import PromptRequest
from llama_stack_api_messages.request_body import RequestBody
from llama_stack_provider_messages.translation.dropped import Dropped
from llama_stack_provider_messages.translation.messages_to_chat import SIGNATURE_PREFIX
from llama_stack_provider_messages.translation.messages_to_chat.backend.adapt import (
    min_room,
    reported_window,
    window_room,
)
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import estimate_json
from llama_stack_provider_messages.translation.system_prompt import BILLING_HEADER, without_billing

type Edit = tuple[Span, bytes]

PROMPT_FIELDS = ("system", "messages", "tools")
"""The members of a request that make up its prompt."""
MAX_EDITED = 10_000
"""Limit of messages and blocks that are searched, at some 30 microseconds each."""
_OWN_SIGNATURE = b'"' + SIGNATURE_PREFIX.encode()
_COUNT = re.compile(rb"\d{1,18}")
_THINKING = frozenset({"thinking", "redacted_thinking"})


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The request body for the upstream.

    Args:
        data: The body as bytes.
        dropped: The removed or lowered fields, except the billing block.
    """

    data: bytes
    dropped: tuple[Dropped, ...] = ()


def native_request(
    body: RequestBody[PromptRequest],
    model: str,
    *,
    strip_billing: bool,
    strip_thinking: Literal["none", "own", "all"],
    max_tokens: int | None = None,
) -> Outgoing:
    """Return the body for an upstream.

    Args:
        body: The client's request.
        model: The upstream's name of the model.
        strip_billing: Whether to remove the billing block.
        strip_thinking: Which thinking blocks to remove: none, those with signatures of this server, or all.
        max_tokens: Replaces the client's ``max_tokens``, see ``retry_max_tokens``.

    Raises:
        InvalidRequestError: ``model`` is missing or duplicate, or a block has too many fields.
    """
    edits: list[Edit] = []
    span = body.model_span
    if span and model != body.model:
        edits.append((span, json.dumps(model).encode()))
    places = dict(body.members)
    if strip_billing and BILLING_HEADER.encode() in body.data and "system" in places:
        edits += _billing_edits(body.data, places["system"])
    dropped: list[Dropped] = []
    own = strip_thinking == "own"
    if "messages" in places and (strip_thinking == "all" or (own and _OWN_SIGNATURE in body.data)):
        edits += _thinking_edits(body.data, places["messages"], dropped, own=own)
    if max_tokens is not None and "max_tokens" in places:
        edits.append((places["max_tokens"], str(max_tokens).encode()))
        dropped.append(Dropped("max_tokens", "max_tokens", f"lowered to {max_tokens}, the rest of the context window"))
    return Outgoing(edited(body.data, edits) if edits else body.data, tuple(dropped))


def retry_max_tokens(error_message: str, body: RequestBody[PromptRequest]) -> int | None:
    """Return the ``max_tokens`` for a retry after the upstream refused a larger one; None for other errors.

    Also None if the prompt, by its estimate, leaves hardly any room: then the client has to shorten it.

    Args:
        error_message: The upstream's error message.
        body: The client's request.
    """
    places = dict(body.members)
    if "max_tokens" not in places:
        return None
    max_tokens = body.data[slice(*places["max_tokens"])]
    window = reported_window(error_message, int(max_tokens)) if _COUNT.fullmatch(max_tokens) else None
    if window is None:
        return None
    prompt = sum(estimate_json(body.data[slice(*places[name])]) for name in PROMPT_FIELDS if name in places)
    return window_room(window, prompt) if window - prompt >= min_room(window) else None


def _billing_edits(data: bytes, system: Span) -> Iterator[Edit]:
    """Yield the edits that remove the billing block from ``system``, a string or an array of text blocks."""
    if data.startswith(b'"', system.start):
        text = text_at(data, system) or ""
        if (kept := without_billing(text)) != text:
            yield system, json.dumps(kept, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return
    blocks = _elements(data, system)
    removed = set()
    for index, block in _elements_with(BILLING_HEADER.encode(), data, blocks, "system", iter(range(MAX_EDITED))):
        span = _fields(data, block, f"system.{index}").get("text")
        text = text_at(data, span) or ""
        kept = without_billing(text)
        if text and not kept:
            removed.add(index)
        elif span and kept != text:
            yield span, json.dumps(kept, ensure_ascii=False).encode("utf-8", "surrogatepass")
    yield from cuts(blocks, removed)


def _thinking_edits(data: bytes, array: Span, dropped: list[Dropped], *, own: bool) -> Iterator[Edit]:
    """Yield the edits that remove thinking blocks, and messages left empty by that; append them to ``dropped``."""
    marker = _OWN_SIGNATURE if own else b"thinking"
    reason = "its signature was made here" if own else "the upstream did not accept a signature"
    budget = iter(range(MAX_EDITED))
    messages = _elements(data, array)
    emptied = set()
    for index, message in _elements_with(marker, data, messages, "messages", budget):
        path = f"messages.{index}"
        content = _fields(data, message, path).get("content")
        blocks = _elements(data, content) if content else []
        removed = {
            number
            for number, block in _elements_with(marker, data, blocks, f"{path}.content", budget)
            if _is_thinking(data, block, f"{path}.content.{number}", own=own)
        }
        dropped += [Dropped(f"{path}.content.{number}", "thinking", reason) for number in sorted(removed)]
        if removed and len(removed) == len(blocks):
            emptied.add(index)
        else:
            yield from cuts(blocks, removed)
    yield from cuts(messages, emptied)


def _elements_with(
    marker: bytes, data: bytes, parts: Iterable[Span], path: str, budget: Iterator[int]
) -> Iterator[tuple[int, Span]]:
    """Yield index and position of the array elements that contain ``marker``.

    Raises:
        InvalidRequestError: The budget of elements to search is used up.
    """
    for index, part in enumerate(parts):
        if data.find(marker, part.start, part.end) < 0:
            continue
        if next(budget, None) is None:
            raise InvalidRequestError(
                f"{path}.{index}: more than {MAX_EDITED} messages and blocks up to here have to be changed for this "
                "upstream; shorten the conversation"
            )
        yield index, part


def _is_thinking(data: bytes, block: Span, path: str, *, own: bool) -> bool:
    """Return whether a block is a thinking block; with ``own``, one with a signature of this server."""
    fields = _fields(data, block, path)
    kind = text_at(data, fields.get("type"))
    if kind not in _THINKING:
        return False
    signature = text_at(data, fields.get("data" if kind == "redacted_thinking" else "signature")) or ""
    return not own or signature.startswith(SIGNATURE_PREFIX)


def _fields(data: bytes, place: Span, path: str) -> dict[str, Span]:
    """Return the positions of an object's fields by name; empty if the value is not an object."""
    try:
        return within(data, place)
    except MembersLimitError as error:
        raise InvalidRequestError(f"{path}: {error}") from None


def _elements(data: bytes, array: Span) -> list[Span]:
    try:
        return elements(data, array) if data.startswith(b"[", array.start) else []
    except (ValueError, RecursionError):
        return []
