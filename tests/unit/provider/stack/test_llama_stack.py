"""What is read from the platform's inference providers: where they are, with which key, over which network."""

import ssl

import certifi
import httpx
import pytest
from llama_stack.core.request_headers import RequestProviderDataContext
from llama_stack.providers.utils.inference.model_registry import NetworkConfig, RemoteInferenceProviderConfig
from llama_stack_api import RemoteProviderSpec
from pydantic import BaseModel, SecretStr

from llama_stack_provider_messages.stack import (
    Network,
    OpenAIMixin,
    Target,
    address_of,
    check_allowed,
    get_logger,
    network_of,
)


class ProviderData(BaseModel):
    their_key: SecretStr | None = None


class Provider(OpenAIMixin):
    """The least a provider of the platform is."""

    base: str = "http://host:1/v1"

    def get_base_url(self):
        return self.base


class PerRequest(Provider):
    """Takes a key with each request."""

    provider_data_api_key_field: str = "their_key"


class Keyless(Provider):
    """Needs no key, and says so as the platform's do."""

    def get_api_key(self):
        return "NO KEY REQUIRED"


class Unset(Provider):
    """Is not configured."""

    def get_base_url(self):
        raise ValueError("base_url is missing")


def provider(kind=Provider, base="http://host:1/v1", key="sk-config", **config):
    made = kind(config=RemoteInferenceProviderConfig(api_key=key, **config), base=base)
    made.__provider_spec__ = RemoteProviderSpec(
        api="inference",
        provider_type="remote::up",
        adapter_type="up",
        module="up",
        config_class="up.Config",
        provider_data_validator=f"{__name__}.ProviderData" if kind is PerRequest else None,
    )
    return made


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://host:1/v1", "http://host:1"),
        ("http://host:1/v1/", "http://host:1"),
        ("http://host:1/v1//", "http://host:1"),
        ("http://host:1", "http://host:1"),
        ("http://host:1/", "http://host:1"),
        ("https://host/api/v1", "https://host/api"),
        ("https://host/v1/models", "https://host/v1/models"),
        ("https://host/av1", "https://host/av1"),
    ],
)
def test_a_base_url_is_read_without_its_version(base, expected):
    """As an SDK of Anthropic's takes it."""
    assert address_of(provider(base=base)).base_url == expected


def test_the_key_is_the_configured_one():
    """It does not show."""
    address = address_of(provider())
    assert address.secret == "sk-config"
    assert "sk-config" not in repr(address)


@pytest.mark.parametrize("made", [provider(key=None), provider(key=""), provider(Keyless, key="sk-config")])
def test_a_provider_without_a_key_has_none(made):
    """What the platform writes in its place is not sent."""
    assert address_of(made).secret is None


@pytest.fixture
def validator(monkeypatch):
    """The platform makes the validator by its name, which test modules do not have."""
    monkeypatch.setattr("llama_stack.core.request_headers.instantiate_class_type", lambda _: ProviderData)


def test_the_key_of_a_request_wins(validator):
    """For that request and not for the next; another provider's is not taken."""
    made = provider(PerRequest)
    assert address_of(made).secret == "sk-config"
    with RequestProviderDataContext({"their_key": "sk-request"}):
        assert address_of(made).secret == "sk-request"
    with RequestProviderDataContext({"other_key": "sk-other"}):
        assert address_of(made).secret == "sk-config"
    assert address_of(made).secret == "sk-config"


@pytest.mark.parametrize("made", [provider(Unset), object(), None])
def test_a_provider_that_does_not_say_where_it_is_has_no_address(made):
    """Whether it is not configured or of another kind."""
    assert address_of(made) is None


def network(**settings):
    return network_of(provider(network=NetworkConfig(**settings)))


@pytest.mark.parametrize("made", [object(), None])
def test_without_settings_there_are_none(made):
    """Of a provider of another kind."""
    assert network_of(made) == Network()


def test_a_provider_shares_its_certificates():
    """Reading them anew for each client takes long."""
    made = provider()
    assert network_of(made) == Network({"verify": made.shared_ssl_context})


def test_tls_settings_win_over_what_is_shared():
    """Verification off, a file of authorities, a version."""
    assert network(tls={"verify": False}).options["verify"] is False
    assert network(tls={"verify": certifi.where()}).options["verify"] == certifi.where()
    context = network(tls={"min_version": "TLSv1.3"}).options["verify"]
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3


def test_times_and_headers_are_read():
    """As the platform understands them."""
    assert network(timeout=5).options["timeout"] == httpx.Timeout(5)
    assert network(timeout={"connect": 2, "read": 3}).options["timeout"] == httpx.Timeout(
        connect=2, read=3, write=None, pool=None
    )
    assert network(headers={"X-Org": "o"}).options["headers"] == {"X-Org": "o"}


@pytest.mark.filterwarnings("ignore:`verify=<str>` is deprecated:DeprecationWarning")  # the platform's own transports
def test_proxies_are_read():
    """One for all or one per scheme, with its certificate; the platform's own transports are not taken over."""
    found = network(proxy={"url": "http://proxy:1", "cacert": certifi.where()})
    assert found.proxies == {"all://": "http://proxy:1/"}
    assert found.proxy_ca == certifi.where()
    assert "mounts" not in found.options
    found = network(proxy={"http": "http://one:1", "https": "http://two:2"})
    assert found.proxies == {"http://": "http://one:1/", "https://": "http://two:2/"}
    assert found.proxy_ca is None


def test_hosts_without_a_proxy_are_read():
    """A leading dot stands for what is below."""
    found = network(proxy={"url": "http://proxy:1", "no_proxy": ["localhost", ".corp", "host:8080"]})
    assert found.proxies == {
        "all://": "http://proxy:1/",
        "all://localhost": None,
        "all://*.corp": None,
        "all://host:8080": None,
    }


def test_a_provider_may_limit_its_models():
    """As its own inference does; one without a list, or of another kind, takes any."""
    limited = Target("up/a", "up", "remote::up", "a", provider=provider(allowed_models=["b"]))
    with pytest.raises(ValueError, match="allowed models"):
        check_allowed(limited)
    check_allowed(Target("up/b", "up", "remote::up", "b", provider=limited.provider))
    check_allowed(Target("up/a", "up", "remote::up", "a", provider=provider()))
    check_allowed(Target("up/a", "up", "remote::up", "a", provider=object()))


def test_a_target_does_not_show_its_provider():
    """Which holds the key."""
    assert "sk-config" not in repr(Target("up/a", "up", "remote::up", "a", provider=provider()))


def test_the_logger_takes_fields():
    """As the platform's do."""
    get_logger("x").info("event", a=1)
