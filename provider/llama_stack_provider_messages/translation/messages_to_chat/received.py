"""What stood at an address -> what a block becomes of it."""

from base64 import b64encode
from typing import Literal

from .documents import not_read
from .images import not_shown, shown_type
from .inline_data import PDF, media_type_of
from .loaded import Failed, Loaded, LoadedFile, LoadedText

_TEXTS = ("text/", "application/json", "application/xml")


def received(kind: Literal["image", "document"], declared: str, charset: str, raw: bytes) -> Loaded:
    """Return a file or a text, or why it is neither.

    Args:
        kind: What the block says it is.
        declared: Media type the server gave, in lower case.
        charset: Of a text, as the server says.
        raw: The bytes.
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
    try:
        return raw.decode(charset, errors="replace")
    except LookupError:
        return raw.decode(errors="replace")
