"""The commands about the installation: what can be loaded, what is wrong, the paper's figures, the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from .options import Chosen, Family, Json, announce, choosing, listed, make, note, say, watch

LEGEND = """
memory: GB in float16/float32 of all networks at once (or of one at a time).
A folder or OWNER/NAME on the hub with parts of one goes where a name goes.
So does a CLIP of open_clip, as NAME:TAG, for what needs no decoder:
latentlab classify photo.jpg --labels cat,dog --model ViT-B-32:laion2b_s34b_b79k"""


def models(as_json: Json = False) -> None:
    """List what can be loaded, what it takes, and whether it is here; never looks at the network."""
    from .. import models as registry

    rows = registry.listing()
    if as_json:
        print(json.dumps({"models": rows}))
        return
    from rich.console import Console
    from rich.table import Table

    screen = Console()
    wide = screen.width >= 110
    table = Table(box=None, pad_edge=False)
    for column in ("name", *(("what", "CLIP") if wide else ()), "licence", "size", "memory", "here"):
        table.add_column(column, no_wrap=column in ("name", "size", "memory"))
    for row in rows:
        what = (row["about"], row["clip"]) if wide else ()
        table.add_row(row["name"], *what, row["licence"], _size(row["megabytes"]), _memory(row), _here(row))
    screen.print(table)
    screen.print(LEGEND, highlight=False)


def _size(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes > 1000 else f"{megabytes:.0f} MB" if megabytes else "–"


def _memory(row: dict) -> str:
    at_once, least = ("/".join(f"{value:.0f}" for value in row[kind].values()) for kind in ("memory", "least"))
    return f"{at_once} ({least})" if at_once else "–"


def _here(row: dict) -> str:
    here = {None: "comes with latentlab", True: "cached", False: "to be fetched"}[row["cached"]]
    slow = "slow here: one network at a time" if row["turns"] and not row["why_not"] else ""
    return ", ".join(filter(None, (here, row["why_not"] or slow)))


def fetch(
    model: Annotated[str, typer.Argument(help="A name from `latentlab models`, OWNER/NAME@REVISION, or NAME:TAG.")],
    family: Family = None,
    as_json: Json = False,
) -> None:
    """Download a model into the hub's cache, to be loaded later without a network."""
    from .. import models as registry

    registry.check(model, family)
    announce(model)
    folders = [str(folder) for folder in registry.fetch(model, family)]
    say({"model": model, "folders": folders}, as_json, folders or [f"{model} is here"])


def doctor(as_json: Json = False) -> None:
    """Say what is here, what is wrong, and how to mend it; exit code 1 if something is wrong."""
    from .diagnostics import examine

    found = examine()
    lines = [f"{name:<18} {value}" for name, value in found["facts"].items()]
    lines += [f"wrong: {problem}" for problem in found["problems"]] or ["everything is in order"]
    say(found, as_json, lines)
    raise typer.Exit(1 if found["problems"] else 0)


def open_app(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="7860 or the next free one by default.")] = None,
    model: Annotated[str, typer.Option(help="A name from `latentlab models`; a visitor can change it.")] = "emoji",
) -> None:
    """Open the app on this machine."""
    import os

    os.environ["LATENTLAB_MODEL"] = model
    if port is not None:
        os.environ["GRADIO_SERVER_PORT"] = str(port)
    try:
        from ..app.main import main
    except ModuleNotFoundError as error:
        if error.name not in ("gradio", "spaces"):
            raise
        raise UserError("the app needs gradio: pip install 'latentlab[app]'") from error
    main()


@choosing
def figures(
    model: Chosen,
    only: Annotated[
        str, typer.Option(help="Some of inversion,3,4,5,6,7,8,9,14,15,16,clip, with commas; all by default.")
    ] = "",
    images: Annotated[
        Path | None, typer.Option(help="A folder of six pictures or more, named by what they show; the gallery.")
    ] = None,
    directions: Annotated[Path | None, typer.Option(help="What `latentlab pca fit` wrote; the model's own.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for figures, numbers and index.html.")] = Path("figures"),
    as_json: Json = False,
) -> None:
    """Remake the paper's figures into a folder with a page to leaf through."""
    from ..io import atomic
    from ..paper import figures, inputs

    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    given = inputs.inputs(lab, images, directions)
    make(folder)
    found = watch(figures.remake(lab, given, folder, listed(only)), as_json)
    note(f"skipped {name}: {reason}" for name, reason in found["skipped"].items())
    lines = [f"{f['figure']:<9} {f['title']}: {f['summary']}" for f in found["figures"]]
    say(found, as_json, [*lines, found["page"]])


COMMANDS = {"models": models, "fetch": fetch, "doctor": doctor, "figures": figures, "app": open_app}
