"""Content blocks that clients write: text, media, tool calls and their results; and the citations of a text block."""

from typing import Annotated, Literal

from pydantic import Field

from .base import ByType, Cacheable, JsonObject, Known, NullIsEmpty, OneOf, OpenModel, Unknown


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


class _Citation(OpenModel):
    """The common fields of all citations."""

    cited_text: str = Field(description="The passage, word for word.")


class _DocumentCitation(_Citation):
    """The common fields of citations of a document."""

    document_index: int = Field(description="Position of the document among the documents of the request, from 0.")
    document_title: str | None = Field(default=None, description="Title of the document.")
    file_id: str | None = Field(default=None, description="Id of the document's file, in responses.")


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


class TextBlock(Cacheable):
    """Plain text."""

    type: Literal["text"]
    text: str = Field(description="The text; an empty one is accepted and ignored.")
    citations: list[Citation] | None = Field(default=None, description="Passages that support the text.")


class ImageTransformations(OpenModel):
    """Allowed processing of an image before the model sees it."""

    oversized_image: Annotated[str, Known("downsize", "error")] | None = Field(
        default=None, description="Whether an image over the size limit is scaled down or refused."
    )


class ImageBlock(Cacheable):
    """An image."""

    type: Literal["image"]
    source: ImageSource = Field(description="Where the bytes are.")
    transformations: ImageTransformations | None = Field(default=None, description="Handling of large images.")


class UnknownBlock(Unknown):
    """A content block of a type this server does not know."""


type TextOrImage = Annotated[TextBlock | ImageBlock | UnknownBlock, ByType()]


class ContentSource(OpenModel):
    """A document made of blocks, which citations may refer to."""

    type: Literal["content"]
    content: Annotated[str | list[TextOrImage], OneOf()] = Field(description="The document as one text or as blocks.")


type DocumentSource = Annotated[
    Base64Source | TextSource | ContentSource | UrlSource | FileSource | UnknownSource, ByType()
]


class DocumentBlock(Cacheable):
    """A PDF, a text or a document made of blocks."""

    type: Literal["document"]
    source: DocumentSource = Field(description="Where the document is.")
    title: str | None = Field(default=None, description="Title shown to the model.")
    context: str | None = Field(default=None, description="Context of the document; not cited.")
    citations: CitationsConfig | None = Field(default=None, description="Whether the response has to cite it.")


class SearchResultBlock(Cacheable):
    """A search result that the client found itself."""

    type: Literal["search_result"]
    source: str = Field(description="Source of the result, such as a URL.")
    title: str = Field(description="Title of the result.")
    content: list[TextBlock] = Field(description="Text of the result.")
    citations: CitationsConfig | None = Field(default=None, description="Whether the response has to cite it.")


class ThinkingBlock(OpenModel):
    """Reasoning of an earlier or of this response."""

    type: Literal["thinking"]
    thinking: str = Field(description="The reasoning; empty if it is withheld.")
    signature: str = Field(default="", description="Signature of the reasoning; clients may omit it.")


class RedactedThinkingBlock(OpenModel):
    """Encrypted reasoning, which only the server can read."""

    type: Literal["redacted_thinking"]
    data: str = Field(description="Opaque data, to be sent back unchanged.")


class DirectCaller(OpenModel):
    """The model made the call itself."""

    type: Literal["direct"]


class CodeExecutionCaller(OpenModel):
    """Code that ran on the server made the call."""

    type: Literal["code_execution_20250825", "code_execution_20260120", "code_execution_20260521"]
    tool_id: str = Field(description="Id of the server tool call whose code ran.")


class UnknownCaller(Unknown):
    """A caller of a type this server does not know."""


type Caller = Annotated[DirectCaller | CodeExecutionCaller | UnknownCaller, ByType()]


class ToolUseBlock(Cacheable):
    """A call of a client tool."""

    type: Literal["tool_use"]
    id: str = Field(default="", description="Id of the call; empty where a client replays a call without one.")
    name: str = Field(description="Name of the tool, or of the member of a toolset.")
    input: Annotated[JsonObject, NullIsEmpty()] = Field(description="Arguments of the call, in the order sent.")
    caller: Caller | None = Field(default=None, description="The caller: the model, or code that ran on the server.")
    toolset_name: str | None = Field(default=None, description="Toolset that the called member belongs to.")


class ToolReferenceBlock(Cacheable):
    """Makes a deferred tool available."""

    type: Literal["tool_reference"]
    tool_name: str = Field(description="Name of the tool.")


class BrowserTab(OpenModel):
    """One open tab of a browser."""

    tab_id: str = Field(description="Id of the tab.")
    title: str = Field(description="Title of the page.")
    url: str = Field(description="Address of the page.")
    active: bool | None = Field(default=None, description="Whether this is the active tab.")


class TabOpened(OpenModel):
    """A tab was opened."""

    type: Literal["tab_opened"]
    tab_id: str = Field(description="Id of the new tab.")


class DownloadStarted(OpenModel):
    """A download was started."""

    type: Literal["download_started"]
    download_id: str = Field(description="Id of the download.")
    url: str = Field(description="Address of the file.")


class DownloadCompleted(OpenModel):
    """A download has completed."""

    type: Literal["download_completed"]
    download_id: str = Field(description="Id of the download.")
    url: str = Field(description="Address of the file.")
    path: str | None = Field(default=None, description="Where the file was stored.")
    size_bytes: int | None = Field(default=None, description="Size of the file.")


class DownloadFailed(OpenModel):
    """A download has failed."""

    type: Literal["download_failed"]
    download_id: str = Field(description="Id of the download.")
    url: str = Field(description="Address of the file.")
    error: str | None = Field(default=None, description="What went wrong.")


class UnknownStateChange(Unknown):
    """A change of the browser of a type this server does not know."""


type BrowserStateChange = Annotated[
    TabOpened | DownloadStarted | DownloadCompleted | DownloadFailed | UnknownStateChange, ByType()
]


class BrowserStateBlock(Cacheable):
    """State of a browser after a tool call."""

    type: Literal["browser_state"]
    tabs: list[BrowserTab] = Field(description="The open tabs.")
    state_changes: list[BrowserStateChange] | None = Field(default=None, description="Changes that the call made.")


type ToolResultItem = Annotated[
    TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolReferenceBlock | BrowserStateBlock | UnknownBlock,
    ByType(),
]


class ToolResultBlock(Cacheable):
    """The result of a tool call."""

    type: Literal["tool_result"]
    tool_use_id: str = Field(description="Id of the call.")
    content: Annotated[str | list[ToolResultItem], OneOf()] | None = Field(
        default=None, description="Result of the tool; absent if it is empty."
    )
    is_error: bool | None = Field(default=None, description="Whether the tool failed.")
    toolset_name: str | None = Field(default=None, description="Toolset that the called member belongs to.")


class ContainerUploadBlock(Cacheable):
    """A file to be placed in the code execution container."""

    type: Literal["container_upload"]
    file_id: str = Field(description="Id of the uploaded file.")
