"""Runs the real Claude Code, headless, on a task with tools against a running stack, and checks each step.

The stack is a real ``llama stack run``. Its model is a scripted upstream of a ``remote::vllm`` provider, so that all
runs are the same.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from claude_code_backend import PROMPT, Backend  # noqa: E402 - finds support through the line above
from claude_code_steps import OVERALL, Run, make_project, tour  # noqa: E402 - likewise
from claude_code_windows import WINDOWS, check_window  # noqa: E402 - likewise

from support.chat_upstream import BEHAVIOURS, ChatUpstream  # noqa: E402 - likewise
from support.stack_process import StackProcess, run_config, vllm  # noqa: E402 - likewise

MODEL = "tour"
TIMEOUT_SECONDS = 180
MAX_REASON_CHARACTERS = 600
"""Maximum length of a printed failure reason."""
TOOLS = "Read,Edit,Bash,Agent,Task,ToolSearch,WebSearch"
EXCLUDED_PREFIXES = ("anthropic_", "claude")
"""Prefixes of the caller's environment variables that would change the run."""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of `messages launch`: without the caller's settings and proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.lower().startswith(EXCLUDED_PREFIXES)
    }
    return {
        **kept,
        "CLAUDE_CODE_TMPDIR": str(folder / "tmp"),
        "HOME": str(folder / "home"),
    }


def run_claude_code(
    binary: str, folder: Path, url: str, prompt: str = PROMPT, options: Sequence[str] = ()
) -> int | None:
    """Run Claude Code on a prompt with `messages launch`; return its exit code, or None after a timeout.

    Args:
        binary: Its path.
        folder: The folder with its home and project; its output goes there, too.
        url: The address of the stack.
        prompt: The prompt.
        options: Options of `messages launch`.
    """
    command = [sys.executable, "-m", "llama_stack_provider_messages.cli.main", "launch", "--url", url, *options, "--"]
    command += [binary, "-p", prompt, "--output-format", "stream-json", "--verbose", "--allowedTools", TOOLS]
    command += ["--debug-file", str(folder / "debug.log")]
    with (
        (folder / "events.jsonl").open("wb") as out,
        (folder / "stderr.log").open("wb") as err,
        contextlib.suppress(subprocess.TimeoutExpired),
    ):
        return subprocess.run(
            command,
            env=environment(folder),
            cwd=folder / "project",
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            timeout=TIMEOUT_SECONDS,
            check=False,
        ).returncode
    return None


def run_tour(binary: str, folder: Path, backend: Backend, wire: str) -> Run:
    """Start backend and stack, run Claude Code, and return the results."""
    for name in ("stack", "home", "tmp"):
        (folder / name).mkdir()
    BEHAVIOURS[MODEL] = backend.respond
    with ChatUpstream() as upstream:
        config = run_config([vllm(upstream.url)], {"default_model": f"up/{MODEL}", "wire": {"up": wire}})
        with StackProcess(config, folder / "stack", {"LLAMA_STACK_LOG_FORMAT": "json"}) as stack:
            code = run_claude_code(binary, folder, stack.url)
            log = stack.log
    (folder / "requests.json").write_text(json.dumps([vars(request) for request in backend.requests], indent=1))
    debug = folder / "debug.log"
    return Run(
        project=folder / "project",
        requests=backend.requests,
        events=[json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()],
        debug=debug.read_text() if debug.exists() else "",
        stack_log=log,
        exit_code=code,
    )


def passed(name: str, check: Callable[..., None], *arguments: object) -> bool:
    """Run a check, print its result on a line, and return whether it passed."""
    try:
        check(*arguments)
    except AssertionError as reason:
        print(f"failed  {name}\n        {str(reason)[:MAX_REASON_CHARACTERS]}")
        return False
    print(f"ok      {name}")
    return True


def check_tour(binary: str, folder: Path, *, system_first: bool, wire: str) -> bool:
    """Run the tour in a folder; return whether every check passed."""
    make_project(folder / "project")
    steps = tour(folder / "project")
    started = time.monotonic()
    run = run_tour(binary, folder, Backend(steps, system_first=system_first), wire)
    results = [passed(step.name, step.check, run, number) for number, step in enumerate(steps)]
    results += [passed(name, check, run) for name, check in OVERALL.items()]
    print(f"{sum(results)} of {len(results)} in {time.monotonic() - started:.0f} s, {len(run.requests)} requests")
    if not all(results):
        print((folder / "stderr.log").read_text()[-2000:], file=sys.stderr)
    return all(results)


def check(binary: str, folder: Path, arguments: argparse.Namespace) -> bool:
    """Run the tour, or the windows, in a folder; return whether every check passed."""
    if not arguments.windows:
        return check_tour(binary, folder, system_first=arguments.system_first, wire=arguments.wire)
    results = [
        passed(f"a window of {window:,}", check_window, run_claude_code, binary, folder / str(window), window)
        for window in WINDOWS
    ]
    return all(results)


def main() -> int:
    """Run the tour in the folder of ``--keep``, or in a temporary one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="a new folder for requests, events and logs")
    parser.add_argument(
        "--system-first", action="store_true", help="the model's template rejects later system messages"
    )
    parser.add_argument("--wire", choices=["on", "off"], default="on", help="the setting wire of the provider")
    parser.add_argument(
        "--windows", action="store_true", help="instead: 12 tool turns against servers with small context windows"
    )
    arguments = parser.parse_args()
    keep = arguments.keep
    if "CLAUDE_CODE" not in os.environ:
        parser.error("CLAUDE_CODE is not set; scripts/claude-code sets it")
    binary = str(Path(os.environ["CLAUDE_CODE"]).resolve())
    if keep:
        if keep.exists():
            parser.error(f"{keep} already exists; choose a new folder")
        keep.mkdir(parents=True)
        return int(not check(binary, keep.resolve(), arguments))
    with tempfile.TemporaryDirectory() as folder:
        return int(not check(binary, Path(folder).resolve(), arguments))


if __name__ == "__main__":
    sys.exit(main())
