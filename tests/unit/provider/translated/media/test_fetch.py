"""Fetching from addresses, from a server on this machine that the configuration names."""

import asyncio
import socket

import httpx
import pytest

from llama_stack_provider_messages.translated.media.fetch import Budget, Fetcher, FetchError

LARGE = 1 << 20


class Site:
    """An HTTP server; ``pages`` maps a path to the bytes of the whole answer."""

    def __init__(self):
        self.pages = {}
        self.heads = []
        self.hang = asyncio.Event()

    async def accept(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        answer = self.pages.get(head.split(" ")[1], plain(b"gone", status=404))
        if answer is None:
            await self.hang.wait()
        else:
            writer.write(answer)
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
    made = Fetcher(["127.0.0.1"], 5)
    yield made
    await made.close()
    await made.close()


async def test_what_stands_there_comes_with_what_the_server_calls_it(site, fetcher):
    """Type and charset in lower case and without parameters."""
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
async def test_the_charset_is_read_without_decoding_it(site, fetcher, content_type, charset):
    """RFC 2231 lets a server name a codec for the name of the charset."""
    site.pages["/a"] = plain(b"abc", content_type)
    assert (await fetcher.fetch(f"{site.url}/a", Budget(LARGE))).charset == charset


async def test_redirects_are_followed_three_times(site, fetcher):
    """Relative ones too."""
    site.pages |= {"/a": to("/b"), "/b": to(f"{site.url}/c", 301), "/c": to("d", 307), "/d": plain(b"abc")}
    assert (await fetcher.fetch(f"{site.url}/a", Budget(LARGE))).data == b"abc"


async def refusal(fetcher, url, budget=LARGE):
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(url, Budget(budget))
    return str(caught.value)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (plain(b"x", status=404), "the address answers HTTP 404; "),
        (to("/a"), "the address redirects too often; "),
        (to("file:///etc/passwd"), "the address leads to something that is not of the web; "),
        (to("http://169.254.169.254/latest"), "the host of the address is not a public one; "),
        (to("http://[::1]:1/"), "the host of the address is not a public one; "),
        (to("http://127.0.0.2/"), "the host of the address is not a public one; "),
        (to("http://[bad/"), "the host of the address is not a public one; "),
        (plain(b"x" * 2000), "what stands at the addresses is too large; "),
        (plain(b"x", content_encoding="gzip"), "the address answers with compressed bytes only; "),
        (b"no HTTP at all\r\n\r\n", "the address could not be fetched; "),
        (None, "the address did not answer in time; "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_fetched_is_said_with_the_remedy(site, page, text):
    """The text says nothing about what the network behind this server looks like."""
    site.pages["/a"] = page
    fetcher = Fetcher(["127.0.0.1"], 0.5)
    said = await refusal(fetcher, f"{site.url}/a", 1000)
    assert said.startswith(text)
    assert "send " in said
    await fetcher.close()


async def test_a_private_address_is_refused_unless_it_is_named(site):
    """Nothing is sent there."""
    fetcher = Fetcher([], 5)
    assert (await refusal(fetcher, site.url)).startswith("the host of the address is not a public one; ")
    assert site.heads == []


async def test_a_port_where_nobody_listens_cannot_be_fetched(fetcher):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert (await refusal(fetcher, f"http://127.0.0.1:{port}/")).startswith("the address could not be fetched; ")


@pytest.mark.parametrize("url", ["http://", "http://\x00/", "http://127.0.0.1:99999/", "http://a\ud800.test/"])
async def test_an_address_that_is_none_is_a_refusal(fetcher, url):
    """Whatever httpx makes of it."""
    assert "; send " in await refusal(fetcher, url)


async def test_all_addresses_of_a_request_share_one_budget(site, fetcher):
    """A hundred large images would fill the memory of the server."""
    site.pages["/a"] = plain(b"x" * 600)
    budget = Budget(1000)
    await fetcher.fetch(f"{site.url}/a", budget)
    with pytest.raises(FetchError, match="too large"):
        await fetcher.fetch(f"{site.url}/a", budget)


async def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to(site, monkeypatch):
    """A name that points elsewhere a moment later gains nothing; the server still sees the name."""
    asked = []

    def getaddrinfo(host, port, *_args, **_options):
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "10.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    fetcher = Fetcher(["Site.test."], 5)
    site.pages["/a"] = plain(b"abc")
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert (await fetcher.fetch(f"http://site.test:{site.port}/a", Budget(LARGE))).data == b"abc"
    assert asked == ["site.test"]
    assert f"host: site.test:{site.port}" in site.heads[0].lower()
    await fetcher.close()


async def test_the_next_address_is_tried_and_the_certificate_is_that_of_the_name(monkeypatch):
    """A machine without IPv6 reaches hosts that have it."""
    seen = []

    def handler(request):
        seen.append((request.url.host, request.headers["host"], request.extensions["sni_hostname"]))
        if len(seen) == 1:
            raise httpx.ConnectError("unreachable")
        return httpx.Response(200, stream=httpx.ByteStream(b"abc"))

    entries = [(0, 0, 0, "", ("2606:2800:220:1::1", 443)), (0, 0, 0, "", ("8.8.8.8", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: entries)
    fetcher = Fetcher([], 5)
    client = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    monkeypatch.setattr(httpx, "AsyncClient", lambda **_options: client)
    assert (await fetcher.fetch("https://a.test/x", Budget(LARGE))).data == b"abc"
    assert seen == [("2606:2800:220:1::1", "a.test", "a.test"), ("8.8.8.8", "a.test", "a.test")]
    await client.aclose()


async def test_cookies_and_connections_are_not_kept(site, fetcher):
    """One request knows nothing of another's."""
    site.pages["/a"] = plain(b"abc", set_cookie="a=b; Path=/")
    for _ in range(2):
        await fetcher.fetch(f"{site.url}/a", Budget(LARGE))
    assert len(site.heads) == 2
    assert "cookie:" not in site.heads[1].lower()


async def test_proxies_of_the_environment_are_not_used(site, fetcher, monkeypatch):
    """A proxy would resolve the name again, and elsewhere."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    site.pages["/a"] = plain(b"abc")
    assert (await fetcher.fetch(f"{site.url}/a", Budget(LARGE))).data == b"abc"
