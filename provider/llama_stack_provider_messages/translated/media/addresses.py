"""Resolves hosts to addresses that may be fetched from: public ones, and those that the configuration allows.

A name is resolved once, all its addresses are checked, and the connection goes to one of them. So a name that resolves
to another address a moment later (DNS rebinding) has no effect.
"""

import asyncio
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

type Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
_PLATFORM = frozenset({ip_address("168.63.129.16")})
"""Azure's host agent, reachable from every Azure machine (learn.microsoft.com, what-is-ip-address-168-63-129-16)."""


class NotPublicError(Exception):
    """A host does not exist, or has an address that is not public; the error does not reveal which."""


async def resolve(host: str, port: int, allowed: Collection[str]) -> list[str]:
    """Return the addresses of a host.

    Args:
        host: Host name or address.
        port: Port of the connection.
        allowed: Names and addresses that may be private.

    Raises:
        NotPublicError: The host has no address, or one that is not public.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotPublicError from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    named = host.lower().rstrip(".") in allowed
    if not addresses or not (named or all(one in allowed or is_public(ip_address(one)) for one in addresses)):
        raise NotPublicError
    return addresses


def is_public(address: Address) -> bool:
    """Return whether an address is public; an IPv4 address embedded in an IPv6 address must be public, too."""
    inner = _carried(address) if isinstance(address, IPv6Address) else None
    if inner is not None and not is_public(inner):
        return False
    site_local = isinstance(address, IPv6Address) and address.is_site_local
    return address.is_global and not address.is_multicast and not site_local and address not in _PLATFORM


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
