"""The building blocks of the wire models: open objects, unions by `type`, and unions by shape.

The protocol has two kinds of union. Both are built here so that they validate inside pydantic's core (no Python call
per value) and give readable error paths:

* `Annotated[A | B | UnknownX, ByType()]` picks the member by its `type`. A `type` of no member is parsed as the
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


def _set_fail_fast(part: object, owner: type) -> None:
    """Set `fail_fast` on all list fields of a model. Annotating each field is easily forgotten."""
    if isinstance(part, dict):
        if part.get("type") == "model" and part.get("cls") is not owner:
            return  # a nested model, which has set its own
        if part.get("type") == "list":
            part["fail_fast"] = True
        for inner in part.values():
            _set_fail_fast(inner, owner)
    elif isinstance(part, list | tuple):
        for inner in part:
            _set_fail_fast(inner, owner)


class OpenModel(BaseModel):
    """An immutable wire object that keeps unknown keys."""

    model_config = ConfigDict(
        extra="allow", frozen=True, validate_by_alias=True, validate_by_name=True, serialize_by_alias=True
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Make every list stop at its first error: a response names only one, and a body may have a million."""
        schema = handler(source)
        _set_fail_fast(schema, cls)
        return schema


class Unknown(OpenModel):
    """An object whose `type` this version does not know; every other key is in `model_extra`."""

    type: str = Field(min_length=1, description="A type this server does not know.")


class ByType:
    """Marks a union whose members are distinguished by `type`; exactly one member is an `Unknown`.

    Args:
        untyped: The member that also takes objects without a `type` (or with an empty one).
        untyped_tag: Name of that member in error paths.
    """

    def __init__(self, untyped: type[OpenModel] | None = None, untyped_tag: str = "") -> None:
        self.untyped = untyped
        self.untyped_tag = untyped_tag

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build the union: known types by table lookup, else the untyped member, else the fallback."""
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
    """Marks a union whose members are distinguished by shape; the first one that validates wins.

    Lists are tried first: `str` would fail for a list, and pydantic copies the whole list into that error.
    """

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build the union with labels that number the members as written; `validation.py` sorts errors by them."""
        members = get_args(source)
        labelled = [(handler.generate_schema(part), f"<{index}>") for index, part in enumerate(members)]
        labelled.sort(key=lambda choice: choice[0]["type"] != "list")
        return core_schema.union_schema([*labelled], mode="left_to_right")


class Known:
    """Marks a string whose known values are documented and whose other values are accepted."""

    def __init__(self, *values: str) -> None:
        self.values = values

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Show the known values as examples."""
        return {**handler(schema), "examples": list(self.values)}


class NullIsEmpty:
    """Marks an object for which clients also send null, meaning `{}`."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept null, without a Python call for values that are objects."""
        empty = core_schema.no_info_after_validator_function(lambda _: {}, core_schema.none_schema())
        return core_schema.union_schema([(handler(source), "<0>"), (empty, "<1>")], mode="left_to_right")


def type_tags(member: type[BaseModel]) -> list[str]:
    """Return the non-empty literals of a model's `type` field."""
    return [tag for tag in _literals(member.model_fields["type"].annotation) if tag]


def _literals(annotation: object) -> list[str]:
    if get_origin(annotation) is Literal:
        return [value for value in get_args(annotation) if isinstance(value, str)]
    return [value for part in get_args(annotation) for value in _literals(part)]


def _reject_known(known: frozenset[str], fallback: CoreSchema) -> CoreSchema:
    """Return the fallback schema, which rejects known types: an invalid object of a known type must be an error."""

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
    """The common field of blocks and tools that may end a cached prefix."""

    cache_control: CacheControlEphemeral | None = Field(
        default=None, description="Ends a cacheable prefix of the prompt here."
    )
