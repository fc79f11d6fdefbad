"""The commands after the training: draw what ships with the miniature, copy it, measure it, look at it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..models.emoji_files import weights_folder
from .drawings import load_sprites
from .options import console


def gallery() -> None:
    """Draw the 24 sample pictures that ship with the model: held-out scenes at 128 pixels."""
    from .shipping import draw_gallery

    folder = weights_folder() / "gallery"
    print(f"{draw_gallery(load_sprites(), folder)} pictures in {folder}")


def atlas(
    draw: Annotated[bool, typer.Option(help="Draw the pictures again; by default they only get new places.")] = False,
) -> None:
    """Lay out the pictures of the app's map by the shipped CLIP, in less than a minute."""
    from .. import models
    from . import map

    folder = map.data_folder()
    if draw:
        map.draw(load_sprites(), folder)
    print(f"{map.lay_out(models.load('emoji').encoder, folder)} pictures in {folder}")


def ship() -> None:
    """Copy every part's newest export into latentlab/weights/emoji and write its MANIFEST.json."""
    from .shipping import copy_exports

    digests, target = copy_exports(), weights_folder()
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    print(f"{len(digests)} files, {size / 2**20:.1f} MB, in {target}")


def confidence() -> None:
    """Find the probability from which on the shipped CLIP can be trusted, and write it beside the weights."""
    from .. import models
    from . import confidence as module

    numbers = module.measure(models.load("emoji"), load_sprites())
    print(json.dumps(numbers), module.save(numbers, weights_folder()))


def sheet(
    out: Annotated[Path, typer.Option(help="The folder for the sheets.")] = Path("sheets"),
    seed: Annotated[int, typer.Option(help="The seed of captions, pictures and noise.")] = 0,
) -> None:
    """Draw contact sheets of the shipped miniature, by which it can be judged by eye."""
    from .. import models
    from ..plotting import save
    from .sheet import sheets

    out.mkdir(parents=True, exist_ok=True)
    for name, figure in sheets(models.load("emoji"), load_sprites(), seed=seed):
        print(save(figure, out / f"{name.replace(' ', '-')}.png", dpi=80))


def report(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    card: Annotated[bool, typer.Option(help="Write the table into MODEL_CARD.md.")] = False,
    seed: Annotated[int, typer.Option(help="The seed of the held-out scenes.")] = 0,
    folder: Annotated[Path | None, typer.Option(help="Measure the miniature in this folder instead.")] = None,
) -> None:
    """Measure the shipped miniature, with n and an interval for every number."""
    from . import report as module
    from . import report_table

    rows = module.measure(folder=folder, seed=seed, progress=console)
    if card:
        report_table.write_card(rows, weights_folder() / "MODEL_CARD.md")
    print(json.dumps({"model": "emoji", "seed": seed, "rows": rows}, indent=1) if as_json else report_table.table(rows))


def compare(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    count: Annotated[int, typer.Option(min=40, help="The number of held-out scenes and of pictures per signal.")] = 512,
    seed: Annotated[int, typer.Option(help="The seed of the held-out scenes.")] = 0,
) -> None:
    """Compare caption, z_t, the prior's z_i and real z_i as the decoder's input (the paper's table 2)."""
    from .. import models
    from . import comparison

    ablation = comparison.compare(models.load("emoji"), load_sprites(), count=count, seed=seed)
    if as_json:
        print(json.dumps({"settings": ablation.settings, "rows": ablation.table}, indent=1))
    else:
        print(comparison.table(ablation))


def factors(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with every direction's row.")] = False,
    count: Annotated[
        int, typer.Option(min=64, help="The number of scenes; half of them choose, half are held out.")
    ] = 4096,
    features: Annotated[int, typer.Option(min=1, help="The number of features of the dictionary.")] = 512,
    seed: Annotated[int, typer.Option(help="The seed of the scenes and of the dictionary.")] = 0,
) -> None:
    """Score features, components, coordinates and texts against the true factors of scenes."""
    from .. import models
    from . import factors as module

    measured = module.measure(models.load("emoji"), load_sprites(), count=count, features=features, seed=seed)
    print(json.dumps(measured, indent=1) if as_json else module.table(measured))
