"""``messages apis-dir``: prints the folder that a run.yaml needs as ``external_apis_dir``."""

import click

from messages_tape.testing.stack import distributions


@click.command("apis-dir")
def command() -> None:
    """Print the folder for external_apis_dir.

    \b
    Example:
      MESSAGES_APIS_DIR=$(messages apis-dir) llama stack run run.yaml
    """  # noqa: D301 - click's mark for text that is not wrapped
    click.echo(distributions() / "apis.d")
