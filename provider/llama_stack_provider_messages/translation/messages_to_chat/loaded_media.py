"""What was loaded for the media of a request, by the lane; the translation reads nothing itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadedText:
    """The text of a document.

    Args:
        pages: One text for each page; a single one for what has no pages.
        paged: Whether these are the pages of a PDF.
    """

    pages: tuple[str, ...]
    paged: bool = True


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A file as it is.

    Args:
        media_type: What its bytes say.
        data: The bytes in base64.
    """

    media_type: str
    data: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing could be loaded.

    Args:
        reason: Goes to the client, behind the path; says what to do.
    """

    reason: str


type Loaded = LoadedText | LoadedFile | Failed
