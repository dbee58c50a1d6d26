"""The command ``messages``: its subcommands, and how errors are printed.

A command module is imported when its command is used, so that ``messages --help`` loads nothing but click. A command
raises ``click.ClickException`` with one line: what is wrong, and what to do.
"""

import importlib
import sys

import click

PROGRAM = "messages"
_COMMANDS = {
    "serve": ("serve", "Start a stack from a model file, the URL of a server, or a distribution."),
    "run": ("run", "Check a run.yaml and run its stack."),
    "check": ("check", "Find mistakes in a run.yaml, without starting a server."),
    "apis-dir": ("apis_dir", "Print the folder for external_apis_dir."),
    "launch": ("launch", "Start Claude Code, opencode or any client on a stack."),
    "doctor": ("doctor", "Check a running stack; each problem comes with a remedy."),
}
"""Command -> the module with its function ``command``, and what it does; the order is that of ``--help``."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _ = _COMMANDS[cmd_name]
        command: click.Command = importlib.import_module(f"{__package__}.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the table of commands without importing their modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in _COMMANDS])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llama-stack-provider-messages")
def group() -> None:
    """Serve the Anthropic Messages API from your own models, and connect clients to it."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit; an error is one line on stderr.

    Args:
        argv: The arguments; by default ``sys.argv[1:]``.
    """
    try:
        code = group.main(argv, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else PROGRAM
        click.echo(f"{PROGRAM}: {error.format_message()} See {command} --help", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"{PROGRAM}: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
