"""`latentlab …`: every command takes --model, --seed, --out DIR and --json where they mean something."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: its threads would spin beside other processes

from .. import __version__
from ..errors import UserError
from . import (
    components,
    corpora,
    dalle,
    drawing,
    edits,
    experiments,
    features,
    latents,
    manage,
    pictures,
    road,
    zero_shot,
)


class GroupsBesideEmbed(TyperGroup):
    """The commands in the order of their registration; typer lists groups after all commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = [name for name in super().list_commands(ctx) if name not in GROUPS]
        return [*names[: names.index("embed")], *GROUPS, *names[names.index("embed") :]]


GROUPS = {"features": features.features, "pca": components.pca}


app = typer.Typer(
    cls=GroupsBesideEmbed,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: rich alone costs half of the start-up
    help="Explore CLIP's latent space with an unCLIP pipeline.",
)


def _version(requested: bool) -> None:
    if requested:
        print(f"latentlab {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version)] = False,
) -> None:
    pass


for command in (
    *pictures.COMMANDS,
    *latents.COMMANDS,
    *edits.COMMANDS,
    *experiments.COMMANDS,
    *drawing.COMMANDS,
    *dalle.COMMANDS,
    *road.COMMANDS,
    *zero_shot.COMMANDS,
):
    app.command()(command)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)
app.command()(corpora.embed)
app.command()(corpora.export)
for name, function in manage.COMMANDS.items():
    app.command(name)(function)


def main() -> None:
    """Run the command line: a user's error prints one sentence and exits with code 2, without a traceback."""
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        message, code = f"error: {error}", 2
    except (KeyboardInterrupt, typer.Abort):
        message, code = "interrupted", 130
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's usage errors, which are click's or its own by its version
            raise
        message, code = _usage(error), 2
    else:
        message = ""
    if message:
        print(message, file=sys.stderr)
    if code:
        sys.exit(code)


def _usage(error: Any) -> str:
    """Return a sentence about an argument that the command does not accept, or typer's help if there is no argument."""
    message = error.format_message().rstrip(".")
    command = error.ctx.command_path if getattr(error, "ctx", None) else "latentlab"
    if message.startswith("Usage:"):
        return message
    message, question, guesses = message.partition(" Did you mean ")
    message += f"{question}{guesses.replace(', ', ' or ')}" if question else ";"
    return f"error: {message} `{command} --help` lists what it accepts"
