"""``messages launch``: starts a client with the environment variables it needs, for a running stack or one of its own.

Claude Code assumes a window of a million tokens for a model name that it does not know, and never compacts the
conversation of a smaller model; for a name that it knows, it ignores every setting of the window. So a launch sets the
stack's own model name, and these numbers, measured with Claude Code 2.1.332. With the window W and output limit M:

    CLAUDE_CODE_MAX_OUTPUT_TOKENS    M' = min(M, W / 8, 16,384)
    CLAUDE_CODE_MAX_CONTEXT_TOKENS   W - R + 13,000; Claude Code subtracts M' and 13,000 again, so the conversation is
                                     compacted at W - M' - R
    R                                a reserve for one tool result, whose size is limited too, and the summary prompt

Example: for W = 32,768 and M = 8,192, M' is 4,096 and R 5,000, so that compaction starts at 23,672 tokens. In a session
of 12 tool turns with large outputs, a server that enforces the window rejected no request. Between the measured rows
of ``_ROWS``, values are interpolated; above 131,072 they are those of the last row.

``ANTHROPIC_AUTH_TOKEN`` is set and ``ANTHROPIC_API_KEY`` removed, because with a key Claude Code asks whether to use it
(preselected: no), and does not start without internet. No file of the user is changed without ``--write-settings``.
"""

import contextlib
import difflib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from llama_stack_provider_messages.upstream.this_machine import is_this_machine

from .plan import STACK_OPTIONS, StackOptions, stack_options
from .running_stack import ANY_NAME, DEFAULT_URL, ListedModel, RunningStack, StackError, local_no_proxy, token_of

ASSUMED_WINDOW, ASSUMED_OUTPUT = 65_536, 8_192
"""Tokens, where neither the options nor the stack say."""
SMALLEST_WINDOW = 16_384
"""Tokens; below it the prompt of Claude Code, with four tools, leaves no space for work."""
SMALL_WINDOW = 32_768
"""Tokens; up to this window, Claude Code gets four tools instead of all, whose descriptions take 12,000 tokens."""
TIGHT_WINDOW = 24_576
"""Tokens; below it, the prompt is also shortened by ``SHORTER_PROMPT``, by 1,000 tokens. Without that, a session at
16,384 that reads files ends with an error, because Claude Code adds them again after it compacted."""
SHORTER_PROMPT = {
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
}
SMALL_TOOL_SET = "--tools=Bash,Read,Edit,Write"
"""With ``=``, because the option takes all words that follow it otherwise."""
REMOVED = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
)
"""Variables that would lead the client to another server or model, or to a dialog."""
SUBAGENT_MODEL = "CLAUDE_CODE_SUBAGENT_MODEL"
_SUBAGENT_ALIASES = ("inherit", "opus", "sonnet", "haiku")
"""Values that Claude Code resolves with variables that a launch sets."""
SETTINGS = Path(".claude") / "settings.json"
INSTALL = {"claude": "npm install -g @anthropic-ai/claude-code", "opencode": "npm install -g opencode-ai"}

_COMPACTION_MARGIN = 13_000
"""Tokens that Claude Code subtracts from the window before it compacts."""
_MAX_OUTPUT = 16_384
_ROWS = (
    (16_384, 4_000, 6_000, 2_000),
    (32_768, 5_000, 12_000, 4_000),
    (65_536, 10_000, 16_000, 8_000),
    (131_072, 13_000, 30_000, 11_000),
)
"""Window, reserve R (both in tokens), output of a command in characters, output of a file read in tokens. From the last
row on, Claude Code's own defaults for the two outputs are left (30,000 and 25,000); its values here are what the
interpolation below it aims at: a file read has to fit into R."""
_KNOWN_NAME = re.compile(
    r"claude-(?:(?:opus|sonnet|haiku)-\d|\d|instant)|^(?:opus|sonnet|haiku|opusplan|best)$|\[1m\]$"
)
"""Model names that Claude Code knows, or handles itself."""
_SECRET = re.compile(r'("[^"]*(?:KEY|TOKEN|SECRET|PASSWORD)": )"(?!none")(?:[^"\\]|\\.)*"', re.IGNORECASE)
"""A member of a settings file whose value is not to be shown."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a model, in tokens.

    Attributes:
        window: Size of the context window.
        output: Largest ``max_tokens``.
        assumed: Whether neither an option nor the stack says how large the window is.
    """

    window: int
    output: int
    assumed: bool = False


def _tokens(text: str) -> int:
    """Return the number of tokens that a user wrote: ``65536``, ``65,536`` or ``64k``."""
    if not (found := re.fullmatch(r"([1-9][\d,_]*)(k?)", text.strip().lower())):
        raise click.BadParameter(f"{text!r} is not a number of tokens; write 65536 or 64k.")
    return int(re.sub("[,_]", "", found[1])) * (1024 if found[2] else 1)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--url", metavar="URL", help=f"The address of a running stack (default: {DEFAULT_URL}, if it answers).")
@click.option(
    "--model",
    metavar="NAME|PATH.gguf",
    help="A model of the stack (default: its default model, or its only one). A GGUF file, without --url and "
    "--upstream: it is served for this client.",
)
@stack_options
@click.option(
    "--window",
    type=_tokens,
    metavar="TOKENS",
    help="The model's context window, such as 32k (default: as the stack lists it).",
)
@click.option(
    "--output", type=_tokens, metavar="TOKENS", help="The model's output limit (default: as the stack lists it)."
)
@click.option("--token-env", metavar="NAME", help="The environment variable with the stack's token, if it needs one.")
@click.option("--all-tools", is_flag=True, help=f"Keep all tools of Claude Code for windows up to {SMALL_WINDOW:,}.")
@click.option("--print", "print_only", is_flag=True, help="Print the variables as shell commands; start nothing.")
@click.option("--write-settings", is_flag=True, help=f"Put the variables into {SETTINGS}; start nothing.")
@click.option("--yes", is_flag=True, help="With --write-settings: do not ask.")
@click.argument("client", nargs=-1, type=click.UNPROCESSED, required=True, metavar="CLIENT [ARGUMENTS]...")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    url: str | None,
    model: str | None,
    token_env: str | None,
    print_only: bool,
    write_settings: bool,
    client: tuple[str, ...],
    **options: Any,  # noqa: ANN401 - passed on
) -> int | None:
    """Start a client with everything set for its stack: a running one, or one that is started for it.

    CLIENT is claude, opencode, or any command after --. Options of the client may follow its name; those that have the
    name of an option of this command have to follow --.

    With --model PATH.gguf, --upstream or --distribution, a stack is started on a free port of 127.0.0.1, and stopped
    when the client ends. The options are those of `messages serve`. Their environment variables MODEL_PATH and
    DISTRIBUTION do the same, but only if no stack runs at the default address.

    \b
    Examples:
      messages launch claude
      messages launch claude --model qwen3-coder.gguf --context 65536
      messages launch claude --upstream http://127.0.0.1:8000
      messages launch claude --model vllm/qwen3-coder --window 32k -p "Hello"
      messages launch claude -- --print "Hello"
      messages launch opencode
      messages launch -- python agent.py
      eval "$(messages launch claude --print)"
      messages launch claude --write-settings
    """  # noqa: D301 - click's mark for text that is not wrapped
    token = token_of(token_env)
    own = own_stack_options(ctx, url, model, {name: options[name] for name in STACK_OPTIONS})
    starts = not (print_only or write_settings)
    if own and not starts:
        raise click.UsageError("--print and --write-settings need a stack that keeps running: `messages serve`.", ctx)
    path = client_path(client[0]) if starts else ""
    with contextlib.ExitStack() as closed_last:
        if own:
            from .own_stack import own_stack

            url = closed_last.enter_context(own_stack(own)).url
            model = None if own.model == model else model
        with RunningStack(url or DEFAULT_URL, token) as stack:
            listed = choose_model(stack, model)
            subagents = subagent_variables(stack, listed.name, os.environ.get(SUBAGENT_MODEL))
        limits = limits_of(listed, options["window"], options["output"])
        for line in notices(stack.url, model, listed, limits):
            click.echo(f"messages: {line}", err=True)
        if Path(client[0]).stem == "opencode":
            variables = opencode_variables(stack.url, listed.name, limits, token)
            if write_settings or (print_only and token):
                option = "--write-settings" if write_settings else "--print with --token-env"
                raise click.UsageError(f"{option} is for claude; start opencode without it.")
        else:
            variables = claude_variables(stack.url, listed.name, limits, token) | subagents
        words = client_words(client, limits, all_tools=options["all_tools"], starts=starts)
        if starts:
            for line in overriding_settings(variables) if Path(client[0]).stem == "claude" else ():
                click.echo(f"messages: {line}", err=True)
            return start(path, words, child_environment(os.environ, variables, stack), replace=not own)
    if print_only:
        click.echo(shell_commands(variables, token_env))
        return None
    if token:
        del variables["ANTHROPIC_AUTH_TOKEN"]
        click.echo("messages: The token is not written to a file; export ANTHROPIC_AUTH_TOKEN yourself.", err=True)
    write_settings_file(Path.cwd() / SETTINGS, variables, ask=not options["yes"])
    return None


def own_stack_options(
    ctx: click.Context, url: str | None, model: str | None, values: Mapping[str, Any]
) -> StackOptions | None:
    """Return the options of a stack that is started for the client; None if a running one is used.

    Args:
        ctx: The context of the command, which knows where a value is from.
        url: The value of --url.
        model: The value of --model.
        values: The values of ``STACK_OPTIONS``.

    Raises:
        click.UsageError: There is an address, too.
        StackError: There is neither a stack at the default address nor something to serve.
    """
    given = [name for name in values if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if url:
        if given:
            option = f"--{given[0].replace('_', '-')}"
            raise click.UsageError(f"--url is for a running stack, {option} for a new one; leave one out.", ctx)
        return None
    if values["upstream"]:  # --model is the name of one of its models
        return StackOptions(**{**values, "default_model": values["default_model"] or model})
    file = model if model and model.lower().endswith(".gguf") else None
    own = StackOptions(**{**values, "model": file or os.environ.get("MODEL_PATH")})
    if not file and not given:
        with RunningStack(DEFAULT_URL) as stack:
            if stack.is_reachable():
                return None
    if own.model or own.distribution or (given and given != ["context"]):
        return own
    problem = "--context is for a new stack" if given else f"No server answers at {DEFAULT_URL}"
    raise StackError(
        f"{problem}: start one with `messages serve`, or let launch start one for this client with --model PATH.gguf "
        "or --upstream URL."
    )


def choose_model(stack: RunningStack, name: str | None) -> ListedModel:
    """Return the model of ``--model``, else the stack's default model, else its only one.

    Raises:
        StackError: The model is not served, or has to be chosen with ``--model``.
    """
    models = stack.models()
    stack.check_messages_api()
    served = [one for one in models if one.name == one.model]
    if name:
        if found := stack.model(name):
            return found
        raise StackError(f"--model: {name} is not served at {stack.url}. {_choice(models)}")
    default = stack.model(ANY_NAME)
    if default and default.model != ANY_NAME:
        return next((one for one in served if one.name == default.model), None) or replace(default, name=default.model)
    if len(served) == 1:
        return served[0]
    if not models:
        raise StackError(f"{stack.url} serves no model. Start its backend, or `messages doctor` shows what is wrong.")
    raise StackError(f"{stack.url} serves several models and has no default_model; pass --model. {_choice(models)}")


def _choice(models: Sequence[ListedModel]) -> str:
    names = [one.name for one in models]
    return f"Choose one of: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}." if names else "It has none."


def limits_of(model: ListedModel, window: int | None, output: int | None) -> Limits:
    """Return the limits of a model: from the options, else from the stack, else assumed."""
    known = window or model.window
    return Limits(known or ASSUMED_WINDOW, output or model.output or ASSUMED_OUTPUT, assumed=known is None)


def window_variables(limits: Limits) -> dict[str, str]:
    """Return Claude Code's variables for the limits of a model; see the formula above.

    Args:
        limits: The model's limits.

    Raises:
        StackError: The window is too small.
    """
    window = limits.window
    if window < SMALLEST_WINDOW:
        raise StackError(
            f"A window of {window:,} tokens is too small for Claude Code, which needs {SMALLEST_WINDOW:,}. Serve the "
            "model with a larger context, 65,536 if possible, or set its real size with --window."
        )
    above = next((at for at, row in enumerate(_ROWS) if window < row[0]), None)
    if above is None:
        reserve, outputs = _ROWS[-1][1], []
    else:
        (low, *lows), (high, *highs) = _ROWS[above - 1 : above + 1]
        share = (window - low) / (high - low)
        reserve, *outputs = (round(one + share * (other - one)) for one, other in zip(lows, highs, strict=True))
    variables = {
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": window - reserve + _COMPACTION_MARGIN,
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": min(limits.output, window // 8, _MAX_OUTPUT),
    }
    if outputs:
        variables["BASH_MAX_OUTPUT_LENGTH"], variables["CLAUDE_CODE_FILE_READ_MAX_OUTPUT_TOKENS"] = outputs
    return {name: str(value) for name, value in variables.items()}


def claude_variables(url: str, model: str, limits: Limits, token: str | None = None) -> dict[str, str]:
    """Return the variables of Claude Code, and of other clients that read ``ANTHROPIC_*``."""
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": token or "none",
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": model,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": model,
        **window_variables(limits),
        **(SHORTER_PROMPT if limits.window < TIGHT_WINDOW else {}),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def subagent_variables(stack: RunningStack, model: str, name: str | None) -> dict[str, str]:
    """Return the variable with the model of sub-agents, if the one that the user has set is not served.

    Args:
        stack: The stack.
        model: The model of the client.
        name: The user's model for sub-agents.
    """
    if not name or name in _SUBAGENT_ALIASES or stack.model(name):
        return {}
    click.echo(f"messages: {SUBAGENT_MODEL}={name} is not served at {stack.url}; {model} is used instead.", err=True)
    return {SUBAGENT_MODEL: model}


def opencode_variables(url: str, model: str, limits: Limits, token: str | None = None) -> dict[str, str]:
    """Return the variables of opencode: a configuration that wins over its files, with a provider for the stack."""
    entry = {"name": model, "limit": {"context": limits.window, "output": min(limits.output, limits.window // 4)}}
    provider = {
        "npm": "@ai-sdk/anthropic",
        "name": "llama-stack",
        "options": {"baseURL": f"{url}/v1", "apiKey": token or "none"},
        "models": {model: entry},
    }
    if token:  # the platform accepts only this header
        provider["options"]["headers"] = {"Authorization": f"Bearer {token}"}  # type: ignore[index]
    name = f"messages/{model}"
    config = {"provider": {"messages": provider}, "model": name, "small_model": name, "autoupdate": False}
    return {"OPENCODE_CONFIG_CONTENT": json.dumps(config), "OPENCODE_DISABLE_MODELS_FETCH": "1"}


def notices(url: str, requested: str | None, model: ListedModel, limits: Limits) -> list[str]:
    """Return what to tell the user before the client starts.

    Args:
        url: The stack's address.
        requested: The name of ``--model``.
        model: The stack's entry of the model.
        limits: The limits in use.
    """
    lines = [f"{model.name} at {url}, with a window of {limits.window:,} tokens."]
    if limits.assumed:
        lines[0] = (
            f"{model.name} at {url}. The stack does not say how large its window is: {limits.window:,} tokens, and "
            f"{limits.output:,} of output, are assumed; set --window and --output if that is wrong."
        )
    if requested and model.model != requested:
        lines.append(f"{requested} is answered by {model.model}.")
    if _KNOWN_NAME.search(model.name):
        lines.append(f"Claude Code knows the name {model.name} and ignores the window for it; use another alias.")
    return lines


def shell_commands(variables: Mapping[str, str], token_env: str | None = None) -> str:
    """Return the commands of a POSIX shell that set the variables and remove ``REMOVED``.

    Args:
        variables: Names and values.
        token_env: The variable with the token, to which the commands refer instead of printing the token.
    """
    quoted = {name: shlex.quote(value) for name, value in variables.items()}
    if token_env and "ANTHROPIC_AUTH_TOKEN" in quoted:
        quoted["ANTHROPIC_AUTH_TOKEN"] = f'"${token_env}"'
    return "\n".join([f"unset {' '.join(REMOVED)}", *(f"export {name}={value}" for name, value in quoted.items())])


def child_environment(
    environment: Mapping[str, str], variables: Mapping[str, str], stack: RunningStack
) -> dict[str, str]:
    """Return the environment of the client; a proxy in it is not used for a stack on this machine."""
    child = {name: value for name, value in environment.items() if name not in REMOVED} | dict(variables)
    return child | (local_no_proxy(child, urlsplit(stack.url).hostname or "") if is_this_machine(stack.url) else {})


def client_path(name: str) -> str:
    """Return the path of a client's program.

    Raises:
        StackError: The client is not installed.
    """
    if path := shutil.which(name):
        return path
    how = f"Install it: {INSTALL[name]}" if name in INSTALL else "Check the name, or give its path."
    raise StackError(f"{name} is not found in PATH. {how}")


def client_words(client: Sequence[str], limits: Limits, *, all_tools: bool, starts: bool) -> list[str]:
    """Return the command line of a client; Claude Code gets four tools for a small window, which is printed."""
    selects_tools = any(word in ("--tools", "--bare") or word.startswith("--tools=") for word in client)
    if Path(client[0]).stem != "claude" or limits.window > SMALL_WINDOW or all_tools or selects_tools:
        return [*client]
    off = "; auto memory, git instructions and background tasks are off" if limits.window < TIGHT_WINDOW else ""
    how = f"{SMALL_TOOL_SET} is added (--all-tools keeps all)" if starts else f"start it with {SMALL_TOOL_SET}"
    click.echo(f"messages: A window of {limits.window:,} tokens is small for Claude Code: {how}{off}.", err=True)
    return [client[0], SMALL_TOOL_SET, *client[1:]]


def start(path: str, words: Sequence[str], environment: Mapping[str, str], *, replace: bool) -> int:
    """Start a client, and return its exit code.

    Args:
        path: The path of its program.
        words: Its name and arguments.
        environment: Its complete environment.
        replace: Replace this process by the client, so that signals, the terminal and the exit code are the client's.

    Raises:
        StackError: It cannot be started.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if replace and os.name != "nt":  # on Windows, exec would start a second process and end this one before it
            os.execve(path, [*words], dict(environment))  # noqa: S606 - the user's command
        from .own_stack import run_client

        return run_client(path, words, environment)
    except OSError as error:
        raise StackError(f"{path} cannot be started: {error.strerror}. Check that it is a program.") from None


def write_settings_file(path: Path, variables: Mapping[str, str], *, ask: bool) -> None:
    """Add the variables to ``env`` of a settings file, after showing the difference.

    Args:
        path: The file; it and its folder are created if missing, everything else in it is kept.
        variables: The new values.
        ask: Whether to wait for the user's agreement.

    Raises:
        StackError: The file is not a JSON object, or its ``env`` is not one.
        click.Abort: The user does not agree.
    """
    path = path.resolve()  # a link stays a link
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        mode = path.stat().st_mode if before else 0o600
        settings = json.loads(before or "{}")
    except OSError as error:
        raise StackError(f"{path} cannot be read: {error.strerror}. It is unchanged.") from None
    except ValueError as error:
        raise StackError(f"{path} is not valid JSON ({error}). Correct it first; it is unchanged.") from None
    if not isinstance(settings, dict) or not isinstance(settings.get("env", {}), dict):
        raise StackError(f"{path}: the file, and `env` in it, have to be JSON objects. Correct it; it is unchanged.")
    own_token = settings.get("env", {}).get("ANTHROPIC_AUTH_TOKEN")
    if own_token and variables.get("ANTHROPIC_AUTH_TOKEN") == "none":
        variables = {**variables, "ANTHROPIC_AUTH_TOKEN": own_token}
    settings["env"] = {**settings.get("env", {}), **variables}
    after = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    lines = [*difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), lineterm="")]
    if not lines:
        click.echo(f"{path} has these values already.")
        return
    click.echo("\n".join(_SECRET.sub(r'\1"..."', line) for line in lines))
    if ask:
        click.confirm(f"Write {path}?", abort=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch(mode=0o600)
        part.write_text(after, encoding="utf-8")
        part.chmod(mode)
        part.replace(path)
    except OSError as error:
        raise StackError(f"{path} cannot be written: {error.strerror}. It is unchanged.") from None
    click.echo(f"Written: {path}")
    if removed := [name for name in REMOVED if settings["env"].get(name)]:
        click.echo(f"messages: remove {', '.join(removed)} from env in {path}: it would win.", err=True)


def overriding_settings(variables: Mapping[str, str]) -> list[str]:
    """Return a line for each settings file of Claude Code that overrides variables of this launch."""
    home = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
    lines = []
    for path in (home / "settings.json", Path.cwd() / SETTINGS, Path.cwd() / ".claude" / "settings.local.json"):
        try:
            env = json.loads(path.read_text())["env"]
            names = [
                name for name in (*variables, *REMOVED) if env.get(name, variables.get(name)) != variables.get(name)
            ]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue
        if names:
            lines.append(
                f"{path} sets {', '.join(names)}, which wins over this launch; remove it there if that is wrong."
            )
    return lines
