"""From the options of ``messages serve`` and ``messages launch`` to the run.yaml of a stack, ready to be started.

A stack serves a GGUF file with the embedded engine, a running server (``--upstream``), or a distribution of the
package. The run.yaml is written to a file that the user can keep and change, and checked as ``messages check`` does.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import yaml
from click.core import ParameterSource

from .run_config import RunConfig, expand_user, read_run_config

STACK_OPTIONS = {
    "upstream": click.option(
        "--upstream", metavar="URL", help="The URL of a running server; its kind is detected."
    ),
    "upstream_key_env": click.option(
        "--upstream-key-env", metavar="NAME", help="The environment variable with the key of --upstream."
    ),
    "default_model": click.option(
        "--default-model", metavar="NAME",
        help="The model of --upstream for names that it does not have (default: its first).",
    ),
    "distribution": click.option(
        "--distribution", type=click.Choice(["local", "starter"]), envvar="DISTRIBUTION", show_envvar=True,
        help="A run.yaml of the package, configured by environment variables.",
    ),
    "context": click.option(
        "--context", type=click.IntRange(min=0), envvar="CONTEXT_SIZE", show_envvar=True, metavar="TOKENS",
        help="Context of the embedded engine (default: 65536; 0: that of the model).",
    ),
}  # fmt: skip
"""The options that say what a stack serves, besides --model."""

_ENGINE = "inline::llama-cpp"
_START = {
    "remote::ollama": "ollama serve",
    "remote::vllm": "vllm serve MODEL --enable-auto-tool-choice --tool-call-parser hermes",
    "remote::llama-cpp-server": "llama-server -m MODEL.gguf --jinja --port 8080",
}
"""Provider type -> the command that starts its backend."""


def stack_options[F: Callable[..., Any]](command: F) -> F:
    """Add ``STACK_OPTIONS`` to the function of a command."""
    for option in reversed(STACK_OPTIONS.values()):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class StackOptions:
    """The values of ``STACK_OPTIONS`` and of --model, None where it is not set."""

    model: str | None = None
    upstream: str | None = None
    upstream_key_env: str | None = None
    default_model: str | None = None
    distribution: str | None = None
    context: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be served.

    Attributes:
        content: The run.yaml to write; None: ``file`` is used as it is.
        file: A distribution's run.yaml.
        title: One line for the user that says what is served.
        probe: Whether the stack is ready only when its default model has answered a request.
        environ: Further environment variables of the stack.
    """

    title: str
    content: Mapping[str, Any] | None = None
    file: Path = Path()
    probe: bool = True
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run.yaml that is written and has no mistakes, and the environment of its stack."""

    file: Path
    config: RunConfig
    environ: Mapping[str, str]


def make_plan(options: StackOptions) -> Plan:
    """Return what to serve; without --model, --upstream and --distribution the tiny model of the package.

    Raises:
        click.ClickException: The upstream does not answer, or the engine or the file is missing.
    """
    ctx = click.get_current_context()
    engine = [name for name in ("model", "distribution", "context") if getattr(options, name) is not None]
    given = [name for name in engine if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if options.upstream and given:
        raise click.UsageError(f"--upstream and --{given[0]} cannot be used together; leave one out.", ctx)
    if not options.upstream and (options.upstream_key_env or options.default_model):
        raise click.UsageError("--upstream-key-env and --default-model need --upstream.", ctx)
    if options.upstream:
        return _upstream_plan(options.upstream, options.upstream_key_env, options.default_model)
    path = _model_path(options.model)
    if options.distribution:
        return _distribution_plan(options.distribution, path, options.context)
    return _engine_plan(path, options.context)


def prepare(plan: Plan, folder: Path, file: Path | None = None) -> Prepared:
    """Write the run.yaml of a plan and check it.

    Args:
        plan: What to serve.
        folder: The folder of the stack's databases; it is created if missing.
        file: Where to write the run.yaml (default: to the folder).

    Raises:
        click.ClickException: The folder or the file cannot be written, or the file has mistakes.
    """
    from messages_tape.testing.stack import distributions

    from .check import check

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"{folder} cannot be created: {error.strerror}; set LLAMA_STACK_CONFIG_DIR"
        raise click.ClickException(text) from None
    own = {
        "MESSAGES_APIS_DIR": str(distributions() / "apis.d"),
        "LLAMA_STACK_LOG_FORMAT": "json",  # the other format costs a millisecond for each request
        "SQLITE_STORE_DIR": str(folder),  # the default is shared by all stacks, and keeps models of other ones
    }
    environ = {**own, **os.environ, **plan.environ}
    file = _write(plan, file or folder / "run.yaml")
    config = read_run_config(file, environ)
    if found := check(config):
        raise click.ClickException(f"{file}: {found[0]}" + (f" ({len(found) - 1} more)" if found[1:] else ""))
    return Prepared(file, config, environ)


class Waiting:
    """Prints one line if the backend of the default model does not answer yet; to stdout, or to stderr with ``err``."""

    def __init__(self, config: RunConfig, *, err: bool = False) -> None:
        self._err = err
        providers = config.providers("messages")
        settings = (providers[0][1].get("config") or {}) if providers else {}
        self._provider = str(settings.get("default_model") or "").partition("/")[0]
        entries = [entry for _, entry in config.providers("inference") if entry["provider_id"] == self._provider]
        self._entry = entries[0] if entries else {}
        self._printed = False

    def __call__(self, message: str) -> None:
        """Print the sentence; a failure of the embedded engine is an error, because waiting does not mend it.

        Raises:
            click.ClickException: The engine failed.
        """
        kind = self._entry.get("provider_type")
        if kind == _ENGINE:
            raise click.ClickException(message)
        if self._printed:
            return
        self._printed = True
        address = (self._entry.get("config") or {}).get("base_url")
        start = f"start it with `{_START[kind]}`" if kind in _START else "start it, or correct its base_url"
        place = f"{self._provider} at {address}" if address else "the backend of the default model"
        click.echo(f"Waiting for {place}, which does not answer: {start}.", err=self._err)


def _upstream_plan(url: str, key_env: str | None, default_model: str | None) -> Plan:
    """Return the plan for a running server.

    Raises:
        click.ClickException: The server does not answer, or there is no model for the default.
    """
    from .detect import KINDS, detect, is_literal, messages_settings, provider_entry
    from .running_stack import header_value

    key = os.environ.get(key_env) if key_env else None
    if key_env and not key:
        raise click.ClickException(f"--upstream-key-env: the environment variable {key_env} is not set; set it")
    key = header_value(key, key_env) if key and key_env else None
    for option, text in (("--upstream", url), ("--default-model", default_model or "")):
        if not is_literal(text):
            raise click.ClickException(f"{option}: it contains ${{ or a control character; write the plain value")
    found = detect(url, key, key_env)
    model = default_model or found.default_model
    if model is None:
        text = f"--upstream: {found.base_url} lists no model that chats; name one with --default-model NAME"
        raise click.ClickException(text)
    count = f"the first of {len(found.models)}" if len(found.models) > 1 and not default_model else "for any name"
    title = f"{KINDS[found.kind].title} at {found.base_url}, default model {model} ({count})"
    content = _run_yaml(provider_entry(found, key_env), messages_settings(found, model))
    return Plan(title, content=content, probe=False)


def _model_path(model: str | None) -> str | None:
    """Return the absolute path of the GGUF file of --model or MODEL_PATH; None without one.

    Raises:
        click.ClickException: There is no such file; the message names the option or the variable that it is from.
    """
    from llama_stack_provider_messages.local.config import LlamaCppConfig, model_file_problems

    if not model:
        return None
    ctx, path = click.get_current_context(), os.path.abspath(expand_user(model))  # noqa: PTH100 - as expand_user
    is_option = ctx.get_parameter_source("model") is ParameterSource.COMMANDLINE and ctx.params["model"] == model
    for _, problem in model_file_problems(LlamaCppConfig(model_path=path)):
        raise click.ClickException(f"{'--model' if is_option else 'MODEL_PATH'}: {problem}")
    return path


def _engine_plan(path: str | None, context_size: int | None) -> Plan:
    """Return the plan for a GGUF file, or for the model that comes with the package.

    Raises:
        click.ClickException: The engine is missing.
    """
    from llama_stack_provider_messages.local.config import check_engine

    config: dict[str, Any] = {"model_path": path or "", "preload": True}
    if context_size is not None:
        config["context_size"] = context_size
    try:
        check_engine()
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    entry = {
        "provider_id": "local",
        "provider_type": _ENGINE,
        "module": "llama_stack_provider_messages.local",
        "config": config,
    }
    title = Path(path).name if path else "the tiny model of the package; a real one: --model PATH.gguf (MODEL_PATH)"
    return Plan(title, content=_run_yaml(entry, {"default_model": "local/default"}))


def _distribution_plan(name: str, path: str | None, context_size: int | None) -> Plan:
    from messages_tape.testing.stack import distributions

    given = {"MODEL_PATH": path, "CONTEXT_SIZE": None if context_size is None else str(context_size)}
    environ = {variable: value for variable, value in given.items() if value is not None}
    environ["LLAMA_STACK_HOST"] = "127.0.0.1"
    return Plan(f"the distribution {name}", file=distributions() / name / "run.yaml", environ=environ)


def _run_yaml(inference: Mapping[str, Any], messages: Mapping[str, Any]) -> dict[str, Any]:
    from messages_tape.testing.stack import distributions

    return {
        "version": 2,
        "distro_name": "messages",
        "apis": ["inference", "models", "messages"],
        "external_apis_dir": f"${{env.MESSAGES_APIS_DIR:={distributions() / 'apis.d'}}}",
        "server": {"host": "127.0.0.1"},
        "providers": {
            "inference": [dict(inference)],
            "messages": [{"provider_id": "builtin", "provider_type": "inline::builtin", "config": dict(messages)}],
        },
    }


def _write(plan: Plan, path: Path) -> Path:
    """Write the run.yaml of a plan; return the path of the file to use.

    Raises:
        click.ClickException: The file cannot be written.
    """
    if plan.content is None:
        text = plan.file.read_text(encoding="utf-8")
    else:
        comment = "# Written by `messages serve`. Keep a copy to change it: `messages run FILE` starts it.\n"
        text = comment + yaml.safe_dump(dict(plan.content), sort_keys=False)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}; choose another with --write") from None
    return path


def state_folder() -> Path:
    """Return the folder of this package in the platform's folder, without importing the platform."""
    return Path(os.environ.get("LLAMA_STACK_CONFIG_DIR") or "~/.llama").expanduser() / "messages"
