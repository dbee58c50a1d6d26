"""``system`` and ``messages`` -> chat messages, in an order every backend accepts.

    system prompt
    user       tool messages in the order of the calls, media of the results, the user's own parts
    assistant  text, calls
    system     in place, as a reminder in user text, or all in the system prompt (``inline_system``); after the results
               where calls are pending

Every call gets a tool message, and every tool message has a call: clients lose either one when a turn is interrupted,
and backends reject both cases (cc-switch 6044, letta 3308).
"""

from collections import deque
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.request import PromptRequest
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.messages_to_chat.profile import Profile
from llama_stack_provider_messages.translation.names import IdForm, fitting_id
from llama_stack_provider_messages.translation.system_prompt import system_reminder

from .parts import Part, place_breakpoints, text_part
from .thinking import reasoning_fields, with_call_extra
from .turns import AssistantTurn, Result, SystemTurn, Turn, UserTurn, append_turn, system_parts, turn_of, turns_of

type ChatMessage = dict[str, Any]

_CONTINUE = "Continue."
_INTERRUPTED = Result("", "Error: the tool call was interrupted and has no result")


def chat_messages(request: PromptRequest, ctx: TranslationContext) -> list[ChatMessage]:
    """Return the chat messages for a request.

    Raises:
        InvalidRequestError: The conversation is empty, or a block has no equivalent and cannot be dropped.
    """
    turns = turns_of(request, ctx)
    system = system_parts(request.system, "system", ctx)
    if turns and isinstance(turns[0], SystemTurn):
        system.append(text_part(turns.pop(0).text))  # type: ignore[union-attr]
    if all(isinstance(turn, SystemTurn) for turn in turns):
        raise _empty_conversation(request, ctx)
    if ctx.profile.inline_system == "first":
        system, turns = _with_instructions_first(system, turns)
    conversation = _Conversation(ctx.profile)
    if system:
        conversation.messages.append({"role": "system", "content": conversation.content(system)})
    for turn in turns:
        conversation.add(turn)
    messages = conversation.finished()
    if ctx.profile.cache_breakpoints:
        place_breakpoints(messages, request, ctx)
    return messages


def _with_instructions_first(system: list[Part], turns: list[Turn]) -> tuple[list[Part], list[Turn]]:
    """Return the system prompt with all later instructions, and the other turns.

    Instructions after the last assistant message stay there as a reminder; otherwise the backend would continue that
    message as a prefill.
    """
    prompt, others = list(system), list[Turn]()
    for index, turn in enumerate(turns, 1):
        after_assistant = bool(others) and isinstance(others[-1], AssistantTurn)
        if isinstance(turn, SystemTurn) and not (after_assistant and index == len(turns)):
            prompt.append(text_part(turn.text))
        else:
            append_turn(others, turn)
    return prompt, others


def _empty_conversation(request: PromptRequest, ctx: TranslationContext) -> InvalidRequestError:
    """Return the API's error for an empty conversation; one with only instructions counts as empty."""
    empty = (
        index
        for index, message in enumerate(request.messages)
        if not turn_of(message, f"messages.{index}.content", TranslationContext(ctx.profile))
    )
    return empty_message(next(empty, 0))


def empty_message(index: int) -> InvalidRequestError:
    """Return the API's error for an empty message."""
    return InvalidRequestError(
        f"messages.{index}: all messages must have non-empty content except for the optional final assistant message"
    )


class _Conversation:
    """Builds the list of chat messages. Turns that arrive while calls are pending are held until the results."""

    def __init__(self, profile: Profile) -> None:
        self.messages: list[ChatMessage] = []
        self._profile = profile
        self._ids = _BackendCallIds(profile.call_ids)
        self._pending: list[str] = []
        """Sent ids of the last turn's calls, in order."""
        self._unanswered: dict[str, deque[str]] = {}
        """Client's id -> sent ids of its calls that have no result yet."""
        self._results: dict[str, Result] = {}
        """Sent id -> result."""
        self._held: list[list[Part] | SystemTurn] = []
        self._paused = False

    def add(self, turn: Turn) -> None:
        """Append the messages for a turn, or hold them."""
        if isinstance(turn, AssistantTurn):
            self._close_calls()
            self._add_assistant(turn)
        else:
            self._held.append(turn if isinstance(turn, SystemTurn) else self._store_results(turn))
        if len(self._results) == len(self._pending):
            self._close_calls()

    def finished(self) -> list[ChatMessage]:
        """Return the messages; an assistant message paused in a server tool is not treated as a prefill."""
        self._close_calls()
        if self._paused and self.messages[-1]["role"] == "assistant":
            self._append_user([text_part(_CONTINUE)])
        for message in self.messages:
            if message["role"] == "user":
                message["content"] = self.content(message["content"])
        return self.messages

    def content(self, parts: list[Part]) -> str | list[Part]:
        """Return parts as content: as a list if the backend accepts cache breakpoints, see parts.py.

        Otherwise texts are joined, because a client may send a text as a list in one turn and as a string in the next.
        """
        texts = [part["text"] for part in parts if part["type"] == "text"]
        if self._profile.cache_breakpoints or len(texts) < len(parts):
            return parts
        return "\n\n".join(texts)

    def _add_assistant(self, turn: AssistantTurn) -> None:
        message: ChatMessage = {"role": "assistant", "content": turn.text or None}
        message |= reasoning_fields(turn.reasoning, self._profile)
        if turn.calls:
            ids = [call["id"] for call in turn.calls]
            self._pending = self._ids.distinct(ids)
            for call, call_id, sent in zip(turn.calls, ids, self._pending, strict=True):
                self._unanswered.setdefault(call_id, deque()).append(sent)
                call["id"] = sent
            message["tool_calls"] = with_call_extra(turn.calls, self._profile)
        self.messages.append(message)
        self._paused = turn.paused

    def _store_results(self, turn: UserTurn) -> list[Part]:
        """Store the results of pending calls; return the other parts of the turn: media, orphan results, user parts."""
        moved: list[Part] = []
        orphans: list[Part] = []
        for result in turn.results:
            if unanswered := self._unanswered.get(result.call_id):
                self._results[unanswered.popleft()] = result
                moved += result.moved
            else:
                text = text_part(f"[result of tool call {result.call_id}] {result.text}")
                orphans += [text, *result.media, *result.moved]
        return moved + orphans + turn.parts

    def _close_calls(self) -> None:
        """Append a tool message for each pending call, then the held messages in order."""
        if not (self._pending or self._held):
            return
        for call_id in self._pending:
            result = self._results.get(call_id, _INTERRUPTED)
            content: str | list[Part] = result.text
            if result.media or (result.text and self._profile.cache_breakpoints):
                texts = [text_part(result.text) | result.marker] if result.text else []
                content = [*texts, *result.media]
            self.messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
        for held in self._held:
            if not isinstance(held, SystemTurn):
                self._append_user(held)
            elif self._profile.inline_system == "system":
                self.messages.append({"role": "system", "content": held.text})
            else:
                self._append_user([text_part(system_reminder(held.text))])
        self._pending, self._unanswered, self._results, self._held = [], {}, {}, []

    def _append_user(self, parts: list[Part]) -> None:
        """Append user parts. Templates that require system first often also require alternating roles (vllm 6862)."""
        if parts and self.messages and self.messages[-1]["role"] == "user":
            self.messages[-1]["content"] += parts
        elif parts:
            self.messages.append({"role": "user", "content": list(parts)})


class _BackendCallIds:
    """Makes the ids of calls distinct for the backend: within a turn, or within the conversation if ids are short.

    Args:
        form: The form of ids the backend accepts.
    """

    def __init__(self, form: IdForm) -> None:
        self._form = form
        self._used: set[str] = set()
        self._last: dict[tuple[str, int], str] = {}
        """An id with a position -> what it became the last time. Without it, an id that every turn repeats would cost
        a search through all earlier turns."""

    def distinct(self, ids: list[str]) -> list[str]:
        """Return ids for the calls of one turn; a duplicate gets its position added, the same in every turn."""
        if self._form != "nine":
            if len(set(ids)) == len(ids):
                return ids
            self._used, self._last = set(), {}
        distinct = []
        for position, call_id in enumerate(ids, 1):
            chosen = self._last.get((call_id, position), call_id)
            while chosen in self._used:
                chosen = fitting_id(f"{chosen}_{position}", self._form)
            self._used.add(chosen)
            self._last[call_id, position] = chosen
            distinct.append(chosen)
        return distinct
