"""Fetching URLs from a server on this machine that the configuration allows, and the check of addresses."""

import asyncio
import socket
from ipaddress import ip_address

import httpx
import pytest

from llama_stack_provider_messages.translated.media.fetch import (
    Budget,
    Fetcher,
    FetchError,
    NotPublicError,
    is_public,
    resolve,
)

LARGE = 1 << 20


class Site:
    """An HTTP server; ``pages`` maps a path to the bytes of the response, None to no response."""

    def __init__(self):
        self.pages = {}
        self.heads = []
        self.hang = asyncio.Event()

    async def accept(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        response = self.pages.get(head.split(" ")[1], plain(b"gone", status=404))
        if response is None:
            await self.hang.wait()
        else:
            writer.write(response)
        writer.close()


def plain(body, content_type="image/png", status=200, **headers):
    lines = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def to(location, status=302):
    return plain(b"", status=status, location=location)


@pytest.fixture
async def site():
    made = Site()
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    made.url = f"http://127.0.0.1:{made.port}"
    yield made
    made.hang.set()
    server.close()


@pytest.fixture
async def fetcher():
    made = Fetcher(["127.0.0.1"], 60)
    yield made
    await made.close()
    await made.close()


async def test_the_content_is_returned_with_its_type_and_charset(site, fetcher):
    """Both in lower case, without other parameters."""
    site.pages["/a"] = plain(b"abc", "Text/Plain; charset=latin-1")
    found = await fetcher.fetch(f"{site.url}/a", Budget(LARGE))
    assert (found.media_type, found.charset, found.data) == ("text/plain", "latin-1", b"abc")
    assert "accept-encoding: identity" in site.heads[0].lower()


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ('text/plain;format=flowed; charset="UTF-16"', "utf-16"),
        ("text/plain; charset = koi8-r; x=y", "koi8-r"),
        ("text/plain; charset*=punycode''latin-1", "utf-8"),
        ("text/plain; charset=", "utf-8"),
        ("text/plain", "utf-8"),
    ],
)
async def test_the_charset_is_read_from_the_plain_parameter_only(site, fetcher, content_type, charset):
    """The form of RFC 2231 would let a server choose a codec for the name itself."""
    site.pages["/a"] = plain(b"abc", content_type)
    assert (await fetcher.fetch(f"{site.url}/a", Budget(LARGE))).charset == charset


async def test_redirects_are_followed_three_times(site, fetcher):
    """Relative ones, too."""
    site.pages |= {"/a": to("/b"), "/b": to(f"{site.url}/c", 301), "/c": to("d", 307), "/d": plain(b"abc")}
    assert (await fetcher.fetch(f"{site.url}/a", Budget(LARGE))).data == b"abc"


async def failure_text(fetcher, url, budget=LARGE):
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(url, Budget(budget))
    return str(caught.value)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (plain(b"x", status=404), "the address answers HTTP 404; "),
        (to("/a"), "the address redirects too often; "),
        (to("file:///etc/passwd"), "the address is not a valid http or https URL; "),
        (to("http://169.254.169.254/latest"), "the host of the address is not public; "),
        (to("http://[::1]:1/"), "the host of the address is not public; "),
        (to("http://127.0.0.2/"), "the host of the address is not public; "),
        (to("http://[bad/"), "the host of the address is not public; "),
        (plain(b"x" * 2000), "the files at the addresses are too large; "),
        (plain(b"x", content_encoding="gzip"), "the address answers with compressed bytes only; "),
        (b"no HTTP at all\r\n\r\n", "the address could not be fetched; "),
        (None, "the address did not answer in time; "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_failure_has_its_error_message(site, page, text):
    """It says what to send instead, and reveals nothing about the network of this server."""
    site.pages["/a"] = page
    fetcher = Fetcher(["127.0.0.1"], 0.5 if page is None else 60)
    message = await failure_text(fetcher, f"{site.url}/a", 1000)
    assert message.startswith(text)
    assert "send " in message
    await fetcher.close()


async def test_a_private_address_is_rejected_unless_it_is_configured(site):
    """No request is sent to it."""
    fetcher = Fetcher([], 60)
    assert (await failure_text(fetcher, site.url)).startswith("the host of the address is not public; ")
    assert site.heads == []


async def test_a_closed_port_is_a_failure(fetcher):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert (await failure_text(fetcher, f"http://127.0.0.1:{port}/")).startswith(
            "the address could not be fetched; "
        )


@pytest.mark.parametrize("url", ["http://", "http://\x00/", "http://127.0.0.1:99999/", "http://a\ud800.test/"])
async def test_an_invalid_url_is_a_failure(fetcher, url):
    """Whatever exception httpx raises for it."""
    assert "; send " in await failure_text(fetcher, url)


async def test_all_urls_of_a_request_share_one_budget(site, fetcher):
    """A hundred large images would fill the memory of the server."""
    site.pages["/a"] = plain(b"x" * 600)
    budget = Budget(1000)
    await fetcher.fetch(f"{site.url}/a", budget)
    with pytest.raises(FetchError, match="too large"):
        await fetcher.fetch(f"{site.url}/a", budget)


async def test_all_urls_of_a_request_share_one_deadline(site):
    """It begins with the first of them."""
    site.pages |= {"/a": None, "/b": plain(b"abc")}
    fetcher = Fetcher(["127.0.0.1"], 0.5)
    budget = Budget(LARGE)
    for path in ("/a", "/b"):
        with pytest.raises(FetchError, match="did not answer in time"):
            await fetcher.fetch(f"{site.url}{path}", budget)
    assert (await fetcher.fetch(f"{site.url}/b", Budget(LARGE))).data == b"abc"
    await fetcher.close()


async def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to(site, monkeypatch):
    """DNS rebinding has no effect; the Host header still has the name."""
    resolved = []

    def getaddrinfo(host, port, *_args, **_options):
        resolved.append(host)
        address = "127.0.0.1" if len(resolved) == 1 else "10.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    fetcher = Fetcher(["Site.test."], 60)
    site.pages["/a"] = plain(b"abc")
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert (await fetcher.fetch(f"http://site.test:{site.port}/a", Budget(LARGE))).data == b"abc"
    assert resolved == ["site.test"]
    assert f"host: site.test:{site.port}" in site.heads[0].lower()
    await fetcher.close()


async def test_after_a_failed_connection_the_next_address_is_tried_with_the_tls_name_of_the_url(monkeypatch):
    """A machine without IPv6 reaches hosts that have both."""
    seen = []

    def handler(request):
        seen.append((request.url.host, request.headers["host"], request.extensions["sni_hostname"]))
        if len(seen) == 1:
            raise httpx.ConnectError("unreachable")
        return httpx.Response(200, stream=httpx.ByteStream(b"abc"))

    entries = [(0, 0, 0, "", ("2606:2800:220:1::1", 443)), (0, 0, 0, "", ("8.8.8.8", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: entries)
    fetcher = Fetcher([], 60, httpx.MockTransport(handler))
    assert (await fetcher.fetch("https://a.test/x", Budget(LARGE))).data == b"abc"
    assert seen == [("2606:2800:220:1::1", "a.test", "a.test"), ("8.8.8.8", "a.test", "a.test")]
    await fetcher.close()


async def test_cookies_and_connections_are_not_kept(site, fetcher):
    """A request carries nothing of an earlier one."""
    site.pages["/a"] = plain(b"abc", set_cookie="a=b; Path=/")
    for _ in range(2):
        await fetcher.fetch(f"{site.url}/a", Budget(LARGE))
    assert len(site.heads) == 2
    assert "cookie:" not in site.heads[1].lower()


async def test_proxies_of_the_environment_are_not_used(site, fetcher, monkeypatch):
    """A proxy would resolve the name again."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    site.pages["/a"] = plain(b"abc")
    assert (await fetcher.fetch(f"{site.url}/a", Budget(LARGE))).data == b"abc"


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(address):
    """IPv4, IPv6, and IPv4 embedded in IPv6."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200",
        "168.63.129.16", "224.0.0.1", "255.255.255.255", "198.18.0.1", "::", "::1", "fe80::1", "fd00:ec2::254",
        "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::", "2001:0:808:808:0:0:80ff:fffe", "64:ff9b:1::808:808", "64:ff9b:1:ffff::1", "::8.8.8.8",
    ],
)  # fmt: skip
def test_other_addresses_are_not_public(address):
    """Loopback, private, link-local, metadata services, multicast, and IPv6 with one of them embedded."""
    assert not is_public(ip_address(address))


@pytest.fixture
def names(monkeypatch):
    """The addresses of host names, instead of a resolver."""
    known = {}

    def getaddrinfo(host, port, *_args, **_options):
        if host not in known:
            raise socket.gaierror(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


async def test_a_public_name_resolves_to_its_addresses(names):
    """Each once, in the order of the resolver."""
    names["a.test"] = ["8.8.8.8", "1.1.1.1", "8.8.8.8"]
    assert await resolve("a.test", 80, []) == ["8.8.8.8", "1.1.1.1"]


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["169.254.169.254"], []])
async def test_a_name_with_one_address_that_is_not_public_is_rejected(names, addresses):
    """One is enough: the connection may go to any of them."""
    names["a.test"] = addresses
    with pytest.raises(NotPublicError):
        await resolve("a.test", 80, [])


async def test_a_name_that_does_not_exist_is_the_same_error(names):
    """So a client cannot find out the names of a private network."""
    with pytest.raises(NotPublicError):
        await resolve("nowhere.test", 80, [])


@pytest.mark.parametrize("allowed", [["a.test"], ["10.0.0.1"]])
async def test_a_configured_host_may_be_private(names, allowed):
    """By name or by address."""
    names["a.test"] = names["A.test."] = ["10.0.0.1"]
    assert await resolve("a.test", 80, allowed) == ["10.0.0.1"]
    assert await resolve("A.test.", 80, allowed) == ["10.0.0.1"]


async def test_an_invalid_name_is_rejected():
    """The errors of the resolver do not reach the client."""
    with pytest.raises(NotPublicError):
        await resolve("a" * 70 + ".test", 80, [])
