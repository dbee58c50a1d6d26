"""``messages run``: checks a run.yaml and runs its stack."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from .check import ALL_INTERFACES, check, server_port, set_apis_dir
from .plan import state_folder
from .run_config import RunConfig, read_run_config
from .server import Server, check_port, serve_until_stopped


@click.command("run")
@click.argument("file", metavar="RUN.YAML", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(1, 65535), help="The port (default: server.port of the file, else 8321).")
@click.option(
    "--allow-all-interfaces", is_flag=True,
    help="Start although server.host is 0.0.0.0 without authentication, as in a container.",
)  # fmt: skip
@click.option("--verbose", is_flag=True, help="Print the log of the platform from the start.")
def command(file: Path, port: int | None, *, allow_all_interfaces: bool, verbose: bool) -> None:
    """Check a run.yaml and run its stack, if there are no mistakes.

    Sets MESSAGES_APIS_DIR, which the distributions use, and LLAMA_STACK_LOG_FORMAT=json, unless they are set. The log
    of the start goes to a file, and is printed from then on. SIGINT (Ctrl-C) and SIGTERM end it within eight seconds.

    \b
    Example:
      messages run run.yaml --port 8321
    """  # noqa: D301 - click's mark for text that is not wrapped
    set_apis_dir()
    os.environ.setdefault("LLAMA_STACK_LOG_FORMAT", "json")  # the other format renders tracebacks for seconds
    config = read_run_config(file)
    found = check(config, allow_all_interfaces=allow_all_interfaces)
    for finding in found:
        click.echo(f"{file}: {finding}", err=True)
    if found:
        sys.exit(1)
    number = port or server_port(config)
    check_port(number, "--port or server.port")
    log = state_folder() / f"run-{number}" / "stack.log"
    click.echo(f"Starting {file} ..." if verbose else f"Starting {file}; the log of the start is {log}")

    def new_server() -> Server:
        return Server(file, number, os.environ, url=_url(config, number), log=log, verbose=verbose)

    serve_until_stopped(
        new_server,
        lambda server: server.wait_until_healthy(config),
        _model(config),
        needs_token=bool(config.mapping("server", "auth", "provider_config")),
    )


def _url(config: RunConfig, port: int) -> str:
    """Return the address at which this machine reaches the stack."""
    server = config.mapping("server")
    host = "127.0.0.1" if server.get("host") in ALL_INTERFACES else str(server["host"])
    return f"{'https' if server.get('tls_certfile') else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _model(config: RunConfig) -> str:
    """Return a model name for an example."""
    settings: Any = config.providers("messages")[0][1].get("config") or {}
    return "any" if settings.get("default_model") else "PROVIDER/MODEL"
