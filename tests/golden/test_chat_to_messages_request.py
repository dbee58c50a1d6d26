"""Chat completions -> Messages, input beside output: ``<behaviour>.in.json`` -> ``<behaviour>.out.json``.

A case holds a chat, and options where they differ from those of a model that takes everything: ``model`` says whose
traits. Its ``variants`` change fields of both. ``--update-golden`` writes the outputs; read the diff before it is
committed.
"""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages import Options, traits_of, translate_request
from support.histories import assert_legal

CASES = Path(__file__).parent / "chat_to_messages" / "request"
NAMES = sorted(path.name.removesuffix(".in.json") for path in CASES.glob("*.in.json"))


def options_of(case):
    values = {"model": "upstream-model", **case.get("options", {})}
    return Options(traits=traits_of(values["model"]), **values)


def said(form):
    """Return what of a form is not the default."""
    values = {field.name: getattr(form, field.name) for field in fields(form)}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items() if value}


def result_of(case):
    try:
        done = translate_request(case["chat"], options_of(case))
    except InvalidRequestError as error:
        return {"error": error.message}
    assert_legal(done.body)
    dropped = [f"{entry.path} ({entry.feature}): {entry.reason}" for entry in done.dropped]
    return {"body": done.body, "dropped": dropped, "form": said(done.form), "betas": list(done.betas)}


def merged(case, variant):
    return {name: {**case.get(name, {}), **variant.get(name, {})} for name in ("chat", "options")}


def results_of(case):
    if "variants" not in case:
        return result_of(case)
    return {name: result_of(merged(case, variant)) for name, variant in case["variants"].items()}


@pytest.mark.parametrize("name", NAMES)
def test_request(name, golden):
    case = json.loads((CASES / f"{name}.in.json").read_text())
    golden(CASES / f"{name}.out.json", json.dumps(results_of(case), indent=1) + "\n")


def test_every_row_of_the_mapping_has_a_case():
    assert len(NAMES) >= 32
