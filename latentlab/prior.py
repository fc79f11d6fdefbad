"""z_t -> z_i: the diffusion prior, and what an autoregressive prior shares with it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from .diffusion import abar_at, ddim_step, levels, to_eps
from .errors import UserError
from .noise import SeededNoise
from .slerp import normalize


@dataclass(frozen=True)
class PriorConditioning:
    """The prompts that a prior is conditioned on.

    Args:
        z_t: (B, D), CLIP text embeddings.
        tokens: (B, L, W), the prompts token by token, in the prior's own layout.
        cache: what the prior's network keeps from one step to the next; it is freed with the conditioning.
    """

    z_t: Tensor
    tokens: Tensor
    cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.z_t)

    def __getitem__(self, rows: slice | Tensor) -> PriorConditioning:
        return PriorConditioning(self.z_t[rows], self.tokens[rows])

    def expand(self, count: int) -> PriorConditioning:
        """One row repeated `count` times; as many rows as that stay as they are."""
        return PriorConditioning(self.z_t.expand(count, -1), self.tokens.expand(count, -1, -1))

    def concatenate(self, other: PriorConditioning) -> PriorConditioning:
        """These rows and then the other's."""
        return PriorConditioning(torch.cat([self.z_t, other.z_t]), torch.cat([self.tokens, other.tokens]))


class Prior(Protocol):
    """A network that predicts the un-noised image embedding."""

    abar: Tensor  # (T,)
    width: int  # D
    max_batch_size: int  # the largest number of rows evaluated at once, which bounds memory

    def encode_prompt(self, prompts: Sequence[str]) -> PriorConditioning:
        """What `x_0` is conditioned on: one row a prompt."""

    def x_0(self, x_t: Tensor, t: int, cond: PriorConditioning, guidance: float = 1.0) -> Tensor:
        """The predicted clean embedding, standardised, from the noised one; both (B, D)."""

    def to_z_i(self, x_0: Tensor) -> Tensor:
        """Standardised to CLIP's own scale."""


@runtime_checkable
class CodePrior(Protocol):
    """A prior that draws z_i number by number."""

    noise_width: int  # the numbers of its code
    max_batch_size: int

    @property
    def encode_prompt(self) -> Callable[[Sequence[str]], PriorConditioning]:
        """What `draw` is conditioned on: one row a prompt."""

    def draw(self, noise: Tensor, cond: PriorConditioning, guidance: float = 1.0) -> Tensor:
        """Normal noise (B, noise_width) to z_i (B, D)."""


@torch.no_grad()
def sample(
    prior: Prior | CodePrior | None,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int],
    steps: int | Sequence[int] = 16,
    guidance: float = 1.0,
    candidates: int = 2,
) -> Tensor:
    """Draw an image embedding for each prompt and seed.

    `candidates` z_i are drawn, and the one with the highest ẑ_i·ẑ_t is kept.  Ramesh et al. 2022, section 2.2
    draws two, in 64 steps.  The sampler is deterministic DDIM on the x_0 prediction; an autoregressive prior takes one
    evaluation for each number of its code, whatever `steps` says.  The network sees at most `prior.max_batch_size`
    rows at once; a guided row counts as two.

    Args:
        prompts: one, or one a seed.
        seeds: B integers.

    Returns:
        z_i: (B, D), in CLIP's own scale.

    Raises:
        UserError: prompts and seeds of different numbers, a guidance that is negative or not finite, no candidate, or
            a model without a prior.
    """
    if prior is None:
        raise UserError(
            "this model has no prior, which makes z_i of a prompt: start from a picture, or load one that has it, "
            "like karlo, kandinsky22 or stable-unclip-l"
        )
    if len(prompts) not in (1, len(seeds)):
        raise UserError(f"{len(prompts)} prompts for {len(seeds)} seeds: give one prompt for all, or one each")
    if not 0 <= guidance < float("inf"):
        raise UserError(f"the prior's guidance is {guidance}: give 1 for none, or a number above, like 2")
    if candidates < 1:
        raise UserError(f"candidates is {candidates}: give 1 or more")
    cond = prior.encode_prompt(prompts).expand(len(seeds))
    device, dtype = cond.z_t.device, cond.z_t.dtype
    cond = cond[torch.arange(len(seeds), device=device).repeat_interleave(candidates)]  # B * candidates rows
    width = prior.noise_width if isinstance(prior, CodePrior) else prior.width
    draw = SeededNoise(seeds, (candidates, width), stream="prior", device=device, dtype=dtype)
    x_T = draw().flatten(0, 1)  # (B * candidates, width)
    size = max(1, prior.max_batch_size // (1 if guidance == 1 else 2))  # a guided row counts as two
    chunks = [slice(k, k + size) for k in range(0, len(x_T), size)]
    if isinstance(prior, CodePrior):
        z_i = torch.cat([prior.draw(x_T[rows], cond[rows], guidance) for rows in chunks])
    else:
        times = levels(prior.abar, steps)
        z_i = torch.cat([prior.to_z_i(_denoise(prior, x_T[rows], cond[rows], times, guidance)) for rows in chunks])
    likeness = (normalize(z_i) * normalize(cond.z_t)).sum(-1).view(-1, candidates)
    return z_i.view(len(seeds), candidates, -1)[torch.arange(len(seeds)), likeness.argmax(1)]


def _denoise(prior: Prior, x_t: Tensor, cond: PriorConditioning, times: Sequence[int], guidance: float) -> Tensor:
    """x_T to x_0, both (B, D), by DDIM on the x_0 prediction."""
    for t, t_next in itertools.pairwise(times):
        a = abar_at(prior.abar, t)
        x_0 = prior.x_0(x_t, t, cond, guidance)
        x_t = ddim_step(x_t, to_eps(x_0, x_t, a, "x_0"), a, abar_at(prior.abar, t_next))
    return x_t
