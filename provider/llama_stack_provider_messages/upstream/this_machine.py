"""Which addresses are this machine, where no proxy of the environment is used: it could not reach them.

A module of its own, because ``messages`` needs it without the platform, which takes seconds to import.
"""

import ipaddress
from urllib.parse import urlsplit


def is_this_machine(url: str) -> bool:
    """Return whether the host of a URL is this machine; False if the URL is not valid.

    Those are ``localhost`` and its subdomains (RFC 6761), 127.0.0.0/8, ``::1``, and the addresses of all interfaces,
    which connect to this machine, too.
    """
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified
