"""What is read from the platform's inference providers: address, key, network settings, allowed models."""

import importlib
import ssl

import certifi
import httpx
import pytest
from llama_stack.core.access_control.datatypes import AccessRule
from llama_stack.core.datatypes import ModelWithOwner, User
from llama_stack.core.request_headers import RequestProviderDataContext
from llama_stack.core.routing_tables.models import ModelsRoutingTable
from llama_stack.core.storage.datatypes import SqliteKVStoreConfig
from llama_stack.core.storage.kvstore.sqlite import SqliteKVStoreImpl
from llama_stack.core.store.registry import CachedDiskDistributionRegistry
from llama_stack.providers.utils.inference.model_registry import NetworkConfig, RemoteInferenceProviderConfig
from llama_stack_api import Api, RemoteProviderSpec
from pydantic import BaseModel, SecretStr

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.stack import (
    Network,
    OpenAIMixin,
    Platform,
    Target,
    address_of,
    chat_address_of,
    check_allowed,
    get_logger,
    network_of,
)
from support.attacks import cpu_bound


class ProviderData(BaseModel):
    their_key: SecretStr | None = None


class Provider(OpenAIMixin):
    """A minimal provider of the platform."""

    base: str = "http://host:1/v1"

    def get_base_url(self):
        return self.base


class PerRequest(Provider):
    """Accepts a key with each request."""

    provider_data_api_key_field: str = "their_key"


class Keyless(Provider):
    """Needs no key, and returns the placeholder of the platform's providers."""

    def get_api_key(self):
        return "NO KEY REQUIRED"


class Unset(Provider):
    """Has no base URL."""

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
    """As Anthropic's SDKs expect it."""
    assert address_of(provider(base=base)).base_url == expected


def test_the_key_is_the_configured_one():
    """It is not in the repr."""
    address = address_of(provider())
    assert address.secret == "sk-config"
    assert "sk-config" not in repr(address)


@pytest.mark.parametrize("made", [provider(key=None), provider(key=""), provider(Keyless, key="sk-config")])
def test_a_provider_without_a_key_has_none(made):
    """The platform's placeholder is not sent."""
    assert address_of(made).secret is None


@pytest.fixture
def validator(monkeypatch):
    """The platform imports the validator by its name, which does not work for test modules."""
    monkeypatch.setattr("llama_stack.core.request_headers.instantiate_class_type", lambda _: ProviderData)


def test_the_key_of_a_request_takes_precedence(validator):
    """For that request only; a key of another provider is ignored."""
    made = provider(PerRequest)
    assert address_of(made).secret == "sk-config"
    with RequestProviderDataContext({"their_key": "sk-request"}):
        assert address_of(made).secret == "sk-request"
    with RequestProviderDataContext({"other_key": "sk-other"}):
        assert address_of(made).secret == "sk-config"
    assert address_of(made).secret == "sk-config"


@pytest.mark.parametrize("made", [provider(Unset), object(), None])
def test_a_provider_without_a_base_url_has_no_address(made):
    """It may be of another kind."""
    assert address_of(made) is None


REMOTE = "llama_stack.providers.remote.inference"
PLAIN = [
    "anthropic.anthropic.AnthropicInferenceAdapter",
    "azure.azure.AzureInferenceAdapter",
    "bedrock.bedrock.BedrockInferenceAdapter",
    "cerebras.cerebras.CerebrasInferenceAdapter",
    "databricks.databricks.DatabricksInferenceAdapter",
    "fireworks.fireworks.FireworksInferenceAdapter",
    "groq.groq.GroqInferenceAdapter",
    "llama_cpp_server.llama_cpp_server.LlamaCppServerInferenceAdapter",
    "llama_openai_compat.llama.LlamaCompatInferenceAdapter",
    "nvidia.nvidia.NVIDIAInferenceAdapter",
    "ollama.ollama.OllamaInferenceAdapter",
    "openai.openai.OpenAIInferenceAdapter",
    "runpod.runpod.RunpodInferenceAdapter",
    "sambanova.sambanova.SambaNovaInferenceAdapter",
    "together.together.TogetherInferenceAdapter",
    "vllm.vllm.VLLMInferenceAdapter",
]
OTHERS = ["oci.oci.OCIInferenceAdapter", "watsonx.watsonx.WatsonXInferenceAdapter"]


def remote(name, monkeypatch):
    """Return a provider class of the platform, as a provider with a base URL and a key."""
    module, _, kind = name.rpartition(".")
    try:
        cls = getattr(importlib.import_module(f"{REMOTE}.{module}"), kind)
    except ModuleNotFoundError as error:
        pytest.skip(f"needs {error.name}")
    made = cls.model_construct(config=RemoteInferenceProviderConfig(api_key="sk-config", base_url="http://host:1/v1"))
    for method, value in {"get_base_url": "http://host:1/v1/", "get_api_key": "sk-config"}.items():
        monkeypatch.setattr(cls, method, lambda _self, value=value: value)
    made.__provider_spec__, made.provider_data_api_key_field = provider().__provider_spec__, None
    return made


@pytest.mark.parametrize("name", PLAIN)
def test_chat_completions_of_plain_providers_can_be_posted_without_them(name, monkeypatch):
    """To the provider's address, with its key."""
    found = chat_address_of(remote(name, monkeypatch))
    assert (found.base_url, found.secret) == ("http://host:1/v1", "sk-config")
    assert found.headers == {"authorization": "Bearer sk-config"}


@pytest.mark.parametrize("name", OTHERS)
def test_providers_that_do_more_with_a_request_keep_it(name, monkeypatch):
    """They sign it, or fetch tokens."""
    assert chat_address_of(remote(name, monkeypatch)) is None


def test_a_provider_derived_from_a_plain_one_is_asked_only_when_configured(monkeypatch):
    """It may override what this project does not know."""
    made = remote("vllm.vllm.VLLMInferenceAdapter", monkeypatch)
    derived = type("Derived", (type(made),), {"__module__": "elsewhere"}).model_construct(config=made.config)
    derived.provider_data_api_key_field = None
    assert chat_address_of(derived) is None
    assert chat_address_of(derived, any_class=True).base_url == "http://host:1/v1"
    assert chat_address_of(object(), any_class=True) is None


@pytest.mark.parametrize("attribute", ["client", "openai_chat_completion", "get_extra_client_params"])
def test_a_plain_provider_that_starts_to_do_more_keeps_its_requests(attribute, monkeypatch):
    """A later version of the platform may make it so."""
    made = remote("vllm.vllm.VLLMInferenceAdapter", monkeypatch)

    def more(_self, *_args):
        """Do more."""

    monkeypatch.setattr(type(made), attribute, property(more) if attribute == "client" else more)
    assert chat_address_of(made) is None


def test_a_provider_without_a_key_is_called_itself(monkeypatch):
    """Its error says how to send one."""
    made = remote("openai.openai.OpenAIInferenceAdapter", monkeypatch)
    monkeypatch.setattr(type(made), "get_api_key", lambda _self: None)
    assert chat_address_of(made) is None


def test_only_openai_gets_the_organisation_of_the_environment(monkeypatch):
    """OpenAI's SDK would send it to every backend."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    found = chat_address_of(remote("openai.openai.OpenAIInferenceAdapter", monkeypatch))
    assert found.headers == {"openai-organization": "org-1", "authorization": "Bearer sk-config"}
    found = chat_address_of(remote("vllm.vllm.VLLMInferenceAdapter", monkeypatch))
    assert found.headers == {"authorization": "Bearer sk-config"}


@pytest.mark.parametrize(
    ("environment", "proxies"),
    [
        ({}, {}),
        ({"HTTPS_PROXY": "http://proxy:1"}, {"https://": "http://proxy:1"}),
        ({"HTTPS_PROXY": "proxy:1"}, {"https://": "http://proxy:1"}),
        ({"HTTPS_PROXY": "proxy:1", "NO_PROXY": "http://a"}, {"https://": "http://proxy:1", "http://a": None}),
        ({"HTTPS_PROXY": "http://proxy:1", "ALL_PROXY": "socks5://proxy:2"}, {"https://": "http://proxy:1"}),
        ({"http_proxy": "http://a:1", "all_proxy": "http://b:2"}, {"all://": "http://b:2", "http://": "http://a:1"}),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "*"}, {}),
        ({"NO_PROXY": "host"}, {}),
        (
            {"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "corp, .only"},
            {"https://": "http://proxy:1"} | dict.fromkeys(["all://corp", "all://*.corp", "all://*.only"]),
        ),
    ],
)
def test_proxies_of_the_environment_are_read_where_none_is_configured(environment, proxies, monkeypatch):
    """Only where the caller wants them."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert network_of(provider(), environment=True).proxies == proxies
    assert network_of(provider()).proxies == {}
    configured = provider(network=NetworkConfig(proxy={"url": "http://own:1"}))
    assert network_of(configured, environment=True).proxies == {"all://": "http://own:1/"}


def network(**settings):
    return network_of(provider(network=NetworkConfig(**settings)))


@pytest.mark.parametrize("made", [object(), None])
def test_a_provider_of_another_kind_has_default_network_settings(made):
    assert network_of(made) == Network()


def test_the_tls_context_of_a_provider_is_reused():
    """Loading the certificates for each client takes long."""
    made = provider()
    assert network_of(made) == Network({"verify": made.shared_ssl_context})


def test_configured_tls_settings_take_precedence():
    """No verification, a file of CA certificates, a TLS version."""
    assert network(tls={"verify": False}).options["verify"] is False
    assert network(tls={"verify": certifi.where()}).options["verify"] == certifi.where()
    context = network(tls={"min_version": "TLSv1.3"}).options["verify"]
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3


def test_timeouts_and_headers_are_read():
    """In the forms that the platform accepts."""
    assert network(timeout=5).options["timeout"] == httpx.Timeout(5)
    assert network(timeout={"connect": 2, "read": 3}).options["timeout"] == httpx.Timeout(
        connect=2, read=3, write=None, pool=None
    )
    assert network(headers={"X-Org": "o"}).options["headers"] == {"X-Org": "o"}


@pytest.mark.filterwarnings("ignore:`verify=<str>` is deprecated:DeprecationWarning")  # the platform's own transports
def test_proxies_are_read():
    """One for all or one per scheme, with a CA certificate; the platform's own transports are not used."""
    found = network(proxy={"url": "http://proxy:1", "cacert": certifi.where()})
    assert found.proxies == {"all://": "http://proxy:1/"}
    assert found.proxy_ca == certifi.where()
    assert "mounts" not in found.options
    found = network(proxy={"http": "http://one:1", "https": "http://two:2"})
    assert found.proxies == {"http://": "http://one:1/", "https://": "http://two:2/"}
    assert found.proxy_ca is None


def test_no_proxy_is_read():
    """A leading dot means all subdomains."""
    found = network(proxy={"url": "http://proxy:1", "no_proxy": ["localhost", ".corp", "host:8080"]})
    assert found.proxies == {
        "all://": "http://proxy:1/",
        "all://localhost": None,
        "all://*.corp": None,
        "all://host:8080": None,
    }


def test_a_provider_may_limit_its_models():
    """A provider without a list, or of another kind, accepts all models."""
    limited = Target("up/a", "up", "remote::up", "a", provider=provider(allowed_models=["b"]))
    with pytest.raises(ValueError, match="allowed models"):
        check_allowed(limited)
    check_allowed(Target("up/b", "up", "remote::up", "b", provider=limited.provider))
    check_allowed(Target("up/a", "up", "remote::up", "a", provider=provider()))
    check_allowed(Target("up/a", "up", "remote::up", "a", provider=object()))


def test_the_repr_of_a_target_does_not_contain_its_provider():
    """The provider has the key."""
    assert "sk-config" not in repr(Target("up/a", "up", "remote::up", "a", provider=provider()))


def test_the_logger_accepts_fields():
    """As the platform's loggers do."""
    get_logger("x").info("event", a=1)


STORED = {
    "up/a": ("up", "a", "llm", {"context_length": 4096}),
    "up/org/a": ("up", "org/a", "llm", {}),
    "up/embed": ("up", "embed", "embedding", {}),
    "up/secret": ("up", "secret", "llm", {}),
    "gone/a": ("gone", "a", "llm", {}),
}


@pytest.fixture
async def platform(tmp_path):
    """The platform's routing table over a store that another stack has used, too."""
    store = SqliteKVStoreImpl(SqliteKVStoreConfig(db_path=str(tmp_path / "kv.db")))
    await store.initialize()
    registry = CachedDiskDistributionRegistry(store)
    await registry.initialize()
    for model_id, (provider_id, name, kind, metadata) in STORED.items():
        made = {"identifier": model_id, "provider_id": provider_id, "provider_resource_id": name}
        await registry.register(ModelWithOwner(**made, model_type=kind, metadata=metadata))
    forbid = {"forbid": {"principal": "bob", "actions": ["read"], "resource": "model::up/secret"}}
    permit = {"permit": {"principal": "bob", "actions": ["read"]}}
    rules = [AccessRule.model_validate(rule) for rule in (forbid, permit)]
    up = provider()
    up.__provider_id__ = "up"
    return Platform({Api.models: ModelsRoutingTable({"up": up}, registry, rules)})


def as_user(name):
    return RequestProviderDataContext(user=User(principal=name, attributes=None))


async def test_the_served_models_are_those_of_the_providers_of_the_stack(platform):
    """The language models that the caller may read, with what the list says of them."""
    with as_user("bob"):
        served = await platform.served_models()
    assert [(target.model_id, target.provider_type, target.resource_id) for target in served] == [
        ("up/a", "remote::up", "a"),
        ("up/org/a", "remote::up", "org/a"),
    ]
    assert served[0].metadata == {"context_length": 4096}
    with as_user("eve"):
        assert await platform.served_models() == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", {"up/a": True, "gone/a": False}),
        ("up/a", {"up/a": True}),
        ("org/a", {"up/org/a": True}),
        ("gone/a", {"gone/a": False}),
        ("embed", {}),
        ("secret", {}),
        ("up/secret", {}),
        ("up", {}),
    ],
)
async def test_models_are_found_by_the_name_of_their_backend(platform, name, expected):
    """Also those of providers that the stack does not have; not those that the caller may not read."""
    with as_user("bob"):
        found = await platform.models_named(name)
    assert {target.model_id: target.provider is not None for target in found} == expected
    with as_user("eve"):
        assert await platform.models_named(name) == []


async def test_a_model_of_a_provider_that_the_stack_does_not_have_is_not_located(platform):
    """The store still has it."""
    with as_user("bob"):
        assert await platform.locate("gone/a") is None
        assert (await platform.locate("up/a")).resource_id == "a"
        assert await platform.locate("up/secret") is None


SAID = {"role": "user", "content": "x"}
IMAGES = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}] * 6_000}
CALLS = {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function"}] * 6_000}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": [SAID], "tools": [TOOL] * 2_001}, "tools: more than 2000 tools "),
        ({"messages": [SAID] * 10_001}, "messages: more than 10000 messages, tool calls, images and files "),
        ({"messages": [SAID, IMAGES, CALLS]}, "messages: more than 10000 messages, "),
    ],
)
async def test_a_request_that_would_keep_the_sdk_busy_for_seconds_is_refused(fields, message):
    """The openai SDK spends a third of a millisecond on a message, and most of one on a tool: 14 000 took 15 s."""
    with cpu_bound(0.5), pytest.raises(InvalidRequestError, match=f"^{message}") as refusal:
        await Platform({Api.models: None}).chat(Target("p/m", "p", "remote::x", "m"), fields)
    assert "not accepted for a model of this provider; " in refusal.value.message
