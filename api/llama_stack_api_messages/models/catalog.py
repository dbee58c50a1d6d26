"""The list of models and its query parameters."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from .base import OpenModel

Lifecycle = Literal["active", "deprecated", "retired"]
"""Stages of a model; `retired` models are no longer served."""

UNKNOWN_DATE = "1970-01-01T00:00:00Z"
"""The value for an unknown release date (documentation of `created_at`)."""


class ModelInfo(OpenModel):
    """A name that may be sent as the `model` of a request."""

    type: Literal["model"] = Field(default="model", description="Kind of object.")
    id: str = Field(description="The name.")
    display_name: str = Field(description="Name to show to people; of an alias, with the model it maps to.")
    created_at: str = Field(default=UNKNOWN_DATE, description="Date of release, RFC 3339; the epoch if unknown.")
    lifecycle: Lifecycle = Field(default="active", description="Stage of the model.")
    line: str | None = Field(default=None, description="The family it belongs to.")
    deprecated_at: str | None = Field(default=None, description="When it was deprecated, RFC 3339.")
    retires_at: str | None = Field(default=None, description="When it will be retired, RFC 3339.")
    max_input_tokens: int | None = Field(default=None, description="Size of the context window; null if unknown.")
    max_tokens: int | None = Field(default=None, description="Largest `max_tokens`; null if unknown.")
    capabilities: dict[str, Any] | None = Field(default=None, description="What it can do; null if unknown.")


class ModelList(OpenModel):
    """A page of the list, ordered by id."""

    data: list[ModelInfo] = Field(description="The models of this page.")
    has_more: bool = Field(description="Whether more models follow in the requested direction.")
    first_id: str | None = Field(default=None, description="The first id of this page, as `before_id` of the next.")
    last_id: str | None = Field(default=None, description="The last id of this page, as `after_id` of the next.")


class ModelQuery(OpenModel):
    """Query parameters of the list."""

    limit: int = Field(default=20, ge=1, le=1000, description="Maximum number of models on the page.")
    after_id: str | None = Field(default=None, description="The page starts after this id.")
    before_id: str | None = Field(default=None, description="The page ends before this id.")
    lifecycle: list[Lifecycle] | None = Field(
        default=None, alias="lifecycle[]", description="Only models in one of these stages."
    )

    @model_validator(mode="after")
    def _one_cursor(self) -> Self:
        if self.after_id is not None and self.before_id is not None:
            raise PydanticCustomError(
                "two_cursors", "before_id: cannot be sent together with after_id; send one of them"
            )
        return self
