"""Inspects the types of the official SDK, and generates sample values from them."""

import inspect
import json
import types
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import IO, Annotated, Any, Literal, TypeAliasType, Union, get_args, get_origin, is_typeddict

import typing_extensions
from pydantic import BaseModel

from llama_stack_api_messages.models.base import Known

IN_HEADERS = {"betas", "user_profile_id", "workspace_id"}
"""Keyword arguments that the SDK sends as headers."""

REFUSED = [{"role": "system"}]
"""Values that the SDK's types allow and the protocol rejects."""

QUALIFIERS = {typing_extensions.Required, typing_extensions.NotRequired, Annotated}


def bare(kind):
    """Return a type without qualifiers, annotations and aliases."""
    while get_origin(kind) in QUALIFIERS or isinstance(kind, TypeAliasType | typing_extensions.TypeAliasType):
        kind = kind.__value__ if hasattr(kind, "__value__") else get_args(kind)[0]
    return kind


def is_structure(kind) -> bool:
    return is_typeddict(kind) or typing_extensions.is_typeddict(kind) or is_model(kind)


def is_model(kind) -> bool:
    return inspect.isclass(kind) and issubclass(kind, BaseModel)


def is_union(kind) -> bool:
    return get_origin(kind) in {Union, types.UnionType}


def structures(kind) -> list:
    """Return the object types inside a type: directly, or through unions, lists and maps."""
    kind = bare(kind)
    if is_structure(kind):
        return [kind]
    return [] if get_origin(kind) is Literal else [found for part in get_args(kind) for found in structures(part)]


@cache
def fields(kind) -> dict[str, Any]:
    """Return the annotations of an object type by wire name."""
    if is_model(kind):
        return {field.alias or name: as_written(kind, name, field) for name, field in kind.model_fields.items()}
    hints = typing_extensions.get_type_hints(kind, include_extras=True)
    return {name: hint for name, hint in hints.items() if name not in IN_HEADERS}


def as_written(kind, name, field):
    """Return the annotation including the metadata that pydantic has removed from it."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


@cache
def required(kind) -> set[str]:
    if is_model(kind):
        return {field.alias or name for name, field in kind.model_fields.items() if field.is_required()}
    marked = {name for name, hint in fields(kind).items() if get_origin(hint) is typing_extensions.Required}
    return marked | set(kind.__required_keys__)


def tags(kind) -> set[str]:
    return {value for value in literals(fields(kind).get("type", None)) if isinstance(value, str)}


def literals(kind) -> set:
    """Return the literal or documented values of a type, without those inside objects."""
    if get_origin(kind) is Annotated:
        known = {value for mark in get_args(kind)[1:] if isinstance(mark, Known) for value in mark.values}
        return known | literals(get_args(kind)[0])
    kind = bare(kind) if get_origin(kind) in QUALIFIERS else kind
    if isinstance(kind, TypeAliasType | typing_extensions.TypeAliasType):
        return literals(kind.__value__)
    if get_origin(kind) is Literal:
        return set(get_args(kind)) - {True, False}
    return {value for part in get_args(kind) for value in literals(part)}


def samples(kind) -> list:
    """Return sample values of an SDK type that together cover each alternative of each union."""
    kind = bare(kind)
    origin = get_origin(kind)
    if is_structure(kind):
        return structure_samples(kind)
    if is_union(kind):
        found = [value for part in get_args(kind) for value in samples(part)]
        return list({json.dumps(value): value for value in found}.values())
    if origin is Literal:
        return list(get_args(kind))
    if origin is dict:
        return [{"z": value, "a": value} for value in samples(get_args(kind)[1])]
    if inspect.isclass(origin) and issubclass(origin, Iterable) and origin not in NOT_JSON:
        items = samples(get_args(kind)[0])
        return [items, items[:1]]
    return [PLAIN[kind]] if kind in PLAIN else []


NOT_JSON = {IO}
"""Types that the SDK accepts from its callers but never sends."""

PLAIN = {
    str: "text",
    int: 7,
    float: 0.5,
    bool: True,
    object: {"z": 1, "a": [None, 1.5, "x"]},
    type(None): None,
    datetime: "2026-11-20T19:00:00Z",
}


@cache
def structure_samples(kind) -> list[dict]:
    """Return the smallest value, then one with the first alternative of every field, the second of every field, ...

    A field with no further alternatives uses its shortest one, so that samples stay small.
    """
    columns = {name: samples(hint) for name, hint in fields(kind).items()}
    assert all(columns.values()), f"no sample for {kind}"
    smallest = {name: min(values, key=weight) for name, values in columns.items() if name in required(kind)}
    length = max((len(values) for values in columns.values()), default=0)
    full = [{name: at_or_shortest(values, at) for name, values in columns.items()} for at in range(length)]
    return [value for value in (smallest, *full) if value not in REFUSED]


def at_or_shortest(values, at):
    return values[at] if at < len(values) else min(values, key=weight)


def weight(value) -> int:
    return len(json.dumps(value))
