"""The configuration of ``remote::messages``."""

import pytest
from pydantic import ValidationError

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.remote.config import ModelEntry, RemoteMessagesConfig, RemoteMessagesProviderData
from llama_stack_provider_messages.remote.provider import get_provider_spec


@pytest.mark.parametrize("model", [RemoteMessagesConfig, ModelEntry, RemoteMessagesProviderData])
def test_every_field_is_described(model):
    """Every config field has a description, also those of the platform."""
    assert [name for name, field in model.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://x.services.ai.azure.com/anthropic", "https://x.services.ai.azure.com/anthropic"),
        ("https://x.services.ai.azure.com/anthropic/v1/", "https://x.services.ai.azure.com/anthropic"),
        ("https://x.services.ai.azure.com/anthropic/v1/messages", "https://x.services.ai.azure.com/anthropic"),
        ("https://gateway/messages", "https://gateway/messages"),
        ("http://127.0.0.1:8321/", "http://127.0.0.1:8321"),
        ("http://[::1]:80/a/v1", "http://[::1]:80/a"),
    ],
)
def test_a_base_url_may_end_with_the_version(given, kept):
    """Operators copy it from the examples of either SDK."""
    assert RemoteMessagesConfig(base_url=given).base_url == kept


@pytest.mark.parametrize("url", ["", "host", "ftp://host", "https://", "https://host?a=b", "https://u:p@host"])
def test_an_invalid_base_url_stops_the_start(url):
    """With a message that shows a valid one."""
    with pytest.raises(ValidationError, match="base_url"):
        RemoteMessagesConfig(base_url=url)


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        ("x-api-key", {"x-api-key": "k"}),
        ("bearer", {"authorization": "Bearer k"}),
        ("header:API-Key", {"api-key": "k"}),
    ],
)
def test_auth_selects_the_header_of_the_key(auth, headers):
    """Without a key there is no header."""
    config = RemoteMessagesConfig(auth=auth)
    assert config.credentials("k") == headers
    assert config.credentials(None) == config.credentials("") == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"Content-Length": "5"}},
        {"headers": {"transfer-encoding": "chunked"}},
        {"auth": "header:Host"},
        {"anthropic_version": "2023-06-01\r\nx: y"},
        {"anthropic_version": ""},
        {"anthropic_beta": ["a", "b\n"]},
    ],
)
def test_settings_that_would_break_every_request_stop_the_start(fields):
    """Headers that HTTP sets itself, and values that headers cannot have."""
    with pytest.raises(ValidationError, match=next(iter(fields))):
        RemoteMessagesConfig(**fields)


@pytest.mark.parametrize("data", [{"messages_api_key": 5}, {"up_api_key": ["k"]}, {"up_api_key": {}}])
def test_a_key_that_is_not_a_string_is_rejected(data):
    """The operator's own is not used in its place."""
    with pytest.raises(InvalidRequestError, match=f"provider-data: {next(iter(data))}"):
        RemoteMessagesProviderData(**data).key("up")


@pytest.mark.parametrize("auth", ["", "basic", "header:", "header:a b", "header:a\nb", "Bearer "])
def test_an_unknown_auth_stops_the_start(auth):
    """So that the key is not sent in the wrong header."""
    with pytest.raises(ValidationError, match="x-api-key, bearer, header:NAME"):
        RemoteMessagesConfig(auth=auth)


@pytest.mark.parametrize("headers", [{"a b": "c"}, {"a": "b\r\nc: d"}, {"": "x"}, {"a": "\u00e9"}])
def test_an_invalid_header_stops_the_start(headers):
    """Before the first request."""
    with pytest.raises(ValidationError, match="is not a valid header"):
        RemoteMessagesConfig(headers=headers)


def test_a_model_is_a_name_or_a_mapping():
    """Both in one list."""
    config = RemoteMessagesConfig(models=["a", {"id": "b", "max_tokens": 5, "context": 9, "type": "claude-opus-4-8"}])
    assert config.models == [ModelEntry(id="a"), ModelEntry(id="b", max_tokens=5, context=9, type="claude-opus-4-8")]


def test_the_key_is_not_in_a_repr_or_dump():
    """Neither the repr nor a dump of the configuration contains the key."""
    config = RemoteMessagesConfig(api_key="sk-sesame")
    assert "sesame" not in repr(config) + str(config.model_dump())


def test_an_unknown_setting_stops_the_start():
    """It may be misspelled."""
    with pytest.raises(ValidationError, match="modells"):
        RemoteMessagesConfig(modells=[])


def test_the_sample_is_a_valid_configuration():
    """With its variables unset."""
    sample = RemoteMessagesConfig.sample_run_config()
    assert sample["api_key"].startswith("${env.")
    assert RemoteMessagesConfig(**sample | {"base_url": "https://api.anthropic.com", "api_key": ""}).max_retries == 0


def test_the_spec_names_existing_classes():
    """The platform loads them by name."""
    spec = get_provider_spec()
    assert (spec.provider_type, spec.api.value) == ("remote::messages", "inference")
    assert spec.config_class.endswith(RemoteMessagesConfig.__name__)
    assert spec.provider_data_validator.endswith(RemoteMessagesProviderData.__name__)
