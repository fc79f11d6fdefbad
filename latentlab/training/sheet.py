"""Contact sheets of a candidate: to be judged by eye, beside the report's numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from matplotlib.figure import Figure

from .. import experiments
from ..diffusion import noise
from ..grammar import article
from ..latents import Latent
from ..models import Lab
from ..plotting import grid, rows
from ..prior import sample
from .drawings import COLOURS, Sprites, things
from .rendering import Renderer
from .scenes import single


def sheets(lab: Lab, sprites: Sprites, *, seed: int = 0) -> Iterator[tuple[str, Figure]]:
    """64 captions, 32 reconstructions, 16 interpolations and 16 text diffs, each as a named figure."""
    rng = random.Random(f"sheet {seed}")
    yield "captions", captions(lab, rng)
    names = rng.sample([t.name for t in things()], 32)
    found = [single(rng, sprites, name, split="held-out", centred=True) for name in names]
    pixels = Renderer(sprites, lab.device)(found)
    made = experiments.reconstruct(lab, pixels)
    shown = torch.stack([made.inverted.original, made.pixels, made.from_z_i], 1).flatten(0, 1)
    yield "reconstructions", grid(shown, columns=12, heading="held-out pictures; from (z_i, x_T); from z_i alone")
    paths = [experiments.interpolate(lab, pair, thetas=7) for pair in pixels.split(2)]
    yield "interpolations", rows({str(k): path.pixels[0] for k, path in enumerate(paths)})
    yield "text diffs", diffs(lab, pixels[:16], [next(t.phrases[0] for t in things() if t.name == n) for n in names])


def captions(lab: Lab, rng: random.Random) -> Figure:
    """64 things, half of them on a named background, a seed each, through the whole pipeline in one batch."""
    chosen = rng.sample(things(), 64)
    asked = [t.phrases[0] + (f" on {article(rng.choice(list(COLOURS)))} background" if k % 2 else "")
             for k, t in enumerate(chosen)]  # fmt: skip
    z_i = sample(lab.prior, asked, seeds=range(64))
    latent = Latent(z_i, noise(lab.decoder, range(64), device=lab.device))
    stream = experiments.stages.decode_latents(
        lab, latent, text=lab.decoder.encode_prompt(asked), steps=25, guidance=2.0
    )
    return grid(experiments.stages.run_to_end(stream), titles=[a.replace(" on ", "\non ") for a in asked], columns=8)


def diffs(lab: Lab, pixels: torch.Tensor, names: list[str]) -> Figure:
    """Each of 16 pictures turned towards the next one's caption."""
    named = {}
    for k in range(16):
        target = names[(k + 1) % 16]
        made = experiments.diff(lab, pixels[k : k + 1], target, source=names[k], thetas=6)
        named[f"{names[k]}\nto {target}"] = made.pixels[0]
    return rows(named)
