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

from .breakpoints import place_breakpoints
from .parts import Part, text_part
from .thinking_history import reasoning_fields, with_extra
from .turns import AssistantTurn, Result, SystemTurn, Turn, UserTurn, append_turn, system_parts, turn_of, turns_of

type ChatMessage = dict[str, Any]

_GO_ON = "Continue."
_INTERRUPTED = Result("", "Error: the tool call was interrupted and has no result")


def chat_messages(request: PromptRequest, ctx: TranslationContext) -> list[ChatMessage]:
    """Return the chat messages for a request."""
    turns = turns_of(request, ctx)
    system = system_parts(request.system, "system", ctx)
    if turns and isinstance(turns[0], SystemTurn):
        system.append(text_part(turns.pop(0).text))  # type: ignore[union-attr]
    if all(isinstance(turn, SystemTurn) for turn in turns):
        raise _nothing_said(request, ctx)
    if ctx.profile.inline_system == "first":
        system, turns = _hoisted(system, turns)
    chat = _Conversation(ctx.profile)
    if system:
        chat.messages.append({"role": "system", "content": chat.content(system)})
    for turn in turns:
        chat.add(turn)
    messages = chat.finished()
    if ctx.profile.cache_breakpoints:
        place_breakpoints(messages, request, ctx)
    return messages


def _hoisted(system: list[Part], turns: list[Turn]) -> tuple[list[Part], list[Turn]]:
    """Return the system prompt with all later instructions, and the other turns.

    Instructions after the last assistant message stay there as a reminder; otherwise the backend would continue that
    message as a prefill.
    """
    prompt, others = list(system), list[Turn]()
    for index, turn in enumerate(turns, 1):
        answered = bool(others) and isinstance(others[-1], AssistantTurn)
        if isinstance(turn, SystemTurn) and not (answered and index == len(turns)):
            prompt.append(text_part(turn.text))
        else:
            append_turn(others, turn)
    return prompt, others


def _nothing_said(request: PromptRequest, ctx: TranslationContext) -> InvalidRequestError:
    """Return the API's error for an empty conversation; one with only instructions counts as empty."""
    empty = (
        index
        for index, message in enumerate(request.messages)
        if not turn_of(message, f"messages.{index}", TranslationContext(ctx.profile))
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
        self._calls: list[str] = []
        self._sent = _Taken()
        self._unanswered: dict[str, deque[str]] = {}
        self._results: dict[str, Result] = {}
        self._held: list[list[Part] | SystemTurn] = []
        self._paused = False

    def add(self, turn: Turn) -> None:
        """Append the messages for a turn, or hold them."""
        if isinstance(turn, AssistantTurn):
            self.settle()
            self._add_assistant(turn)
        else:
            self._held.append(turn if isinstance(turn, SystemTurn) else self._take(turn))
        if len(self._results) == len(self._calls):
            self.settle()

    def finished(self) -> list[ChatMessage]:
        """Return the messages; an assistant message paused in a server tool is not treated as a prefill."""
        self.settle()
        if self._paused and self.messages[-1]["role"] == "assistant":
            self._append_user([text_part(_GO_ON)])
        for message in self.messages:
            if message["role"] == "user":
                message["content"] = self.content(message["content"])
        return self.messages

    def settle(self) -> None:
        """Append a tool message for each pending call, then the held messages in order."""
        for call_id in self._calls:
            self.messages.append(self._tool_message(call_id, self._results.get(call_id, _INTERRUPTED)))
        for said in self._held:
            if isinstance(said, SystemTurn):
                self._append_system(said.text)
            else:
                self._append_user(said)
        self._calls, self._unanswered, self._results, self._held = [], {}, {}, []

    def _add_assistant(self, turn: AssistantTurn) -> None:
        ids = [call["id"] for call in turn.calls]
        taken = self._sent if self._profile.call_ids == "nine" else _Taken()
        self._calls = _distinct(ids, taken, self._profile.call_ids)
        for call_id, sent in zip(ids, self._calls, strict=True):
            self._unanswered.setdefault(call_id, deque()).append(sent)
        calls = [call | {"id": sent} for call, sent in zip(turn.calls, self._calls, strict=True)]
        self.messages.append(_assistant_message(turn, calls, self._profile))
        self._paused = turn.paused

    def _take(self, turn: UserTurn) -> list[Part]:
        """Store the results of pending calls; return the other parts of the turn: media, orphan results, user parts."""
        moved: list[Part] = []
        strays: list[Part] = []
        for result in turn.results:
            if waiting := self._unanswered.get(result.call_id):
                self._results[waiting.popleft()] = result
                moved += result.moved
            else:
                said = text_part(f"[result of tool call {result.call_id}] {result.text}")
                strays += [said, *result.media, *result.moved]
        return moved + strays + turn.parts

    def _tool_message(self, call_id: str, result: Result) -> ChatMessage:
        texts = [text_part(result.text) | result.marker] if result.text else []
        content: str | list[Part] = texts if texts and self._profile.cache_breakpoints else result.text
        if result.media:
            content = [*texts, *result.media]
        return {"role": "tool", "tool_call_id": call_id, "content": content}

    def _append_user(self, parts: list[Part]) -> None:
        """Append user parts. Templates that require system first often also require alternating roles (vllm 6862)."""
        if parts and self.messages and self.messages[-1]["role"] == "user":
            self.messages[-1]["content"] += parts
        elif parts:
            self.messages.append({"role": "user", "content": list(parts)})

    def content(self, parts: list[Part]) -> str | list[Part]:
        """Return parts as content: as a list if the backend accepts cache breakpoints, see breakpoints.py."""
        return parts if self._profile.cache_breakpoints else _compact(parts)

    def _append_system(self, text: str) -> None:
        if self._profile.inline_system == "system":
            self.messages.append({"role": "system", "content": text})
        else:
            self._append_user([text_part(f"<system-reminder>\n{text}\n</system-reminder>")])


def _compact(parts: list[Part]) -> str | list[Part]:
    """Return a single text as a string: a client may send it as a list in one turn and as a string in the next."""
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts


def _assistant_message(turn: AssistantTurn, calls: list[dict[str, Any]], profile: Profile) -> ChatMessage:
    message: ChatMessage = {"role": "assistant", "content": turn.text or None}
    message |= reasoning_fields(turn.thoughts, profile)
    if calls:
        message["tool_calls"] = with_extra(calls, profile)
    return message


class _Taken:
    """Call ids in use: of one turn, or of the conversation if ids are short."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.last: dict[tuple[str, int], str] = {}
        """An id with a place -> what it became the last time, so that one of every turn is not searched anew."""


def _distinct(ids: list[str], taken: _Taken, form: IdForm) -> list[str]:
    """Return ids for the calls of one turn; a duplicate gets its position added, the same in every turn.

    Args:
        ids: The client's ids, in the form the backend accepts.
        taken: Ids in use; the returned ids are added.
        form: The form of ids the backend accepts.
    """
    distinct = []
    for place, call_id in enumerate(ids, 1):
        chosen = taken.last.get((call_id, place), call_id)
        while chosen in taken.ids:
            chosen = fitting_id(f"{chosen}_{place}", form)
        taken.ids.add(chosen)
        taken.last[call_id, place] = chosen
        distinct.append(chosen)
    return distinct
