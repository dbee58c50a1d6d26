"""JSON schemas of functions and response formats: what the golden cases do not show one by one."""

import pytest

from support.chat_cases import error_message, function


def test_schemas_may_hold_booleans_and_nulls(translate):
    schema = {"type": "object", "properties": {"any": True, "not": False}, "title": None, "default": None}
    response_format = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert translate(response_format=response_format).body["output_config"]["format"]["schema"] == {
        "type": "object",
        "properties": {"any": {}, "not": {}},
        "default": None,
        "additionalProperties": False,
        "title": "n",
    }


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"anyOf": {}}, "anyOf: a list of JSON schemas is required"),
        ({"properties": []}, "properties: an object is required"),
        ({"items": [1]}, "items: an object is required"),
        ({"maximum": 10**5000}, "maximum: a valid JSON value is required"),
    ],
)
def test_an_invalid_schema_is_a_400(translate, schema, message):
    response_format = {"type": "json_schema", "json_schema": {"schema": schema}}
    assert error_message(translate, response_format=response_format).startswith(
        f"response_format.json_schema.schema.{message}"
    )


@pytest.mark.parametrize("kind", ["properties", "items", "anyOf"])
@pytest.mark.parametrize("levels", [45, 100, 50_000])
def test_a_schema_of_any_depth_is_accepted_or_a_400(translate, kind, levels):
    schema = {"type": "object"}
    for _ in range(levels):
        held = {"properties": {"a": schema}, "items": schema, "anyOf": [schema]}[kind]
        schema = {kind: held}
    response_format = {"type": "json_schema", "json_schema": {"schema": schema}}
    fields = {"response_format": response_format, "tools": [function(parameters={"properties": {"x": schema}})]}
    if levels < 50:
        assert translate(**fields).body["tools"]
    else:
        assert "nested more than 100 levels deep" in error_message(translate, **fields)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**5000], ids=["nan", "inf", "huge"])
def test_a_number_that_json_lacks_is_a_400(translate, value):
    message = error_message(translate, tools=[function(parameters={"type": "object", "maximum": value})])
    assert message == "tools, thinking: one of them is not valid JSON; look for NaN and huge numbers"


def test_wrapped_parameters_keep_their_references(translate):
    parameters = {"anyOf": [{"$ref": "#/definitions/A"}, {"$ref": "#/anyOf/0"}, {"$ref": 5}], "definitions": {"A": {}}}
    (tool,) = translate(tools=[function(parameters=parameters)]).body["tools"]
    assert tool["input_schema"]["definitions"] == {"A": {}}
    assert tool["input_schema"]["properties"]["input"]["anyOf"] == [
        {"$ref": "#/definitions/A"},
        {"$ref": "#/properties/input/anyOf/0"},
        {"$ref": 5},
    ]


def test_a_nullable_object_type_becomes_an_object_at_the_top_level(translate):
    (tool,) = translate(tools=[function(parameters={"type": ["object", "null"]})]).body["tools"]
    assert tool["input_schema"] == {"type": "object", "properties": {}}
