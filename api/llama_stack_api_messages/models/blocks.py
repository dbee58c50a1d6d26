"""The unions of all content blocks: those of messages in a request, and those of a response."""

from typing import Annotated

from .base import ByType
from .content import (
    BrowserStateBlock,
    ContainerUploadBlock,
    DocumentBlock,
    ImageBlock,
    RedactedThinkingBlock,
    SearchResultBlock,
    TextBlock,
    ThinkingBlock,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
)
from .content_beta import (
    AdvisorToolResultBlock,
    CompactionBlock,
    FallbackBlock,
    McpToolListingBlock,
    McpToolResultBlock,
    McpToolUseBlock,
    ToolAdditionBlock,
    ToolRemovalBlock,
)
from .content_server import (
    BashCodeExecutionToolResultBlock,
    CodeExecutionToolResultBlock,
    ServerToolUseBlock,
    TextEditorCodeExecutionToolResultBlock,
    ToolSearchToolResultBlock,
    WebFetchToolResultBlock,
    WebSearchToolResultBlock,
)

_AnswerBlock = (
    TextBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ServerToolUseBlock
    | WebSearchToolResultBlock
    | WebFetchToolResultBlock
    | CodeExecutionToolResultBlock
    | BashCodeExecutionToolResultBlock
    | TextEditorCodeExecutionToolResultBlock
    | ToolSearchToolResultBlock
    | ContainerUploadBlock
    | AdvisorToolResultBlock
    | McpToolUseBlock
    | McpToolResultBlock
    | McpToolListingBlock
    | CompactionBlock
    | FallbackBlock
)
"""Blocks of a response, and therefore of the history in a request, too."""

type ResponseBlock = Annotated[_AnswerBlock | UnknownBlock, ByType()]

type InputBlock = Annotated[
    _AnswerBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ToolResultBlock
    | ToolReferenceBlock
    | BrowserStateBlock
    | ToolAdditionBlock
    | ToolRemovalBlock
    | UnknownBlock,
    ByType(),
]
