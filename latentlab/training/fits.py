"""The commands that fit directions and features of z_i on the training scenes, without training a network."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .drawings import load_sprites
from .exports import load_autoencoder, load_encoder, load_pool, run_folder
from .options import Device, Scenes, console, device_of


def directions(device: Device = "", scenes: Scenes = 32_000) -> None:
    """Fit the principal directions of z_i on the training scenes."""
    from ..analysis.pca import Directions

    where, sprites = device_of(device), load_sprites()
    encoder, first_stage = load_encoder(where), load_autoencoder(where)
    pool = load_pool(sprites, encoder, first_stage, count=scenes, side=64, progress=console)
    metadata = {"model": "emoji", "fitted on": f"{scenes} training scenes"}
    components = Directions.fit(pool.z_i.float().split(4096), metadata=metadata)
    folder = run_folder("directions") / "export"
    folder.mkdir(parents=True, exist_ok=True)
    components.save(folder / "directions.safetensors")
    counts = {"n": components.count, "width": len(components.mean), "components for 99%": components.needed(0.99)}
    print(json.dumps(counts))


def dictionary(
    device: Device = "",
    scenes: Scenes = 32_000,
    features: Annotated[int, typer.Option(min=1, help="The number of features.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="The steps of the fit.")] = 2000,
) -> None:
    """Fit a dictionary of sparse features of z_i on the training scenes."""
    from ..analysis.sparse_autoencoder import fit

    where, sprites = device_of(device), load_sprites()
    encoder, first_stage = load_encoder(where), load_autoencoder(where)
    pool = load_pool(sprites, encoder, first_stage, count=scenes, side=64, progress=console)
    metadata = {"model": "emoji", "fitted on": f"{scenes} training scenes"}
    fitted = fit(pool.z_i.float(), features, steps=steps, metadata=metadata)
    folder = run_folder("dictionary") / "export"
    folder.mkdir(parents=True, exist_ok=True)
    fitted.save(folder / "dictionary.safetensors")
    dead = int((fitted.frequency == 0).sum())
    print(json.dumps({"n": fitted.count, "features": len(fitted), "dead": dead, "explained": fitted.explained}))
