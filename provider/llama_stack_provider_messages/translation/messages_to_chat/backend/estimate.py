"""Estimates the tokens of a request, for backends that do not count.

A token is about four bytes of UTF-8 in English and in code, and roughly that in other languages. This is precise
enough for the client's context meter.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

_BYTES = 4
_IMAGE = 1_500
"""Tokens of an image of usual size."""
_MEDIA = frozenset({"image", "image_url", "file", "input_audio"})
_SEALED = {"cache_control", "signature", "encrypted_content"}
"""Fields of a block that the model does not read."""
_PER_MESSAGE = 4
"""Tokens that a chat template adds per message."""


def estimate_tokens(fields: Mapping[str, Any]) -> int:
    """Return the estimated prompt tokens of a chat completions request.

    Args:
        fields: The request; its messages, tools and response format make up the prompt.
    """
    messages = fields.get("messages") or []
    shapes = [fields[name] for name in ("tools", "response_format") if fields.get(name)]
    size = sum(map(_size, messages)) + sum(_length(json.dumps(shape, ensure_ascii=False)) for shape in shapes)
    return _PER_MESSAGE * len(messages) + -(-size // _BYTES)


def estimate_blocks(content: str | BaseModel | Iterable[BaseModel] | None) -> int:
    """Return the estimated tokens of a part of a Messages request: a text, a block, or a list of blocks or tools."""
    if content is None or isinstance(content, str):
        return -(-_length(content or "") // _BYTES)
    blocks = [content] if isinstance(content, BaseModel) else content
    return -(-sum(_size(block.model_dump(exclude=_SEALED, warnings=False)) for block in blocks) // _BYTES)


def estimate_json(data: bytes) -> int:
    """Return the estimated tokens of a part of a request that was not parsed.

    Args:
        data: JSON, valid or not.
    """
    try:
        return -(-_size(json.loads(data)) // _BYTES)
    except (ValueError, RecursionError):
        return -(-len(data) // _BYTES)


def _length(text: str) -> int:
    """Return the UTF-8 length of a text in bytes; a lone surrogate counts as one byte."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _size(value: object) -> int:
    """Return the bytes of all text in a value; an image or file counts as its estimated tokens in bytes."""
    if isinstance(value, str):
        return _length(value)
    if isinstance(value, Mapping):
        kind = value.get("type")
        if (isinstance(kind, str) and kind in _MEDIA) or value.get("media_type") == "application/pdf":
            return _IMAGE * _BYTES
        return sum(_size(part) for part in value.values())
    return sum(map(_size, value)) if isinstance(value, list | tuple) else 0
