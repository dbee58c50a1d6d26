"""Runs Claude Code, headless, on 12 tool turns with large outputs against a server that enforces its context window.

The server counts a token for four bytes of a request, reports that as usage, and rejects a request whose prompt and
``max_tokens`` do not fit into the window, as vLLM does. With the variables of ``messages launch`` none is rejected:
Claude Code compacts the conversation in time. The outputs are as large as these variables permit, and one is larger.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_code_backend import call_id, text_of
from claude_code_steps import expect

from llama_stack_provider_messages.cli.launch import Limits, window_variables
from support.chat_upstream import BEHAVIOURS, ChatUpstream
from support.stack_process import StackProcess, run_config, vllm

if TYPE_CHECKING:
    from support.chat_upstream import ChatAnswer

WINDOWS = (16_384, 32_768, 65_536)
MODEL = "window"
PROMPT = "Run the commands and read the files, one after the other."
TURNS = 12
FINAL = "Everything is done."
SUMMARY = "The task goes on: run the commands and read the files."
FILE = "numbers.txt"
LINE_BYTES = 64
OUTPUT = 8192
"""The model's output limit in tokens."""
TOO_LARGE_STEP = 1
BYTES_PER_TOKEN, READ_BYTES_PER_TOKEN = 4, 3
"""The second leaves space for the line numbers that Claude Code adds."""
MAX_REQUESTS = 80
"""Limit of requests; after that the answer is the final text, so that Claude Code ends."""


@dataclass
class WindowBackend:
    """A server with a context window.

    Attributes:
        window: Its size in tokens.
        largest: The largest prompt and ``max_tokens`` so far, in tokens.
        requests: The number of requests.
        rejected: Their sizes where they were too large.
        results: The ids of the tool results that it got.
        compactions: The number of requests for a summary.
        project: The folder with the file to read.
    """

    window: int
    largest: int = 0
    requests: int = 0
    rejected: list[tuple[int, int]] = field(default_factory=list)
    results: set[str] = field(default_factory=set)
    compactions: int = 0
    project: Path = Path()

    async def respond(self, response: "ChatAnswer") -> None:
        """Respond to a chat completions request with a stream."""
        body = response.exchange.json
        prompt = len(response.exchange.body) // BYTES_PER_TOKEN
        output = body.get("max_tokens") or body.get("max_completion_tokens") or 0
        self.requests += 1
        self.largest = max(self.largest, prompt + output)
        if prompt + output > self.window:
            self.rejected.append((prompt, output))
            text = (
                f"This model's maximum context length is {self.window} tokens. However, you requested {output} output"
            )
            text += f" tokens and your prompt contains {prompt} input tokens. Please reduce one of them."
            await response.json({"error": {"message": text, "type": "BadRequestError", "code": 400}}, 400)
            return
        self.results |= {message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"}
        calls, text = self._answer(body)
        await response.head()
        await response.delta({"role": "assistant", "content": text or None})
        for place, call in enumerate(calls):
            await response.delta({"tool_calls": [{"index": place, **call}]})
        await response.delta({}, "tool_calls" if calls else "stop")
        await response.delta(usage={"prompt_tokens": prompt, "completion_tokens": 50, "total_tokens": prompt + 50})
        await response.done()

    def _answer(self, body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        """Return the next tool call, or the text of a response."""
        prompts = [text_of(message) for message in body["messages"] if message["role"] == "user"]
        if prompts and "create a detailed summary" in prompts[-1]:
            self.compactions += 1
            return [], f"<summary>{SUMMARY}</summary>"
        step = len(self.results)
        if "tools" not in body or step >= TURNS or self.requests > MAX_REQUESTS:
            return [], FINAL
        limits = window_variables(Limits(self.window, OUTPUT))
        characters = int(limits["BASH_MAX_OUTPUT_LENGTH"]) * (10 if step == TOO_LARGE_STEP else 1) - 100
        lines = int(limits["CLAUDE_CODE_FILE_READ_MAX_OUTPUT_TOKENS"]) * READ_BYTES_PER_TOKEN // LINE_BYTES
        command = {"command": f"seq {step + 1}000000 9999999 | head -c {characters}", "description": "Print numbers"}
        file = {"file_path": str(self.project / FILE), "offset": 1 + lines * step, "limit": lines}
        name, arguments = ("Read", file) if step % 4 == 3 else ("Bash", command)
        function = {"name": name, "arguments": json.dumps(arguments)}
        return [{"id": call_id(step, 0), "type": "function", "function": function}], ""


def check_window(run: Any, binary: str, folder: Path, window: int) -> None:  # noqa: ANN401 - a function of claude_code.py
    """Run the task in a new folder.

    Args:
        run: Runs Claude Code in a folder on a stack, with options of launch, and returns its exit code.
        binary: Its path.
        folder: The folder.
        window: The window in tokens.

    Raises:
        AssertionError: A request was rejected, or the task did not end well.
    """
    for name in ("stack", "home", "tmp", "project"):
        (folder / name).mkdir(parents=True)
    (folder / "project" / FILE).write_text("".join(f"{number:06} {'word ' * 11} \n" for number in range(9000)))
    server = WindowBackend(window, project=folder / "project")
    BEHAVIOURS[MODEL] = server.respond
    with ChatUpstream() as upstream:
        config = run_config([vllm(upstream.url)], {"default_model": f"up/{MODEL}"})
        with StackProcess(config, folder / "stack", {"LLAMA_STACK_LOG_FORMAT": "json"}) as stack:
            code = run(binary, folder, stack.url, PROMPT, ["--window", str(window), "--output", str(OUTPUT)])
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    print(
        f"        window {window:,}: {server.requests} requests, {len(server.results)} tool results, "
        f"{server.compactions} compactions, largest {server.largest:,} tokens"
    )
    expect(not server.rejected, f"rejected (prompt, max_tokens): {server.rejected[:5]}")
    expect(code == 0, f"exit code {code}")
    expect(len(server.results) == TURNS, f"{len(server.results)} of {TURNS} tool results")
    (result,) = [event for event in events if event["type"] == "result"]
    expect(result["subtype"] == "success" and result["result"] == FINAL, f"result {result}")
    expect(server.compactions > 0 or window > max(WINDOWS), "it was never compacted, so that nothing was tried")
