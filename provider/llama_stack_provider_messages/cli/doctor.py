"""``messages doctor``: checks a running stack and its backends; each problem comes with a remedy.

This module has the command and the checks that need no model: the server, its version, its providers, its names and
windows, and the variables of the shell. Those that send messages are in ``doctor_requests.py``. A check that needs the
result of an earlier, failed one is left out, so that one cause gives one failure.
"""

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from llama_stack_provider_messages.upstream.this_machine import is_this_machine

from .doctor_requests import GENERATION_FACTOR, REQUEST_SECONDS, Check, Status, request_checks
from .launch import SMALLEST_WINDOW, choose_model
from .running_stack import (
    ANY_NAME,
    DEFAULT_URL,
    ListedModel,
    RunningStack,
    StackError,
    dicts,
    json_object,
    listed_model,
    token_of,
)

if TYPE_CHECKING:
    import httpx

CLIENT_NAMES = ("claude-sonnet-5", "claude-haiku-4-5-20251001", "claude-opus-5-5")
"""Names that Claude Code sends by itself; the first is that of its auto mode, whichever model is configured."""
HELLO_TOKENS, OLD_HELLO_TOKENS = 25_000, 45_000
"""Tokens of the first request of Claude Code 2.1.329, and of 2.1.197, which npm installs on Node 20."""
COMFORTABLE_WINDOW = 65_536
WINDOW_VERSION = (2, 1, 329)
"""The oldest version of Claude Code that was seen to keep to a configured window; 2.1.197 does not."""
VERSION_SECONDS = 60.0
"""Timeout of `claude --version`."""
MARKS: Mapping[Status, tuple[str, str]] = {
    "ok": ("ok  ", "green"),
    "warn": ("warn", "yellow"),
    "fail": ("FAIL", "red"),
    "skip": ("-   ", "bright_black"),
}
"""The mark of each status, and its colour."""


@click.command()
@click.argument("url", default=DEFAULT_URL, metavar="[URL]")
@click.option("--model", metavar="NAME", help="The model to send requests to (default: that of `messages launch`).")
@click.option("--token-env", metavar="NAME", help="The environment variable with the stack's token, if it needs one.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=REQUEST_SECONDS, show_default=True, metavar="SECONDS",
    help=f"Time for each request; {GENERATION_FACTOR} times as much for the tool call and the stream.",
)  # fmt: skip
def command(*, url: str, model: str | None, token_env: str | None, as_json: bool, timeout: float) -> None:
    """Check a running stack at URL (default: http://127.0.0.1:8321), and print a remedy for each problem.

    Sends a few short requests to one model. The exit code is 1 if a check fails.

    \b
    Examples:
      messages doctor
      messages doctor http://127.0.0.1:9000 --model vllm/qwen3-coder
      messages doctor --json
    """  # noqa: D301 - click's mark for text that is not wrapped
    checks: list[Check] = []
    with RunningStack(url, token_of(token_env), timeout) as stack:
        for check in examine(stack, model, os.environ, has_token=token_env is not None):
            checks.append(check)
            if not as_json:
                print_check(check)
    failed = [check.name for check in checks if check.status == "fail"]
    if as_json:
        report = {"url": stack.url, "ok": not failed, "checks": [asdict(check) for check in checks]}
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo(f"\n{len(failed)} failed: {', '.join(failed)}" if failed else "\nNo check failed.")
    click.get_current_context().exit(int(bool(failed)))


def print_check(check: Check) -> None:
    """Print a result, and the remedy on a line of its own."""
    mark, colour = MARKS[check.status]
    text = "".join(char if char.isprintable() else " " for char in check.text)  # a server may send control sequences
    click.echo(f"{click.style(mark, fg=colour)}  {check.name:<15} {text}")
    if check.remedy:
        click.echo(f"{'':<22}{click.style('do:', bold=True)} {check.remedy}")


def examine(
    stack: RunningStack,
    name: str | None,
    environment: Mapping[str, str],
    *,
    has_token: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Check]:
    """Yield the result of each check as soon as it is there.

    Args:
        stack: The stack.
        name: The model to send requests to.
        environment: The environment of the command.
        has_token: Whether requests have a token.
        clock: Returns monotonic seconds.
    """
    try:
        yield from stack_checks(stack, name, clock, has_token=has_token)
    except StackError as error:  # a later request failed although the first succeeded
        yield Check("server", "fail", *_split(error.message))
    yield from environment_checks(stack, environment)


def stack_checks(
    stack: RunningStack, name: str | None, clock: Callable[[], float], *, has_token: bool
) -> Iterator[Check]:
    """Yield the results that do not depend on the environment; see ``examine``."""
    try:
        listing = stack.get("/v1/models?limit=1000")
    except StackError as error:
        yield Check("reachable", "fail", *_split(error.message))
        return
    yield Check("reachable", "ok", f"{stack.url} answers")
    yield (authenticated := authentication(stack, listing, has_token=has_token))
    if authenticated.status == "fail":
        return
    yield (server := server_kind(stack, listing))
    if server.status == "fail":
        return
    yield from versions(stack)
    listed = [listed_model(entry) for entry in dicts(json_object(listing).get("data"))]
    yield from providers(stack)
    if not listed:
        yield Check(
            "models",
            "fail",
            "the stack serves no model",
            "Check that the backend runs and that run.yaml has its address; its models are listed when it answers.",
        )
        return
    try:
        model = choose_model(stack, name)
    except StackError as error:
        if name:
            yield Check("models", "fail", *_split(error.message))
            return
        model = listed[0]
    yield Check("models", "ok", f"{len(listed)} listed; the checks below use {model.name}")
    yield client_names(stack)
    yield context_window(model)
    yield from request_checks(stack, model, clock)


def environment_checks(stack: RunningStack, environment: Mapping[str, str]) -> Iterator[Check]:
    """Yield a result for each exported variable that changes a client, or a stack started in this shell."""
    exported = environment.get("ANTHROPIC_BASE_URL")
    if exported:
        which = "this stack" if _address(exported) == _address(stack.url) else exported
        yield Check(
            "environment",
            "warn",
            f"ANTHROPIC_BASE_URL is exported ({which}): a stack started in this shell may take it for its upstream",
            "unset ANTHROPIC_BASE_URL; `messages launch` sets it for the client only.",
        )
    if environment.get("ANTHROPIC_API_KEY"):
        yield Check(
            "environment",
            "warn",
            "ANTHROPIC_API_KEY is exported: Claude Code asks whether to use it, and does not start without internet",
            "unset ANTHROPIC_API_KEY, or start it with `messages launch claude`, which does not pass it on.",
        )
    if not exported and not environment.get("ANTHROPIC_API_KEY"):
        yield Check("environment", "ok", "neither ANTHROPIC_BASE_URL nor ANTHROPIC_API_KEY is exported")


def authentication(stack: RunningStack, listing: "httpx.Response", *, has_token: bool) -> Check:
    """Return whether the stack accepts the command's requests, and whether it would accept everybody's."""
    if listing.status_code in (401, 403):
        text = "the stack rejects the token" if has_token else "the stack requires a token"
        return Check(
            "authentication",
            "fail",
            f"{text} (status {listing.status_code})",
            "Put a valid token into an environment variable and pass its name with --token-env; clients send it as "
            "ANTHROPIC_AUTH_TOKEN.",
        )
    if has_token:
        with RunningStack(stack.url, seconds=stack.seconds) as anonymous:
            if anonymous.get("/v1/models?limit=1").status_code in (401, 403):
                return Check("authentication", "ok", "required, and the token is accepted")
        return Check("authentication", "warn", "the stack does not require a token", _OPEN_REMEDY)
    if is_this_machine(stack.url):
        return Check("authentication", "ok", "not required; the address is that of this machine only")
    return Check("authentication", "warn", f"not required: everyone who reaches {stack.url} can use it", _OPEN_REMEDY)


_OPEN_REMEDY = "Configure server.auth in run.yaml, or server.host: 127.0.0.1."


def server_kind(stack: RunningStack, listing: "httpx.Response") -> Check:
    """Return whether the server has this project's Messages API, by the form of its model list."""
    value = json_object(listing)
    if isinstance(value.get("data"), list):
        if "has_more" in value:
            return Check("server", "ok", "has the Messages API")
        if json_object(stack.get("/v1/version")):
            return Check(
                "server",
                "fail",
                "a llama-stack without the Messages API",
                "Add messages to apis, its provider and external_apis_dir (`messages apis-dir`) to run.yaml.",
            )
        return Check(
            "server", "fail", "a server with a model list, but not a stack",
            f"Start a stack on it with `messages serve --upstream {stack.url}`, and check that.",
        )  # fmt: skip
    return Check(
        "server",
        "fail",
        f"not a stack: GET /v1/models has status {listing.status_code} and no model list",
        "Check host and port; the URL is the base URL, without /v1. A proxy has to pass on all paths under /v1.",
    )


def versions(stack: RunningStack) -> Iterator[Check]:
    """Yield the versions of the server, this package, and Claude Code if it is installed."""
    server = json_object(stack.get("/v1/version")).get("version", "unknown")
    package = "llama-stack-provider-messages"
    parts = [f"llama-stack {server} (server)", f"{package} {importlib.metadata.version(package)} (this command)"]
    client = claude_code_version()
    if client:
        parts.append(f"Claude Code {'.'.join(map(str, client))}")
    if re.match(r"0\.7\.|unknown", str(server)):
        yield Check("versions", "ok", ", ".join(parts))
    else:
        yield Check("versions", "warn", ", ".join(parts), "This package is tested with llama-stack 0.7; install that.")
    if client and client < WINDOW_VERSION:
        yield Check(
            "claude code",
            "warn",
            "this version compacts a conversation only after the server's error that the prompt is too long",
            f"Install {'.'.join(map(str, WINDOW_VERSION))} or newer; npm does that only with Node 22 or newer.",
        )


def claude_code_version() -> tuple[int, ...]:
    """Return the version of Claude Code; empty if it is not installed or does not answer."""
    if claude := shutil.which("claude"):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(  # noqa: S603 - the user's own client
                [claude, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False
            )
            if found := re.match(r"(\d+)\.(\d+)\.(\d+)", done.stdout):
                return tuple(map(int, found.groups()))
    return ()


def providers(stack: RunningStack) -> Iterator[Check]:
    """Yield a failure for a provider whose upstream is the stack itself, and which models are those of other stacks."""
    entries = dicts(json_object(stack.get("/v1/providers")).get("data"))
    inference = [entry for entry in entries if entry.get("api") == "inference"]
    for entry in inference:
        config = entry.get("config")
        address = config.get("base_url") if isinstance(config, dict) else None
        if isinstance(address, str) and _address(address) == _address(stack.url):
            yield Check(
                "upstream",
                "fail",
                f"provider {entry.get('provider_id')} has this stack as its upstream",
                "unset ANTHROPIC_BASE_URL before starting the stack, or set base_url of the provider.",
            )
    others = models_of_other_stacks(stack, {str(entry.get("provider_id")) for entry in inference})
    if others:
        names = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > len(others[:5]) else "")
        text = f"the platform's store, which the stacks of a user share, also has models of other stacks: {names}"
        yield Check("other stacks", "ok", f"{text}; the Messages API does not list or use them")
    else:
        yield Check("other stacks", "ok", "none of their models is in the platform's store")


def models_of_other_stacks(stack: RunningStack, provider_ids: set[str]) -> list[str]:
    """Return the models in the platform's list whose provider this stack does not have.

    It is a model of another run.yaml of the user, or of a provider that was removed from this one.

    Args:
        stack: The stack.
        provider_ids: Its inference providers; if it does not list them, the set is empty, and one model of each
            provider is looked up in the Messages API.
    """
    owned = {
        str(entry["id"]): str(meta["provider_id"])
        for entry in dicts(json_object(stack.get("/v1/models", of_platform=True)).get("data"))
        if isinstance(meta := entry.get("custom_metadata"), dict)
        and meta.get("model_type", "llm") == "llm"
        and "provider_id" in meta
        and "id" in entry
    }
    if not provider_ids:
        first = {provider: model for model, provider in reversed(owned.items())}
        provider_ids = {provider for provider, model in first.items() if _is_served(stack, model)}
    return [model for model, provider in owned.items() if provider not in provider_ids]


def _is_served(stack: RunningStack, name: str) -> bool:
    found = stack.model(name)
    return found is not None and found.model == name


def client_names(stack: RunningStack) -> Check:
    """Return whether the names that Claude Code sends by itself are answered."""
    missing = [name for name in CLIENT_NAMES if stack.model(name) is None]
    if missing:
        return Check(
            "client names",
            "fail",
            f"no model answers {', '.join(missing)}; Claude Code sends such names by itself",
            'Set default_model, or an alias such as "claude-*", in the configuration of the Messages provider.',
        )
    default = stack.model(ANY_NAME)
    by = f"default_model ({default.model})" if default else "an alias"
    return Check("client names", "ok", f"claude-* names are answered by {by}")


def context_window(model: ListedModel) -> Check:
    """Return whether the model's window is large enough for Claude Code."""
    larger = (
        f"Serve the model with {COMFORTABLE_WINDOW:,} tokens (CONTEXT_SIZE, vLLM --max-model-len, llama.cpp -c, "
        "OLLAMA_CONTEXT_LENGTH)"
    )
    if model.window is None:
        return Check(
            "context",
            "warn",
            f"the stack does not say how large the window of {model.name} is; Claude Code needs {HELLO_TOKENS:,} "
            f"tokens for a greeting (2.1.197: {OLD_HELLO_TOKENS:,})",
            "Start clients with `messages launch claude --window TOKENS`.",
        )
    text = f"{model.name} has a window of {model.window:,} tokens; Claude Code needs"
    if model.window < SMALLEST_WINDOW:
        return Check(
            "context",
            "fail",
            f"{text} {SMALLEST_WINDOW:,} with four tools, and {HELLO_TOKENS:,} for a greeting with all",
            f"{larger}; `messages launch claude` does not start with a smaller one than {SMALLEST_WINDOW:,}.",
        )
    if model.window < HELLO_TOKENS:
        return Check(
            "context",
            "warn",
            f"{text} {HELLO_TOKENS:,} for a greeting with all of its tools",
            f"{larger}, or use `messages launch claude`, which offers four tools only.",
        )
    if model.window < OLD_HELLO_TOKENS:
        text += f" {HELLO_TOKENS:,} for a greeting, and version 2.1.197 {OLD_HELLO_TOKENS:,}"
        return Check("context", "warn", text, f"{larger}, and start clients with `messages launch claude`.")
    return Check("context", "ok", f"{text} {HELLO_TOKENS:,} for a greeting (2.1.197: {OLD_HELLO_TOKENS:,})")


def _address(url: str) -> tuple[str, int | None]:
    """Return host and port, with the names of this machine as one; an empty host for an invalid URL."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", None
    return "localhost" if is_this_machine(f"http://{parts.netloc}") else host, port


def _split(message: str) -> tuple[str, str]:
    """Return what is wrong and what to do: the first sentence of a message and the rest."""
    found = re.fullmatch(r"(.+?)\. (.+)", message, re.DOTALL)
    return (found[1], found[2]) if found else (message, "")
