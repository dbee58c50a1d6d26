"""Chat completions -> Messages, input beside output: ``<behaviour>.in.json`` -> ``<behaviour>.out.json``.

A case holds a chat, and options where they differ from those of a model that takes everything: ``model`` says whose
traits. Its ``variants`` change fields of both. ``--update-golden`` writes the outputs; read the diff before it is
committed.
"""

import json

import pytest

from support.chat_cases import CASES, NAMES, load, results_of


@pytest.mark.parametrize("name", NAMES)
def test_request(name, golden):
    golden(CASES / f"{name}.out.json", json.dumps(results_of(load(name)), indent=1) + "\n")


def test_every_row_of_the_mapping_has_a_case():
    assert len(NAMES) >= 32
