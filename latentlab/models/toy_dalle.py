"""The toy's DALL·E 1: four tokens, the colours of the quarters, with a distribution that is known exactly."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..autoregression import check_sampling, choose, guided_logits, uniform_numbers
from ..captions import check_captions
from ..noise import checked_seeds
from .dalle import Dalle, prompts_for
from .toy import SIDE, ToyEncoder

LEVELS = (-0.8, 0.0, 0.8)  # of every channel of a colour
SPREAD = 0.3


class ToyDvae:
    """A quarter of a picture is its mean colour, rounded to the 27 colours of `LEVELS`."""

    side, length, image_size = 2, 4, SIDE

    def __init__(self) -> None:
        self.colours = torch.tensor(list(itertools.product(LEVELS, repeat=3)))  # (27, 3)
        self.codebook_size = len(self.colours)

    def to_tokens(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 4)."""
        means = torch.nn.functional.adaptive_avg_pool2d(pixels, 2).flatten(2).mT  # (B, 4, 3)
        return torch.cdist(means, self.colours).argmin(-1)

    def to_pixels(self, tokens: Tensor) -> Tensor:
        """(B, 4) to (B, 3, 8, 8)."""
        quarters = self.colours[tokens].mT.unflatten(2, (2, 2))  # (B, 3, 2, 2)
        return quarters.repeat_interleave(SIDE // 2, 2).repeat_interleave(SIDE // 2, 3)


class ToyDalle(Dalle):
    """p(token k | prompt) ∝ exp(-|colour - z_t's quarter k|² / 2 s²), whatever the earlier tokens; l_∅ = 0."""

    def __init__(self, encoder: ToyEncoder) -> None:
        self.encoder, self.toy_dvae = encoder, ToyDvae()
        self.dvae = self.toy_dvae  # type: ignore[assignment]  # it has the members that samples need
        self.image_size = SIDE

    def logits(self, prompts: Sequence[str]) -> Tensor:
        """The logits of the four tokens, which are independent of one another: (B, 4, 27)."""
        wanted = self.encoder.encode_text(prompts).view(-1, 3, 4).mT  # (B, 4, 3)
        return -torch.cdist(wanted, self.toy_dvae.colours).square() / (2 * SPREAD**2)

    def sample_steps(
        self,
        prompts: Sequence[str],
        *,
        seeds: Sequence[int],
        begin: Tensor | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        guidance: float = 1.0,
        cached: bool = True,
    ) -> Iterator[Tensor]:
        check_captions(self.encoder, prompts)
        check_sampling(temperature=temperature, top_k=top_k, guidance=guidance)
        seeds = checked_seeds(seeds)
        logits = self.logits(prompts_for(prompts, seeds))
        uniform = uniform_numbers(seeds, self.dvae.length)
        tokens = torch.zeros(len(seeds), 0, dtype=torch.long) if begin is None else begin
        for k in range(tokens.shape[1], self.dvae.length):
            guided = guided_logits(logits[:, k], torch.zeros_like(logits[:, k]), guidance)
            token = choose(guided, uniform[:, k], temperature=temperature, top_k=top_k)
            tokens = torch.cat([tokens, token[:, None]], 1)
            yield tokens
