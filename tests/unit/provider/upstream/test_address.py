"""The address of a backend and its credentials: as run.yaml configures, a provider declares, or the platform knows."""

import math

import pytest
import yaml
from llama_stack.providers.utils.inference.model_registry import RemoteInferenceProviderConfig
from pydantic import ValidationError

from llama_stack_api_messages import MessagesUpstream
from llama_stack_api_messages.errors import MessagesError
from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.errors.exceptions import keys_of
from llama_stack_provider_messages.errors.redaction import redact_error
from llama_stack_provider_messages.stack import OpenAIMixin, Target
from llama_stack_provider_messages.upstream.address import declared_by, upstream_of
from llama_stack_provider_messages.upstream.settings import NativeSettings


def read(text):
    """Return the settings of a provider, parsed from YAML."""
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
def test_a_mode_is_a_value_or_a_field(text, mode):
    """YAML parses some of the words as booleans."""
    assert read(text).mode == mode


@pytest.mark.parametrize("text", ["maybe", "1", "0", "", "[on]", "{mode: }", "{mode: 1}", "{mode: always}", "'yes'"])
def test_an_unknown_mode_is_rejected(text):
    """It is not guessed."""
    with pytest.raises(ValidationError, match="mode"):
        read(text)


def test_an_unknown_field_is_rejected():
    """A misspelled one would have no effect, silently."""
    with pytest.raises(ValidationError, match="baseurl"):
        read("{baseurl: 'http://x'}")


def test_settings_are_unset_by_default():
    """The type of the provider and defaults decide then."""
    unset = NativeSettings()
    assert unset == read("{}") == read("auto")
    assert (unset.base_url, unset.anthropic, unset.auth, unset.strip_billing_header) == (None,) * 4
    assert (unset.connect_seconds, unset.silence_seconds) == (None, None)
    assert (unset.forward_client_auth, unset.own_request_id, unset.ping_before_status, unset.repair) == (False,) * 4
    assert unset.forward_headers == []


def test_settings_may_be_an_object():
    """Code may pass the settings as an object."""
    made = NativeSettings(mode="on", repair=True)
    assert MessagesConfig(native={"up": made}).native["up"] == made


@pytest.mark.parametrize("auth", ["x-api-key", "bearer"])
def test_auth_is_x_api_key_or_bearer(auth):
    """Any other value is rejected."""
    assert read(f"{{auth: {auth}}}").auth == auth
    with pytest.raises(ValidationError, match="auth"):
        read("{auth: basic}")


@pytest.mark.parametrize("name", ["connect_seconds", "silence_seconds"])
@pytest.mark.parametrize("value", [0, -1, math.inf, -math.inf, math.nan])
def test_a_timeout_is_positive_and_finite(name, value):
    """An infinite one would hold a connection forever."""
    with pytest.raises(ValidationError, match=name):
        NativeSettings(**{name: value})


@pytest.mark.parametrize("name", ["connect_seconds", "silence_seconds"])
def test_a_timeout_may_be_less_than_a_second(name):
    """In fractions of a second."""
    assert getattr(NativeSettings(**{name: 0.1}), name) == 0.1


class Provider(OpenAIMixin):
    base: str = "http://host/v1"

    def get_base_url(self):
        return self.base


class Speaking:
    def __init__(self, declared):
        self.declared = declared

    async def messages_upstream(self, resource_id):
        if isinstance(self.declared, Exception):
            raise self.declared
        return self.declared


def target(key="sk-1", kind="remote::vllm", base="http://host/v1", provider=None):
    provider = provider or Provider(config=RemoteInferenceProviderConfig(api_key=key), base=base)
    return Target("up/m", "up", kind, "m", provider=provider)


def upstream(declared=None, *, to=None, **settings):
    return upstream_of(to or target(), NativeSettings(**settings), declared)


X_API_KEY, BEARER = {"x-api-key": "sk-1"}, {"authorization": "Bearer sk-1"}


@pytest.mark.parametrize(
    ("kind", "settings", "headers", "anthropic"),
    [
        ("remote::vllm", {}, BEARER, False),
        ("remote::anthropic", {}, X_API_KEY, True),
        ("remote::vllm", {"anthropic": True}, X_API_KEY, True),
        ("remote::anthropic", {"anthropic": False}, BEARER, False),
        ("remote::vllm", {"auth": "x-api-key"}, X_API_KEY, False),
        ("remote::anthropic", {"auth": "bearer"}, BEARER, True),
        ("remote::vllm", {"auth": "bearer", "anthropic": True}, BEARER, True),
        ("remote::vllm", {"forward_client_auth": True}, {}, False),
        ("remote::anthropic", {"forward_client_auth": True}, {}, True),
    ],
)
def test_the_header_of_the_key(kind, settings, headers, anthropic):
    """The header follows from the setting, else from the backend's type; forwarded credentials have none."""
    found = upstream(to=target(kind=kind), **settings)
    assert (found.headers, found.anthropic) == (headers, anthropic)
    assert found.secret == ("sk-1" if headers else None)


@pytest.mark.parametrize("key", [None, "", "NO KEY REQUIRED"])
def test_without_a_key_there_is_no_header(key):
    """Neither for an empty key nor for the platform's placeholder."""
    found = upstream(to=target(key=key), auth="x-api-key")
    assert (found.headers, found.secret) == ({}, None)


@pytest.mark.parametrize(
    ("given", "base_url"),
    [
        ("http://host", "http://host"),
        ("http://host/", "http://host"),
        ("http://host/v1", "http://host"),
        ("http://host/v1/", "http://host"),
        ("https://r.services.ai.azure.com/anthropic", "https://r.services.ai.azure.com/anthropic"),
        ("https://r.services.ai.azure.com/anthropic/", "https://r.services.ai.azure.com/anthropic"),
        ("https://host/a/v1", "https://host/a"),
        ("https://host/v1/a", "https://host/v1/a"),
        ("https://host/apiv1", "https://host/apiv1"),
    ],
)
def test_a_base_url_ends_before_the_version(given, base_url):
    """Configured, declared, or the provider's own; a path before the version stays."""
    assert upstream(base_url=given).base_url == base_url
    assert upstream(MessagesUpstream(given)).base_url == base_url
    assert upstream(to=target(base=given)).base_url == base_url


def test_the_configured_base_url_wins():
    """Over the declared one and the provider's own; the credentials stay."""
    declared = MessagesUpstream("http://declared", {"x-api-key": "d", "x-org": "o"})
    found = upstream(declared, base_url="http://set")
    assert (found.base_url, found.headers, found.secret) == ("http://set", {"x-api-key": "d", "x-org": "o"}, "d")
    assert upstream(base_url="http://set").headers == BEARER


def test_a_declared_upstream_wins_over_the_providers_own_address():
    """The provider's key is not added to the declared headers."""
    found = upstream(MessagesUpstream("http://declared", {"authorization": "Bearer d"}))
    assert (found.base_url, found.headers, found.secret) == ("http://declared", {"authorization": "Bearer d"}, "d")
    assert upstream(MessagesUpstream("http://declared")).headers == {}


def test_forwarded_credentials_replace_declared_credentials_only():
    """Other declared headers are still sent."""
    declared = MessagesUpstream("http://d", {"x-api-key": "d", "authorization": "Bearer d", "x-org": "o"})
    found = upstream(declared, forward_client_auth=True)
    assert (found.headers, found.secret) == ({"x-org": "o"}, None)


def test_declared_headers_are_copied():
    """The provider may change its own later."""
    headers = {"x-api-key": "d"}
    found = upstream(MessagesUpstream("http://d", headers))
    headers["x-api-key"] = "changed"
    assert found.headers == {"x-api-key": "d"}


def test_a_provider_without_an_address_needs_a_configured_one():
    """Then no key is known."""
    assert upstream(to=target(provider=object())) is None
    found = upstream(to=target(provider=object()), base_url="http://set")
    assert (found.base_url, found.headers) == ("http://set", {})


def test_a_key_is_not_in_a_repr():
    """Neither the repr of the upstream nor that of the declaration shows the key."""
    assert "sk-1" not in repr(upstream())
    assert "sk-1" not in repr(MessagesUpstream("http://d", {"x-api-key": "sk-1"}))
    assert upstream().provider_id == "up"


async def test_what_a_provider_declares():
    """An upstream, none, or the provider has no declaration."""
    said = MessagesUpstream("http://d")
    assert await declared_by(target(provider=Speaking(said))) is said
    assert await declared_by(target(provider=Speaking(None))) is None
    assert await declared_by(target()) is None


async def test_an_engine_that_does_not_start_is_a_messages_error():
    """With its cause; other exceptions are bugs and are not caught."""
    with pytest.raises(MessagesError) as caught:
        await declared_by(target(provider=Speaking(RuntimeError("no file"))))
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(KeyError):
        await declared_by(target(provider=Speaking(KeyError("bug"))))


@pytest.mark.parametrize(
    ("settings", "declared", "anthropic"),
    [({}, True, True), ({}, None, False), ({"anthropic": False}, True, False), ({"anthropic": True}, False, True)],
)
def test_a_provider_may_declare_that_it_is_anthropics_own(settings, declared, anthropic):
    """The configuration wins."""
    said = MessagesUpstream("http://host", anthropic=declared)
    assert upstream(said, **settings).anthropic is anthropic


def test_a_key_in_any_other_header_is_a_secret():
    """It is omitted if the client's own credentials are forwarded."""
    declared = MessagesUpstream("http://d", {"api-key": "sk-odd-key", "x-a": "b"}, secret="sk-odd-key")
    assert upstream(declared).secret == "sk-odd-key"
    assert upstream(declared, forward_client_auth=True).headers == {"x-a": "b"}
    assert "sk-odd-key" not in repr(declared)


CONFIGURED = {
    "api-key": "tenantkey-abcdefgh",
    "Authorization": "Bearer operator-token-1",
    "cookie": "session=abcdefghijkl; theme=dark",
    "x-gateway": "Acme route7f3a9c21b4",
    "x-team": "research",
    "user-agent": "stack1234567/8",
}
HIDDEN = {"tenantkey-abcdefgh", "operator-token-1", "abcdefghijkl", "route7f3a9c21b4"}


def with_headers(**network):
    config = RemoteInferenceProviderConfig(api_key="sk-1-operator", network={"headers": CONFIGURED, **network})
    return target(provider=Provider(config=config))


def test_keys_in_the_configured_headers_are_secrets():
    """They are sent with every request, so a backend may repeat them; words are no keys."""
    found = upstream(to=with_headers())
    assert set(found.secrets) == {"sk-1-operator", *HIDDEN}
    assert not [word for word in HIDDEN if word in repr(found)]
    assert set(keys_of(with_headers().provider).secrets) == {"sk-1-operator", *HIDDEN}
    assert (
        set(keys_of(Provider(config=RemoteInferenceProviderConfig(network={"headers": CONFIGURED}))).secrets) >= HIDDEN
    )


@pytest.mark.parametrize(
    ("base", "hidden"),
    [
        ("http://10.0.0.3:8000/v1", ["10.0.0.3:8000"]),
        ("http://gpu-node:8000", ["gpu-node:8000"]),
        ("https://backend.example.com/anthropic", ["backend.example.com"]),
        ("https://me:hunter22@[::1]:8000/v1", ["me", "hunter22", "[::1]:8000"]),
        ("http://vllm/v1", []),
        ("http://[::1", []),
    ],
)
def test_the_host_of_the_upstream_is_hidden(base, hidden):
    """A host that is a single word may be a word of a message."""
    assert [*upstream(to=target(key=None, base=base)).secrets] == hidden
    error = redact_error(MessagesError(f"cannot connect to {base}"), hidden)
    assert not [part for part in hidden if len(part) > 7 and part in error.message]
