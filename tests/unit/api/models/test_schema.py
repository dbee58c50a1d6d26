"""The JSON schemas name and describe the real models, in OpenAPI too."""

import inspect
import json
from typing import Annotated, Literal, TypeAliasType, Union, get_args, get_origin

import pytest
from fastapi import FastAPI

from llama_stack_api_messages import models
from llama_stack_api_messages.models import CreateMessageRequest, ErrorBody, Message, OpenModel
from llama_stack_api_messages.models.base import ByType, OneOf

CLASSES = [item for item in vars(models).values() if inspect.isclass(item) and issubclass(item, OpenModel)]


def openapi() -> dict:
    app = FastAPI()

    @app.post("/v1/messages", responses={400: {"model": ErrorBody}})
    def create(body: CreateMessageRequest) -> Message:
        raise NotImplementedError

    return app.openapi()


@pytest.mark.parametrize("model", [CreateMessageRequest, Message, ErrorBody])
@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_a_schema_can_be_made(model, mode):
    """For input and for output, and as JSON."""
    assert json.dumps(model.model_json_schema(mode=mode))


def test_openapi_shows_the_real_components():
    """Every block, tool and union is there under its own name, with a description."""
    schemas = openapi()["components"]["schemas"]
    for name in ("CreateMessageRequest", "Message", "Usage", "TextBlock", "ToolUseBlock", "CustomTool", "ErrorBody"):
        shown = schemas.get(name) or schemas[f"{name}-Input"]
        assert shown["description"] == inspect.getdoc(getattr(models, name))
    assert {"InputBlock", "ResponseBlock", "Tool", "ThinkingConfig", "ToolChoice"} <= {
        name.removesuffix("-Input").removesuffix("-Output") for name in schemas
    }
    for name in schemas:
        assert not name.startswith("_")
        assert "Annotated" not in name
        assert "[" not in name


def test_a_union_lists_its_members_with_their_tags():
    """People and code generators see which type means which model."""
    tool = CreateMessageRequest.model_json_schema()["$defs"]["Tool"]
    known, untyped, unknown = tool["anyOf"]
    assert known["discriminator"]["propertyName"] == "type"
    assert known["discriminator"]["mapping"]["bash_20250124"] == "#/$defs/BashTool"
    assert untyped == {"$ref": "#/$defs/CustomTool"}
    assert unknown == {"$ref": "#/$defs/UnknownTool"}


def test_known_values_are_shown_as_examples():
    """An open string lists the known values."""
    schema = CreateMessageRequest.model_json_schema()["$defs"]["Effort"]
    assert schema == {"examples": ["low", "medium", "high", "xhigh", "max"], "type": "string"}


@pytest.mark.parametrize("model", CLASSES, ids=lambda model: model.__name__)
def test_every_class_and_field_is_described(model):
    """One line for the class and one for each field, except `type`."""
    doc = model.__doc__
    assert doc
    assert "\n" not in doc
    for name, field in model.model_fields.items():
        assert field.description or name == "type", name


@pytest.mark.parametrize("model", CLASSES, ids=lambda model: model.__name__)
def test_every_union_is_marked(model):
    """A bare union would validate slowly and put names of types into error paths."""
    for name, field in model.model_fields.items():
        marked = any(isinstance(mark, ByType | OneOf) for mark in field.metadata)
        assert marked or not bare_union(field.annotation), name


def bare_union(annotation) -> bool:
    """Tell whether a union of two or more things, None aside, has no mark."""
    if isinstance(annotation, TypeAliasType):
        return bare_union(annotation.__value__)
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        marked = any(isinstance(mark, ByType | OneOf) for mark in parts[1:])
        return not marked and bare_union(parts[0])
    if get_origin(annotation) is Literal:
        return False
    if get_origin(annotation) is Union or type(annotation).__name__ == "UnionType":
        parts = [part for part in parts if part is not type(None)]
        if len(parts) > 1:
            return True
    return any(bare_union(part) for part in parts)


def test_a_bare_union_would_be_found():
    """The check above can fail."""
    assert bare_union(int | str)
    assert bare_union(list[models.TextBlock | models.ImageBlock] | None)
    assert not bare_union(int | None)
    assert not bare_union(models.InputBlock)
