"""What every step of a request's translation shares: profile, policy, loaded media, and the log of dropped parts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from llama_stack_provider_messages.translation.dropped import DropLog
from llama_stack_provider_messages.translation.names import ClientName

from .profile import Profile
from .thinking_signature import InflateBudget, ThinkingSigner


@dataclass(frozen=True, slots=True)
class Policy:
    """How strictly requests are validated; the same for every backend.

    Args:
        strict: Answer 400 where the API itself does, instead of repairing the request.
        default_max_tokens: Used if ``max_tokens`` is missing.
        server_tools: Server tools: ``remove`` them from the request and log that, or ``reject`` the request.
        content_policy: How to report a rejection by the upstream's content policy: as a ``refusal`` or an ``error``.
        media_urls: URLs of media: ``pass`` image URLs to the backend, ``fetch`` all, or ``reject`` the request.
    """

    strict: bool = False
    default_max_tokens: int = 4096
    server_tools: Literal["remove", "reject"] = "remove"
    content_policy: Literal["refusal", "error"] = "refusal"
    media_urls: Literal["pass", "fetch", "reject"] = "pass"


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
"""The result of loading an image or document. The caller loads media, because the translation does no I/O."""


@dataclass(frozen=True, slots=True)
class TranslationContext:
    """State of one request's translation.

    Args:
        profile: The features and limits of the backend.
        policy: How strictly the request is validated.
        media: Loaded media for the blocks of ``needed_media``, by JSON path.
        log: The parts dropped so far.
        names: Backend's name of a renamed tool -> the client's name.
        missing: Tools that a reference names and the request does not declare.
        headers: Headers of the HTTP request, names in lower case; empty without an HTTP request.
        room: Tokens left for the response in the backend's context window, once the backend has reported it.
        edits: The context management edits that cleared something, as reported in the response.
        signer: Opens the signatures of thinking blocks; if None, all signatures count as foreign.
        inflate_budget: Bytes that the signatures may still inflate to in this translation. A retry of the request gets
            a new budget.
    """

    profile: Profile
    policy: Policy = Policy()
    media: Mapping[str, Loaded] = field(default_factory=dict)
    log: DropLog = field(default_factory=DropLog)
    names: dict[str, ClientName] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    headers: Mapping[str, str] = field(default_factory=dict)
    room: int | None = None
    edits: list[dict[str, Any]] = field(default_factory=list)
    signer: ThinkingSigner | None = None
    inflate_budget: InflateBudget = field(default_factory=InflateBudget)

    def fresh(self, **changes: Any) -> "TranslationContext":  # noqa: ANN401 - any field
        """Return a copy for a new translation of the request: nothing is collected yet, some values are changed."""
        return replace(
            self, log=DropLog(), names={}, missing=set(), edits=[], inflate_budget=InflateBudget(), **changes
        )

    def drop(self, path: str, feature: str, reason: str) -> None:
        """Record one dropped part."""
        self.log.note(path, feature, reason)
