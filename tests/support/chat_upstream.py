"""The scripted upstream with the routes of chat completions, whose behaviour is selected by the model of the request.

It runs in a thread of the tests, or as a process: ``python chat_upstream.py [PORT [MODEL ...]]``; the models answer
with text.
"""

import asyncio
import functools
import itertools
import json
import operator
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # needed if this file runs as a script

from support.mutation import broken_bytes, mutate
from support.scripted_upstream import HANG_SECONDS, UPSTREAM_KEY, Answer, Exchange, Script, ScriptedUpstream, responds

USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 7,
    "total_tokens": 37,
    "prompt_tokens_details": {"cached_tokens": 10},
}
MESSAGES_PATH = "/v1/messages"
"""This path returns 404, so that requests use the translated lane (converted to chat completions)."""
AUTH_PATH = "/auth"
"""Simulates the endpoint of the platform's custom authentication: the token is the user's name."""


class ChatAnswer(Answer):
    """A response of chat completions."""

    @property
    def stream(self) -> bool:
        return bool(self.exchange.json.get("stream"))

    async def delta(self, delta: dict[str, Any] | None = None, finish: str | None = None, **extra: Any) -> None:
        await self.chunk(sse(chunk(delta, finish, **extra)))

    async def done(self) -> None:
        await self.chunk(b"data: [DONE]\n\n")
        await self.end()


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **extra: Any) -> dict[str, Any]:
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **extra}


def completion(message: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": USAGE,
    }


def sse(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


type Behaviour = Callable[[ChatAnswer], Awaitable[None]]
BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(function: Behaviour) -> Behaviour:
    BEHAVIOURS[function.__name__.replace("_", "-")] = function
    return function


async def _respond_with_text(answer: ChatAnswer, *texts: str) -> None:
    if not answer.stream:
        await answer.json(completion({"content": "".join(texts)}))
        return
    await answer.head()
    await answer.delta({"role": "assistant", "content": ""})
    for text in texts:
        await answer.delta({"content": text})
    await answer.delta({}, "stop")
    await answer.delta(usage=USAGE)
    await answer.done()


@behaviour
async def text(answer: ChatAnswer) -> None:
    await _respond_with_text(answer, "Hello", " there")


@behaviour
async def late(answer: ChatAnswer) -> None:
    """Responds when the test opens the gate; sends nothing before."""
    await answer.upstream.gate("late").wait_and_close()
    await _respond_with_text(answer, "Finally")


@behaviour
async def late_refusal(answer: ChatAnswer) -> None:
    await answer.upstream.gate("late-refusal").wait_and_close()
    await answer.json({"error": {"message": "nope", "type": "x"}}, 400)


@behaviour
async def pausing(answer: ChatAnswer) -> None:
    """Sends a chunk, pauses until the test opens the gate, and sends another chunk."""
    await answer.head()
    await answer.delta({"role": "assistant", "content": "one"})
    await answer.upstream.gate("pausing").wait_and_close()
    await answer.delta({"content": "two"})
    await answer.delta({}, "stop")
    await answer.done()


@behaviour
async def never(answer: ChatAnswer) -> None:
    await asyncio.Event().wait()


@behaviour
async def slow(answer: ChatAnswer) -> None:
    await answer.head()
    while True:
        await answer.delta({"content": "tick "})
        await asyncio.sleep(0.1)


@behaviour
async def fast(answer: ChatAnswer) -> None:
    await answer.head()
    piece = sse(chunk({"content": "tick "})) * 20
    while True:
        await answer.chunk(piece)


@behaviour
async def counting(answer: ChatAnswer) -> None:
    """Counts; a stream never ends."""
    if not answer.stream:
        await answer.json(completion({"content": ", ".join(map(str, range(1, 101)))}))
        return
    await answer.head()
    for number in itertools.count(1):
        await answer.delta({"content": f"{number}, "})
        await asyncio.sleep(0.01)


@behaviour
async def tool(answer: ChatAnswer) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
    if not answer.stream:
        await answer.json(completion({"content": None, "tool_calls": [call]}, "tool_calls"))
        return
    await answer.head()
    await answer.delta({"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]})
    await answer.delta({}, "tool_calls")
    await answer.delta(usage=USAGE)
    await answer.done()


@behaviour
async def reasoning(answer: ChatAnswer) -> None:
    if not answer.stream:
        await answer.json(completion({"reasoning_content": "Let me see.", "content": "Yes."}))
        return
    await answer.head()
    await answer.delta({"role": "assistant", "reasoning_content": "Let me see."})
    await answer.delta({"content": "Yes."})
    await answer.delta({}, "stop")
    await answer.delta(usage=USAGE)
    await answer.done()


@behaviour
async def html(answer: ChatAnswer) -> None:
    await answer.head(kind="text/html")
    await answer.chunk(b"<html>Welcome to http://10.0.0.7 sk-upstream</html>")
    await answer.end()


@behaviour
async def overflow(answer: ChatAnswer) -> None:
    text = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    await answer.json({"error": {"message": text, "code": "context_length_exceeded"}}, 400)


@behaviour
async def full_window(answer: ChatAnswer) -> None:
    """A context window of 32768 tokens and a prompt of 30000, with vLLM's error message."""
    max_tokens = answer.exchange.json["max_tokens"]
    if max_tokens > 32768 - 30000:
        text = (
            f"'max_tokens' or 'max_completion_tokens' is too large: {max_tokens}. This model's maximum context length "
            f"is 32768 tokens and your request has 30000 input tokens ({max_tokens} > 32768 - 30000). None"
        )
        await answer.json({"error": {"message": text, "type": "BadRequestError", "code": 400}}, 400)
        return
    await answer.json(completion({"content": "As far as"}, "length"))


WINDOW = 4096
"""Context window in tokens of the models ``vllm-0-32`` and ``vllm-0-20``; a word counts as a token."""


@behaviour
async def vllm_0_32(answer: ChatAnswer) -> None:
    """Like vLLM 0.32: rejects ``max_tokens`` above the window; lowers it if the prompt leaves less space."""
    max_tokens, prompt = answer.exchange.json["max_tokens"], _word_count(answer)
    if max_tokens > WINDOW:
        await _bad_request(answer, above_window(max_tokens))
    elif prompt > WINDOW:
        head = f"This model's maximum context length is {WINDOW} tokens."
        await _bad_request(answer, f"{head} However, your prompt contains at least {WINDOW + 1} input tokens.")
    else:
        await _respond_with_text(answer, "As far as")


@behaviour
async def vllm_0_20(answer: ChatAnswer) -> None:
    """Like vLLM 0.20: has other error messages, and rejects a prompt plus ``max_tokens`` above the window."""
    max_tokens, prompt = answer.exchange.json["max_tokens"], _word_count(answer)
    if max_tokens > WINDOW:
        text = f"max_tokens={max_tokens} cannot be greater than max_model_len=max_total_tokens={WINDOW}."
        await _bad_request(
            answer, f"{text} Please request fewer output tokens. (parameter=max_tokens, value={max_tokens})"
        )
    elif prompt + max_tokens > WINDOW:
        head = (
            f"This model's maximum context length is {WINDOW} tokens. However, you requested {max_tokens} output tokens"
        )
        counted = f"your prompt contains at least {WINDOW - max_tokens + 1} input tokens"
        await _bad_request(answer, f"{head} and {counted}, for a total of at least {WINDOW + 1} tokens.")
    else:
        await _respond_with_text(answer, "As far as")


def above_window(max_tokens: int) -> str:
    """Return vLLM 0.32's error message for a ``max_tokens`` above its window (vllm/renderers/params.py)."""
    text = f"max_tokens={max_tokens} cannot be greater than max_model_len={WINDOW}. Please request fewer output tokens."
    return f"{text} (parameter=max_tokens, value={max_tokens})"


def _word_count(answer: ChatAnswer) -> int:
    return sum(len(str(message["content"]).split()) for message in answer.exchange.json["messages"])


async def _bad_request(answer: ChatAnswer, text: str) -> None:
    await answer.json({"error": {"message": text, "type": "BadRequestError", "param": None, "code": 400}}, 400)


@behaviour
async def tools_without_thinking(answer: ChatAnswer) -> None:
    """OpenAI's GPT-5.6: tools require an explicit ``reasoning_effort`` of ``none`` (litellm 34569)."""
    body = answer.exchange.json
    if body.get("tools") and body.get("reasoning_effort") != "none":
        text = (
            "Function tools with reasoning_effort are not supported for gpt-5.6-terra in /v1/chat/completions. To use "
            "function tools, use /v1/responses or set reasoning_effort to 'none'."
        )
        error = {"message": text, "type": "invalid_request_error", "param": "reasoning_effort", "code": None}
        await answer.json({"error": error}, 400)
        return
    await _respond_with_text(answer, "Good")


@behaviour
async def system_first(answer: ChatAnswer) -> None:
    """Qwen's chat template on vLLM: system messages only at the beginning."""
    if any(message["role"] == "system" for message in answer.exchange.json["messages"][1:]):
        error = {"message": "System message must be at the beginning.", "type": "BadRequestError", "code": 400}
        await answer.json({"error": error}, 400)
        return
    await _respond_with_text(answer, "Good")


@behaviour
async def policy(answer: ChatAnswer) -> None:
    """Azure's content filter."""
    text = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    await answer.json({"error": {"message": text, "code": "content_filter", "status": 400}}, 400)


@behaviour
async def error_body(answer: ChatAnswer) -> None:
    """OpenRouter's response when its provider fails: status 200, and an error instead of choices."""
    await answer.json({"error": {"message": "Provider returned error", "code": 429}})


@behaviour
async def dies(answer: ChatAnswer) -> None:
    """Closes the connection in the middle of a stream."""
    await answer.head()
    await answer.delta({"role": "assistant", "content": "Half a"})
    answer.drop()


@behaviour
async def error_chunk(answer: ChatAnswer) -> None:
    await answer.head()
    await answer.delta({"role": "assistant", "content": "Half a"})
    await answer.chunk(sse({"error": {"message": "overloaded", "type": "server_error", "code": 503}}))
    await answer.end()


CHUNKS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "Let me "}),
    chunk({"reasoning_content": "see."}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo."}),
    chunk({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x": '}}]}),
    chunk({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": '{"y": [1]}'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
    chunk({}, "tool_calls"),
    chunk(usage=USAGE),
]
"""A stream with reasoning, text, parallel tool calls and usage."""
COMPLETION = completion(
    {
        "content": "Hello.",
        "reasoning_content": "Let me see.",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
    },
    "tool_calls",
)


@behaviour
async def mutated(answer: ChatAnswer) -> None:
    """Sends a malformed response, seeded by the last message; one in four also has broken bytes."""
    random = Random(str(answer.exchange.json["messages"][-1]["content"]))
    times = random.randrange(1, 4)
    if not answer.stream:
        await answer.head(kind="application/json")
        raw = json.dumps(mutate(COMPLETION, random, times)).encode()
        await answer.chunk(raw if random.randrange(4) else broken_bytes(raw, random) or b" ")
        await answer.end()
        return
    await answer.head()
    chunks = mutate(CHUNKS, random, times)
    raw = b"".join(map(sse, chunks)) + b"data: [DONE]\n\n"
    raw = raw if random.randrange(4) else broken_bytes(raw, random)
    cut = random.randrange(len(raw) + 1)
    for piece in filter(None, (raw[:cut], raw[cut:])):
        await answer.chunk(piece)
    if random.randrange(4):
        await answer.end()
    else:
        answer.drop()


@behaviour
async def agent(answer: ChatAnswer) -> None:
    """Sends reasoning, then acts like the model of an agent.

    Calls every given tool with arguments that fit its schema. If the conversation ends with tool messages, or has no
    tools, responds with JSON that fits the ``response_format``, or with a text that repeats the tool results.
    """
    body = answer.exchange.json
    results = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    if body.get("tools") and body["messages"][-1]["role"] != "tool":
        calls = [
            {"index": index, "id": f"call_{index}", "type": "function", "function": _call(tool["function"])}
            for index, tool in enumerate(body["tools"])
        ]
        await _respond_with_reasoning(answer, "Let me look. ", calls)
    elif body.get("response_format"):
        await _respond_with_reasoning(answer, json.dumps(fitting(body["response_format"]["json_schema"]["schema"])), [])
    else:
        await _respond_with_reasoning(answer, f"I heard: {'; '.join(results) or 'a greeting'}", [])


async def _respond_with_reasoning(answer: ChatAnswer, text: str, calls: list[dict[str, Any]]) -> None:
    finish = "tool_calls" if calls else "stop"
    if not answer.stream:
        message = {"reasoning_content": "Let me see.", "content": text}
        await answer.json(completion(message | ({"tool_calls": calls} if calls else {}), finish))
        return
    await answer.head()
    await answer.delta({"role": "assistant", "reasoning_content": "Let me "})
    await answer.delta({"reasoning_content": "see."})
    for piece in _pieces(text):
        await answer.delta({"content": piece})
    for call in calls:
        arguments = call["function"]["arguments"]
        await answer.delta({"tool_calls": [call | {"function": call["function"] | {"arguments": ""}}]})
        for piece in _pieces(arguments):
            await answer.delta({"tool_calls": [{"index": call["index"], "function": {"arguments": piece}}]})
    await answer.delta({}, finish)
    await answer.delta(usage=USAGE)
    await answer.done()


def _call(function: dict[str, Any]) -> dict[str, str]:
    return {"name": function["name"], "arguments": json.dumps(fitting(function["parameters"]))}


def _pieces(text: str) -> list[str]:
    return [text[start : start + 5] for start in range(0, len(text), 5)]


def fitting(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """Return a value that fits a JSON schema; supports the keywords that client libraries generate."""
    root = root or schema
    if "$ref" in schema:
        target = functools.reduce(operator.getitem, schema["$ref"].removeprefix("#/").split("/"), root)
        return fitting(target, root)
    if "anyOf" in schema:
        return fitting(schema["anyOf"][0], root)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case [kind, *_]:
            return fitting(schema | {"type": kind}, root)
        case "object":
            return {name: fitting(member, root) for name, member in schema.get("properties", {}).items()}
        case "array":
            return [fitting(schema["items"], root)]
        case kind:
            return {"string": "Oslo", "integer": 3, "number": 1.5, "boolean": True}.get(str(kind))


async def _status(answer: ChatAnswer, code: int) -> None:
    """An HTTP error with the usual headers of an upstream, and with secrets that must not reach the client."""
    message = f"Go away: key {UPSTREAM_KEY} at http://10.0.0.7:8000/v1"
    await answer.json(
        {"error": {"message": message, "type": "whatever", "code": code}},
        code,
        retry_after="7",
        x_should_retry="false",  # keeps the openai SDK inside the platform from retrying
        x_ratelimit_remaining_requests="3",
    )


async def _unknown(answer: ChatAnswer) -> None:
    await answer.json({"error": {"message": "The model does not exist", "code": "model_not_found"}}, 404)


class ChatUpstream(ScriptedUpstream):
    """The scripted upstream with the routes of chat completions; a request's model selects the behaviour.

    Attributes:
        exchanges: Chat completion requests so far.
    """

    answer_class = ChatAnswer

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.exchanges: list[Exchange] = []

    @property
    def url(self) -> str:
        """The base URL, ending in ``/v1``."""
        return f"{self.address}/v1"

    def open_gate(self, name: str) -> None:
        """Let the behaviour that waits at a gate, or the next one that comes to it, continue."""
        self.gate(name).open()

    def last(self, model: str) -> Exchange:
        """Return the newest exchange for a model; wait for one."""
        deadline = time.monotonic() + HANG_SECONDS
        while time.monotonic() < deadline:
            for exchange in reversed(self.exchanges):
                if exchange.json.get("model") == model:
                    return exchange
            time.sleep(0.01)
        raise AssertionError(f"no request for {model} within {HANG_SECONDS} s")

    def script_for(self, exchange: Exchange) -> Script:
        if exchange.method == "GET":
            return _models
        if exchange.path.startswith(MESSAGES_PATH):
            return responds(b'{"detail": "Not Found"}', 404)
        if exchange.path == AUTH_PATH:
            return responds(json.dumps({"principal": exchange.json["api_key"]}).encode())
        self.exchanges.append(exchange)
        model = str(exchange.json.get("model"))
        code = model.removeprefix("status-")
        return functools.partial(_status, code=int(code)) if code != model else BEHAVIOURS.get(model, _unknown)


async def _models(answer: Answer) -> None:
    await answer.json({"object": "list", "data": [{"id": name, "object": "model"} for name in BEHAVIOURS]})


if __name__ == "__main__":
    port, *names = sys.argv[1:] or ["0"]
    BEHAVIOURS = dict.fromkeys(names, BEHAVIOURS["text"]) | BEHAVIOURS  # the first listed model is often the default
    with ChatUpstream(int(port)) as upstream:
        print(upstream.url, flush=True)
        threading.Event().wait()
