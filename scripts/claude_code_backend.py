"""The scripted backend: a chat completions server that derives its response from the conversation in the request.

Each tool call id contains the number of its step. The highest number in the tool messages of a request determines the
next step.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.chat_upstream import ChatAnswer

PROMPT = "Go through the whole tour, one station after the other."
SUB_PROMPT = "Visit the side station and report."
SUB_COMMAND = "echo side-$((2 + 3))"
SUB_REPORT = "The side station was open."
WEB_RESULT = "There is no search tool here."
SUMMARY = "All stations before the bridge are done."
PROMPT_TOKENS, CONTEXT_TOKENS = 9000, 8192
OVERFLOW = (
    f"This model's maximum context length is {CONTEXT_TOKENS} tokens. "
    f"However, your messages resulted in {PROMPT_TOKENS} tokens."
)
SYSTEM_FIRST = "System message must be at the beginning."
MAX_REQUESTS = 60
"""Limit of requests; after that the backend only sends a final text, so that Claude Code ends."""
MAIN, SUB_AGENT, WEB_SEARCH, COMPACTION, UNKNOWN = "main", "sub-agent", "web search", "compaction", "unknown"

type Call = tuple[str, dict[str, Any]]
type Message = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One turn of the main conversation.

    Attributes:
        name: The behaviour that the step shows.
        check: Called with the run and the step's number; raises AssertionError with the reason if it fails.
        calls: Tool calls of the backend's response, with their input.
        text: The response text, if there are no calls.
        overflow: Whether the response is the error that the prompt is too long.
    """

    name: str
    check: Callable[[Any, int], None]
    calls: tuple[Call, ...] = ()
    text: str = ""
    overflow: bool = False


@dataclass(frozen=True)
class Request:
    """A request as the backend received it.

    Attributes:
        kind: The conversation it belongs to.
        step: Number of the step of the response; None outside of the main conversation.
        usage: Usage in the response; empty for an error.
    """

    kind: str
    step: int | None
    body: dict[str, Any]
    usage: dict[str, Any]

    @property
    def messages(self) -> list[Message]:
        """The conversation, system prompt first."""
        return self.body["messages"]

    @property
    def tools(self) -> list[str]:
        """Names of the tools."""
        return [tool["function"]["name"] for tool in self.body.get("tools", [])]


def text_of(message: Message) -> str:
    """Return the text of a message whose content is a string or a list of parts."""
    content = message["content"] or ""
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


def call_id(step: int | str, place: int) -> str:
    """Return the id of a tool call: the step's number (``side`` for the sub-agent) and the call's index in the step."""
    return f"call_{step}_{place}"


def kind_of(body: dict[str, Any]) -> str:
    """Return the kind of conversation that a request belongs to, judged by its prompts."""
    prompts = [text_of(message) for message in body["messages"] if message["role"] == "user"]
    if not prompts:
        return UNKNOWN
    if "create a detailed summary" in prompts[-1]:
        return COMPACTION
    if "tools" not in body:
        return WEB_SEARCH if "web search" in prompts[-1] else UNKNOWN
    if SUB_PROMPT in prompts[0]:
        return SUB_AGENT
    return MAIN if PROMPT in prompts[0] or SUMMARY in prompts[0] else UNKNOWN


@dataclass
class Backend:
    """Responds with the steps, and records the requests.

    Attributes:
        steps: The steps of the main conversation.
        system_first: Whether to reject system messages after the first message, as some chat templates do.
        requests: The requests that were not rejected for that reason, in order.
    """

    steps: list[Step]
    system_first: bool = False
    requests: list[Request] = field(default_factory=list)

    async def respond(self, response: "ChatAnswer") -> None:
        """Respond to a chat completions request with a stream."""
        body = response.exchange.json
        if self.system_first and any(message["role"] == "system" for message in body["messages"][1:]):
            await response.json({"error": {"message": SYSTEM_FIRST, "type": "BadRequestError", "code": 400}}, 400)
            return
        kind = kind_of(body)
        number = self._next_step(body["messages"]) if kind == MAIN else None
        if len(self.requests) >= MAX_REQUESTS:
            kind, number = UNKNOWN, None
        step = self.steps[number] if number is not None else None
        usage = {} if step and step.overflow else _usage(body)
        self.requests.append(Request(kind, number, body, usage))
        if step and step.overflow:
            await response.json({"error": {"message": OVERFLOW, "code": "context_length_exceeded"}}, 400)
            return
        calls, text = self._side_response(kind, body) if step is None else (_calls(number, step.calls), step.text)
        await response.head()
        await response.delta({"role": "assistant", "content": text or None})
        for place, call in enumerate(calls):
            await response.delta({"tool_calls": [{"index": place, **call}]})
        await response.delta({}, "tool_calls" if calls else "stop")
        await response.delta(usage=usage)
        await response.done()

    def _next_step(self, messages: list[Message]) -> int:
        finished = [int(m["tool_call_id"].split("_")[1]) for m in messages if m["role"] == "tool"]
        next_step = max(finished, default=-1) + 1
        if any(SUMMARY in text_of(message) for message in messages if message["role"] == "user"):
            bridge = next(number for number, step in enumerate(self.steps) if step.overflow)
            next_step = max(next_step, bridge + 1)
        return min(next_step, len(self.steps) - 1)

    @staticmethod
    def _side_response(kind: str, body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        """Return the tool calls and the text for a request outside of the main conversation."""
        if kind == SUB_AGENT and not any(message["role"] == "tool" for message in body["messages"]):
            return _calls("side", (("Bash", {"command": SUB_COMMAND, "description": "Visit the side station"}),)), ""
        texts = {SUB_AGENT: SUB_REPORT, WEB_SEARCH: WEB_RESULT, COMPACTION: f"<summary>{SUMMARY}</summary>"}
        return [], texts.get(kind, "This request is of an unknown kind.")


def _calls(step: int | str, calls: tuple[Call, ...]) -> list[dict[str, Any]]:
    return [
        {
            "id": call_id(step, place),
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for place, (name, arguments) in enumerate(calls)
    ]


def _usage(body: dict[str, Any]) -> dict[str, Any]:
    """Return a usage that depends on the number of messages, with some cached tokens."""
    prompt, cached = 100 * len(body["messages"]), 10 * len(body["messages"])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": 7,
        "total_tokens": prompt + 7,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
