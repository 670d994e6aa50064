"""The typer application; it loads only the requested command."""

import functools
import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Annotated

import typer

from bertwire_core.commands import COMMANDS
from bertwire_core.process import readable


def build_app(name: str) -> typer.Typer:
    """Build the application; commands other than `name` have only name and summary."""
    app = typer.Typer(
        callback=_options,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        # rich's tables truncate option names at 80 columns.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for each, command in COMMANDS.items():
        if each == name:
            _add_loaded(app, name)
        else:
            app.command(each, help=command.summary, short_help=command.summary)(_unloaded)
    return app


def _add_loaded(app: typer.Typer, name: str) -> None:
    """Load a command, or a command group: a module with a function per subcommand."""
    command = COMMANDS[name]
    loaded = getattr(importlib.import_module(command.module), name.replace("-", "_"))
    if isinstance(loaded, dict):
        group = typer.Typer(no_args_is_help=True)
        for each, function in loaded.items():
            group.command(each)(_guarded(name, function))
        app.add_typer(group, name=name, help=command.summary)
    else:
        app.command(name, short_help=command.summary)(_guarded(name, loaded))


def _guarded(name: str, function: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(function)
    def call(**values: object) -> None:
        # Inside the typer function, since typer handles Ctrl-C itself.
        with readable(name):
            function(**values)

    return call


def _unloaded() -> None:
    raise AssertionError("main loads the command that is asked for")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"bertwire {importlib.metadata.version('bertwire')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Fine-tune BERT, export it to ONNX with proof of its quality, serve it over gRPC, score files with it."""
