"""Caption -> picture: the whole pipeline, and the best of several by CLIP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .. import prior
from ..analysis.intervals import mean
from ..clip import caption_warnings
from ..errors import UserError
from ..latents import Latent
from ..noise import checked_seeds, draw_x_T
from .base import Progress, Result, experiment, size
from .stages import cosine, sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class GenerationResult(Result):
    """Pictures of a caption.

    Args:
        pixels: (B, 3, H, W), upsampled where the lab can.
        latent: z_i from the prior, x_T from the seeds.
        similarity: (B,), cosine of encode(picture) and z_t.
        seeds: one a picture.
    """

    pixels: Tensor
    latent: Latent
    similarity: Tensor
    seeds: tuple[int, ...]

    def metadata(self, row: int) -> dict:
        """What the PNG of one picture carries."""
        return {**self.settings, "seed": self.seeds[row]}

    def best(self, count: int) -> GenerationResult:
        """The `count` pictures that CLIP finds nearest to the caption, best first.  Ramesh et al. 2021, section 2.6."""
        if not 1 <= count <= len(self.seeds):
            raise UserError(f"the best {count} of {len(self.seeds)} pictures: give a number from 1 to that")
        rows = self.similarity.argsort(descending=True)[:count]
        seeds = tuple(self.seeds[k] for k in rows.tolist())
        similarity = self.similarity[rows]
        table = (mean(similarity, quantity="cosine to the caption"),)
        pixels, latent = self.pixels[rows], self.latent[rows]
        return replace(self, pixels=pixels, latent=latent, similarity=similarity, seeds=seeds, table=table)

    def figure(self) -> Figure:
        from ..plotting import grid

        titles = [f"seed {s} · cos {c:.2f}" for s, c in zip(self.seeds, self.similarity.tolist())]
        return grid(self.pixels, titles=titles, heading=self.settings["prompt"])

    def summary(self) -> str:
        count, best = len(self.seeds), f"{self.similarity.max():.2f}"
        likeness = best if count == 1 else f"{self.similarity.mean():.2f} on average, {best} for the best"
        return f"{count} picture{'s' * (count > 1)} of “{self.settings['prompt']}”; cosine to the caption {likeness}."


@experiment(
    GenerationResult,
    page="generate",
    command="generate",
    figures=(),
    stages=("prior", "decoder", "upsampler"),
    images=lambda a: size(a["seeds"]),
)
def generate(
    lab: Lab,
    prompt: str,
    *,
    seeds: Sequence[int] = (0,),
    steps: int = 25,
    guidance: float = 2.0,
    solver: str = "ddim",
    guidance_interval: tuple[int, int] | None = None,
    prior_steps: int = 16,
    prior_guidance: float = 1.0,
    candidates: int = 2,
    preview_every: int = 5,
) -> Iterator[Progress | GenerationResult]:
    """Caption -> prior -> decoder -> upsampler: one picture a seed.  Ramesh et al. 2022, section 2.

    Args:
        prompt: the caption.
        seeds: a picture each; picture k depends on its own seed alone.
        steps, guidance, solver, guidance_interval: the decoder's, as in `decoding.sample_steps`; "dpm++" needs half of
            the steps, and "ddim" is the path that inversion and every experiment on (z_i, x_T) follow.
        prior_steps, prior_guidance, candidates: the prior's; of so many z_i the one nearest to z_t is kept.
        preview_every: `.stream` shows pictures each so many steps.

    Raises:
        UserError: an empty caption, no seeds, or parameters out of their range.
    """
    reading = lab.encoder.check_caption(prompt)
    seeds = checked_seeds(seeds)
    yield Progress("prior", 0, 1)
    z_i = prior.sample(
        lab.prior, [prompt], seeds=seeds, steps=prior_steps, guidance=prior_guidance, candidates=candidates
    )
    latent = Latent(z_i, draw_x_T(lab.require_decoder(), seeds, device=z_i.device, dtype=z_i.dtype))
    text = lab.require_decoder().encode_prompt([prompt])
    params: dict[str, Any] = {"steps": steps, "guidance": guidance, "solver": solver}
    params |= {"guidance_interval": guidance_interval, "preview_every": preview_every}
    pixels = yield from sample_images(lab, latent, text=text, **params)
    similarity = cosine(lab.encoder.encode_image(pixels), lab.encoder.encode_text([prompt]))
    pixels = yield from upsample_images(lab, pixels, seeds)
    table = (mean(similarity, quantity="cosine to the caption"),)
    yield GenerationResult(
        pixels=pixels,
        latent=latent,
        similarity=similarity,
        seeds=seeds,
        table=table,
        notes=tuple(caption_warnings([reading])),
    )
