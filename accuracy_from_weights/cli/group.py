"""A click group that imports commands lazily and turns errors into one sentence."""

from __future__ import annotations

import importlib
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from accuracy_from_weights.errors import AccuracyFromWeightsError, AccuracyFromWeightsWarning


class LazyGroup(click.Group):
    """Group whose commands live in modules of this package that are imported on use.

    Parameters
    ----------
    lazy_commands : mapping of str to str
        Command, which is the name of its module (the object in it is called ``command``), to the
        line that ``--help`` shows, which is why no module need be imported for it.
    """

    def __init__(self, *args: Any, lazy_commands: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy_commands = lazy_commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the help page."""
        return list(self.lazy_commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return the command."""
        if cmd_name not in self.lazy_commands:
            return None
        module = importlib.import_module(f"accuracy_from_weights.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.lazy_commands.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error becomes one sentence on stderr and its exit code."""
        with _short_warnings():
            try:
                return super().invoke(ctx)
            except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
                raise
            except KeyboardInterrupt:
                # click would answer with an empty line and "Aborted!".
                message, exit_code = "Stopped by the user.", 1
            except Exception as error:  # noqa: BLE001 - the last stop before the user
                if ctx.params.get("debug"):
                    traceback.print_exc()
                message, exit_code = _sentence(error), getattr(error, "exit_code", 1)
        click.echo(f"Error: {message}", err=True)
        ctx.exit(exit_code)


def _sentence(error: Exception) -> str:
    if isinstance(error, AccuracyFromWeightsError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    reason = " ".join(str(error).split())
    return (
        f"Unexpected {type(error).__name__}{': ' if reason else ''}{reason} "
        "(accuracy-from-weights --debug COMMAND ... shows the traceback)"
    )


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Show warnings of this package as one line, without file name and source."""
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **to: Any) -> None:
            if issubclass(category, AccuracyFromWeightsWarning):
                click.echo(f"Warning: {message}", err=True)
            else:
                show_others(message, category, *where, **to)

        warnings.showwarning = show
        yield
