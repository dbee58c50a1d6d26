"""``tools`` and ``tool_choice`` -> functions, ``tool_choice`` and ``parallel_tool_calls``.

offers.py translates the entries of ``tools``; tool_changes.py determines which tools are offered.
"""

from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.request import PromptRequest
from llama_stack_api_messages.models.thinking import ToolChoice
from llama_stack_provider_messages.translation.fields import field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext

from .offers import OfferedTool, function_of
from .tool_changes import ToolSet

TOOL_CHOICES: dict[str, str] = {"auto": "auto", "any": "required", "none": "none"}
"""Types of ``tool_choice`` without a name -> OpenAI's modes; ``tool`` names a function."""

FORCED_CHOICES = ("any", "tool")


def tool_fields(request: PromptRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return ``tools``, ``tool_choice`` and ``parallel_tool_calls``; ``{}`` if there are no tools."""
    box = ToolSet(request.tools or (), ctx)
    box.follow(request.messages)
    offers = box.offered()
    choice = request.tool_choice
    if not offers:
        _require_unforced(choice)
        return {}
    fields: dict[str, Any] = {"tools": [function_of(offer, ctx) for offer in offers]}
    if choice is not None:
        fields["tool_choice"] = _choice(choice, offers)
        if field(choice, "disable_parallel_tool_use"):
            fields["parallel_tool_calls"] = False
        if not ctx.profile.forced_calls:
            fields |= _weakened(choice, fields, ctx)
    return fields


def _choice(choice: ToolChoice, offers: list[OfferedTool]) -> str | dict[str, Any]:
    if choice.type == "tool":
        return {"type": "function", "function": {"name": _forced_name(field(choice, "name"), offers)}}
    if choice.type not in TOOL_CHOICES:
        raise InvalidRequestError(f"tool_choice.type: '{choice.type}' is not supported; use auto, any, tool or none")
    return TOOL_CHOICES[choice.type]


def _forced_name(name: str, offers: list[OfferedTool]) -> str:
    """Return the backend's name of a tool; toolsets and their members cannot be forced."""
    for offer in offers:
        known = offer.name
        if known.toolset is None and known.name == name:
            return offer.backend_name
    for known in (offer.name for offer in offers):
        if known.toolset and name in (known.toolset, known.name, f"{known.toolset}.{known.name}"):
            raise InvalidRequestError(
                f"tool_choice.name: '{name}' belongs to a toolset and cannot be forced; use any or auto"
            )
    raise InvalidRequestError(f"tool_choice.name: '{name}' is not among the tools the model can call")


def _weakened(choice: ToolChoice, fields: dict[str, Any], ctx: TranslationContext) -> dict[str, Any]:
    """Return the nearest fields for a tool choice that the backend does not enforce."""
    if field(choice, "disable_parallel_tool_use"):
        ctx.drop("tool_choice.disable_parallel_tool_use", "disable_parallel_tool_use", "the backend may ignore it")
    if not _is_forced(choice):
        return {}
    ctx.drop(
        "tool_choice",
        f"tool_choice {choice.type}",
        "the backend may not enforce it, so the model may answer with text instead",
    )
    if choice.type == "any":
        return {}
    name = fields["tool_choice"]["function"]["name"]
    named = [function for function in fields["tools"] if function["function"]["name"] == name]
    return {"tools": named, "tool_choice": "required"}


def _is_forced(choice: object) -> bool:
    return field(choice, "type") in FORCED_CHOICES


def _require_unforced(choice: object) -> None:
    if _is_forced(choice):
        raise InvalidRequestError("tool_choice: a call is forced, but there are no tools the model can call")
