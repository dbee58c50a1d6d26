"""``messages run``: checks a run.yaml, then becomes ``llama stack run``."""

import os
import sys
from pathlib import Path

import click

from .check import check, server_port, set_apis_dir
from .run_config import read_run_config
from .server import check_port, llama_command


@click.command("run")
@click.argument("file", metavar="RUN.YAML", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(1, 65535), help="The port (default: server.port of the file, else 8321).")
@click.option(
    "--allow-all-interfaces", is_flag=True,
    help="Start although server.host is 0.0.0.0 without authentication, as in a container.",
)  # fmt: skip
def command(file: Path, port: int | None, *, allow_all_interfaces: bool) -> None:
    """Check a run.yaml and start its stack, if there are no mistakes.

    Sets MESSAGES_APIS_DIR, which the distributions use, and LLAMA_STACK_LOG_FORMAT=json, unless they are set. The
    process is the platform's own from then on: SIGTERM ends open streams of the Messages API with an error event, and
    waits for all other requests.

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
    click.echo(f"Starting the stack; the Messages API will be at http://127.0.0.1:{number}/v1/messages", err=True)
    llama = llama_command()
    os.execv(llama, [llama, "stack", "run", str(file), "--port", str(number)])  # noqa: S606 - the platform's own command
