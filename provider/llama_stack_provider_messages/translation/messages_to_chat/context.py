"""What every step of a request's translation needs to know, and where it notes what it leaves out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from llama_stack_provider_messages.translation.dropped import DropLog
from llama_stack_provider_messages.translation.names import ClientName

from .loaded_media import Loaded
from .profile import Profile
from .thinking_signature import InflateBudget, ThinkingSigner


@dataclass(frozen=True, slots=True)
class Policy:
    """How strictly requests are read; the same for every backend.

    Args:
        strict: Answer 400 where the API itself does, instead of repairing the request.
        default_max_tokens: Stands in for a missing ``max_tokens``.
        server_tools: Tools that a server would have to run: ``remove`` them and say so, or ``reject`` the request.
        content_policy: What an upstream's refusal on policy grounds is: a ``refusal`` of the model, or an ``error``.
        media_urls: Addresses of media: ``pass`` those of images to the backend, ``fetch`` all, ``reject`` the request.
    """

    strict: bool = False
    default_max_tokens: int = 4096
    server_tools: Literal["remove", "reject"] = "remove"
    content_policy: Literal["refusal", "error"] = "refusal"
    media_urls: Literal["pass", "fetch", "reject"] = "pass"


@dataclass(frozen=True, slots=True)
class TranslationContext:
    """One request on its way.

    Args:
        profile: What the backend takes.
        policy: How the request is read.
        media: What was loaded for the blocks of ``needed_media``, by their JSON paths.
        log: What was left out so far.
        names: Tools whose name the backend does not take -> the client's name.
        missing: Tools that a reference names and the request does not have.
        headers: Of the HTTP call, names in lower case; none when there was no HTTP call.
        room: Tokens that the backend's context window leaves for the answer, once the backend has said so.
        edits: The context management edits that cleared something, as the answer reports them.
        seal: Opens the signatures of thinking blocks; without one they are all somebody else's.
        inflate_budget: What these signatures may still carry, in this translation; the next one of the request has its
            own.
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
    seal: ThinkingSigner | None = None
    inflate_budget: InflateBudget = field(default_factory=InflateBudget)

    def anew(self, **changes: Any) -> "TranslationContext":  # noqa: ANN401 - any field
        """Return a walk that has noted nothing yet, with other values."""
        return replace(
            self, log=DropLog(), names={}, missing=set(), edits=[], inflate_budget=InflateBudget(), **changes
        )

    def drop(self, path: str, feature: str, reason: str) -> None:
        """Record one part that was left out."""
        self.log.note(path, feature, reason)
