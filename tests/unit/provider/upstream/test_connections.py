"""HTTP clients: one for each upstream and event loop, with finite timeouts and the configured network."""

import asyncio
import math
import ssl
from contextlib import asynccontextmanager

import certifi
import httpx
import pytest
from llama_stack.providers.utils.inference.model_registry import NetworkConfig, RemoteInferenceProviderConfig

from llama_stack_provider_messages.stack import Network, OpenAIMixin, network_of
from llama_stack_provider_messages.upstream import connections
from llama_stack_provider_messages.upstream.connections import HttpClients, new_client


class Provider(OpenAIMixin):
    def get_base_url(self):
        return "http://host/v1"


def network(**settings):
    return network_of(Provider(config=RemoteInferenceProviderConfig(network=NetworkConfig(**settings))))


class Server:
    """Sends the same response to every request, and records the requests."""

    def __init__(self, *headers, status="200 OK"):
        self.answer = "\r\n".join([f"HTTP/1.1 {status}", *headers, "content-length: 2", "", "ok"]).encode()
        self.requests = []
        self.connections = 0
        self.port = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head.decode().lower())
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @classmethod
    @asynccontextmanager
    async def running(cls, *headers, **options):
        made = cls(*headers, **options)
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
        made.port = server.sockets[0].getsockname()[1]
        try:
            yield made
        finally:
            server.close()
            await server.wait_closed()


@asynccontextmanager
async def client_of(network=None, connect_seconds=None, silence_seconds=None):
    async with new_client(network or Network(), connect_seconds, silence_seconds) as client:
        yield client


def timeouts_of(timeout):
    return timeout.connect, timeout.read, timeout.write, timeout.pool


@pytest.mark.parametrize(
    ("settings", "connect", "silence", "expected"),
    [
        ({}, None, None, (10, 600, 60, 30)),
        ({"timeout": 5}, None, None, (5, 5, 5, 5)),
        ({"timeout": {}}, None, None, (10, 600, 60, 30)),
        ({"timeout": {"connect": 2}}, None, None, (2, 600, 60, 30)),
        ({"timeout": {"read": 3}}, None, None, (10, 3, 60, 30)),
        ({"timeout": {"connect": 2, "read": 3}}, 7, 8, (7, 8, 60, 30)),
        ({"timeout": 5}, 7, None, (7, 5, 5, 5)),
        ({"timeout": 5}, None, 8, (5, 8, 5, 5)),
        ({}, 0.5, 0.25, (0.5, 0.25, 60, 30)),
    ],
)
async def test_timeouts_are_those_of_the_native_settings_then_the_networks_then_defaults(
    settings, connect, silence, expected
):
    """Each for itself, and all are finite."""
    async with client_of(network(**settings), connect, silence) as client:
        assert timeouts_of(client.timeout) == expected


@pytest.mark.parametrize("configured", [math.inf, {"connect": math.inf}, {"read": math.inf}])
async def test_a_configured_timeout_is_never_infinite(configured):
    """A silent upstream would hold its connection and its client forever."""
    async with client_of(network(timeout=configured)) as client:
        assert all(0 < seconds < math.inf for seconds in timeouts_of(client.timeout))


async def test_default_headers_ask_for_no_compression_and_include_the_networks():
    """Bytes pass unchanged; configured headers win."""
    async with client_of(network(headers={"X-Org": "o"})) as client:
        assert (client.headers["accept-encoding"], client.headers["x-org"]) == ("identity", "o")
    async with client_of(network(headers={"accept-encoding": "gzip"})) as client:
        assert client.headers["accept-encoding"] == "gzip"


async def test_cookies_are_never_kept():
    """They would belong to one of the callers."""
    async with Server.running("set-cookie: a=1; path=/", "set-cookie: b=2") as server, client_of() as client:
        for _ in range(2):
            response = await client.get(server.url)
            assert "set-cookie" in response.headers
        assert not client.cookies.jar
        assert all("cookie" not in request for request in server.requests)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_redirects_are_not_followed(status):
    """The key would be sent along."""
    async with Server.running() as other:
        async with Server.running(f"location: {other.url}/", status=status) as server, client_of() as client:
            response = await client.get(server.url)
            assert response.status_code == int(status[:3])
        assert other.requests == []


async def test_a_failure_is_not_retried():
    """The request may have begun a generation."""
    async with Server.running() as server, client_of() as client:
        server.answer = b"nonsense\r\n\r\n"
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(server.url)
        assert (len(server.requests), server.connections) == (1, 1)


async def test_connections_are_reused():
    """By requests one after the other."""
    async with Server.running() as server, client_of() as client:
        for _ in range(3):
            await client.get(server.url)
        assert (len(server.requests), server.connections) == (3, 1)


async def test_the_environment_does_not_change_where_requests_go(monkeypatch):
    """Neither its proxies nor its certificates are used."""
    async with Server.running() as server, Server.running() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", "/does/not/exist")
        async with client_of() as client:
            await client.get(server.url)
        assert (len(server.requests), proxy.requests) == (1, [])


@pytest.mark.parametrize("name", ["url", "http"])
async def test_a_configured_proxy_is_used(name):
    """With the URL of the upstream; its connections are reused, too."""
    async with Server.running() as proxy:
        async with client_of(network(proxy={name: proxy.url})) as client:
            for _ in range(2):
                await client.get("http://upstream.invalid/a")
        assert [request.splitlines()[0] for request in proxy.requests] == ["get http://upstream.invalid/a http/1.1"] * 2
        assert proxy.connections == 1


async def test_a_proxy_for_another_scheme_is_not_used():
    """Each scheme has its own."""
    async with Server.running() as server, Server.running() as proxy:
        async with client_of(network(proxy={"https": proxy.url})) as client:
            await client.get(server.url)
        assert (len(server.requests), proxy.requests) == (1, [])


DIRECT = {
    "localhost": ["http://localhost", "http://localhost:1"],
    "127.0.0.1": ["http://127.0.0.1:1"],
    ".corp": ["http://a.corp", "http://a.b.corp"],
    "host:8080": ["http://host:8080"],
    "Host.Example": ["http://host.example"],
    "::1": ["http://[::1]:1"],
    "[::1]": ["http://[::1]:1"],
    "*": ["http://localhost", "http://other", "https://other", "http://[::1]:1"],
}
THROUGH = {"localhost": "http://other", ".corp": "http://corp.example", "host:8080": "http://host:8081"}


class Transports(list):
    """The transports that clients made, in place of those over aiohttp; each responds at once."""

    def make(self, context, proxy, max_connections, idle_seconds):
        self.append(Transport(context, proxy))
        return self[-1]

    def proxy_of(self, url):
        """Return the proxy through which a URL was requested, None if directly."""
        (used,) = [transport for transport in self if url in transport.urls]
        return used.proxy


class Transport(httpx.AsyncBaseTransport):
    def __init__(self, context, proxy):
        self.context = context
        self.proxy = proxy
        self.urls = []

    async def handle_async_request(self, request):
        self.urls.append(str(request.url))
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))


@pytest.fixture
def transports(monkeypatch):
    """The transports that clients made."""
    made = Transports()
    monkeypatch.setattr(connections, "AiohttpTransport", made.make)
    return made


@pytest.fixture
def verified(monkeypatch):
    """The ``verify`` settings of which TLS contexts were made."""
    made, make = [], httpx.create_ssl_context

    def noted(verify, **options):
        made.append(verify)
        assert options["trust_env"] is False
        return make(verify, **options)

    monkeypatch.setattr(httpx, "create_ssl_context", noted)
    return made


@pytest.mark.parametrize("host", DIRECT)
async def test_a_host_may_be_exempt_from_the_proxy(transports, host):
    """By name, by address, by domain, with a port; also of IP version 6."""
    async with client_of(network(proxy={"url": "http://proxy:1", "no_proxy": ["else", host]})) as client:
        for url in DIRECT[host]:
            await client.get(f"{url}/")
            assert transports.proxy_of(f"{url}/") is None
        if host in THROUGH:
            await client.get(f"{THROUGH[host]}/")
            assert str(transports.proxy_of(f"{THROUGH[host]}/")).startswith("http://proxy:1")


@pytest.mark.parametrize("host", ["", " ", "http://x", "10.0.0.0/8", "a b", "\u00e9", ":::", "[", "host:port"])
async def test_an_invalid_exemption_is_not_a_failure_and_exempts_nothing_else(transports, host):
    """A mistake in one entry must not stop all requests, nor send them past the proxy."""
    async with client_of(network(proxy={"url": "http://proxy:1", "no_proxy": [host]})) as client:
        await client.get("http://other/")
        assert str(transports.proxy_of("http://other/")).startswith("http://proxy:1")


@pytest.mark.parametrize("verify", [False, True])
async def test_verification_is_as_configured(verified, transports, verify):
    """Off only if configured."""
    async with client_of(network(tls={"verify": verify})) as client:
        await client.get("https://up/")
    assert verified == [verify]
    (transport,) = transports
    assert transport.proxy is None
    assert transport.context.verify_mode is (ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)


async def test_without_settings_certificates_are_verified(verified, transports):
    """Those of the platform's provider are used."""
    async with client_of() as client:
        await client.get("https://up/")
    assert verified == [True]
    assert transports[0].context.verify_mode is ssl.CERT_REQUIRED
    context = network().options["verify"]
    async with client_of(network_of(Provider(config=RemoteInferenceProviderConfig()))):
        assert isinstance(context, ssl.SSLContext)
        assert isinstance(verified[-1], ssl.SSLContext)


@pytest.mark.filterwarnings("ignore:`verify=<str>` is deprecated:DeprecationWarning")
async def test_a_file_of_authorities_is_used(verified, transports):
    """For the upstream; that of the proxy for what goes through the proxy."""
    async with client_of(network(tls={"verify": certifi.where()})) as client:
        await client.get("https://up/")
    assert verified == [certifi.where()]
    proxy = {"url": "http://proxy:1", "cacert": certifi.where(), "no_proxy": ["direct"]}
    settings = network(tls={"verify": False}, proxy=proxy)
    verified.clear()
    transports.clear()
    async with client_of(settings) as client:
        await client.get("https://up/")
        await client.get("https://direct/")
    assert sorted(map(str, verified)) == sorted([certifi.where(), "False"])
    direct, through = transports
    assert (through.proxy.rstrip("/"), direct.proxy) == ("http://proxy:1", None)
    assert (through.context.verify_mode, direct.context.verify_mode) == (ssl.CERT_REQUIRED, ssl.CERT_NONE)


async def test_a_proxy_without_a_certificate_is_trusted_as_the_upstream_is(verified):
    """One setting for both."""
    async with client_of(network(tls={"verify": False}, proxy={"url": "http://proxy:1"})):
        pass
    assert verified == [False, False]


async def test_there_is_one_client_for_each_upstream():
    """Made on first use, with the headers it would add."""
    clients, made = HttpClients(), []

    def make():
        made.append(httpx.AsyncClient(headers={"x-a": "1"}, transport=httpx.MockTransport(lambda _: None)))
        return made[-1]

    first = clients.get("a", make)
    assert clients.get("a", make) is first
    assert clients.get("b", make).http is not first.http
    assert first.http is made[0]
    assert first.headers["x-a"] == "1"
    assert len(made) == 2
    await clients.close()
    assert all(client.is_closed for client in made)
    assert clients.get("a", make).http is made[2]
    await clients.close()
    await clients.close()


def test_each_loop_has_its_own_clients():
    """A client belongs to the loop in which it was made; closing those of one loop leaves the others."""
    clients, made = HttpClients(), []

    def make():
        made.append(httpx.AsyncClient(transport=httpx.MockTransport(lambda _: None)))
        return made[-1]

    async def get():
        return clients.get("a", make).http

    async def get_and_close():
        found = clients.get("a", make).http
        await clients.close()
        return found

    loop = asyncio.new_event_loop()
    first = loop.run_until_complete(get())
    second = asyncio.run(get_and_close())
    assert first is not second
    assert (first.is_closed, second.is_closed) == (False, True)
    assert loop.run_until_complete(get()) is first
    loop.run_until_complete(clients.close())
    assert first.is_closed
    loop.close()
