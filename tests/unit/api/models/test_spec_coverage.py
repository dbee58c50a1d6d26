"""Every type of the official SDK that a request, an answer or an event can hold is covered, field by field.

Two walks over the SDK's own types: one compares each of them with the model at the same place, the other
makes sample values from them, which the models have to take and give back.
"""

import json
from typing import Any, Literal, get_args, get_origin

import anthropic
import pytest
import typing_extensions
from anthropic.types import Message as SdkMessage
from anthropic.types import RawMessageStreamEvent, message_count_tokens_params, message_create_params, shared
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from anthropic.types.beta import message_count_tokens_params as beta_count_tokens_params
from anthropic.types.beta import message_create_params as beta_create_params
from pydantic import BaseModel, TypeAdapter

from llama_stack_api_messages import models
from llama_stack_api_messages.models import (
    BROWSER_TOOLSET_MEMBERS,
    COMPUTER_TOOLSET_MEMBERS,
    ERROR_TYPES,
    STOP_REASONS,
    CountTokensRequest,
    CreateMessageRequest,
    Event,
    Message,
    Unknown,
)
from support.sdk_types import bare, fields, is_model, literals, required, samples, structures, tags

COVERED = {1: 2384, 2: 2402}
"""Fields compared, by major version of the SDK. May only rise."""

LENIENT = {
    *((kind, "id") for kind in ("tool_use", "server_tool_use", "mcp_tool_use")),
    *((kind, "document_title") for kind in ("char_location", "page_location", "content_block_location")),
    *((kind, "title") for kind in ("web_search_result_location", "search_result_location")),
    ("thinking", "signature"),
}
"""What the SDK requires in a request and the models do not: clients leave it out, and where it is nullable there,
absent means the same as null."""

REQUESTS = [
    (message_create_params.MessageCreateParamsNonStreaming, CreateMessageRequest),
    (message_create_params.MessageCreateParamsStreaming, CreateMessageRequest),
    (beta_create_params.MessageCreateParamsNonStreaming, CreateMessageRequest),
    (beta_create_params.MessageCreateParamsStreaming, CreateMessageRequest),
    (message_count_tokens_params.MessageCountTokensParams, CountTokensRequest),
    (beta_count_tokens_params.MessageCountTokensParams, CountTokensRequest),
]
ANSWERS = [(SdkMessage, Message), (BetaMessage, Message), (RawMessageStreamEvent, Event)]
ANSWERS += [(BetaRawMessageStreamEvent, Event)]


class Comparison:
    """Walks an SDK type and the model at the same place, and collects what differs."""

    def __init__(self) -> None:
        self.seen: set = set()
        self.covered: set = set()
        self.missing: list[str] = []
        self.lenient: set = set()

    def compare(self, theirs, ours, path) -> None:
        """Compare two annotations."""
        candidates = structures(ours)
        for structure in structures(theirs):
            if not candidates and is_json(ours):
                continue
            self.structure(structure, candidates, path)
        if not any(bare(part) is str for part in get_args(bare(theirs))):
            self.missing += [f"{path}: value {value}" for value in literals(theirs) - literals(ours) - opaque(ours)]

    def structure(self, theirs, candidates, path) -> None:
        """Find the model for one object of the SDK, and compare each field."""
        found = self.match(theirs, candidates)
        if found is None:
            self.missing.append(f"{path}: {theirs.__name__}")
            return
        if (theirs, found) in self.seen:
            return
        self.seen.add((theirs, found))
        if found is models.ToolMemberConfig and set(fields(theirs)) - set(fields(found)):
            self.members(theirs, found, path)
            return
        declared = fields(found)
        for name, hint in fields(theirs).items():
            if name not in declared:
                self.missing.append(f"{path}.{name}: {theirs.__name__} has it, {found.__name__} does not")
                continue
            self.covered.add((theirs.__module__, theirs.__name__, name))
            self.compare(hint, declared[name], f"{path}.{name}")
        if not is_model(theirs):
            self.lenient |= {(tag, name) for name in required(theirs) - required(found) for tag in tags(theirs)}

    def members(self, theirs, config, path) -> None:
        """A toolset of the SDK has a key for each member, ours is a map."""
        names = set(fields(theirs))
        assert names in ({*BROWSER_TOOLSET_MEMBERS}, {*COMPUTER_TOOLSET_MEMBERS}), path
        for name, hint in fields(theirs).items():
            self.covered.add((theirs.__module__, theirs.__name__, name))
            self.compare(hint, config, f"{path}.{name}")

    def match(self, theirs, candidates):
        """By `type` where there is one, else the only candidate, else the one with the same keys."""
        known = [item for item in dict.fromkeys(candidates) if not issubclass(item, Unknown)]
        if tags(theirs):
            known = [item for item in known if tags(theirs) <= tags(item)]
        if len(known) > 1:
            known = [item for item in known if set(fields(theirs)) <= set(fields(item))]
        return known[0] if len(known) == 1 else None


def is_json(kind) -> bool:
    """Tell whether our side keeps the value as plain JSON."""
    kind = bare(kind)
    return kind is Any or get_origin(kind) is dict or any(is_json(part) for part in get_args(kind) if part is not str)


def opaque(ours) -> set:
    return {"object"} if is_json(ours) else set()


def parts(value):
    """Yield every model inside a value."""
    if isinstance(value, BaseModel):
        yield value
        for _, inner in value:
            yield from parts(inner)
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from parts(inner)


def test_every_field_of_the_sdk_is_declared():
    """The models know every type, field and documented value of the SDK."""
    comparison = Comparison()
    for theirs, ours in REQUESTS + ANSWERS:
        comparison.compare(theirs, ours, getattr(theirs, "__name__", "event"))
    assert comparison.missing == []
    assert comparison.lenient <= LENIENT
    assert len(comparison.covered) >= COVERED[int(anthropic.__version__.split(".")[0])]


@pytest.mark.parametrize(("theirs", "ours"), REQUESTS + ANSWERS)
def test_samples_of_the_sdk_round_trip(theirs, ours):
    """Every value that the SDK's types allow is parsed into known members and serialized unchanged."""
    adapter = TypeAdapter(ours)
    values = samples(theirs)
    assert len(values) > 1
    for value in values:
        found = adapter.validate_json(json.dumps(value))
        assert [part for part in parts(found) if isinstance(part, Unknown)] == []
        assert found.model_dump(exclude_unset=True, mode="json") == value


def test_the_samples_cover_what_the_comparison_covers():
    """A sample generator that skipped an alternative would not test it."""
    text = json.dumps([samples(theirs) for theirs, _ in REQUESTS + ANSWERS])
    comparison = Comparison()
    for theirs, ours in REQUESTS + ANSWERS:
        comparison.compare(theirs, ours, "")
    for theirs, _ in comparison.seen:
        assert not tags(theirs) or any(f'"type": "{tag}"' in text for tag in tags(theirs)), theirs


def test_the_comparison_can_fail():
    """A field, a type and a value that the models lack are each reported."""

    class Sdk(typing_extensions.TypedDict):
        type: Literal["text"]
        text: str
        novelty: int

    class SdkToo(typing_extensions.TypedDict):
        type: Literal["novelty"]

    comparison = Comparison()
    comparison.compare(Sdk | SdkToo, models.InputBlock, "x")
    comparison.compare(Literal["low", "insane"], models.Effort, "y")
    assert comparison.missing == [
        "x.novelty: Sdk has it, TextBlock does not",
        "x: SdkToo",
        "y: value insane",
    ]


def test_enumerations_of_the_sdk_are_known():
    """Stop reasons and error types are closed lists in the SDK."""
    assert literals(fields(BetaMessage)["stop_reason"]) <= set(STOP_REASONS)
    assert literals(shared.ErrorType) <= set(ERROR_TYPES)
