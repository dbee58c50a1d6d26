"""A request on its way to an upstream that speaks the Messages API: the client's bytes, as few as can be changed.

model                 the upstream's name for it, always
billing block         taken out of ``system`` if the upstream is not Anthropic's: it changes with every request, and
so costs the prefix cache
signatures of ours    their thinking blocks are taken out if the upstream checks signatures, because it would answer
400 to them; all thinking blocks, if it has done so to others (CLIProxyAPI 2172)
max_tokens            lowered, if the upstream has refused it because it is above its context window (vLLM)
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
from llama_stack_provider_messages.translation.billing import BILLING_HEADER, without_billing
from llama_stack_provider_messages.translation.dropped import Dropped
from llama_stack_provider_messages.translation.messages_to_chat import SIGNATURE_PREFIX
from llama_stack_provider_messages.translation.messages_to_chat.backend.estimate import estimate_json
from llama_stack_provider_messages.translation.messages_to_chat.backend.output_limit import (
    least_room,
    refused_window,
    window_room,
)
from llama_stack_provider_messages.upstream.address import CREDENTIALS

type Edit = tuple[Span, bytes]

PROMPT_FIELDS = ("system", "messages", "tools")
"""What of a request makes up its prompt."""
MAX_EDITED = 10_000
"""Messages and blocks that are looked into, at some 30 microseconds each."""
_OWN_SIGNATURE = b'"' + SIGNATURE_PREFIX.encode()
_COUNT = re.compile(rb"\d{1,18}")
_THINKING = frozenset({"thinking", "redacted_thinking"})
_FORWARDED = frozenset({"anthropic-version", "anthropic-beta", "traceparent", "tracestate", "baggage", "b3"})
_FORWARDED_FAMILIES = ("x-b3-", "x-claude-code-")
"""Of tracing, and of sessions, by which routers in front of several engines find the one with the prefix cache."""
_DEFAULT_VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The body for the upstream.

    Args:
        data: The bytes.
        dropped: What was taken out or lowered, apart from the billing block.
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
        body: As the client sent it.
        model: As the upstream names it.
        strip_billing: Take the billing block out.
        strip_thinking: Which thinking blocks to take out: those with signatures of this server, or all.
        max_tokens: What to ask for instead of the client's, see ``window_limit``.

    Raises:
        InvalidRequestError: It names no model, or several, or a block has too many fields.
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
    """Return the ``max_tokens`` for which to ask an upstream that refused a larger one; None for other refusals.

    None as well where the prompt leaves hardly any room, by its estimate: the client has to shorten it.

    Args:
        refusal: What the upstream said.
        body: As the client sent it.
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
    """Yield the edits that take thinking blocks out, and messages that would be left empty; note them."""
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
    """Yield the elements of an array that hold some bytes, with their numbers.

    Raises:
        InvalidRequestError: The budget is used up.
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
    """Return where the fields of an object are; empty if something else is there."""
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
    """Return the headers of a client that go to the upstream.

    Args:
        sent: By the client, names in lower case.
        further: Names the configuration adds.
        credentials: Whether the client's own are among them.
    """
    names = _FORWARDED | further | (CREDENTIALS if credentials else frozenset())
    kept = {name: value for name, value in sent.items() if name in names or name.startswith(_FORWARDED_FAMILIES)}
    kept.setdefault("anthropic-version", _DEFAULT_VERSION)
    return kept
