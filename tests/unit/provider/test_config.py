"""The provider's configuration."""

import pytest
from pydantic import ValidationError

from llama_stack_provider_messages.config import MessagesConfig


def test_every_field_is_described():
    """An operator can read what each does."""
    assert all(field.description for field in MessagesConfig.model_fields.values())


def test_an_empty_default_model_is_none():
    """An unset environment variable in run.yaml means no default."""
    assert MessagesConfig(default_model="").default_model is None


def test_a_misspelt_field_is_refused():
    """It does not go unnoticed."""
    with pytest.raises(ValidationError, match="defualt_model"):
        MessagesConfig(defualt_model="x")


@pytest.mark.parametrize("value", [0, -1])
def test_nonsense_is_refused(value):
    """Intervals and limits are positive."""
    with pytest.raises(ValidationError):
        MessagesConfig(ping_seconds=value)
    with pytest.raises(ValidationError):
        MessagesConfig(max_request_bytes=value)


def test_the_sample_is_a_valid_configuration():
    """What the platform offers as a starting point can be used."""
    sample = MessagesConfig.sample_run_config(__distro_dir__="x")
    assert MessagesConfig(**{**sample, "default_model": ""}).aliases == {}
