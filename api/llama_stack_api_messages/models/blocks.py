"""The unions of all content blocks: what a message of a request and what an answer may hold."""

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
"""What an answer may hold, and therefore the history of a request too."""

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
