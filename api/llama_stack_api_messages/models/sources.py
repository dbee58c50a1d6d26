"""Sources of media: inline bytes, URLs, uploaded files."""

from typing import Annotated, Literal

from pydantic import Field

from .base import ByType, Known, OpenModel, Unknown


class Base64Source(OpenModel):
    """Inline bytes: an image or a PDF."""

    type: Literal["base64"]
    media_type: Annotated[str, Known("image/jpeg", "image/png", "image/gif", "image/webp", "application/pdf")] = Field(
        description="Media type of the bytes."
    )
    data: str = Field(description="The bytes in base64.")


class TextSource(OpenModel):
    """Inline plain text."""

    type: Literal["text"]
    media_type: Annotated[str, Known("text/plain")] = Field(description="Media type of the text.")
    data: str = Field(description="The text.")


class UrlSource(OpenModel):
    """A URL to fetch."""

    type: Literal["url"]
    url: str = Field(description="The address.")


class FileSource(OpenModel):
    """A file uploaded earlier."""

    type: Literal["file"]
    file_id: str = Field(description="Id of the file.")


class UnknownSource(Unknown):
    """A source of a type this server does not know."""


type ImageSource = Annotated[Base64Source | UrlSource | FileSource | UnknownSource, ByType()]


class CitationsConfig(OpenModel):
    """Whether a source may be cited."""

    enabled: bool | None = Field(default=None, description="True asks for citations.")
