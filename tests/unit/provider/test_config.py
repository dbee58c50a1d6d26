"""The provider's configuration."""

import pytest
from pydantic import ValidationError

from llama_stack_provider_messages.config import MessagesConfig


def test_every_field_is_described():
    """The descriptions are the reference of the configuration."""
    assert all(field.description for field in MessagesConfig.model_fields.values())


def test_an_empty_default_model_is_none():
    """An unset environment variable in run.yaml means no default."""
    assert MessagesConfig(default_model="").default_model is None


def test_a_misspelled_field_is_rejected():
    """It would have no effect otherwise."""
    with pytest.raises(ValidationError, match="defualt_model"):
        MessagesConfig(defualt_model="x")


@pytest.mark.parametrize("value", [0, -1])
def test_intervals_and_limits_must_be_positive(value):
    with pytest.raises(ValidationError):
        MessagesConfig(ping_seconds=value)
    with pytest.raises(ValidationError):
        MessagesConfig(max_request_bytes=value)


def test_the_sample_is_a_valid_configuration():
    """The platform offers it as a starting point."""
    sample = MessagesConfig.sample_run_config(__distro_dir__="x")
    assert MessagesConfig(**{**sample, "default_model": ""}).aliases == {}
