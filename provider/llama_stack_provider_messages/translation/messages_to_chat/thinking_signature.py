"""Our own thinking signatures: the reasoning is packed into the signature, so that it comes back unchanged.

The problem: some backends require the reasoning of earlier turns back, unchanged, or a conversation ends with a 400
(thinking.py). This server keeps no state, and the client does not return all of it: it may never have got the text
(``display: omitted``), and it may shorten or edit it. But every client sends the signature of a thinking block back
unchanged, because the Messages API requires that. So the signature holds the reasoning:

    signature = "mts1." + base64url(mac + deflate(kind + payload))

The rules:

- The mac is the first half of HMAC-SHA-256 with the server's key. A signature that does not verify was made by another
  server and is ignored, so that a conversation may change servers.
- The payload is the text. If the backend sent more than text (OpenRouter's ``reasoning_details``), the payload is JSON
  with the text, the details and the model they come from. Encrypted reasoning is usable only by its own model, and
  others answer 400 to it, so the details are returned to that model only.
- Repeated text deflates to a thousandth of its size, and a client may repeat one signature in every message: hundreds
  of kilobytes inflated to 1.4 GB. So a signature inflates to at most a hundred times its size (text reaches twenty
  times), and all of a request together to a fixed number of bytes. Reasoning that would exceed the limit of one
  signature is not signed: the visible text is sent back then, as without a signature.
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
MAX_RATIO = 100
"""Inflated size of a signature by its deflated size."""
_SMALL_BYTES = 4_096
"""Inflated size below which the ratio does not matter."""
MAX_INFLATED_BYTES = 16 * 1024 * 1024
"""Inflated bytes of all signatures of a request: four million tokens, more than any context window holds."""
MAX_SIGNED_BYTES = 8 * 1024 * 1024
"""Inflated bytes of one signature; below ``MAX_INFLATED_BYTES``, so that a long response can be sent back."""

type Detail = dict[str, Any]
"""An entry of ``reasoning_details``, as sent by the backend."""


@dataclass(frozen=True, slots=True)
class SignedReasoning:
    """The reasoning of one thinking block.

    Args:
        text: The reasoning text.
        details: Entries of ``reasoning_details`` to send back to the backend, if it sent any.
    """

    text: str = ""
    details: tuple[Detail, ...] = ()


class InflateLimitError(Exception):
    """A signature inflates to more than one may, or those of a request to more than ``MAX_INFLATED_BYTES`` together.

    Args:
        alone: The signature alone is too large.
    """

    def __init__(self, *, alone: bool) -> None:
        super().__init__(alone)
        self.alone = alone


@dataclass(slots=True)
class InflateBudget:
    """Bytes that the signatures may still inflate to in one translation of a request."""

    left: int = MAX_INFLATED_BYTES


class Sign(Protocol):
    """Makes a signature."""

    def __call__(self, text: str, details: Sequence[Detail] = ()) -> str:
        """Return the signature of a thinking block with this text; ``""`` means unsigned."""
        ...


def unsigned(text: str, details: Sequence[Detail] = ()) -> str:  # noqa: ARG001 - the shape of Sign
    """Return the empty signature."""
    return ""


def pack(payload: bytes, key: bytes) -> str:
    """Return a signature with the payload, ``""`` if it would hold more than ``unpack`` accepts."""
    if len(payload) > MAX_SIGNED_BYTES:
        return ""
    deflate = zlib.compressobj(wbits=_RAW_DEFLATE)
    packed = deflate.compress(payload) + deflate.flush()
    if len(payload) > _largest_payload(packed):
        return ""
    return PREFIX + urlsafe_b64encode(_mac(packed, key) + packed).rstrip(b"=").decode()


def unpack(signature: str, key: bytes, budget: InflateBudget | None = None) -> bytes | None:
    """Return the payload of a signature, None if it was not made with this key.

    Args:
        signature: As the client sent it.
        key: The server's key.
        budget: Bytes left for the signatures of the request; if None, this signature gets a full budget.

    Raises:
        InflateLimitError: The payload is larger than that of any signature made here, or than the rest of the budget.
    """
    if not signature.startswith(PREFIX) or not signature.isascii():
        return None
    encoded = signature.removeprefix(PREFIX)
    try:
        raw = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except ValueError:
        return None
    mac, packed = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(packed, key)):
        return None
    budget, largest = budget or InflateBudget(), _largest_payload(packed)
    payload = zlib.decompressobj(_RAW_DEFLATE).decompress(packed, min(budget.left, largest) + 1)
    if len(payload) > min(budget.left, largest):
        raise InflateLimitError(alone=len(payload) > largest)
    budget.left -= len(payload)
    return payload


def _largest_payload(packed: bytes) -> int:
    """Return how many bytes a signature with these deflated bytes may hold."""
    return min(MAX_SIGNED_BYTES, max(_SMALL_BYTES, MAX_RATIO * len(packed)))


def _mac(packed: bytes, key: bytes) -> bytes:
    return hmac.digest(key, packed, "sha256")[:_MAC_BYTES]


@dataclass(frozen=True, slots=True)
class ThinkingSigner:
    """Makes and opens signatures for one model.

    Args:
        key: Secret key of the server.
        model: The platform's id of the model that made the details.
    """

    key: bytes
    model: str = ""

    def __repr__(self) -> str:
        return f"ThinkingSigner(model={self.model!r})"

    def sign(self, text: str, details: Sequence[Detail] = ()) -> str:
        """Return the signature of a block, ``""`` if ``unpack`` would not accept it; then the visible text is used."""
        if details:
            record = {"model": self.model, "text": text, "details": list(details)}
            payload = _JSON + json.dumps(record, separators=(",", ":")).encode()
        else:
            payload = _TEXT + text.encode("utf-8", "surrogatepass")
        return pack(payload, self.key)

    def open(self, signature: str, budget: InflateBudget | None = None) -> SignedReasoning | None:
        """Return the reasoning in one of our signatures, None for any other; details only if the model is the same.

        For ``budget`` see ``unpack``.

        Raises:
            InflateLimitError: See ``unpack``.
        """
        payload = unpack(signature, self.key, budget)
        if payload is None:
            return None
        if payload.startswith(_TEXT):
            return SignedReasoning(payload[1:].decode("utf-8", "surrogatepass"))
        record = json.loads(payload[1:])
        return SignedReasoning(record["text"], tuple(record["details"]) if record["model"] == self.model else ())
