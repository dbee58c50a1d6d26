"""Nothing a client of the official SDK can send is lost in silence.

A walk over the SDK's request types, from the two kinds of request down to the last block: each type is put where it
belongs in a request, each of its fields is set and left out (or changed, where it is required). What a field changes
must show: in what the backend gets, in the form of the answer, in what is disclosed as dropped, or as a 400 that
names its place. The few that may change nothing stand in ``SILENT`` with the reason.
"""

import json
from dataclasses import asdict
from typing import get_args, get_origin

import anthropic
import pytest
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_create_params

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.messages_to_chat import PRESETS, Profile, Walk, translate_request
from support.sdk_types import bare, fields, is_structure, is_union, required, samples, structures, tags, weight

ROOTS = [message_create_params.MessageCreateParamsNonStreaming, beta_create_params.MessageCreateParamsNonStreaming]
ACCOUNTED = {1: 0, 2: 0}
"""Fields accounted for, by major version of the SDK. May only rise."""

PROFILES = [Profile(), PRESETS["openai"].but(cache_breakpoints=True), PRESETS["vllm"]]
"""A field has to show on one of them."""

HINT = "a hint the answer does not depend on"
SILENT: dict[str, str] = {}
"""``type.field`` or ``*.field`` -> why nothing shows."""

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {"name": "text", "input_schema": {"type": "object"}}
HI = {"role": "user", "content": "hi"}
USE = {"type": "tool_use", "id": "text", "name": "text", "input": {}}


def user(value):
    return {"messages": [{"role": "user", "content": [value, {"type": "text", "text": "x"}]}]}


def assistant(value):
    said = {"role": "assistant", "content": [{"type": "text", "text": "before"}, value]}
    return {"messages": [HI, said, {"role": "user", "content": "on"}]}


def system(value):
    return {"messages": [HI, {"role": "system", "content": [value]}, {"role": "assistant", "content": "a"}, HI]}


def answered(value):
    done = {"type": "tool_result", "tool_use_id": "text", "content": "done"}
    return {"messages": [HI, {"role": "assistant", "content": [value]}, {"role": "user", "content": [done]}]}


def result(value):
    return {"messages": [HI, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [value]}]}


def message(value):
    turns = [HI, value] if value.get("role") == "system" else [value]
    return {"messages": [*turns, {"role": "assistant", "content": "a"}, HI]}


PLACES = {"tool_use": [answered], "tool_result": [result], "tool_addition": [system], "tool_removal": [system]}
"""Where a block belongs; the others stand where they are taken."""


def outcome(body):
    """Return what becomes of a request, for each profile: a comparable record, or the text of the refusal."""
    base = {"model": "text", "max_tokens": 50, "messages": [HI]}
    asked = CreateMessageRequest.model_validate_json(json.dumps(base | body))
    return [one(asked, profile) for profile in PROFILES]


def one(asked, profile):
    try:
        done = translate_request(asked, Walk(profile))
    except InvalidRequestError as refused:
        return refused.message
    return json.dumps([done.fields, asdict(done.form), sorted(map(str, done.dropped))], default=sorted)


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
    """The walk: every type once, in the first place that takes it."""

    def __init__(self):
        self.accounted = {}
        self.silent = []
        self.faults = []
        self._seen = set()

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
        if kind in self._seen:
            return
        self._seen.add(kind)
        place = self.fitting(kind, places)
        if place is None:
            return
        for name, hint in fields(kind).items():
            if name not in ("type", "role"):
                self.field(label(kind), name, variants(least(kind), name, hint), place)
            inner = lambda value, name=name: place(least(kind) | {name: value})  # noqa: E731 - a place is a function
            if name == "content" and "role" in fields(kind):
                for block, _ in nested(hint):
                    self.structure(block, PLACES.get(next(iter(tags(block)), ""), [user, assistant, system]))
            else:
                self.below(hint, [inner])

    def fitting(self, kind, places):
        """Return the first place that takes the least sample of a type; account for a type that nobody takes."""
        texts = []
        for place in places:
            seen = outcome(place(mended(least(kind))))
            if not is_refused(seen):
                return place
            texts += seen
        self.accounted[label(kind), "*"] = "refused: " + texts[0]
        if ":" not in texts[0]:
            self.faults.append(f"{label(kind)}: refused without a path: {texts[0]}")
        return None

    def field(self, owner, name, values, place):
        """Account for one field: two of its values, or one and its absence, must not all look the same."""
        if f"{owner}.{name}" in SILENT or f"*.{name}" in SILENT:
            self.silent.append(f"{owner}.{name}")
            return
        seen = [outcome(place(mended(value))) for value in values]
        taken = [item for item in seen if not is_refused(item)]
        if any(item != taken[0] for item in taken):
            self.accounted[owner, name] = "shows"
        elif len(taken) < len(seen):
            self.accounted[owner, name] = "refused"
        elif all(json.loads(item)[2] for item in taken[0]):
            self.accounted[owner, name] = "disclosed with the whole"
        else:
            self.faults.append(f"{owner}.{name}: changes nothing")


def variants(least, name, hint):
    """Return structures with other values of one field, and without it where it is optional."""
    found = sorted(samples(hint), key=weight)
    found += [{}] if any(isinstance(value, dict) for value in found) and not structures(hint) else []
    found += [{"text": "other", 7: 8, 0.5: 0.25}[value] for value in ("text", 7, 0.5) if value in found]
    without = {key: value for key, value in least.items() if key != name}
    return [*([] if name in least else [without]), *(without | {name: value} for value in found)]


def top(name, body):
    if name == "tool_choice":
        return body | {"tools": [TOOL]}
    return body


def label(kind):
    return next(iter(sorted(tags(kind))), kind.__name__)


def least(kind):
    """Return the smallest sample of a type that has at least its required fields."""
    return min((value for value in samples(kind) if required(kind) <= value.keys()), key=weight)


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
    walk = Account()
    for root in ROOTS:
        walk.root(root)
    return walk


def test_every_field_shows_is_disclosed_or_is_refused(account):
    """What a client sends reaches the backend or the answer, or the client is told."""
    assert account.faults == []


def test_the_count_of_accounted_fields_may_only_rise(account):
    """A walk that skipped a type would prove nothing about it."""
    assert len(account.accounted) >= ACCOUNTED[int(anthropic.__version__.split(".")[0])]


def test_silence_is_the_exception_and_used(account):
    """Each exception is met by the walk."""
    for name in SILENT:
        assert any(name == seen or name == f"*.{seen.partition('.')[2]}" for seen in account.silent), name
