"""Ids in the form of the Messages API."""

import secrets
import string

_ID_ALPHABET = string.ascii_letters + string.digits
_ID_TABLE = bytes(ord(_ID_ALPHABET[number % len(_ID_ALPHABET)]) for number in range(256))
"""Maps each random byte to a letter or digit; ids have to be unique, not unguessable."""


def new_id(prefix: str) -> str:
    """Return a new id in the form of the API: a prefix such as ``req_`` and 24 random characters."""
    return prefix + secrets.token_bytes(24).translate(_ID_TABLE).decode()
