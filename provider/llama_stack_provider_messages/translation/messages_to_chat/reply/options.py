"""Options for the reply that come from the request, for unary responses and streams."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llama_stack_provider_messages.translation.fields import field, list_field, text_field
from llama_stack_provider_messages.translation.names import ClientName

from .stop_and_usage import Counts, usage_fields
from .text import Inline

type NewId = Callable[[str], str]
"""Makes an id from a prefix such as ``toolu_``."""


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """Options for the reply to one request.

    Args:
        model: The client's model name, echoed in the reply.
        thinking: ``shown``; ``omitted``: blocks without their text; ``hidden``: no blocks.
        inline: Where the text may hold reasoning, see text.py.
        discard: The request only warms the prompt cache (``max_tokens: 0``); the content of its reply is discarded.
        stops: The stop sequences, see text.py.
        tools: The backend's names of the tools.
        names: Backend's name of a renamed tool -> the client's name.
        call_ids: The ids of earlier calls, not to be reused: clients would mix up the results of two calls with one id.
        prefill: The final assistant message that the backend continues, and may repeat.
        extras: Optional message fields that are present only if requested.
        safeguards: Types of the requested safeguards.
        fast: The request had ``speed: fast``.
        credit: The request had a fallback credit token.
        prompt_estimate: Estimated prompt tokens, for backends that do not count.
        limited_by_window: The output limit was lowered to the rest of the context window.
        refusals: A refusal by the backend's content policy is a message with stop reason ``refusal``, not an error.
    """

    model: str
    thinking: Literal["shown", "omitted", "hidden"] = "shown"
    inline: Inline = "none"
    discard: bool = False
    stops: tuple[str, ...] = ()
    tools: frozenset[str] = frozenset()
    names: Mapping[str, ClientName] = dataclasses.field(default_factory=dict)
    call_ids: frozenset[str] = frozenset()
    prefill: str = ""
    extras: tuple[tuple[str, Any], ...] = ()
    safeguards: tuple[str, ...] = ()
    fast: bool = False
    credit: bool = False
    prompt_estimate: int = 0
    limited_by_window: bool = False
    refusals: bool = True

    @classmethod
    def of(cls, request: object, edits: Sequence[dict[str, Any]] = ()) -> "ReplyOptions":
        """Return the options from a request and its edits, without those its translation sets (names, prefill ...)."""
        thinking = field(request, "thinking")
        kind = field(thinking, "type")
        display: Literal["shown", "omitted", "hidden"] = "shown"
        if kind == "disabled" or (kind == "between_tools" and not field(request, "tools")):
            display = "hidden"  # `between_tools` without tools is `disabled`
        elif field(thinking, "display") == "omitted":
            display = "omitted"
        extras: dict[str, Any] = {}
        if field(request, "diagnostics") is not None:
            extras["diagnostics"] = None
        if field(request, "context_management") is not None:
            extras["context_management"] = {"applied_edits": list(edits)}
        contents = [message.content for message in list_field(request, "messages")]
        blocks = [block for content in contents if isinstance(content, list) for block in content]
        return cls(
            model=str(field(request, "model")),
            thinking=display,
            discard=field(request, "max_tokens") == 0,
            stops=tuple(stop for stop in list_field(request, "stop_sequences") if isinstance(stop, str)),
            call_ids=frozenset(block.id for block in blocks if block.type == "tool_use"),
            extras=tuple(extras.items()),
            safeguards=tuple(text_field(safeguard, "type") for safeguard in list_field(request, "safeguards")),
            fast=field(request, "speed") == "fast",
            credit=field(request, "fallback_credit_token") is not None,
        )

    def tool_use(self, tool_id: str, name: str, tool_input: dict[str, Any]) -> dict[str, Any]:
        """Return a ``tool_use`` block with the client's tool name; the caller is always the model itself."""
        client_name = self.names.get(name) or ClientName(name)
        block = {"type": "tool_use", "id": tool_id, "name": client_name.name, "input": tool_input}
        member = {"toolset_name": client_name.toolset} if client_name.toolset else {}
        return {**block, **member, "caller": {"type": "direct"}}

    def applied_edits(self) -> dict[str, Any]:
        """Return the extras that ``message_delta`` repeats."""
        return {name: value for name, value in self.extras if name == "context_management"}

    def safeguard_results(self) -> dict[str, Any]:
        """Return the results of the requested safeguards: ``unavailable``, because there is no classifier here.

        On ``unavailable`` Claude Code uses its own classifier. A made-up verdict would switch off the user's safety
        check.
        """
        status = {"type": "unavailable", "reason": "this server has no safety classifier"}
        results = [{"type": kind, "status": status} for kind in self.safeguards]
        return {"safeguard_results": results} if results else {}

    def usage(self, counts: Counts, service_tier: object) -> dict[str, Any]:
        """Return ``usage`` for a response to this request."""
        usage = usage_fields(counts, service_tier)
        if self.fast and usage["service_tier"] == "priority":
            usage["speed"] = "fast"
        if self.credit:
            usage["fallback_credit"] = {"status": {"type": "not_applied", "reason": "not_enabled"}}
        return usage

    def message(self, message_id: str, usage: dict[str, Any]) -> dict[str, Any]:
        """Return a message without content and stop reason."""
        return {
            "id": message_id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "container": None,
            **dict(self.extras),
            "usage": usage,
        }
