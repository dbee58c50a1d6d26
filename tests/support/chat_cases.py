"""The golden cases of chat completions requests, and their translation."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages import TranslationOptions, traits_of, translate_request
from support.histories import assert_legal

CASES = Path(__file__).parents[1] / "golden" / "chat_to_messages" / "request"
NAMES = sorted(path.name.removesuffix(".in.json") for path in CASES.glob("*.in.json"))


def load(name):
    return json.loads((CASES / f"{name}.in.json").read_text())


def options_of(case):
    values = {"model": "upstream-model", **case.get("options", {})}
    return TranslationOptions(traits=traits_of(values["model"]), **values)


def function(name="get", **fields):
    """Return a function tool."""
    return {"type": "function", "function": {"name": name, **fields}}


def error_message(translate, **fields):
    """Return the message of the 400 for a request with these fields."""
    with pytest.raises(InvalidRequestError) as caught:
        translate(**fields)
    return caught.value.message


def set_fields(options):
    """Return the fields of reply options that are set."""
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items() if value}


def result_of(case):
    try:
        done = translate_request(case["chat"], options_of(case))
    except InvalidRequestError as error:
        return {"error": error.message}
    assert_legal(done.body)
    dropped = [f"{entry.path} ({entry.feature}): {entry.reason}" for entry in done.dropped]
    return {"body": done.body, "dropped": dropped, "form": set_fields(done.reply_options), "betas": list(done.betas)}


def merged(case, variant):
    return {name: {**case.get(name, {}), **variant.get(name, {})} for name in ("chat", "options")}


def results_of(case):
    if "variants" not in case:
        return result_of(case)
    return {name: result_of(merged(case, variant)) for name, variant in case["variants"].items()}
