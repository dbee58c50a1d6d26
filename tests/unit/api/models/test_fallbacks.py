"""An object of an unknown `type` lands in the fallback member of its union and keeps every key."""

from typing import Annotated, TypeAliasType, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from llama_stack_api_messages import models
from llama_stack_api_messages.models import Unknown
from llama_stack_api_messages.models.base import ByType, type_tags

UNIONS = {
    name: alias
    for name, alias in vars(models).items()
    if isinstance(alias, TypeAliasType) and any(isinstance(mark, ByType) for mark in get_args(alias.__value__)[1:])
}


def members(alias):
    return get_args(get_args(alias.__value__)[0])


def fallback(alias):
    (found,) = [member for member in members(alias) if issubclass(member, Unknown)]
    return found


def test_the_unions_of_the_protocol_are_found():
    """The table below is made from the package; this is its least size, with the best-known members."""
    assert len(UNIONS) >= 20
    assert {"InputBlock", "ResponseBlock", "Tool", "Event", "Delta", "ThinkingConfig", "ToolChoice"} <= set(UNIONS)


@pytest.mark.parametrize("name", UNIONS)
def test_an_unknown_type_is_kept(name):
    """A newer client must not fail on a type that this version does not know."""
    adapter = TypeAdapter(UNIONS[name])
    sent = {"type": "from_the_future_20991231", "b": {"z": 1, "a": [None]}, "name": 5}
    found = adapter.validate_python(sent)
    assert type(found) is fallback(UNIONS[name])
    assert found.type == sent["type"]
    assert found.model_extra == {"b": {"z": 1, "a": [None]}, "name": 5}
    assert adapter.dump_python(found, exclude_unset=True) == sent


@pytest.mark.parametrize("name", UNIONS)
def test_a_known_type_is_never_parsed_as_unknown(name):
    """An invalid object of a known type is an error."""
    adapter = TypeAdapter(UNIONS[name])
    for member in members(UNIONS[name]):
        for tag in [] if issubclass(member, Unknown) else type_tags(member):
            try:
                found = adapter.validate_python({"type": tag})
            except ValidationError:
                continue
            assert type(found) is member


@pytest.mark.parametrize("name", UNIONS)
@pytest.mark.parametrize("value", [{}, {"type": None}, {"type": 7}, {"type": ""}, [], "text", None, 1])
def test_an_object_without_type_is_an_error(name, value):
    """Only tools may omit it, and these objects lack other fields of a tool."""
    with pytest.raises(ValidationError):
        TypeAdapter(UNIONS[name]).validate_python(value)


@pytest.mark.parametrize("name", UNIONS)
def test_the_tags_of_a_union_are_distinct(name):
    """Two members with one tag would make the second one unreachable."""
    tags = [tag for member in members(UNIONS[name]) if not issubclass(member, Unknown) for tag in type_tags(member)]
    assert len(tags) == len(set(tags))


def test_a_union_without_fallback_cannot_be_built():
    """The rule is checked when the union is made."""
    with pytest.raises(TypeError, match="no Unknown member"):
        TypeAdapter(Annotated[models.TextBlock | models.ImageBlock, ByType()])
