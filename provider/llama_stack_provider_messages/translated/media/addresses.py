"""Which addresses of the network may be fetched from: public ones, and those the configuration names.

A name is resolved once, all its addresses are checked, and the connection goes to one of them: a name that points
elsewhere a moment later (DNS rebinding) gains nothing.
"""

import asyncio
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

type Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
_PLATFORM = frozenset({ip_address("168.63.129.16")})
"""Azure's host agent, reachable from each of its machines (learn.microsoft.com, what-is-ip-address-168-63-129-16)."""


class NotPublicError(Exception):
    """A host has no address that may be fetched from, or does not exist; which of them is not told."""


async def resolve(host: str, port: int, allowed: Collection[str]) -> list[str]:
    """Return the addresses of a host.

    Args:
        host: Name or address.
        port: Where the connection will go.
        allowed: Names and addresses that may be private.

    Raises:
        NotPublicError: There is none, or one of them is not public.
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
    """Whether an address is one of the public internet; one that carries another is judged by that one too."""
    inner = _carried(address) if isinstance(address, IPv6Address) else None
    if inner is not None and not is_public(inner):
        return False
    site_local = isinstance(address, IPv6Address) and address.is_site_local
    return address.is_global and not address.is_multicast and not site_local and address not in _PLATFORM


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
