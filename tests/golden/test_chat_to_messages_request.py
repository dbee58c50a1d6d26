"""Chat completions -> Messages, input beside output: ``<behaviour>.in.json`` -> ``<behaviour>.out.json``.

A case holds a chat request, and options if the model does not support everything: ``model`` selects its traits.
``variants`` change fields of both. ``--update-golden`` writes the outputs; read the diff before you commit it.
"""

import json

import pytest

from support.chat_cases import CASES, NAMES, load, results_of


@pytest.mark.parametrize("name", NAMES)
def test_request(name, golden):
    golden(CASES / f"{name}.out.json", json.dumps(results_of(load(name)), indent=1) + "\n")


def test_the_golden_cases_exist():
    assert len(NAMES) >= 32
