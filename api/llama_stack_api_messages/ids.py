"""Ids in the form of the Messages API."""

import secrets
import string

_ID_ALPHABET = string.ascii_letters + string.digits
_ID_TABLE = bytes(ord(_ID_ALPHABET[number % len(_ID_ALPHABET)]) for number in range(256))
"""A letter for each random byte; ids have to be different, not unguessable."""


def new_id(prefix: str) -> str:
    """Return an id in the form of the API: ``req_`` or the like and 24 characters."""
    return prefix + secrets.token_bytes(24).translate(_ID_TABLE).decode()
