"""Builds the request for a Messages API upstream from the client's bytes, with as few changes as possible.

model                 always replaced with the upstream's name of the model
billing block         removed from ``system`` unless the upstream is Anthropic's: it changes with every request, which
                      defeats the prefix cache
thinking blocks       those with signatures of this server are removed if the upstream verifies signatures, because it
                      would respond with 400; all, if it has rejected another signature (CLIProxyAPI 2172)
max_tokens            lowered if the upstream has rejected it as larger than its context window (vLLM)
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.json_members import MembersLimitError, Span, cuts, edited, elements, text_at, within
from llama_stack_api_messages.models import PromptRequest
from llama_stack_api_messages.request_body import RequestBody
from llama_stack_provider_messages.translation.dropped import Dropped
from llama_stack_provider_messages.translation.messages_to_chat import BILLING_HEADER, SIGNATURE_PREFIX, without_billing
from llama_stack_provider_messages.translation.messages_to_chat.backend.estimate import estimate_json
from llama_stack_provider_messages.translation.messages_to_chat.backend.output_limit import (
    least_room,
    refused_window,
    window_room,
)
from llama_stack_provider_messages.upstream.address import CREDENTIALS

type Edit = tuple[Span, bytes]

PROMPT_FIELDS = ("system", "messages", "tools")
"""The members of a request that make up its prompt."""
MAX_EDITED = 10_000
"""Limit of messages and blocks that are searched, at some 30 microseconds each."""
_OWN_SIGNATURE = b'"' + SIGNATURE_PREFIX.encode()
_COUNT = re.compile(rb"\d{1,18}")
_THINKING = frozenset({"thinking", "redacted_thinking"})
_FORWARDED = frozenset({"anthropic-version", "anthropic-beta", "traceparent", "tracestate", "baggage", "b3"})
_FORWARDED_FAMILIES = ("x-b3-", "x-claude-code-")
"""Header prefixes of tracing, and of sessions, by which routers before several engines select the one with the prefix
cache."""
_DEFAULT_VERSION = "2023-06-01"


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
        max_tokens: Replaces the client's ``max_tokens``, see ``window_limit``.

    Raises:
        InvalidRequestError: ``model`` is missing or duplicate, or a block has too many fields.
    """
    edits: list[Edit] = []
    span = body.model_span
    if span and model != body.model:
        edits.append((span, json.dumps(model).encode()))
    places = dict(body.members)
    if strip_billing and BILLING_HEADER.encode() in body.data and "system" in places:
        edits += _billing(body.data, places["system"])
    dropped: list[Dropped] = []
    if "messages" in places and _may_hold(body.data, strip_thinking):
        edits += _thinking(body.data, places["messages"], dropped, own=strip_thinking == "own")
    if max_tokens is not None and "max_tokens" in places:
        edits.append((places["max_tokens"], str(max_tokens).encode()))
        dropped.append(Dropped("max_tokens", "max_tokens", f"lowered to {max_tokens}, what the context window leaves"))
    return Outgoing(edited(body.data, edits) if edits else body.data, tuple(dropped))


def window_limit(refusal: str, body: RequestBody[PromptRequest]) -> int | None:
    """Return the ``max_tokens`` for a retry after the upstream refused a larger one; None for other errors.

    Also None if the prompt, by its estimate, leaves hardly any room: then the client has to shorten it.

    Args:
        refusal: The upstream's error message.
        body: The client's request.
    """
    places = dict(body.members)
    if "max_tokens" not in places:
        return None
    asked = body.data[slice(*places["max_tokens"])]
    window = refused_window(refusal, int(asked)) if _COUNT.fullmatch(asked) else None
    if window is None:
        return None
    prompt = sum(estimate_json(body.data[slice(*places[name])]) for name in PROMPT_FIELDS if name in places)
    return window_room(window, prompt) if window - prompt >= least_room(window) else None


def _may_hold(data: bytes, strip: str) -> bool:
    return strip == "all" or (strip == "own" and _OWN_SIGNATURE in data)


def _billing(data: bytes, system: Span) -> Iterator[Edit]:
    if data.startswith(b'"', system.start):
        text = text_at(data, system) or ""
        if (kept := without_billing(text)) != text:
            yield system, json.dumps(kept, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return
    parts = _elements(data, system)
    dropped = set()
    for number, part in _holding(data, parts, BILLING_HEADER.encode(), "system", iter(range(MAX_EDITED))):
        place = _fields(data, part, f"system.{number}").get("text")
        text = text_at(data, place) or ""
        kept = without_billing(text)
        if text and not kept:
            dropped.add(number)
        elif place and kept != text:
            yield place, json.dumps(kept, ensure_ascii=False).encode("utf-8", "surrogatepass")
    yield from cuts(parts, dropped)


def _thinking(data: bytes, messages: Span, dropped: list[Dropped], *, own: bool) -> Iterator[Edit]:
    """Yield the edits that remove thinking blocks, and messages left empty by that; append them to ``dropped``."""
    sign = _OWN_SIGNATURE if own else b"thinking"
    budget = iter(range(MAX_EDITED))
    parts = _elements(data, messages)
    emptied = set()
    for number, part in _holding(data, parts, sign, "messages", budget):
        path = f"messages.{number}"
        content = _fields(data, part, path).get("content")
        blocks = _elements(data, content) if content else []
        gone = {
            place
            for place, block in _holding(data, blocks, sign, f"{path}.content", budget)
            if _is_thinking(data, block, f"{path}.content.{place}", own=own)
        }
        reason = "its signature was made here" if own else "the upstream did not accept a signature"
        dropped += [Dropped(f"{path}.content.{place}", "thinking", reason) for place in sorted(gone)]
        if gone and len(gone) == len(blocks):
            emptied.add(number)
        else:
            yield from cuts(blocks, gone)
    yield from cuts(parts, emptied)


def _holding(
    data: bytes, parts: Iterable[Span], sign: bytes, path: str, budget: Iterator[int]
) -> Iterator[tuple[int, Span]]:
    """Yield index and position of the array elements that contain ``sign``.

    Raises:
        InvalidRequestError: The budget of elements to search is used up.
    """
    for number, part in enumerate(parts):
        if data.find(sign, part.start, part.end) < 0:
            continue
        if next(budget, None) is None:
            raise InvalidRequestError(
                f"{path}.{number}: more than {MAX_EDITED} messages and blocks up to here have to be changed for this "
                "upstream; shorten the conversation"
            )
        yield number, part


def _is_thinking(data: bytes, block: Span, path: str, *, own: bool) -> bool:
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


def request_headers(sent: Mapping[str, str], further: frozenset[str], *, credentials: bool) -> dict[str, str]:
    """Return the client's headers to forward to the upstream.

    Args:
        sent: The client's headers, names in lower case.
        further: Names of further headers to forward, from the configuration.
        credentials: Whether to forward the client's credentials.
    """
    names = _FORWARDED | further | (CREDENTIALS if credentials else frozenset())
    kept = {name: value for name, value in sent.items() if name in names or name.startswith(_FORWARDED_FAMILIES)}
    kept.setdefault("anthropic-version", _DEFAULT_VERSION)
    return kept
