"""Signatures of our own: what a model thought, packed so that a client can carry it from turn to turn.

    signature = "mts1." + base64url(mac + deflate(kind + payload))

The mac is the first half of HMAC-SHA-256. A payload is the text, or, where a backend gave more than text (OpenRouter's
``reasoning_details``), JSON of both and of the model they come from: encrypted reasoning is of use to its model alone,
and others answer 400 to it.

So reasoning comes back whole from a client that never saw it (``display: omitted``), cut it or edited it. What does
not verify is somebody else's, and none of our business.

Repeated text deflates to a thousandth, and a client may echo one signature in every message. So a signature is inflated
only as far as the budget of its request reaches, and nothing is signed that no budget would open.
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
MAX_INFLATED_BYTES = 16 * 1024 * 1024
"""What all signatures of a request may carry together: four million tokens, more than any context window holds."""
MAX_SIGNED_BYTES = 8 * 1024 * 1024
"""What one signature may carry, so that a long answer can be echoed and continued."""

type Detail = dict[str, Any]
"""An entry of ``reasoning_details``, as the backend made it."""


@dataclass(frozen=True, slots=True)
class SignedReasoning:
    """Reasoning of one block.

    Args:
        text: In words.
        details: As the backend wants it back, where that is more than the text.
    """

    text: str = ""
    details: tuple[Detail, ...] = ()


class InflateLimitError(Exception):
    """The signatures of a request carry more than ``MAX_INFLATED_BYTES``."""


@dataclass(slots=True)
class InflateBudget:
    """How many bytes the signatures of one translation of a request may still carry."""

    left: int = MAX_INFLATED_BYTES


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


def unseal(signature: str, key: bytes, budget: InflateBudget | None = None) -> bytes | None:
    """Return the payload of a signature, None if it was not made with this key.

    Args:
        signature: As the client sent it.
        key: Of the server.
        budget: What the signatures of the request may still carry; this one alone if None.

    Raises:
        InflateLimitError: It is larger than what is left of the budget.
    """
    if not signature.startswith(PREFIX) or not signature.isascii():
        return None
    encoded = signature.removeprefix(PREFIX)
    try:
        raw = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except ValueError:
        return None
    mac, packed = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    return _inflate(packed, budget or InflateBudget()) if hmac.compare_digest(mac, _mac(packed, key)) else None


def _inflate(packed: bytes, budget: InflateBudget) -> bytes:
    payload = zlib.decompressobj(_RAW_DEFLATE).decompress(packed, budget.left + 1)
    if len(payload) > budget.left:
        raise InflateLimitError
    budget.left -= len(payload)
    return payload


def _mac(packed: bytes, key: bytes) -> bytes:
    return hmac.digest(key, packed, "sha256")[:_MAC_BYTES]


@dataclass(frozen=True, slots=True)
class ThinkingSigner:
    """Signs and opens for one model.

    Args:
        key: Known to the server alone.
        model: Whose details these are, as the platform names it.
    """

    key: bytes
    model: str = ""

    def __repr__(self) -> str:
        return f"ThinkingSigner(model={self.model!r})"

    def sign(self, text: str, details: Sequence[Detail] = ()) -> str:
        """Return the signature of a block, none for one that is too long: its visible text goes back instead."""
        if details:
            record = {"model": self.model, "text": text, "details": list(details)}
            payload = _JSON + json.dumps(record, separators=(",", ":")).encode()
        else:
            payload = _TEXT + text.encode("utf-8", "surrogatepass")
        return seal(payload, self.key) if len(payload) <= MAX_SIGNED_BYTES else unsigned(text)

    def open(self, signature: str, budget: InflateBudget | None = None) -> SignedReasoning | None:
        """Return what a signature of ours carries, None for any other; the details only of the same model.

        The budget is that of ``unseal``.

        Raises:
            InflateLimitError: It carries more than what is left of the budget.
        """
        payload = unseal(signature, self.key, budget)
        if payload is None:
            return None
        if payload.startswith(_TEXT):
            return SignedReasoning(payload[1:].decode("utf-8", "surrogatepass"))
        record = json.loads(payload[1:])
        return SignedReasoning(record["text"], tuple(record["details"]) if record["model"] == self.model else ())
