"""Proxies, certificates and addresses of upstreams, against real sockets."""

import ssl

import httpx
import pytest

from llama_stack_provider_messages.stack import Network
from llama_stack_provider_messages.upstream.connections import new_client
from support.certificates import Authority
from support.raw_server import RawServer, answer, answers, proxy_script

SECRET = b"Basic dXPDqXI6cGFzc0B3b3Jk"
"""Of the user ``us\u00e9r`` with the password ``pass@word``."""


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def trusting(*authorities, certificate=None):
    """Return the TLS settings of a client."""
    context = httpx.create_ssl_context(verify=True, trust_env=False)
    for authority in authorities:
        context.load_verify_locations(authority.file)
    if certificate:
        context.load_cert_chain(*certificate)
    return context


def client_of(proxies=None, proxy_ca=None, **options):
    return new_client(Network(options, proxies or {}, proxy_ca), None, None)


def with_credentials(url):
    return url.replace("://", "://us%C3%A9r:pass%40word@")


@pytest.mark.parametrize("credentials", [False, True])
async def test_a_proxy_forwards_a_request_without_tls(credentials):
    """It gets the whole URL, and credentials only in their header; its connection is reused."""
    async with RawServer(proxy_script(SECRET if credentials else None)) as proxy:
        url = with_credentials(proxy.url) if credentials else proxy.url
        async with client_of({"all://": url}) as client:
            for _ in range(2):
                assert (await client.post("http://upstream.invalid/a?b=c", content=b"{}")).content == b"by the proxy"
        assert len(proxy.peers) == 1
        for request in proxy.requests:
            assert request.startswith(b"POST http://upstream.invalid/a?b=c HTTP/1.1\r\nHost: upstream.invalid\r\n")
            assert (SECRET in request) is credentials
            assert request.count(b"roxy-") == credentials


@pytest.mark.parametrize("credentials", [False, True])
async def test_a_proxy_tunnels_a_request_with_tls(credentials, authority):
    """It gets CONNECT with the credentials; the upstream gets neither, and keeps the connection."""
    async with (
        RawServer(answers(), authority.server_context("127.0.0.1")) as server,
        RawServer(proxy_script(SECRET if credentials else None)) as proxy,
    ):
        url = with_credentials(proxy.url) if credentials else proxy.url
        async with client_of({"https://": url}, verify=trusting(authority)) as client:
            for _ in range(2):
                request = httpx.Request("POST", server.url, headers={"x-api-key": "key"}, content=b"{}")
                assert (await client.send(request)).content == b"ok"
        assert (len(proxy.peers), len(server.peers)) == (1, 1)
        assert [request.split(b"\r\n")[0] for request in proxy.requests] == [
            b"CONNECT 127.0.0.1:%d HTTP/1.1" % server.port
        ]
        assert (SECRET in proxy.requests[0]) is credentials
        assert b"x-api-key" not in proxy.requests[0]
        head = b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nx-api-key: key\r\nContent-Length: 2\r\n\r\n{}" % server.port
        assert server.requests == [head] * 2


async def test_each_pattern_has_its_own_proxy():
    """The most specific one; None connects directly."""
    async with RawServer(answers(answer(b"first"))) as first, RawServer(answers(answer(b"second"))) as second:
        proxies = {"all://": first.url, "all://special.invalid": second.url, "all://127.0.0.1": None}
        async with RawServer(answers(answer(b"direct"))) as server, client_of(proxies) as client:
            assert (await client.get("http://upstream.invalid")).content == b"first"
            assert (await client.get("http://special.invalid")).content == b"second"
            assert (await client.get(server.url)).content == b"direct"


async def test_the_authority_of_a_proxy_is_trusted_for_what_goes_through_it(tmp_path):
    """As of a proxy that looks into TLS; it is not trusted for a direct connection."""
    usual, inspecting = Authority(tmp_path, "usual"), Authority(tmp_path, "inspecting")
    async with (
        RawServer(answers(), inspecting.server_context("127.0.0.1")) as server,
        RawServer(proxy_script()) as proxy,
    ):
        ca = str(inspecting.file)
        with pytest.warns(DeprecationWarning, match="verify=<str>"):
            client = client_of({"https://": proxy.url}, ca, verify=trusting(usual))
        async with client:
            assert (await client.get(server.url)).content == b"ok"
        with pytest.warns(DeprecationWarning, match="verify=<str>"):
            client = client_of({"https://": proxy.url, "all://127.0.0.1": None}, ca, verify=trusting(usual))
        async with client:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await client.get(server.url)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_proxy_with_an_https_url(tls, authority):
    """TLS to the proxy, and inside of it TLS to the upstream."""
    async with (
        RawServer(answers(), authority.server_context("127.0.0.1") if tls else None) as server,
        RawServer(proxy_script(), authority.server_context("127.0.0.1")) as proxy,
        client_of({"all://": proxy.url}, verify=trusting(authority)) as client,
    ):
        assert (await client.get(server.url)).content == (b"ok" if tls else b"by the proxy")
        assert len(proxy.requests) == 1


async def test_a_proxy_with_an_https_url_has_to_have_a_valid_certificate(authority):
    """It would see the credentials."""
    async with RawServer(proxy_script(), authority.server_context("other.example")) as proxy:
        async with client_of({"all://": with_credentials(proxy.url)}, verify=trusting(authority)) as client:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await client.get("http://upstream.invalid")
        assert proxy.requests == []


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1", "ftp://127.0.0.1:1"])
async def test_a_proxy_of_another_kind_is_refused(url):
    """When the client is made."""
    with pytest.raises(ValueError, match="proxy"):
        client_of({"all://": url})


async def test_the_certificate_of_an_upstream_is_verified(authority):
    """By its authority; with verification off any certificate will do."""
    async with RawServer(answers(), authority.server_context("127.0.0.1")) as server:
        for verify in (trusting(authority), False):
            async with client_of(verify=verify) as client:
                assert (await client.get(server.url)).content == b"ok"
        async with client_of() as client:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await client.get(server.url)


async def test_a_client_certificate_is_sent(authority, tmp_path):
    """An upstream that requires one refuses a client without, or with one of another authority."""
    others = Authority(tmp_path, "others")
    context = authority.server_context("127.0.0.1", clients=authority)
    async with RawServer(answers(), context) as server:
        async with client_of(verify=trusting(authority, certificate=authority.issue("client"))) as client:
            assert (await client.get(server.url)).content == b"ok"
        for certificate in (None, others.issue("client")):
            async with client_of(verify=trusting(authority, certificate=certificate)) as client:
                with pytest.raises(httpx.TransportError):
                    await client.get(server.url)
        assert len(server.requests) == 1


async def test_the_server_name_is_that_of_the_url(authority):
    """Or of the extension ``sni_hostname``; HTTP/1.1 is negotiated."""
    names, protocols = [], []
    context = authority.server_context("localhost", "other.example")
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda _connection, name, _context: names.append(name)

    async def script(peer):
        protocols.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await answers()(peer)

    async with RawServer(script, context) as server, client_of(verify=trusting(authority)) as client:
        url = f"https://localhost:{server.port}"
        await client.get(url)
        await client.get(url, extensions={"sni_hostname": "other.example"})
    assert names == ["localhost", "other.example"]
    assert protocols == ["http/1.1"] * 2


@pytest.mark.parametrize("tls", [False, True])
async def test_an_address_of_ip_version_6(authority, tls):
    """In brackets, also in the Host header, and without them in the certificate."""
    context = authority.server_context("::1") if tls else None
    async with RawServer(answers(), context, "::1") as server, client_of(verify=trusting(authority)) as client:
        assert (await client.get(server.url)).content == b"ok"
        assert b"\r\nHost: [::1]:%d\r\n" % server.port in server.requests[0]


async def test_a_name_with_two_addresses_of_which_one_refuses():
    """``localhost`` is ::1 and 127.0.0.1."""
    async with RawServer(answers()) as server, client_of() as client:
        assert (await client.get(f"http://localhost:{server.port}")).content == b"ok"


async def test_settings_that_are_shared_stay_usable(authority):
    """The platform's provider has the same TLS settings object."""
    context = trusting(authority)
    async with RawServer(answers(), authority.server_context("127.0.0.1")) as server:
        for _ in range(2):
            async with client_of(verify=context) as client:
                await client.get(server.url)
    assert context.verify_mode is ssl.CERT_REQUIRED
