"""``messages serve``: from a model file, the URL of a server or a distribution to a stack that serves the Messages API.

It writes the run.yaml that it uses, so that the user can keep and change it, checks it, starts the stack and prints
what to do next. Nothing has to be configured: the tokens, folders and addresses that the stack needs come from here.
"""

from pathlib import Path
from typing import Any

import click

from .check import DEFAULT_PORT
from .plan import StackOptions, Waiting, make_plan, prepare, stack_options, state_folder
from .server import Server, check_port, serve_until_stopped


@click.command("serve")
@click.option("--model", envvar="MODEL_PATH", show_envvar=True, metavar="PATH.gguf", help="A GGUF file, served here.")
@stack_options
@click.option(
    "--port", type=click.IntRange(1, 65535), envvar="PORT", show_envvar=True, default=DEFAULT_PORT, show_default=True,
    help="The port on 127.0.0.1.",
)  # fmt: skip
@click.option("--write", type=click.Path(path_type=Path), metavar="PATH", help="Where to write the run.yaml.")
@click.option("--verbose", is_flag=True, help="Print the log of the platform from the start.")
def command(
    *,
    port: int,
    write: Path | None,
    verbose: bool,
    **options: Any,  # noqa: ANN401 - those of StackOptions
) -> None:
    """Start a stack with the Messages API on 127.0.0.1.

    Without --model, --upstream and --distribution it serves a tiny model that comes with the package. /v1/messages
    accepts any model name. SIGINT (Ctrl-C) and SIGTERM end it within eight seconds.

    \b
    Examples:
      messages serve --model qwen3-8b.gguf --context 65536
      messages serve --upstream http://127.0.0.1:8000
      messages serve --upstream https://api.example.com --upstream-key-env EXAMPLE_API_KEY
    """  # noqa: D301 - click's mark for text that is not wrapped
    check_port(port)
    plan = make_plan(StackOptions(**options))
    folder = state_folder() / f"serve-{port}"
    stack = prepare(plan, folder, write)
    click.echo(f"Starting {plan.title} ...")
    click.echo(f"Configuration: {stack.file}")

    def wait(server: Server) -> None:
        server.wait_until_healthy(stack.config)
        if plan.probe:
            server.wait_until_ready(Waiting(stack.config))

    log = folder / "stack.log"
    serve_until_stopped(lambda: Server(stack.file, port, stack.environ, log=log, verbose=verbose), wait)
