"""The steps of the Claude Code tour: the backend's response in each step, and the check of its effect."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import claude_code_backend as backend
from claude_code_backend import Message, Request, Step, call_id, text_of

FINAL = "The tour is over."
TOO_LONG = f"prompt is too long: {backend.PROMPT_TOKENS} tokens > {backend.CONTEXT_TOKENS} maximum"
BILLING = "x-anthropic-billing-header"
NOTES, PICTURE = "notes.txt", "dot.png"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def make_project(folder: Path) -> None:
    """Create the project folder with the files of the tour."""
    folder.mkdir()
    (folder / NOTES).write_text("colour: red\n")
    (folder / PICTURE).write_bytes(base64.b64decode(PNG))


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        project: The project folder.
        requests: The requests to the backend.
        events: The JSON events that Claude Code printed.
        debug: Its debug log.
        stack_log: The log of the stack.
        exit_code: Its exit code; None after a timeout.
    """

    project: Path
    requests: list[Request]
    events: list[dict[str, Any]]
    debug: str
    stack_log: str
    exit_code: int | None

    def of(self, kind: str) -> list[Request]:
        """Return the requests of one kind."""
        return [request for request in self.requests if request.kind == kind]

    def at(self, step: int) -> Request:
        """Return the request to which the backend responded with a step."""
        found = [request for request in self.of(backend.MAIN) if request.step == step]
        expect(found, f"the conversation did not get to step {step}")
        expect(len(found) == 1, f"step {step} was requested {len(found)} times")
        return found[0]

    def after(self, step: int) -> list[Message]:
        """Return the messages after a step's tool calls in the next request."""
        self.at(step)
        messages = self.at(step + 1).messages
        first_call = call_id(step, 0)
        calls = [[call["id"] for call in message.get("tool_calls", [])] for message in messages]
        places = [place for place, ids in enumerate(calls) if first_call in ids]
        expect(len(places) == 1, f"the calls come back {len(places)} times")
        return messages[places[0] + 1 :]


def expect(condition: object, reason: str) -> None:
    """Raise AssertionError with the reason if the condition is false."""
    if not condition:
        raise AssertionError(reason)


def results(*patterns: str) -> Callable[[Run, int], None]:
    """Return a check: one tool message per call follows the calls, in call order, with text matching its pattern."""

    def check(run: Run, step: int) -> None:
        messages = run.after(step)
        replies = messages[: len(patterns)]
        ids = [message.get("tool_call_id") for message in replies]
        expect(ids == [call_id(step, place) for place in range(len(patterns))], f"after the calls: {ids}")
        expect("tool" not in {m["role"] for m in messages[len(patterns) :]}, "more tool messages than calls")
        for message, pattern in zip(replies, patterns, strict=True):
            expect(re.search(pattern, text_of(message)), f"no {pattern!r} in {text_of(message)[:300]!r}")

    return check


def edited(run: Run, step: int) -> None:
    """The file has changed on disk, and the tool result says so."""
    results("has been updated")(run, step)
    text = (run.project / NOTES).read_text()
    expect(text == "colour: blue\n", f"the file holds {text!r}")


def pictured(run: Run, step: int) -> None:
    """The image follows all tool messages, in a user message, with its correct media type."""
    results("image", "^beside$")(run, step)
    message = run.after(step)[2]
    expect(message["role"] == "user", f"after the tool messages: {message['role']}")
    urls = [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
    expect(urls == [f"data:image/png;base64,{PNG}"], f"images: {[url[:60] for url in urls]}")


def delegated(run: Run, step: int) -> None:
    """The sub-agent has its own conversation, runs a tool in it, and its report is the tool result."""
    results(backend.SUB_REPORT)(run, step)
    side = run.of(backend.SUB_AGENT)
    expect(len(side) == 2, f"{len(side)} requests of the sub-agent")
    first, second = side
    expect(first.messages[0] != run.at(step).messages[0], "it has the system prompt of the main conversation")
    expect(backend.PROMPT not in json.dumps(first.body), "it has the prompt of the main conversation")
    expect(second.messages[: len(first.messages)] == first.messages, "its second request does not begin with its first")
    tools = [text_of(message) for message in second.messages if message["role"] == "tool"]
    expect(tools == ["side-5"], f"its tool messages: {tools}")


def loaded(run: Run, step: int) -> None:
    """A deferred tool is added after the other tools once ToolSearch has found it."""
    results("WebSearch")(run, step)
    before, now = run.at(step).tools, run.at(step + 1).tools
    expect("WebSearch" not in before, "the tool was there before")
    expect(now == [*before, "WebSearch"], f"tools afterwards: {now}")


def search_refused(run: Run, step: int) -> None:
    """The search request reaches the model without the server tool; the main conversation continues with the result."""
    side = run.of(backend.WEB_SEARCH)
    expect(len(side) == 1, f"{len(side)} search requests")
    expect("tool_choice" not in side[0].body, "it has a tool_choice and no tools")
    expect(
        re.search(r'"dropped": "tools\.0 \([^"]*web search', run.stack_log), "the log does not name the dropped tool"
    )
    results(backend.WEB_RESULT)(run, step)


def compacted(run: Run, step: int) -> None:
    """The overflow error has the expected wording; Claude Code requests a summary and continues with it."""
    full = run.at(step)
    expect(TOO_LONG in run.debug, f"Claude Code did not get {TOO_LONG!r}")
    summaries = run.of(backend.COMPACTION)
    expect(len(summaries) == 1, f"{len(summaries)} summary requests")
    old = summaries[0].messages[:-1]
    expect(old == full.messages[: len(old)], "the summary request does not begin with the conversation")
    expect(any(event.get("subtype") == "compact_boundary" for event in run.events), "no compact_boundary event")
    now = run.at(step + 1).messages
    expect(now[0] == full.messages[0], "the system prompt has changed")
    expect(backend.SUMMARY in text_of(now[1]), "the conversation does not continue from the summary")


def finished(run: Run, step: int) -> None:
    """Claude Code exits with success, and its result is the model's text."""
    run.at(step)
    expect(run.exit_code == 0, f"exit code {run.exit_code}")
    result = _result(run)
    expect(result["subtype"] == "success" and not result["is_error"], f"subtype {result['subtype']}")
    expect(result["result"] == FINAL, f"result {result['result']!r}")
    expect(not result["permission_denials"], f"denied: {result['permission_denials']}")


def _result(run: Run) -> dict[str, Any]:
    found = [event for event in run.events if event["type"] == "result"]
    expect(len(found) == 1, f"{len(found)} result events")
    return found[0]


def bash(command: str) -> backend.Call:
    """Return a call of the Bash tool."""
    return "Bash", {"command": command, "description": "Take a step of the tour"}


def tour(project: Path) -> list[Step]:
    """Return the steps, in order."""
    notes, picture, missing = (str(project / name) for name in (NOTES, PICTURE, "missing.txt"))
    read = ("Read", {"file_path": notes})
    edit = ("Edit", {"file_path": notes, "old_string": "red", "new_string": "blue"})
    parallel = (bash("sleep 0.5; echo first"), read, bash("echo third"))
    agent = {"description": "Side station", "prompt": backend.SUB_PROMPT, "subagent_type": "general-purpose"}
    search = ("ToolSearch", {"query": "select:WebSearch", "max_results": 5})
    return [
        Step("Read: the model gets the text of the file", results("colour: red"), (read,)),
        Step("Bash: the model gets the output", results("^42$"), (bash("echo $((6 * 7))"),)),
        Step("Edit: the file changes on disk", edited, (edit,)),
        Step("parallel calls: results in call order", results("^first$", "colour: blue", "^third$"), parallel),
        Step(
            "Read of a missing file: the result is an error",
            results("^Error: .*not exist"),
            (("Read", {"file_path": missing}),),
        ),
        Step(
            "Bash with exit 3: the result is an error",
            results("^Error: Exit code 3\noops"),
            (bash("echo oops; exit 3"),),
        ),
        Step(
            "image: an image/png after the tool messages",
            pictured,
            (("Read", {"file_path": picture}), bash("echo beside")),
        ),
        Step(
            "sub-agent: its own conversation, its report is the result",
            delegated,
            (("Agent", {**agent, "run_in_background": False}),),
        ),
        Step("ToolSearch: the deferred tool is loaded", loaded, (search,)),
        Step("WebSearch: continues without the server tool", search_refused, (("WebSearch", {"query": "tours"}),)),
        Step("overflow: Claude Code compacts and continues", compacted, overflow=True),
        Step("Bash after the compaction", results("^bridge-4$"), (bash("echo bridge-$((2 + 2))"),)),
        Step("final answer", finished, text=FINAL),
    ]


def _consecutive(run: Run) -> Iterator[tuple[Request, Request]]:
    """Yield pairs of consecutive requests of the main conversation, except the pair around the compaction."""
    main = run.of(backend.MAIN)
    expect(len(main) > 1, f"{len(main)} requests")
    yield from ((one, two) for one, two in pairwise(main) if one.usage)


def no_billing(run: Run) -> None:
    """Claude Code sends its billing header, and no request to the backend contains it."""
    expect(BILLING in run.debug, "Claude Code no longer sends it: nothing was tested")
    expect(run.requests, "no requests")
    affected = [number for number, request in enumerate(run.requests) if BILLING in json.dumps(request.body)]
    expect(not affected, f"it is in the requests {affected}")


def prefixes(run: Run) -> None:
    """Each request of the main conversation begins with the messages of the previous one."""
    for one, two in _consecutive(run):
        pairs = zip(one.messages, two.messages, strict=False)
        place = next((number for number, (old, new) in enumerate(pairs) if old != new), len(one.messages))
        expect(place == len(one.messages), f"message {place} of step {one.step} has changed in step {two.step}")


def stable_tools(run: Run) -> None:
    """The tools of the main conversation do not change; a loaded tool is added at the end."""
    main = run.of(backend.MAIN)
    expect(main and main[0].tools, "no tools")
    for one, two in pairwise(main):
        old, new = one.body["tools"], two.body["tools"]
        expect(new[: len(old)] == old, f"step {one.step} has {one.tools}, step {two.step} {two.tools}")
        more = 1 if two.step and "ToolSearch" in json.dumps(two.messages[len(one.messages) :]) else 0
        expect(len(new) <= len(old) + more, f"new in step {two.step}: {two.tools[len(old) :]}")


def streaming(run: Run) -> None:
    """Every request is a stream with usage."""
    expect(run.requests, "no requests")
    options = {"include_usage": True}
    unary = [r.kind for r in run.requests if not r.body.get("stream") or r.body.get("stream_options") != options]
    expect(not unary, f"not streamed: {unary}")


def usage(run: Run) -> None:
    """Claude Code counts exactly the tokens that the backend reported; cached tokens are counted separately."""
    models = list(_result(run)["modelUsage"].values())
    expect(len(models) == 1, f"{len(models)} models were counted")
    counted = models[0]
    tokens = tuple(counted[name] for name in ("inputTokens", "cacheReadInputTokens", "outputTokens"))
    usages = [request.usage for request in run.requests if request.usage]
    cached = sum(one["prompt_tokens_details"]["cached_tokens"] for one in usages)
    expected = (
        sum(one["prompt_tokens"] for one in usages) - cached,
        cached,
        sum(one["completion_tokens"] for one in usages),
    )
    expect(tokens == expected and all(expected), f"input, cached, output: {tokens}; the backend reported {expected}")


def nothing_else(run: Run) -> None:
    """Every request is of a known kind, and only the overflow request failed."""
    expect(not run.of(backend.UNKNOWN), f"{len(run.of(backend.UNKNOWN))} requests of an unknown kind")
    failures = re.findall(r"API error \(attempt.*", run.debug)
    expect(len(failures) == 1, f"{len(failures)} failed: {failures}")


OVERALL: dict[str, Callable[[Run], None]] = {
    "billing header: sent by Claude Code, removed from every prompt": no_billing,
    "history: each request begins with the previous one": prefixes,
    "tools: unchanged, a loaded one is last": stable_tools,
    "every request is streamed": streaming,
    "usage: Claude Code counts what the backend reported": usage,
    "no failure except the overflow, no unknown request": nothing_else,
}
