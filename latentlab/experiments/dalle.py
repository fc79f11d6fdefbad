"""DALL·E 1: a prompt's pictures written token by token, ranked by CLIP, or continued from a picture's beginning."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..analysis.intervals import mean
from ..captions import caption_warnings, check_captions
from ..noise import checked_seeds
from .base import Progress, Result, experiment
from .ranking import best_first, check_best
from .stages import PREVIEWED, checked_pixels, cosine

if TYPE_CHECKING:
    from ..models import Lab
    from ..models.dalle import Dalle
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class DalleResult(Result):
    """Pictures of a prompt by DALL·E 1.

    Args:
        pixels: (B, 3, H, W), in the order of their seeds, or of their rank.
        tokens: (B, N), of which they are decoded.
        similarity: (B,), cosine of encode(picture) and z_t.
        seeds: one a picture.
        beginning: (1, 3, H, W), the picture whose beginning they continue, as its tokens show it; None: there is none.
        given: the number of tokens that are the beginning's.
        others: the pictures that were drawn as well and that CLIP ranks lower, best first.
    """

    pixels: Tensor
    tokens: Tensor
    similarity: Tensor
    seeds: tuple[int, ...]
    beginning: Tensor | None = None
    given: int = 0
    others: DalleResult | None = None

    def metadata(self, row: int) -> dict:
        """What the PNG of one picture carries."""
        return {**self.settings, "seed": self.seeds[row]}

    def figure(self) -> Figure:
        from ..plotting import grid

        titles = [f"seed {s} · cos {c:.2f}" for s, c in zip(self.seeds, self.similarity.tolist())]
        pictures = self.pixels
        if self.beginning is not None:
            pictures, titles = torch.cat([self.beginning, pictures]), ["the tokens of the picture", *titles]
        return grid(pictures, titles=titles, heading=self.settings["prompt"])

    def rows(self, rows: Tensor) -> DalleResult:
        """The pictures of these rows alone."""
        return replace(
            self,
            pixels=self.pixels[rows],
            tokens=self.tokens[rows],
            similarity=self.similarity[rows],
            seeds=tuple(self.seeds[k] for k in rows.tolist()),
        )

    def summary(self) -> str:
        count, length = len(self.seeds), self.tokens.shape[1]
        drawn = count + (len(self.others.seeds) if self.others else 0)
        which = f"The best {count} of {drawn}" if drawn > count else f"{count}"
        pictures = f"{which} picture{'s' * (drawn > 1)} of “{self.settings['prompt']}” by DALL·E 1"
        written = (
            f"{length} tokens each" if not self.given else f"the last {length - self.given} of {length} tokens new"
        )
        mean_cosine = f"{self.similarity.mean():.2f}"
        likeness = mean_cosine if count == 1 else f"{mean_cosine} on average, {self.similarity.max():.2f} for the best"
        return f"{pictures}, {written}; cosine to the prompt {likeness}."


@experiment(
    DalleResult,
    page="dalle",
    task="generate",
    command="dalle",
    figures=(),
    stages=("tokens",),
    images=lambda a: 0,  # no diffusion: a picture takes less than a decoder's step
)
def dalle(
    lab: Lab,
    prompt: str,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3),
    temperature: float | None = None,
    top_k: int | None = None,
    guidance: float | None = None,
    best: int | None = None,
    picture: Tensor | None = None,
    share: float = 0.5,
    preview_every: int = 8,
) -> Iterator[Progress | DalleResult]:
    """Prompt -> tokens -> picture, the best by CLIP first.  Ramesh et al. 2021, section 2.

    Args:
        prompt: the prompt.
        seeds: a picture each.
        temperature: divides the logits of the next token; small values choose the likeliest.
        top_k: the next token is one of the likeliest so many.
        guidance: l_∅ + g (l_c - l_∅) of the logits; 1 is no guidance.  By default these three are the model's own.
        best: rank the pictures by their cosine to the prompt, and keep so many, best first (section 2.6); by default
            all are kept, in the order of their seeds.
        picture: (1, 3, H, W), whose upper part is kept and continued (the paper's figure 2d); None: all is new.
        share: of that picture which is kept, in whole rows of tokens.
        preview_every: `.stream` shows pictures each so many tokens.

    Raises:
        UserError: the lab has no DALL·E 1, an empty prompt or one without a known word, or parameters out of their
            range.
    """
    system, seeds = lab.require_dalle(), checked_seeds(seeds)
    checks = check_captions(lab.encoder, [prompt])
    check_best(best, seeds)
    values = {"temperature": temperature, "top_k": top_k, "guidance": guidance}
    options: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    begin = None
    if picture is not None:
        begin = system.upper_part(checked_pixels(picture, system.image_size)[:1].to(lab.device), share)
    tokens = yield from sampled_tokens(system, [prompt], seeds, begin=begin, preview_every=preview_every, **options)
    pixels = torch.cat([system.dvae.to_pixels(some) for some in tokens.split(system.max_batch_size)])
    similarity = cosine(lab.encoder.encode_image(pixels), lab.encoder.encode_text([prompt]))
    drawn = DalleResult(
        pixels=pixels,
        tokens=tokens,
        similarity=similarity,
        seeds=seeds,
        beginning=None if picture is None else system.dvae.to_pixels(system.dvae.to_tokens(picture[:1].to(lab.device))),
        given=0 if begin is None else begin.shape[1],
    )
    kept, others = best_first(drawn, best)
    table = (mean(kept.similarity, quantity="cosine to the prompt"),)
    yield replace(kept, others=others, table=table, notes=tuple(caption_warnings(checks)))


def sampled_tokens(
    system: Dalle,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    begin: Tensor | None = None,
    preview_every: int = 0,
    **options: Any,
) -> Generator[Progress, None, Tensor]:
    """`yield from` this: the tokens (B, N) of one picture a seed, in batches that fit into memory."""
    parts, length, batches = [], system.dvae.length, math.ceil(len(seeds) / system.max_batch_size)
    first = None if begin is None else begin.expand(len(seeds), -1)
    for batch, steps in enumerate(system.sample_batches(prompts, seeds=seeds, begin=first, **options)):
        for tokens in steps:
            number, count = batch * length + tokens.shape[1], length * batches
            due = preview_every and tokens.shape[1] % preview_every == 0 and number < count
            yield Progress("tokens", number, count, system.preview(tokens[:PREVIEWED]) if due else None)
        parts.append(tokens)
    return torch.cat(parts)
