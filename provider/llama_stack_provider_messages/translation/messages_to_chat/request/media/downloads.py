"""Classifies downloaded bytes as a file, a text, or a failure."""

import codecs
from base64 import b64encode
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import cache
from typing import Literal

from llama_stack_provider_messages.translation.inline_data import PDF, media_type_of
from llama_stack_provider_messages.translation.messages_to_chat.loaded_media import (
    Failed,
    Loaded,
    LoadedFile,
    LoadedText,
)

from .documents import not_read
from .images import not_shown, shown_type

_TEXTS = ("text/", "application/json", "application/xml")

_SINGLE_BYTE = frozenset({
    "latin_1", *(f"iso8859_{part}" for part in range(2, 17) if part != 12), "koi8_r", "koi8_u", "mac_roman",
    "tis_620",
    *(f"cp{page}" for page in (437, 850, 852, 866, 874, *range(1250, 1259))),
})  # fmt: skip
_CODECS = _SINGLE_BYTE | {
    "ascii", "utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be",
    "shift_jis", "cp932", "euc_jp", "iso2022_jp", "gb2312", "gbk", "gb18030", "hz", "big5", "cp950", "euc_kr", "cp949",
    "iso2022_kr", "johab",
}  # fmt: skip
"""Codecs of web charsets, which decode any bytes in linear time. Python's other codecs are excluded: punycode takes
quadratic time, idna and undefined raise errors other than LookupError, and looking up a name imports a module."""
_CHARSETS = {codec: codec for codec in _CODECS} | {alias: codec for alias, codec in aliases.items() if codec in _CODECS}
"""Charset name, as normalized by Python -> codec."""


def classify_download(kind: Literal["image", "document"], declared: str, charset: str, raw: bytes) -> Loaded:
    """Return the download as a file or a text, or the reason why it is unsupported.

    Args:
        kind: The type of the block.
        declared: Media type in the response headers, in lower case.
        charset: Charset in the response headers.
        raw: The response body.
    """
    if kind == "image":
        shown = shown_type(raw, declared)
        return LoadedFile(shown, _encoded(raw)) if shown else Failed(not_shown(raw, declared))
    found = media_type_of(raw) or declared
    if found == PDF:
        return LoadedFile(PDF, _encoded(raw))
    if found.startswith(_TEXTS):
        return LoadedText((_decoded(raw, charset),), paged=False)
    return Failed(not_read(found))


def _encoded(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")


def _decoded(raw: bytes, charset: str) -> str:
    """Return the decoded text. An unknown charset is decoded as UTF-8, with replacement characters for errors."""
    codec = _CHARSETS.get(normalize_encoding(charset).lower(), "utf_8")
    if codec in _SINGLE_BYTE:
        return codecs.charmap_decode(raw, "strict", _characters(codec))[0]
    return raw.decode(codec, errors="replace")


@cache
def _characters(codec: str) -> str:
    """Return the character for each byte value. A table, because replacing bytes singly takes 0.5 s per megabyte."""
    return bytes(range(256)).decode(codec, errors="replace")
