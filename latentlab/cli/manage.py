"""The commands about the installation: models, fetch, doctor, figures, app."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from .inputs import parse_list
from .options import Family, Json, ModelChoice, announce_download, with_model_options
from .output import make_folder, print_notes, print_output, run_with_progress_bar

LEGEND = """
memory: GB in float16/float32 of all networks at once (or of one at a time).
A folder or OWNER/NAME on the hub with parts of one goes where a name goes.
So does a CLIP of open_clip, as NAME:TAG, for what needs no decoder:
latentlab classify photo.jpg --labels cat,dog --model ViT-B-32:laion2b_s34b_b79k"""


def models(as_json: Json = False) -> None:
    """List the models and what they need.

    The list has each model's size, memory and licence, and whether it is on this machine; it needs no network.
    """
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
        about = (row["about"], row["clip"]) if wide else ()
        table.add_row(row["name"], *about, row["licence"], _size(row["megabytes"]), _memory(row), _here(row))
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
    model: Annotated[
        str,
        typer.Argument(help="Name from `latentlab models`, OWNER/NAME@REVISION on the hub, or open_clip's NAME:TAG."),
    ],
    family: Family = None,
    as_json: Json = False,
) -> None:
    """Download a model into the hub's cache.

    The model loads without a network later.
    """
    from .. import models as registry

    registry.check(model, family)
    announce_download(model)
    folders = [str(folder) for folder in registry.fetch(model, family)]
    print_output({"model": model, "folders": folders}, as_json, folders or [f"{model} is here"])


def doctor(as_json: Json = False) -> None:
    """Check the installation.

    Each problem is printed with its repair, and the exit code is 1 if there is one.
    """
    from .diagnostics import examine

    report = examine()
    lines = [f"{name:<18} {value}" for name, value in report["facts"].items()]
    lines += [f"problem: {problem}" for problem in report["problems"]] or ["no problem was detected"]
    print_output(report, as_json, lines)
    raise typer.Exit(1 if report["problems"] else 0)


def open_app(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the page; by default 7860 or the next free one.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(help="Model that the app starts with, a name from `latentlab models`; a visitor can change it."),
    ] = "emoji",
    map: Annotated[
        Path | None, typer.Option(help="File of `latentlab embed` whose pictures the app's map shows.", exists=True)
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of the map's pictures; the folder of the file by default.", exists=True)
    ] = None,
) -> None:
    """Open the app on this machine."""
    import os

    os.environ["LATENTLAB_MODEL"] = model
    for name, path in (("LATENTLAB_MAP", map), ("LATENTLAB_MAP_PICTURES", pictures)):
        if path is not None:
            os.environ[name] = str(path)
    if port is not None:
        os.environ["GRADIO_SERVER_PORT"] = str(port)
    try:
        from ..app.main import main
    except ModuleNotFoundError as error:
        if error.name not in ("gradio", "spaces"):
            raise
        raise UserError("the app needs gradio: pip install 'latentlab[app]'") from error
    main()


@with_model_options
def figures(
    model: ModelChoice,
    only: Annotated[
        str,
        typer.Option(
            help="Figures to make, separated by commas, out of inversion,3,4,5,6,7,8,9,14,15,16,clip; all by default."
        ),
    ] = "",
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of six pictures or more, each named by what it shows; the model's gallery by default."
        ),
    ] = None,
    directions: Annotated[
        Path | None, typer.Option(help="File that `latentlab pca fit` wrote; the model's own components by default.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for figures, numbers and index.html.")] = Path("figures"),
    as_json: Json = False,
) -> None:
    """Remake the paper's figures.

    The folder also gets a page that shows them.
    """
    from ..io import atomic
    from ..paper import figures, inputs

    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    paper_inputs = inputs.inputs(lab, images, directions)
    make_folder(folder)
    manifest = run_with_progress_bar(figures.remake(lab, paper_inputs, folder, parse_list(only)), as_json)
    print_notes(f"skipped {name}: {reason}" for name, reason in manifest["skipped"].items())
    lines = [f"{f['figure']:<9} {f['title']}: {f['summary']}" for f in manifest["figures"]]
    print_output(manifest, as_json, [*lines, manifest["page"]])


COMMANDS: dict[str, Callable[..., None]] = {
    "models": models,
    "fetch": fetch,
    "doctor": doctor,
    "figures": figures,
    "app": open_app,
}
