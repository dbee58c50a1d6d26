"""The checks of ``messages doctor`` that send messages, and the result of a check.

They send what Claude Code sends, in small: a short message, one with a tool, a stream, a token count.
"""

import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llama_stack_provider_messages.headers import COUNT_HEADER, LANE_HEADER

from .running_stack import ListedModel, RunningStack, StackError, dicts, json_object, read_response

if TYPE_CHECKING:
    import httpx

MIN_DELTAS = 8
"""A stream with fewer text events does not show whether it is buffered."""
BUFFERED_SECONDS, MIN_WAIT_SECONDS = 0.05, 1.0
"""A stream is buffered if everything arrives within the first time, after a silence of at least the second."""
REQUEST_SECONDS, GENERATION_FACTOR = 10.0, 6
"""Default timeout of a request, and how much longer those may take that generate more than a sentence."""
MAX_MESSAGE_CHARACTERS = 300
_TOOL = {
    "name": "get_weather",
    "description": "Returns the weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

type Status = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was checked, in one or two words.
        status: ``skip`` if the check could not decide.
        text: What was found.
        remedy: What to do; empty if there is nothing to do.
    """

    name: str
    status: Status
    text: str
    remedy: str = ""


def request_checks(stack: RunningStack, model: ListedModel, clock: Callable[[], float]) -> Iterator[Check]:
    """Yield the results of the checks that send messages; after a failed message, no others are sent."""
    hello = _body(model, "Say hello.", max_tokens=32)
    response, problem = _post(stack, "/v1/messages", hello)
    if response is None or problem:
        yield Check("message", "fail", problem, _BACKEND_REMEDY if response else _silent_remedy(stack, model))
        return
    yield Check("message", "ok", f"{model.name} answers")
    yield lane(response)
    yield tool_call(stack, model)
    yield streaming(stack, model, clock)
    yield token_count(stack, hello)


def _silent_remedy(stack: RunningStack, model: ListedModel) -> str:
    """Return what to do if a message has no response: a sentence with the address of the model's backend."""
    name, entries = model.model.partition("/")[0], []
    with contextlib.suppress(StackError):
        entries = dicts(json_object(stack.get("/v1/providers")).get("data"))
    configs = [entry.get("config") for entry in entries if entry.get("provider_id") == name]
    address = next((f" at {one['base_url']}" for one in configs if isinstance(one, dict) and one.get("base_url")), "")
    return (
        f"Check that the backend {name}{address} answers requests, and restart it if it does not; while it loads its "
        "model, or if it is slow, use a longer --timeout."
    )


_BACKEND_REMEDY = "Check that the backend runs and serves this model; the stack's log has the details."


def lane(response: "httpx.Response") -> Check:
    """Return the lane of a response and why it was selected."""
    value = response.headers.get(LANE_HEADER)
    if not value:
        return Check(
            "lane",
            "fail",
            f"the response has no header {LANE_HEADER}: it is not from this project's API",
            "Check the address; if a proxy removes headers that begin with x-messages-, let it pass them on.",
        )
    if value.endswith("reason=unanswered"):
        return Check(
            "lane", "warn", f"{value}: the probe of the backend was inconclusive", "Check that the backend runs."
        )
    kind = "requests are passed through" if value.startswith("native") else "requests become chat completions"
    return Check("lane", "ok", f"{value} ({kind})")


def tool_call(stack: RunningStack, model: ListedModel) -> Check:
    """Return whether the backend turns the model's text into a tool call, with a request that requires one."""
    body = _body(model, "What is the weather in Oslo?", max_tokens=2048)
    response, problem = _post(stack, "/v1/messages", {**body, "tools": [_TOOL], "tool_choice": {"type": "any"}})
    remedy = (
        "vLLM: --enable-auto-tool-choice --tool-call-parser NAME; SGLang: --tool-call-parser NAME; llama.cpp: --jinja; "
        "otherwise choose a model that is trained for tools."
    )
    if response is None or problem:
        return Check("tool calls", "fail", f"rejected: {problem}", remedy)
    message = json_object(response)
    blocks = dicts(message.get("content"))
    for block in blocks:
        if block.get("type") == "tool_use":
            city = block["input"].get("city") if isinstance(block.get("input"), dict) else None
            if block.get("name") == _TOOL["name"] and isinstance(city, str):
                return Check("tool calls", "ok", f"parsed: {_TOOL['name']}({json.dumps(block['input'])[:60]})")
            shown = json.dumps(block.get("input"))[:60]
            return Check("tool calls", "fail", f"the arguments do not fit the tool's schema: {shown}", remedy)
    if message.get("stop_reason") == "max_tokens":
        text = "the model used all 2,048 tokens before it called the tool"
        return Check("tool calls", "warn", text, "Check the model with fewer thinking tokens, or choose another one.")
    text = "".join(str(block.get("text", "")) for block in blocks)
    return Check("tool calls", "fail", f"the model answered with text instead of a tool call: {text[:60]!r}", remedy)


def streaming(stack: RunningStack, model: ListedModel, clock: Callable[[], float]) -> Check:
    """Return whether a stream arrives while it is written; one that does not is requested a second time.

    The first time, everything may come late and at once because the backend loaded its model.
    """
    body = {**_body(model, "Count from 1 to 40.", max_tokens=200), "stream": True}
    for _ in range(2):
        begin = clock()
        arrivals: list[float] = []
        response, problem = _post(stack, "/v1/messages", body, functools.partial(_append_time, arrivals, clock))
        if response is None or problem:
            return Check("streaming", "fail", problem, _BACKEND_REMEDY)
        data = response.content
        if b"event: error" in data:
            return Check("streaming", "fail", f"the stream ended with an error: {_sse_error(data)}", _BACKEND_REMEDY)
        if b"event: message_stop" not in data:
            return Check("streaming", "fail", "the stream has no message_stop: it was cut off", _PROXY_REMEDY)
        waited, spread = arrivals[0] - begin, arrivals[-1] - arrivals[0]
        if data.count(b"event: content_block_delta") < MIN_DELTAS:
            return Check("streaming", "skip", "too few events to see whether a proxy buffers them")
        if spread >= BUFFERED_SECONDS or waited < MIN_WAIT_SECONDS:
            return Check("streaming", "ok", f"first event after {waited:.1f} s, last {spread:.1f} s later")
    return Check(
        "streaming",
        "fail",
        f"all events arrived at once, after {waited:.1f} s: a proxy buffers the stream, or the backend does",
        _PROXY_REMEDY,
    )


def _append_time(times: list[float], clock: Callable[[], float], _part: bytes) -> None:
    times.append(clock())


_PROXY_REMEDY = (
    "Check this stack without the proxy. nginx: proxy_buffering off, proxy_read_timeout 600s; others: turn response "
    "buffering off for text/event-stream."
)


def token_count(stack: RunningStack, hello: Mapping[str, Any]) -> Check:
    """Return whether token counts are exact or estimated."""
    body = {name: value for name, value in hello.items() if name != "max_tokens"}
    response, problem = _post(stack, "/v1/messages/count_tokens", body)
    if response is None or problem:
        return Check("token counts", "fail", problem, _BACKEND_REMEDY)
    kind = response.headers.get(COUNT_HEADER, "unknown")
    if kind == "exact":
        return Check("token counts", "ok", "exact, by the backend's tokenizer")
    return Check(
        "token counts",
        "warn",
        f"{kind}: Claude Code decides with them how much of a large file it reads",
        "vLLM and llama.cpp have a tokenizer endpoint; a proxy before the backend has to pass on /tokenize.",
    )


def _body(model: ListedModel, text: str, max_tokens: int) -> dict[str, Any]:
    return {"model": model.name, "max_tokens": max_tokens, "messages": [{"role": "user", "content": text}]}


def _post(
    stack: RunningStack, path: str, body: Mapping[str, Any], on_part: Callable[[bytes], None] = lambda _part: None
) -> "tuple[httpx.Response | None, str]":
    """Send a request; return the response with its body read, and what is wrong with it, empty if nothing is.

    Args:
        stack: The stack.
        path: The path of the endpoint.
        body: The JSON body.
        on_part: Called with each part of a 2xx body as it arrives.
    """
    import httpx

    seconds = stack.seconds * (GENERATION_FACTOR if body.get("tools") or body.get("stream") else 1)
    try:
        request = stack.http.build_request("POST", path, json=body, timeout=seconds)
        streamed = stack.http.send(request, stream=True)
        response = read_response(streamed, seconds, on_part if streamed.is_success else lambda _part: None)
        if response.is_success:
            return response, ""
    except httpx.TimeoutException:
        return None, f"POST {path} has no response after {seconds:g} s"
    except httpx.HTTPError as error:
        return None, f"POST {path} failed: {error or type(error).__name__}"
    body_error = json_object(response, of_status=response.status_code).get("error")
    message = body_error.get("message") if isinstance(body_error, dict) else response.text
    return response, f"POST {path} returned status {response.status_code}: {str(message)[:MAX_MESSAGE_CHARACTERS]}"


def _sse_error(data: bytes) -> str:
    found = re.search(rb"event: error\r?\ndata: (.*)", data)
    try:
        return str(json.loads(found[1])["error"]["message"])[:MAX_MESSAGE_CHARACTERS] if found else "unknown"
    except (ValueError, LookupError, TypeError):
        return "unknown"
