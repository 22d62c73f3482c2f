"""The command `hews`: one thin function per job.

Results go to standard output (with `--json` as one JSON object), progress and messages to standard error. A mistake of
the user ends with one line and exit code 2; so does Ctrl-C, after everything half-written has been removed. Each
command imports what it needs when it runs, so that `hews --help` is immediate and table work and torch stay apart.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from hews_gpu.cli import (
    check_commands,
    cluster_commands,
    data_commands,
    forecast_commands,
    groups_commands,
    live_commands,
    record_commands,
    warn_commands,
)
from hews_gpu.errors import EXIT_USER_ERROR, STOPPED, UserError

__all__ = ["app"]

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""An unknown option, a missing argument and the like; Typer gives it no public name."""


class Commands(TyperGroup):
    """The commands, with the ways out that need no traceback: a user's mistake, and being stopped."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read what stands before the name of a command."""
        try:
            return super().make_context(*arguments, **options)
        except UsageError as error:
            _tell_usage(error)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command, by two words where there is one of two."""
        two = " ".join(args[:2])
        return super().resolve_command(ctx, [two, *args[2:]] if two in self.commands else args)

    def invoke(self, ctx: Any) -> Any:
        """Run one command."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            print(f"hews: {error}", file=sys.stderr)
        except UsageError as error:
            _tell_usage(error)
        except KeyboardInterrupt as stop:  # a run that can go on says how
            print(f"hews: {str(stop) or STOPPED}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def _tell_usage(error: Any) -> NoReturn:
    """One line instead of Typer's box; a command without a word after it shows its help, as it is.

    Raises:
        SystemExit: always, with the code of a user's mistake.
        UsageError: the error is the help.
    """
    if type(error).__name__ == "NoArgsIsHelpError":
        raise error
    text = " ".join(error.format_message().split())
    asked = error.ctx.command_path if error.ctx else "hews"
    print(f"hews: {text}{'' if text.endswith(('.', '?')) else '.'} See '{asked} --help'.", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)


app = typer.Typer(
    cls=Commands,
    help="HEWS-GPU: from a table of reported crimes to a calibrated, honestly judged warning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(show: bool) -> None:
    if show:
        from hews_gpu import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Options of the command itself."""


for commands in (
    data_commands,
    forecast_commands,
    groups_commands,
    warn_commands,
    live_commands,
    record_commands,
    check_commands,
    cluster_commands,
):
    app.add_typer(commands.app)
