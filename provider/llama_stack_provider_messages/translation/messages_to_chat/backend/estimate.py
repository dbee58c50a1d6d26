"""How many tokens a chat request may have, where nobody counts.

About four bytes of UTF-8 make a token, in English and in code, and roughly elsewhere; the client's context meter has
to move, and needs no more.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

_BYTES = 4
_IMAGE = 1_500
"""Tokens of a picture of usual size."""
_MEDIA = frozenset({"image", "image_url", "file", "input_audio"})
_SEALED = {"cache_control", "signature", "encrypted_content"}
"""What of a block the model does not read."""
_PER_MESSAGE = 4
"""Tokens a template adds around a message."""


def estimate_tokens(fields: Mapping[str, Any]) -> int:
    """Return the estimate for the prompt of a chat completions request.

    Args:
        fields: The request; its messages, tools and answer format make up the prompt.
    """
    messages = fields.get("messages") or []
    shapes = [fields[name] for name in ("tools", "response_format") if fields.get(name)]
    size = sum(map(_size, messages)) + sum(_length(json.dumps(shape, ensure_ascii=False)) for shape in shapes)
    return _PER_MESSAGE * len(messages) + -(-size // _BYTES)


def estimate_blocks(content: str | BaseModel | Iterable[BaseModel] | None) -> int:
    """Return the estimate for a part of a Messages request: a text, a block, or a list of blocks or tools."""
    if content is None or isinstance(content, str):
        return -(-_length(content or "") // _BYTES)
    blocks = [content] if isinstance(content, BaseModel) else content
    return -(-sum(_size(block.model_dump(exclude=_SEALED, warnings=False)) for block in blocks) // _BYTES)


def estimate_json(data: bytes) -> int:
    """Return the estimate for a part of a request that nobody has understood.

    Args:
        data: JSON, or what was meant to be.
    """
    try:
        return -(-_size(json.loads(data)) // _BYTES)
    except (ValueError, RecursionError):
        return -(-len(data) // _BYTES)


def _length(text: str) -> int:
    """Return how many bytes a text has in UTF-8; half a surrogate pair counts as one."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _size(value: object) -> int:
    """Return the bytes of all text in a value; a picture or file counts as what its tokens would be."""
    if isinstance(value, str):
        return _length(value)
    if isinstance(value, Mapping):
        kind = value.get("type")
        if (isinstance(kind, str) and kind in _MEDIA) or value.get("media_type") == "application/pdf":
            return _IMAGE * _BYTES
        return sum(_size(part) for part in value.values())
    return sum(map(_size, value)) if isinstance(value, list | tuple) else 0
