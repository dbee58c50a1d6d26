"""Signatures of our own: what a model thought, packed so that a client can carry it from turn to turn.

    signature = "mts1." + base64url(mac + deflate(kind + payload))

The mac is the first half of HMAC-SHA-256. A payload is the text, or, where a backend gave more than text (OpenRouter's
``reasoning_details``), JSON of both and of the model they come from: encrypted reasoning is of use to its model alone,
and others answer 400 to it.

So reasoning comes back whole from a client that never saw it (``display: omitted``), cut it or edited it. What does
not verify is somebody else's, and none of our business.
"""

import hmac
import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

PREFIX = "mts1."
_MAC_BYTES = 16
_RAW_DEFLATE = -15
_TEXT, _JSON = b"t", b"j"

type Detail = dict[str, Any]
"""An entry of ``reasoning_details``, as the backend made it."""


@dataclass(frozen=True, slots=True)
class Thoughts:
    """Reasoning of one block.

    Args:
        text: In words.
        details: As the backend wants it back, where that is more than the text.
    """

    text: str = ""
    details: tuple[Detail, ...] = ()


class Sign(Protocol):
    """Makes a signature."""

    def __call__(self, text: str, details: Sequence[Detail] = ()) -> str:
        """Return the signature of a block with this text; ``""`` claims nothing."""
        ...


def unsigned(text: str, details: Sequence[Detail] = ()) -> str:  # noqa: ARG001 - the shape of Sign
    """Return the empty signature: no claim about who thought this."""
    return ""


def seal(payload: bytes, key: bytes) -> str:
    """Return the signature that carries a payload."""
    deflate = zlib.compressobj(wbits=_RAW_DEFLATE)
    packed = deflate.compress(payload) + deflate.flush()
    return PREFIX + urlsafe_b64encode(_mac(packed, key) + packed).rstrip(b"=").decode()


def unseal(signature: str, key: bytes) -> bytes | None:
    """Return the payload of a signature, None if it was not made with this key."""
    if not signature.startswith(PREFIX) or not signature.isascii():
        return None
    encoded = signature.removeprefix(PREFIX)
    try:
        raw = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except ValueError:
        return None
    mac, packed = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    return zlib.decompress(packed, _RAW_DEFLATE) if hmac.compare_digest(mac, _mac(packed, key)) else None


def _mac(packed: bytes, key: bytes) -> bytes:
    return hmac.digest(key, packed, "sha256")[:_MAC_BYTES]


@dataclass(frozen=True, slots=True)
class Seal:
    """Signs and opens for one model.

    Args:
        key: Known to the server alone.
        model: Whose details these are, as the platform names it.
    """

    key: bytes
    model: str = ""

    def __repr__(self) -> str:
        return f"Seal(model={self.model!r})"

    def sign(self, text: str, details: Sequence[Detail] = ()) -> str:
        """Return the signature of a block."""
        if not details:
            return seal(_TEXT + text.encode("utf-8", "surrogatepass"), self.key)
        record = {"model": self.model, "text": text, "details": list(details)}
        return seal(_JSON + json.dumps(record, separators=(",", ":")).encode(), self.key)

    def open(self, signature: str) -> Thoughts | None:
        """Return what a signature of ours carries, None for any other; the details only of the same model."""
        payload = unseal(signature, self.key)
        if payload is None:
            return None
        if payload.startswith(_TEXT):
            return Thoughts(payload[1:].decode("utf-8", "surrogatepass"))
        record = json.loads(payload[1:])
        return Thoughts(record["text"], tuple(record["details"]) if record["model"] == self.model else ())
