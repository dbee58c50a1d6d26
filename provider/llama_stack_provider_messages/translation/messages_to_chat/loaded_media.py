"""Results of loading a request's media. The caller loads them, because the translation does no I/O."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadedText:
    """The text of a document.

    Args:
        pages: One text per page; a single text for a document without pages.
        paged: Whether the texts are the pages of a PDF.
    """

    pages: tuple[str, ...]
    paged: bool = True


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A file, passed on unchanged.

    Args:
        media_type: Media type detected from the bytes.
        data: The bytes in base64.
    """

    media_type: str
    data: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Loading failed.

    Args:
        reason: Error message for the client, sent after the JSON path; says what to do.
    """

    reason: str


type Loaded = LoadedText | LoadedFile | Failed
