"""Spelling: signs with words on them, read back by CLIP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..analysis.intervals import proportion
from ..captions import caption_warnings
from ..errors import UserError
from ..latents import Latent
from ..noise import checked_seeds
from ..slerp import normalize
from .base import Progress, Result, experiment, size
from .stages import draw_prompts, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class SpellingResult(Result):
    """Signs with words on them, read back by CLIP.

    Args:
        pixels: (W, N, 3, H, W), upsampled where the lab can.
        latent: W * N, what the pictures are decoded from, with their prompts.
        words: W, what was to be written. choices: what CLIP chose from, the words among them. seeds: N.
        read: for each word and seed what CLIP reads.
    """

    pixels: Tensor
    latent: Latent
    words: tuple[str, ...]
    choices: tuple[str, ...]
    seeds: tuple[int, ...]
    read: tuple[tuple[str, ...], ...]

    def figure(self) -> Figure:
        from ..plotting import rows

        named = {
            f"“{w}”\nread: {', '.join(dict.fromkeys(r))}": p for w, r, p in zip(self.words, self.read, self.pixels)
        }
        return rows(named, titles=[f"seed {s}" for s in self.seeds])

    def summary(self) -> str:
        right = self.value("read back as written")
        chance = 1 / len(self.choices)
        return (
            f"CLIP reads {right:.0%} of {len(self.words) * len(self.seeds)} signs as they were asked for "
            f"(chance: {chance:.1%}). Check by eye whether a person could."
        )


@experiment(
    SpellingResult,
    page="binding",
    task="spell",
    command="spell",
    figures=("16",),
    stages=("prior", "decoder", "upsampler"),
    images=lambda a: size(a["words"]) * size(a["seeds"]),
)
def spell(
    lab: Lab,
    words: str | Sequence[str],
    *,
    alternatives: Sequence[str] = (),
    template: str = "a sign that says {}",
    seeds: Sequence[int] = (0, 1, 2, 3),
    steps: int = 25,
    guidance: float = 2.0,
    preview_every: int = 5,
) -> Iterator[Progress | SpellingResult]:
    """Draw signs with words, and read them back with CLIP.  Ramesh et al. 2022, section 7, figure 16.

    Args:
        words: what to write, one or several.
        alternatives: further words that the reader may choose from; with few of them reading is easy.
        template: a prompt with {} where the word goes.

    Raises:
        UserError: no word or an empty one, nothing else that it could be read as, or a template without {}.
    """
    words = (words,) if isinstance(words, str) else tuple(words)
    choices = tuple(dict.fromkeys([*words, *alternatives]))
    if not words or len(choices) < 2:
        raise UserError(f"words are {list(words)} of {len(choices)} alternatives: give one or more words, and others")
    if not all(w.strip() for w in choices) or "{}" not in template:
        raise UserError(f"words are {list(words)} in “{template}”: give words to write, and {{}} where they go")
    seeds = checked_seeds(seeds)
    prompts = [template.format(w) for w in words]
    notes = tuple(caption_warnings(lab.encoder.check_caption(c) for c in prompts))
    params: dict[str, Any] = {"steps": steps, "guidance": guidance, "preview_every": preview_every}
    latent, pixels = yield from draw_prompts(lab, prompts, seeds=seeds, **params)
    z_t = normalize(lab.encoder.encode_text([template.format(w) for w in choices]))
    best = (normalize(lab.encoder.encode_image(pixels)) @ z_t.T).argmax(-1).tolist()
    read = tuple(tuple(choices[k] for k in best[i : i + len(seeds)]) for i in range(0, len(best), len(seeds)))
    right = torch.tensor([r == w for w, row in zip(words, read) for r in row])
    pixels = yield from upsample_images(lab, pixels, list(seeds) * len(words))
    yield SpellingResult(
        pixels=pixels.unflatten(0, (len(words), len(seeds))),
        latent=latent,
        words=words,
        choices=choices,
        seeds=seeds,
        read=read,
        notes=notes,
        table=(proportion(right, quantity="read back as written"),),
    )
