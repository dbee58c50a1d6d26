"""Settings of the native lane, as run.yaml writes them."""

import math

import pytest
import yaml
from pydantic import ValidationError

from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.upstream.settings import NativeSettings


def read(text):
    """Return the entry of a provider, as it comes out of YAML."""
    return MessagesConfig.model_validate(yaml.safe_load(f"native: {{up: {text}}}")).native["up"]


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("auto", "auto"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "on"),
        ("no", "off"),
        ("true", "on"),
        ("False", "off"),
        ("'on'", "on"),
        ("'off'", "off"),
        ("{mode: on}", "on"),
        ("{mode: off}", "off"),
        ("{mode: 'on'}", "on"),
        ("{mode: auto}", "auto"),
        ("{}", "auto"),
        ("{repair: true}", "auto"),
    ],
)
def test_a_mode_stands_alone_or_in_a_mapping(text, mode):
    """And what YAML makes a boolean of is the word that was written."""
    assert read(text).mode == mode


@pytest.mark.parametrize("text", ["maybe", "1", "0", "", "[on]", "{mode: }", "{mode: 1}", "{mode: always}", "'yes'"])
def test_another_mode_is_refused(text):
    """It is not guessed."""
    with pytest.raises(ValidationError, match="mode"):
        read(text)


def test_a_field_that_does_not_exist_is_refused():
    """A misspelt one would do nothing in silence."""
    with pytest.raises(ValidationError, match="baseurl"):
        read("{baseurl: 'http://x'}")


def test_nothing_is_changed_by_itself():
    """What an entry does not say is left to the type of the provider or to defaults."""
    unset = NativeSettings()
    assert unset == read("{}") == read("auto")
    assert (unset.base_url, unset.anthropic, unset.auth, unset.strip_billing_header) == (None,) * 4
    assert (unset.connect_seconds, unset.silence_seconds) == (None, None)
    assert (unset.forward_client_auth, unset.own_request_id, unset.ping_before_status, unset.repair) == (False,) * 4
    assert unset.forward_headers == []


def test_settings_that_are_made_already_are_taken():
    """Code may hand them over."""
    made = NativeSettings(mode="on", repair=True)
    assert MessagesConfig(native={"up": made}).native["up"] == made


@pytest.mark.parametrize("auth", ["x-api-key", "bearer"])
def test_the_ways_to_send_a_key(auth):
    """Are these two."""
    assert read(f"{{auth: {auth}}}").auth == auth
    with pytest.raises(ValidationError, match="auth"):
        read("{auth: basic}")


@pytest.mark.parametrize("name", ["connect_seconds", "silence_seconds"])
@pytest.mark.parametrize("value", [0, -1, math.inf, -math.inf, math.nan])
def test_a_time_is_positive_and_finite(name, value):
    """An endless one would hold a connection for ever."""
    with pytest.raises(ValidationError, match=name):
        NativeSettings(**{name: value})


@pytest.mark.parametrize("name", ["connect_seconds", "silence_seconds"])
def test_a_time_may_be_short(name):
    """Less than a second included."""
    assert getattr(NativeSettings(**{name: 0.1}), name) == 0.1
