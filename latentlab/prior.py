"""z_t -> z_i: the diffusion prior."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .diffusion import Conditioning, SeededNoise, abar_at, ddim_step, levels, to_eps
from .errors import UserError
from .slerp import normalize


class Prior(Protocol):
    """A network that predicts the un-noised image embedding."""

    abar: Tensor  # (T,)
    width: int  # D

    def encode_prompt(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Captions as z_t (B, D), and everything that x_0 wants to know of them (B, L, W)."""

    def x_0(self, x_t: Tensor, t: int, text: Conditioning, guidance: float = 1.0) -> Tensor:
        """The predicted clean embedding, standardised, from the noised one; both (B, D)."""

    def to_z_i(self, x_0: Tensor) -> Tensor:
        """Standardised to CLIP's own scale."""


@torch.no_grad()
def sample(
    prior: Prior | None,
    captions: Sequence[str],
    *,
    seeds: Sequence[int],
    steps: int | Sequence[int] = 16,
    guidance: float = 1.0,
    candidates: int = 2,
) -> Tensor:
    """Draw an image embedding for each caption and seed.

    `candidates` z_i are drawn, and the one with the higher ẑ_i·ẑ_t is kept.  Ramesh et al. 2022, section 2.2 (two are
    drawn there, in 64 steps).  Deterministic DDIM on the x_0 prediction.

    Args:
        captions: one, or one a seed.
        seeds: B integers.

    Returns:
        z_i: (B, D), in CLIP's own scale.

    Raises:
        UserError: captions and seeds of different numbers, a guidance that is negative or not finite, no candidate, or
            a model without a prior.
    """
    if prior is None:
        raise UserError(
            "this model has no prior, which makes z_i of a caption: start from a picture, or load one that has it, "
            "like karlo, kandinsky22 or stable-unclip-l"
        )
    if len(captions) not in (1, len(seeds)):
        raise UserError(f"{len(captions)} captions for {len(seeds)} seeds: give one caption for all, or one each")
    if not 0 <= guidance < float("inf"):
        raise UserError(f"the prior's guidance is {guidance}: give 1 for none, or a number above, like 2")
    if candidates < 1:
        raise UserError(f"candidates is {candidates}: give 1 or more")
    z_t, tokens = prior.encode_prompt(captions)
    count = len(seeds) * candidates
    z_t = z_t.expand(len(seeds), -1).repeat_interleave(candidates, 0)  # (B * candidates, D)
    tokens = tokens.expand(len(seeds), -1, -1).repeat_interleave(candidates, 0)
    draw = SeededNoise(seeds, (candidates, prior.width), stream="prior", device=z_t.device, dtype=z_t.dtype)
    x_t = draw().view(count, prior.width)
    times = levels(prior.abar, steps)
    for t, t_next in itertools.pairwise(times):
        a = abar_at(prior.abar, t)
        x_0 = prior.x_0(x_t, t, Conditioning(z_t, tokens), guidance)
        x_t = ddim_step(x_t, to_eps(x_0, x_t, a, "x_0"), a, abar_at(prior.abar, t_next))
    z_i = prior.to_z_i(x_t)
    likeness = (normalize(z_i) * normalize(z_t)).sum(-1).view(-1, candidates)
    return z_i.view(len(seeds), candidates, -1)[torch.arange(len(seeds)), likeness.argmax(1)]
