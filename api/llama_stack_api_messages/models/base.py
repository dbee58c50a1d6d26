"""What every wire model is made of: open objects, unions by `type`, and unions by shape.

Two kinds of union occur in the protocol, and both are built here so that they validate inside pydantic's core (no
Python call per value) and leave clean error paths:

* `Annotated[A | B | UnknownX, ByType()]` picks the member by its `type`. A `type` no member knows lands in the
  `Unknown` subclass of the union, so that a newer client never fails on a new name.
* `Annotated[str | list[A], OneOf()]` picks the first alternative that fits.

Their alternatives are labelled `<...>`; `validation.py` removes these labels from error paths.
"""

from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

KNOWN_LABEL = "<known>"
UNKNOWN_LABEL = "<unknown>"
KNOWN_TYPE_ERROR = "known_type"


def _stop_lists(part: object, owner: type) -> None:
    """Set the flag on all lists of a model's fields (a field's annotation could do so, and one would forget it)."""
    if isinstance(part, dict):
        if part.get("type") == "model" and part.get("cls") is not owner:
            return  # has done so itself
        if part.get("type") == "list":
            part["fail_fast"] = True
        for inner in part.values():
            _stop_lists(inner, owner)
    elif isinstance(part, list | tuple):
        for inner in part:
            _stop_lists(inner, owner)


class OpenModel(BaseModel):
    """An immutable wire object that keeps the keys it does not know."""

    model_config = ConfigDict(
        extra="allow", frozen=True, validate_by_alias=True, validate_by_name=True, serialize_by_alias=True
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Make every list stop at its first error: a reply names only one, and a body may hold a million."""
        schema = handler(source)
        _stop_lists(schema, cls)
        return schema


class Unknown(OpenModel):
    """The landing place of a `type` this version does not know; every other key is in `model_extra`."""

    type: str = Field(min_length=1, description="A type this server does not know.")


class ByType:
    """Marks a union whose members are told apart by `type`; exactly one member is an `Unknown`.

    Args:
        untyped: The member that also takes objects without a `type` (or with an empty one).
        untyped_tag: How that member is called in error paths.
    """

    def __init__(self, untyped: type[OpenModel] | None = None, untyped_tag: str = "") -> None:
        self.untyped = untyped
        self.untyped_tag = untyped_tag

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build: known types by a table lookup, else untyped, else the fallback."""
        known: dict[str, CoreSchema] = {}
        fallback: CoreSchema | None = None
        for member in get_args(source):
            schema = handler.generate_schema(member)
            if issubclass(member, Unknown):
                fallback = schema
            else:
                known.update(dict.fromkeys(type_tags(member), schema))
        if fallback is None:
            raise TypeError(f"{source} has no Unknown member")
        tagged = core_schema.tagged_union_schema(known, discriminator="type")
        choices: list[CoreSchema | tuple[CoreSchema, str]] = [(tagged, KNOWN_LABEL)]
        if self.untyped:
            choices.append((handler.generate_schema(self.untyped), self.untyped_tag))
        choices.append((_reject_known(frozenset(known), fallback), UNKNOWN_LABEL))
        return core_schema.union_schema(choices, mode="left_to_right")


class OneOf:
    """Marks a union whose members are told apart by shape; the first one that fits wins."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build the union with labels that never show in an error path."""
        members = get_args(source)
        labelled = [(handler.generate_schema(part), f"<{index}>") for index, part in enumerate(members)]
        return core_schema.union_schema([*labelled], mode="left_to_right")


class Known:
    """Marks a string whose known values are documented and whose other values are accepted."""

    def __init__(self, *values: str) -> None:
        self.values = values

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Show the known values as examples."""
        return {**handler(schema), "examples": list(self.values)}


class NullIsEmpty:
    """Marks an object where clients also send null and mean `{}`."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept null without a Python call for the values that are objects already."""
        empty = core_schema.no_info_after_validator_function(lambda _: {}, core_schema.none_schema())
        return core_schema.union_schema([(handler(source), "<0>"), (empty, "<1>")], mode="left_to_right")


def type_tags(member: type[BaseModel]) -> list[str]:
    """Return the non-empty literals that a model's `type` field declares."""
    return [tag for tag in _literals(member.model_fields["type"].annotation) if tag]


def _literals(annotation: object) -> list[str]:
    if get_origin(annotation) is Literal:
        return [value for value in get_args(annotation) if isinstance(value, str)]
    return [value for part in get_args(annotation) for value in _literals(part)]


def _reject_known(known: frozenset[str], fallback: CoreSchema) -> CoreSchema:
    """Keep a broken object of a known type out of the fallback."""

    def check(value: Unknown) -> Unknown:
        if value.type in known:
            raise PydanticCustomError(KNOWN_TYPE_ERROR, "This type is known")
        return value

    return core_schema.no_info_after_validator_function(check, fallback)


type JsonObject = dict[str, Any]


class CacheControlEphemeral(OpenModel):
    """A prompt-cache breakpoint."""

    type: Literal["ephemeral"] = Field(description="The only kind of breakpoint.")
    ttl: Annotated[str, Known("5m", "1h")] | None = Field(default=None, description="How long the entry should live.")


class Cacheable(OpenModel):
    """What blocks and tools that may end a cached prefix have."""

    cache_control: CacheControlEphemeral | None = Field(
        default=None, description="Ends a cacheable prefix of the prompt here."
    )
