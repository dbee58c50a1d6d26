"""No field that a client of the official SDK can send is dropped silently.

A walk over the SDK's request types, from the two kinds of request down to the last block: each type is put where it
belongs in a request, each of its fields is set and left out (or changed, where it is required). What a field changes
must show: in the request to the backend, in the response, in what is reported as dropped, or as a 400 with the JSON
path. The few that may change nothing are in ``SILENT``, with the reason.
"""

import json
from collections import Counter
from fnmatch import fnmatchcase
from functools import cache
from typing import get_args, get_origin

import anthropic
import pytest
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_create_params
from pydantic import ValidationError

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest, describe_validation_error
from llama_stack_provider_messages.translation.messages_to_chat import (
    PRESETS,
    Profile,
    TranslationContext,
    translate_request,
)
from support.sdk_types import bare, fields, is_structure, is_union, required, samples, structures, tags, weight

ROOTS = [message_create_params.MessageCreateParamsNonStreaming, beta_create_params.MessageCreateParamsNonStreaming]
ACCOUNTED = {1: 800, 2: 819}
"""Fields accounted for, by major version of the SDK. May only rise."""

PROFILES = [Profile(), PRESETS["openai"].but(cache_breakpoints=True), PRESETS["vllm"]]
"""A field has to show on one of them."""

CACHE = "a hint; only content parts have a place for it"
CITED = "whom an answer cited; its text stays"
PAIRED = "calls and results are told in their order"
SEALED = "only the server that encrypted it can read it"
CALLER = "who made a call does not change what was called"
LINES = "the lines themselves are told"

SILENT: dict[str, str] = {
    "*.cache_control": CACHE,
    "*.caller": CALLER,
    "code_execution_20250825.tool_id": CALLER,
    "code_execution_20260120.tool_id": CALLER,
    "text.citations": CITED,
    "*_location.*": CITED,
    "*_tool_result.tool_use_id": PAIRED,
    "server_tool_use.id": PAIRED,
    "mcp_tool_use.id": PAIRED,
    "tool_result.toolset_name": "the call says it",
    "redacted_thinking.data": SEALED,
    "compaction.encrypted_content": SEALED,
    "compaction.signature": SEALED,
    "text_editor_code_execution_str_replace_result.*": LINES,
    "text_editor_code_execution_view_result.*": LINES,
    "advisor_result.stop_reason": "the advice itself is told",
    "custom.eager_input_streaming": "a hint: input is streamed as it comes",
    "mcp_tool_listing.*": "what a server could have called",
    "BetaMCPTool*": "as above",
    "fallback.*": "which model answered",
    "BetaFallbackInfo*.model": "as above",
    "refusal.category": "why another model answered",
    "*DiagnosticsParam.previous_message_id": "a hint; the answer has no diagnosis",
    "*ContainerParams.id": "a hint as long as no tool runs there",
    "BetaFallbackCreditTokenParam.*": "a hint; the answer says that it was not applied",
    "*Config*.defer_loading": "such a member is off by default",
}
"""``type.field``, with ``*`` for any characters -> why nothing shows."""

DEFAULTS = {"thinking": {"signature": ""}, "compaction": {"content": "text"}}
"""Types -> what their least sample needs to be of any consequence."""

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {"name": "text", "input_schema": {"type": "object"}}
TOOLS = [{"name": "other", "input_schema": {"type": "object"}}, TOOL | {"defer_loading": True}]
HI = {"role": "user", "content": "hi"}
USE = {"type": "tool_use", "id": "text", "name": "text", "input": {}}


def user(value):
    return {"messages": [{"role": "user", "content": [value, {"type": "text", "text": "x"}]}]}


def assistant(value):
    said = {"role": "assistant", "content": [{"type": "text", "text": "before"}, value]}
    return {"messages": [HI, said, {"role": "user", "content": "on"}]}


def system(value):
    turns = [HI, {"role": "system", "content": [value]}, {"role": "assistant", "content": "a"}, HI]
    return {"messages": turns, "tools": TOOLS}


def summary(value):
    return {"messages": [HI, {"role": "assistant", "content": [value]}, HI], "tools": TOOLS}


def edited(value):
    """Edits need a conversation that is long enough."""
    turns = [HI]
    for number in range(5):
        call = USE | {"id": f"call_{number}", "input": {"text": "x"}}
        done = {"type": "tool_result", "tool_use_id": call["id"], "content": "word " * 17_000}
        thought = {"type": "thinking", "thinking": "hm", "signature": ""}
        turns += [{"role": "assistant", "content": [thought, call]}, {"role": "user", "content": [done]}, HI]
    return value | {"messages": turns}


def answered(value):
    done = {"type": "tool_result", "tool_use_id": "text", "content": "done"}
    return {"messages": [HI, {"role": "assistant", "content": [value]}, {"role": "user", "content": [done]}]}


def result(value):
    return {"messages": [HI, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [value]}]}


def message(value):
    turns = [HI, value] if value.get("role") == "system" else [value]
    return {"messages": [*turns, {"role": "assistant", "content": "a"}, HI]}


PLACES = {
    "compaction": [summary],
    "tool_use": [answered],
    "tool_result": [result],
    "tool_addition": [system],
    "tool_removal": [system],
}
"""Where a block belongs; the others are placed where they are accepted."""


def outcome(body):
    """Return what becomes of a request, for each profile: a comparable record, or the text of the refusal."""
    return outcome_of(json.dumps({"model": "text", "max_tokens": 50, "messages": [HI]} | body))


@cache
def outcome_of(text):
    try:
        asked = CreateMessageRequest.model_validate_json(text)
    except ValidationError as refused:
        return [describe_validation_error(refused)]
    return [one(asked, profile) for profile in PROFILES]


def one(asked, profile):
    try:
        done = translate_request(asked, TranslationContext(profile))
    except InvalidRequestError as refused:
        return refused.message
    return json.dumps([done.fields, repr(done.options), sorted(map(str, done.dropped))], default=sorted)


def is_refused(outcomes):
    return all(isinstance(item, str) and not item.startswith("[") for item in outcomes)


def mended(value):
    """Return a sample with bytes where the types only say text."""
    if isinstance(value, list):
        return [mended(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {name: mended(part) for name, part in value.items()}
    if value.get("type") == "base64" and str(value.get("media_type", "")).startswith("image/"):
        value["data"] = PNG
    return value


class Account:
    """The walk: every type in the first place that takes it, and in further ones as long as a field shows nowhere."""

    def __init__(self):
        self.accounted = {}
        self._open = {}
        self._visits = Counter()
        self._inside = []

    @property
    def faults(self):
        return [f"{owner}.{name}: changes nothing" for owner, name in self._open if not silences(owner, name)]

    @property
    def silent(self):
        return {pattern for owner, name in self._open for pattern in silences(owner, name)}

    def root(self, kind):
        for name, hint in fields(kind).items():
            if name in ("model", "messages", "max_tokens", "stream"):
                continue
            self.field(kind.__name__, name, variants({}, name, hint), lambda body, name=name: top(name, body))
            self.below(hint, [lambda value, name=name: top(name, {name: value})])
        for turn, _ in nested(fields(kind)["messages"]):
            self.structure(turn, [message])

    def below(self, hint, places):
        """Go down into the structures of a field."""
        for kind, wrap in nested(hint):
            self.structure(kind, [lambda value, place=place, wrap=wrap: place(wrap(value)) for place in places])

    def structure(self, kind, places):
        if kind in self._inside or self._visits[kind] == VISITS or self._is_done(kind):
            return
        self._visits[kind] += 1
        place = self.fitting(kind, places)
        if place is None:
            return
        self._inside.append(kind)
        for name, hint in fields(kind).items():
            if name not in ("type", "role") and (label(kind), name) not in self.accounted:
                self.field(label(kind), name, variants(least(kind), name, hint), place)
            inner = lambda value, name=name: place(least(kind) | {name: value})  # noqa: E731 - a place is a function
            if name == "content" and "role" in fields(kind):
                for block, _ in nested(hint):
                    self.structure(block, PLACES.get(next(iter(tags(block)), ""), [user, assistant, system]))
            else:
                self.below(hint, [inner])
        self._inside.pop()

    def _is_done(self, kind):
        own = label(kind)
        return self._visits[kind] and not any(owner == own for owner, _ in self._open)

    def fitting(self, kind, places):
        """Return the first place that accepts the smallest sample of a type; record a type that no place accepts."""
        texts = []
        for place in places:
            seen = outcome(place(mended(least(kind))))
            if not is_refused(seen):
                return place
            texts += seen
        self.accounted[label(kind), "*"] = "refused: " + texts[0]
        assert ":" in texts[0], f"{label(kind)} is refused without a path: {texts[0]}"
        return None

    def field(self, owner, name, values, place):
        """Account for one field: two of its values, or one and its absence, must not all look the same."""
        seen = [outcome(place(mended(value))) for value in values]
        taken = [item for item in seen if not is_refused(item)]
        if any(item != taken[0] for item in taken):
            self.accounted[owner, name] = "shows"
        elif len(taken) < len(seen):
            self.accounted[owner, name] = "refused"
        elif all(json.loads(item)[2] for item in taken[0]):
            self.accounted[owner, name] = "disclosed with the whole"
        elif len(values) == 1:
            self.accounted[owner, name] = "has one value only"
        else:
            self._open[owner, name] = True
            return
        self._open.pop((owner, name), None)


def silences(owner, name):
    return [pattern for pattern in SILENT if fnmatchcase(f"{owner}.{name}", pattern)]


VISITS = 8
"""Places a type is tried in."""

OTHERS = [("text", ["other", ""]), (7, [2, 10_000_000]), (0.5, [0.25]), (True, [False])]
"""What samples are made of -> other values."""


def variants(least, name, hint):
    """Return structures with other values of one field, and without it where it is optional."""
    found = sorted(samples(hint), key=weight)
    found += [[value[-1]] for value in found if isinstance(value, list) and len(value) > 1]
    found += [altered(value) for value in found if isinstance(value, dict)]
    found += [{}] if any(isinstance(value, dict) for value in found) and not structures(hint) else []
    for value, others in OTHERS:
        found += others if any(item is value or item == value for item in found if type(item) is type(value)) else []
    without = {key: value for key, value in least.items() if key != name}
    return [*([] if name in least else [without]), *(without | {name: value} for value in found)]


def altered(value):
    """Return a value with other numbers and switches, however deep."""
    if isinstance(value, dict):
        return {key: altered(part) for key, part in value.items()}
    return not value if isinstance(value, bool) else 10_000_000 if isinstance(value, int) else value


def top(name, body):
    if name == "tool_choice":
        return body | {"tools": [TOOL]}
    return edited(body) if name == "context_management" else body


def label(kind):
    return next(iter(sorted(tags(kind))), kind.__name__)


@cache
def least(kind):
    """Return the smallest sample of a type that has at least its required fields."""
    value = min((value for value in samples(kind) if required(kind) <= value.keys()), key=weight)
    return value | DEFAULTS.get(value.get("type"), {})


def nested(hint):
    """Yield the structures of a field with what puts one of them into it."""
    hint = bare(hint)
    if is_structure(hint):
        yield hint, lambda value: value
    elif is_union(hint):
        for part in get_args(hint):
            yield from nested(part)
    elif get_origin(hint) is dict:
        yield from ((kind, lambda value, wrap=wrap: {"z": wrap(value)}) for kind, wrap in nested(get_args(hint)[1]))
    elif structures(hint):
        yield from ((kind, lambda value, wrap=wrap: [wrap(value)]) for kind, wrap in nested(get_args(hint)[0]))


@pytest.fixture(scope="module")
def account():
    ctx = Account()
    for root in ROOTS:
        ctx.root(root)
    return ctx


def test_every_field_has_an_effect_is_disclosed_or_is_rejected(account):
    """Each field changes the request or the response, is reported as dropped, or is rejected."""
    assert account.faults == []


def test_the_count_of_accounted_fields_may_only_rise(account):
    """A walk that skipped a type would prove nothing about it."""
    assert len(account.accounted) + len(account.silent) >= ACCOUNTED[int(anthropic.__version__.split(".")[0])]


def test_silence_is_the_exception_and_used(account):
    """Each exception is met by the walk."""
    assert set(SILENT) == account.silent
