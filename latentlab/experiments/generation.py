"""Prompt -> picture: the whole pipeline, and the best of several by CLIP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..analysis.intervals import mean
from ..captions import caption_warnings, check_captions
from ..latents import Latent
from ..noise import checked_seeds, draw_x_T
from ..prior import sample
from .base import Progress, Result, experiment, size
from .ranking import best_first, check_best
from .stages import cosine, sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class GenerationResult(Result):
    """Pictures of a prompt.

    Args:
        pixels: (B, 3, H, W), upsampled where the lab can.
        latent: z_i from the prior, x_T from the seeds.
        similarity: (B,), cosine of encode(picture) and z_t.
        seeds: one a picture.
        others: the pictures that were drawn as well and that CLIP ranks lower, best first and not upsampled.
    """

    pixels: Tensor
    latent: Latent
    similarity: Tensor
    seeds: tuple[int, ...]
    others: GenerationResult | None = None

    def metadata(self, row: int) -> dict:
        """What the PNG of one picture carries."""
        return {**self.settings, "seed": self.seeds[row]}

    def figure(self) -> Figure:
        from ..plotting import grid

        titles = [f"seed {s} · cos {c:.2f}" for s, c in zip(self.seeds, self.similarity.tolist())]
        return grid(self.pixels, titles=titles, heading=self.settings["prompt"])

    def rows(self, rows: Tensor) -> GenerationResult:
        """The pictures of these rows alone."""
        return GenerationResult(
            pixels=self.pixels[rows],
            latent=self.latent[rows],
            similarity=self.similarity[rows],
            seeds=tuple(self.seeds[k] for k in rows.tolist()),
        )

    def summary(self) -> str:
        count, best = len(self.seeds), f"{self.similarity.max():.2f}"
        likeness = best if count == 1 else f"{self.similarity.mean():.2f} on average, {best} for the best"
        drawn = count + (len(self.others.seeds) if self.others else 0)
        which = f"The best {count} of {drawn}" if drawn > count else f"{count}"
        pictures = f"{which} picture{'s' * (drawn > 1)} of “{self.settings['prompt']}”"
        return f"{pictures}; cosine to the prompt {likeness}."


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
    steps: int = 12,
    guidance: float = 3.0,
    solver: str = "dpm++",
    guidance_interval: tuple[int, int] | None = None,
    prior: str = "diffusion",
    prior_steps: int = 16,
    prior_guidance: float = 1.5,
    candidates: int = 4,
    best: int | None = None,
    preview_every: int = 5,
) -> Iterator[Progress | GenerationResult]:
    """Prompt -> prior -> decoder -> upsampler: one picture a seed.  Ramesh et al. 2022, section 2.

    Args:
        prompt: the text to generate from.
        seeds: a picture each; picture k depends on its own seed alone.
        steps, guidance, solver, guidance_interval: the decoder's, as in `decoding.sample_steps`; "ddim" is the path
            that inversion and every experiment on (z_i, x_T) follow, and needs twice the steps of "dpm++".
        prior: "diffusion", or "autoregressive" where the lab has one, which takes one evaluation a coordinate.
        prior_steps, prior_guidance, candidates: the prior's; of so many z_i the one nearest to z_t is kept.
        best: rank the pictures by their cosine to the prompt and keep so many, best first (Ramesh et al. 2021, section
            2.6); the result's `others` are not upsampled. By default all are kept, in the order of their seeds.
        preview_every: `.stream` shows pictures each so many steps.

    Raises:
        UserError: an empty prompt or one without a known word, no seeds, parameters out of their range, or a prior
            that the lab lacks.
    """
    checks = check_captions(lab.encoder, [prompt])
    seeds = checked_seeds(seeds)
    check_best(best, seeds)
    network = lab.prior_of(prior)
    yield Progress("prior", 0, 1)
    z_i = sample(network, [prompt], seeds=seeds, steps=prior_steps, guidance=prior_guidance, candidates=candidates)
    latent = Latent(z_i, draw_x_T(lab.require_decoder(), seeds, device=z_i.device, dtype=z_i.dtype))
    text = lab.require_decoder().encode_prompt([prompt])
    params: dict[str, Any] = {"steps": steps, "guidance": guidance, "solver": solver}
    params |= {"guidance_interval": guidance_interval, "preview_every": preview_every}
    pixels = yield from sample_images(lab, latent, text=text, **params)
    similarity = cosine(lab.encoder.encode_image(pixels), lab.encoder.encode_text([prompt]))
    drawn = GenerationResult(pixels=pixels, latent=latent, similarity=similarity, seeds=seeds)
    kept, others = best_first(drawn, best)
    pixels = yield from upsample_images(lab, kept.pixels, kept.seeds)
    table = (mean(kept.similarity, quantity="cosine to the prompt"),)
    notes = tuple(caption_warnings(checks))
    yield replace(kept, pixels=pixels, others=others, table=table, notes=notes)
