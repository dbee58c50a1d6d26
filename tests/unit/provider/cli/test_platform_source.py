"""The fields that ``messages check`` reads from the platform's source are those of its configuration classes."""

import importlib
import re

import pytest
from llama_stack.core.datatypes import ServerConfig
from llama_stack.providers.registry.inference import available_providers

from llama_stack_provider_messages.cli.platform_source import platform_types, provider_fields, server_fields

CLASSES = {spec.provider_type: spec.config_class for spec in available_providers()}
NOT_READ = {"remote::vertexai"}
"""Types whose class has a ``model_config``."""


def accepted(model):
    """Return the names of the fields that a run.yaml may have."""
    return {field.alias or name for name, field in model.model_fields.items()}


def test_the_types_are_those_of_the_registry():
    assert platform_types() == set(CLASSES)


@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_the_fields_of_a_provider_are_those_of_its_class(kind):
    """A class that cannot be read has no known fields."""
    module, _, name = CLASSES[kind].rpartition(".")
    fields = provider_fields(kind)
    if kind in NOT_READ:
        assert fields is None
    else:
        assert set(fields) == accepted(getattr(importlib.import_module(module), name))


def test_the_fields_of_the_server_are_those_of_its_class_with_their_own_fields():
    """Types of numbers are known, too."""
    fields = server_fields()
    assert set(fields) == accepted(ServerConfig)
    assert fields["workers"].kind == "int"
    assert {"provider_config", "access_policy"} <= set(fields["auth"].fields)


def test_an_unknown_type_has_no_known_fields():
    assert provider_fields("remote::nothing") is None
    assert provider_fields(re.escape("remote::.*")) is None
