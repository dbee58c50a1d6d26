"""Which addresses of the network may be fetched from."""

import socket
from ipaddress import ip_address

import pytest

from llama_stack_provider_messages.translated.media.addresses import NotPublicError, is_public, resolve


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(address):
    """Of both kinds, and IPv4 inside IPv6."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200",
        "168.63.129.16", "224.0.0.1", "255.255.255.255", "198.18.0.1", "::", "::1", "fe80::1", "fd00:ec2::254",
        "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::", "2001:0:808:808:0:0:80ff:fffe",
    ],
)  # fmt: skip
def test_other_addresses_are_not(address):
    """Loopback, private, link-local, metadata services, multicast, and IPv6 that carries one of them."""
    assert not is_public(ip_address(address))


@pytest.fixture
def names(monkeypatch):
    """What names resolve to, in place of a resolver."""
    known = {}

    def getaddrinfo(host, port, *_args, **_options):
        if host not in known:
            raise socket.gaierror(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


async def test_a_public_name_has_its_addresses(names):
    """Each once, in the resolver's order."""
    names["a.test"] = ["8.8.8.8", "1.1.1.1", "8.8.8.8"]
    assert await resolve("a.test", 80, []) == ["8.8.8.8", "1.1.1.1"]


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["169.254.169.254"], []])
async def test_a_name_with_one_address_that_is_not_public_is_refused(names, addresses):
    """One is enough: which of them is connected to is chance."""
    names["a.test"] = addresses
    with pytest.raises(NotPublicError):
        await resolve("a.test", 80, [])


async def test_a_name_that_does_not_exist_is_the_same_failure(names):
    """So that nobody can try out the names of a private network."""
    with pytest.raises(NotPublicError):
        await resolve("nowhere.test", 80, [])


@pytest.mark.parametrize("allowed", [["a.test"], ["10.0.0.1"]])
async def test_what_the_configuration_names_may_be_private(names, allowed):
    """By name or by address."""
    names["a.test"] = names["A.test."] = ["10.0.0.1"]
    assert await resolve("a.test", 80, allowed) == ["10.0.0.1"]
    assert await resolve("A.test.", 80, allowed) == ["10.0.0.1"]


async def test_a_name_that_is_no_name_is_refused():
    """The resolver's own complaints do not get out."""
    with pytest.raises(NotPublicError):
        await resolve("a" * 70 + ".test", 80, [])
