"""Contact sheets by which a candidate is judged by eye, in addition to the report's numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch

from .. import experiments
from ..experiments.stages import run_to_end, sample_images
from ..grammar import COLOURS, article
from ..latents import Latent
from ..models import Lab
from ..noise import draw_x_T
from ..plotting import Figure, grid, rows
from ..prior import sample
from .drawings import Sprites
from .rendering import Renderer
from .scenes import single
from .things import things


def sheets(lab: Lab, sprites: Sprites, *, seed: int = 0) -> Iterator[tuple[str, Figure]]:
    """Yield named figures of 64 captions, 32 reconstructions, 16 interpolations and 16 text diffs."""
    rng = random.Random(f"sheet {seed}")
    yield "captions", generated(lab, rng)
    names = rng.sample([t.name for t in things()], 32)
    scenes = [single(rng, sprites, name, split="held-out", centred=True) for name in names]
    pixels = Renderer(sprites, lab.device)(scenes)
    result = experiments.reconstruct(lab, pixels)
    pictures = torch.stack([result.inverted.original, result.pixels, result.from_z_i], 1).flatten(0, 1)
    yield "reconstructions", grid(pictures, columns=12, heading="held-out pictures; from (z_i, x_T); from z_i alone")
    paths = [experiments.interpolate(lab, pair, thetas=7) for pair in pixels.split(2)]
    yield "interpolations", rows({str(k): path.pixels[0] for k, path in enumerate(paths)})
    yield "text diffs", diffs(lab, pixels[:16], [next(t.phrases[0] for t in things() if t.name == n) for n in names])


def generated(lab: Lab, rng: random.Random) -> Figure:
    """64 things with 64 seeds, half of them on a named background, through the whole pipeline in one batch."""
    captions = []
    for k, thing in enumerate(rng.sample(things(), 64)):
        ground = f" on {article(rng.choice(list(COLOURS)))} background" if k % 2 else ""
        captions.append(thing.phrases[0] + ground)
    decoder = lab.require_decoder()
    latent = Latent(sample(lab.prior, captions, seeds=range(64)), draw_x_T(decoder, range(64), device=lab.device))
    text = decoder.encode_prompt(captions)
    pixels = run_to_end(sample_images(lab, latent, text=text, steps=25, guidance=2.0))
    return grid(pixels, titles=[caption.replace(" on ", "\non ") for caption in captions], columns=8)


def diffs(lab: Lab, pixels: torch.Tensor, names: list[str]) -> Figure:
    """Turn every one of 16 pictures towards the next one's caption."""
    named = {}
    for k in range(16):
        target = names[(k + 1) % 16]
        result = experiments.diff(lab, pixels[k : k + 1], target, source=names[k], thetas=6)
        named[f"{names[k]}\nto {target}"] = result.pixels[0]
    return rows(named)
