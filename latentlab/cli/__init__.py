"""`latentlab …`: every command takes --model, --seed, --out DIR and --json where they mean something."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: its threads would spin beside other processes

from .. import __version__
from ..errors import UserError
from . import embeddings, experiments, manage, pictures, zero_shot

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: rich alone costs half of the start-up
    help="Walk through CLIP's latent space with an unCLIP pipeline.",
)


def _version(asked: bool) -> None:
    if asked:
        print(f"latentlab {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", help="Say the version.", callback=_version)] = False,
) -> None:
    pass


for command in (*pictures.COMMANDS, *experiments.COMMANDS, *zero_shot.COMMANDS):
    app.command()(command)
app.add_typer(embeddings.pca, name="pca")
app.command()(embeddings.embed)
for name, command in manage.COMMANDS.items():
    app.command(name)(command)


def main() -> None:
    """The entry point: a user's error is one sentence and exit code 2, never a traceback or a page of usage."""
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        said, code = f"error: {error}", 2
    except Exception as error:
        if not hasattr(error, "format_message"):  # what typer's usage errors have, click's or its own by its version
            raise
        said, code = _usage(error), 2
    else:
        said = ""
    if said:
        print(said, file=sys.stderr)
    if code:
        sys.exit(code)


def _usage(error: Exception) -> str:
    """A word that a command does not take, in a sentence; or the help that typer has for no words at all."""
    message = error.format_message().rstrip(".")
    command = error.ctx.command_path if getattr(error, "ctx", None) else "latentlab"
    return message if message.startswith("Usage:") else f"error: {message}; `{command} --help` says what it takes"
