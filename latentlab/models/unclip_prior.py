"""The diffusion prior that Karlo and Kandinsky 2.2 share: diffusers' PriorTransformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..diffusion import guided
from ..prior import PriorConditioning
from .causal_prior import CaptionCache
from .configs import abar_of
from .transformers_clip import Towers, pack, unpack

if TYPE_CHECKING:
    from diffusers.models.transformers.prior_transformer import PriorTransformer

# The published configs leave these out, because UnCLIPScheduler has one schedule and always clips.
SCHEDULER = {"beta_schedule": "squaredcos_cap_v2", "clip_sample": True, "clip_sample_range": 1.0}


class UnclipPrior:
    """The standardised z_i from [text states, z_t, t, noised z_i, a final query], causally masked.

    z_i = x_0 · clip_std + clip_mean.  Ramesh et al. 2022, section 2.2.

    Args:
        encoder: the CLIP whose text tower encodes the captions.
        scheduler: the config of the prior's scheduler.
    """

    max_batch_size = 64

    def __init__(self, network: PriorTransformer, encoder: Towers, scheduler: Mapping[str, Any]) -> None:
        self.network, self.encoder = network, encoder
        self.width: int = network.config["embedding_dim"]
        scheduler = {**SCHEDULER, **scheduler}
        self.abar = abar_of(scheduler)
        self.limit = scheduler["clip_sample_range"] if scheduler["clip_sample"] else float("inf")
        self.null = self.encode_prompt([""])

    def encode_prompt(self, prompts: Sequence[str]) -> PriorConditioning:
        z_t, states, mask = self.encoder.states(prompts)
        return PriorConditioning(z_t, pack(states, mask))

    @torch.no_grad()
    def x_0(self, x_t: Tensor, t: int, cond: PriorConditioning, guidance: float = 1.0) -> Tensor:
        cache = cond.cache.setdefault("captions", CaptionCache())

        def predict(x: Tensor, cond: PriorConditioning) -> Tensor:
            states, mask = unpack(cond.tokens)
            kind = self.network.dtype
            output = self.network(x.to(kind), t, cond.z_t.to(kind), states.to(kind), mask, cache=cache)
            return output.predicted_image_embedding.to(x_t)

        x_0 = guided(predict, x_t, cond, self.null.expand(len(x_t)), guidance)
        return x_0.clamp(-self.limit, self.limit)

    @torch.no_grad()
    def to_z_i(self, x_0: Tensor) -> Tensor:
        return self.network.post_process_latents(x_0).to(x_0)
