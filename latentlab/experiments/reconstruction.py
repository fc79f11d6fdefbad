"""Picture -> (z_i, x_T) -> picture: what the two latents hold."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..analysis.intervals import mean
from ..decoding import pictures, sample_steps
from ..io import images
from ..latents import Latent
from ..noise import draw_x_T
from .base import Progress, Result, experiment
from .inversion import InversionResult, Pictures, ensure_inverted
from .stages import cosine, sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class ReconstructionResult(Result):
    """A picture as (z_i, x_T), and back.

    Args:
        inverted: the pictures as the decoder was given them, and their latents.
        pixels: (B, 3, H, W), decoded from the two latents.
        from_z_i: (B, 3, H, W), decoded from z_i and a random x_T: what CLIP saw, without the rest.
        large, large_from_z_i: the two, upsampled where the lab can.
        psnr, ssim: (B,), of pixels against original.
        psnr_first_stage: (B,), of the first stage alone: the ceiling of psnr.
        evaluations: of the decoder, there and back.
        cosine: (B,), between z_i and the encoding of pixels.
    """

    inverted: InversionResult
    pixels: Tensor
    from_z_i: Tensor
    large: Tensor
    large_from_z_i: Tensor
    psnr: Tensor
    ssim: Tensor
    psnr_first_stage: Tensor
    evaluations: int
    cosine: Tensor

    def numbers(self, row: int = 0) -> dict[str, float | bool | None]:
        """One picture's numbers, by name; the residual is None where the inversion does not know it."""
        measured = {
            "psnr": self.psnr,
            "ssim": self.ssim,
            "psnr_first_stage": self.psnr_first_stage,
            "cosine": self.cosine,
        }
        rounded = {name: round(float(values[row]), 4) for name, values in measured.items()}
        inversion = self.inverted.numbers(row)
        back = self.evaluations - self.inverted.evaluations
        return {**rounded, **inversion, "evaluations": back + int(self.inverted.spent[row])}

    def figure(self) -> Figure:
        from ..plotting import grid

        columns = torch.stack([self.inverted.original, self.pixels, self.from_z_i], 1).flatten(0, 1)
        titles = [t for p in self.psnr.tolist() for t in ("original", f"(z_i, x_T) · {p:.1f} dB", "z_i, another x_T")]
        return grid(columns, titles=titles, columns=3)

    def summary(self) -> str:
        return (
            f"Both latents reconstruct the picture at {self.psnr.mean():.1f} dB (the first stage alone: "
            f"{self.psnr_first_stage.mean():.1f} dB) and a cosine of {self.cosine.mean():.2f} to z_i; z_i with another "
            f"x_T reaches {self.value('PSNR from another x_T'):.1f} dB and "
            f"{self.value('cosine to z_i from another x_T'):.2f}."
        )


@experiment(
    ReconstructionResult,
    page="reconstruct",
    command="reconstruct",
    figures=("inversion", "15"),
    stages=("first stage", "inversion", "decoder", "upsampler"),
    images=lambda a: 2 * len(a["pictures"]),
)
def reconstruct(
    lab: Lab,
    pictures: Pictures,
    *,
    steps: int = 25,
    method: str = "fixed-point",
    iterations: int = 20,
    memory: int = 2,
    tolerance: float = 2e-4,
    seed: int = 0,
    preview_every: int = 5,
) -> Iterator[Progress | ReconstructionResult]:
    """Invert pictures to (z_i, x_T) and decode them again.  Ramesh et al. 2022, section 3.

    The result also holds the same z_i decoded from another x_T, which shows what z_i holds alone.

    Args:
        pictures: (B, 3, H, W) in [-1, 1], resized to the decoder's side; or what `invert` returned, or latents.
        steps: of the inversion and of the way back.
        method, iterations, memory, tolerance: as in `inversion.invert_steps`.
        seed: of the first picture's other x_T and upsampler; the following pictures count up from it.

    Raises:
        UserError: pictures that are not (B, 3, H, W) in [-1, 1], or parameters out of their range.
    """
    inversion = yield from ensure_inverted(
        lab,
        pictures,
        steps=steps,
        method=method,
        iterations=iterations,
        memory=memory,
        tolerance=tolerance,
        preview_every=preview_every,
    )
    z_i = inversion.latent.z_i
    seeds = [*range(seed, seed + len(z_i))]
    other = Latent(z_i, draw_x_T(lab.require_decoder(), seeds, device=z_i.device, dtype=z_i.dtype))
    both, spent = yield from _decode_both(lab, inversion, other, preview_every=preview_every)
    large = yield from upsample_images(lab, both, seeds * 2)
    measured = _measured(lab, inversion, *both.chunk(2))
    yield ReconstructionResult(
        inverted=inversion,
        pixels=both.chunk(2)[0],
        from_z_i=both.chunk(2)[1],
        large=large.chunk(2)[0],
        large_from_z_i=large.chunk(2)[1],
        psnr=measured["PSNR"],
        ssim=measured["SSIM"],
        psnr_first_stage=measured["PSNR of the first stage"],
        evaluations=inversion.evaluations + spent,
        cosine=measured["cosine to z_i"],
        table=tuple(mean(v, quantity=k) for k, v in measured.items()),
    )


def _measured(lab: Lab, inversion: InversionResult, reconstruction: Tensor, from_z_i: Tensor) -> dict[str, Tensor]:
    """What the table holds, (B,) each."""
    original, z_i, decoder = inversion.original, inversion.latent.z_i, lab.require_decoder()
    both = torch.cat([reconstruction, from_z_i])
    likeness, likeness_from_z_i = cosine(lab.encoder.encode_image(both), z_i.repeat(2, 1)).chunk(2)
    return {
        "PSNR": images.psnr(original, reconstruction),
        "SSIM": images.ssim(original, reconstruction),
        "PSNR of the first stage": images.psnr(original, pictures(decoder, decoder.to_x0(original))),
        "cosine to z_i": likeness,
        "PSNR from another x_T": images.psnr(original, from_z_i),
        "cosine to z_i from another x_T": likeness_from_z_i,
    }


def _decode_both(
    lab: Lab, inversion: InversionResult, other: Latent, *, preview_every: int
) -> Generator[Progress, None, tuple[Tensor, int]]:
    """`yield from` this: the pictures of the inversion, then of the other latent, and the first's evaluations."""
    decoder, steps = lab.require_decoder(), inversion.steps
    if isinstance(inversion.latent, Latent):
        both = Latent.stack([inversion.latent, other])
        return (yield from sample_images(lab, both, steps=steps, preview_every=preview_every)), steps
    for step in sample_steps(decoder, inversion.latent):  # a pair goes back by its own steps, which x_T can't share
        yield Progress("decoder", step.number, step.total)
    from_other = yield from sample_images(lab, other, steps=steps)
    return torch.cat([pictures(decoder, step.x_t), from_other]), step.evaluations
