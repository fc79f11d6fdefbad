"""Latents -> pictures: what was inverted, generated or changed before, decoded again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..analysis.intervals import format_interval, mean
from ..errors import UserError
from ..latents import Latent, PairLatent
from .base import Progress, Result, experiment
from .inversion import InversionResult, Pictures, ensure_inverted
from .stages import cosine, sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class LatentDecodingResult(Result):
    """The pictures of latents.

    Args:
        latent: B, what the pictures are decoded from.
        pixels: (B, 3, H, W), upsampled where the lab can.
    """

    latent: Latent | PairLatent
    pixels: Tensor

    def figure(self) -> Figure:
        from ..plotting import grid

        return grid(self.pixels, titles=[f"row {k}" for k in range(len(self.pixels))])

    def summary(self) -> str:
        (row,) = self.table
        likeness = format_interval(row, ".2f")
        if row["n"] == 1:
            return f"The picture has a cosine of {likeness} to the z_i that it is decoded from."
        return f"The {row['n']} pictures have a mean cosine of {likeness} to the z_i that they are decoded from."


@experiment(
    LatentDecodingResult,
    page="",
    command="decode",
    figures=(),
    stages=("first stage", "inversion", "decoder", "upsampler"),
    images=lambda a: len(a["latents"]),
)
def decode(
    lab: Lab,
    latents: Pictures,
    *,
    prompt: str = "",
    seed: int = 0,
    steps: int = 25,
    guidance: float = 1.0,
    preview_every: int = 5,
) -> Iterator[Progress | LatentDecodingResult]:
    """Decode latents with DDIM, η = 0.  Ramesh et al. 2022, section 3.

    Args:
        latents: B rows, or what `invert` returned, or pictures, which are inverted first; a pair of states goes back by
            its own steps, without guidance.
        prompt: the text that the decoder reads beside z_i, for latents that were generated from one.
        seed: of the first picture's upsampler; the following pictures count up from it.
        steps: of the decoder; latents that were inverted give their picture back by the steps of their inversion.

    Raises:
        UserError: no latents, latents of another width or shape, or what `decoding.sample_steps` refuses.
    """
    decoder = lab.require_decoder()
    if not len(latents):
        raise UserError("the latents have no rows: give at least one")
    if isinstance(latents, Tensor | InversionResult):
        latents = (yield from ensure_inverted(lab, latents, steps=steps, preview_every=preview_every)).latent
    latent = latents.to(lab.device, torch.float32)
    params = {} if isinstance(latent, PairLatent) else {"steps": steps, "guidance": guidance}
    text = decoder.encode_prompt([prompt]) if prompt else None
    pixels = yield from sample_images(lab, latent, text=text, preview_every=preview_every, **params)
    likeness = cosine(lab.encoder.encode_image(pixels), latent.z_i)
    pixels = yield from upsample_images(lab, pixels, range(seed, seed + len(pixels)))
    yield LatentDecodingResult(
        latent=latent, pixels=pixels, table=(mean(likeness, quantity="cosine of the picture to z_i"),)
    )
