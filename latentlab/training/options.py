"""The options that commands of the training share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    import torch

console = Console(stderr=True)

Minutes = Annotated[float, typer.Option(help="The running time of this session in minutes.")]
Resume = Annotated[bool, typer.Option("--resume/--restart", help="Continue from the last checkpoint, or start again.")]
FromShipped = Annotated[bool, typer.Option(help="Start from the shipped weights when there is no checkpoint.")]
Device = Annotated[str, typer.Option(help="cpu or cuda; by default cuda where it is available.")]
Scenes = Annotated[int, typer.Option(help="The number of training scenes, which are encoded once.")]
Start = Annotated[Path | None, typer.Option(help="Start from the weights of the miniature in this folder.")]


def device_of(name: str) -> torch.device:
    """The device of that name, or cuda where it is available."""
    import torch

    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
