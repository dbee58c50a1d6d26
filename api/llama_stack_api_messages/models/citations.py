"""Citations of a text block: which passage of which source supports it."""

from typing import Annotated, Literal

from pydantic import Field

from .base import ByType, OpenModel, Unknown


class _Citation(OpenModel):
    """The common fields of all citations."""

    cited_text: str = Field(description="The passage, word for word.")


class _DocumentCitation(_Citation):
    """The common fields of citations of a document."""

    document_index: int = Field(description="Position of the document among the documents of the request, from 0.")
    document_title: str | None = Field(default=None, description="Title of the document.")
    file_id: str | None = Field(default=None, description="Id of the file behind the document, in responses.")


class CharLocation(_DocumentCitation):
    """A range of characters in a plain text document."""

    type: Literal["char_location"]
    start_char_index: int = Field(description="First character, from 0.")
    end_char_index: int = Field(description="Character after the last one.")


class PageLocation(_DocumentCitation):
    """A range of pages in a PDF."""

    type: Literal["page_location"]
    start_page_number: int = Field(description="First page, from 1.")
    end_page_number: int = Field(description="Page after the last one.")


class ContentBlockLocation(_DocumentCitation):
    """A range of blocks in a document made of blocks."""

    type: Literal["content_block_location"]
    start_block_index: int = Field(description="First block, from 0.")
    end_block_index: int = Field(description="Block after the last one.")


class WebSearchResultLocation(_Citation):
    """A page that a web search found."""

    type: Literal["web_search_result_location"]
    url: str = Field(description="Address of the page.")
    title: str | None = Field(default=None, description="Title of the page.")
    encrypted_index: str = Field(description="Opaque position in the result, to be sent back unchanged.")


class SearchResultLocation(_Citation):
    """A range of blocks in a search result that the client supplied."""

    type: Literal["search_result_location"]
    source: str = Field(description="Source of the search result.")
    title: str | None = Field(default=None, description="Title of the search result.")
    search_result_index: int = Field(description="Position of the search result in the request, from 0.")
    start_block_index: int = Field(description="First block, from 0.")
    end_block_index: int = Field(description="Block after the last one.")


class UnknownCitation(Unknown):
    """A citation of a type this server does not know."""


type Citation = Annotated[
    CharLocation
    | PageLocation
    | ContentBlockLocation
    | WebSearchResultLocation
    | SearchResultLocation
    | UnknownCitation,
    ByType(),
]
