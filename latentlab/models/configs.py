"""Values from the configs of a published checkpoint: noise levels, prediction, widths, sides."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..diffusion import cosine_abar
from ..errors import UserError


def same_width(widths: Mapping[str, int]) -> None:
    """Refuse parts whose embeddings differ in width.

    Raises:
        UserError: they do.
    """
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise UserError(
            f"the parts disagree about the width of z_i ({listed}): take all from checkpoints of one family"
        )


def abar_of(scheduler: Mapping) -> Tensor:
    """abar of a diffusers scheduler's config, in float64 and without any clipping.

    linear: β from beta_start to beta_end;  scaled_linear: √β from one to the other;  squaredcos_cap_v2: the cosine.
    """
    T, kind = scheduler.get("num_train_timesteps", 1000), scheduler.get("beta_schedule", "linear")
    start, end = scheduler.get("beta_start", 0.0001), scheduler.get("beta_end", 0.02)
    if kind == "squaredcos_cap_v2":
        return cosine_abar(T)
    if kind == "linear":
        betas = torch.linspace(start, end, T, dtype=torch.float64)
    elif kind == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, T, dtype=torch.float64) ** 2
    else:
        raise UserError(f"the scheduler's beta_schedule is {kind!r}: give linear, scaled_linear or squaredcos_cap_v2")
    return (1 - betas).cumprod(0)


def prediction(scheduler: Mapping) -> str:
    """What the network predicts, by the names of `diffusion.to_eps`."""
    kinds = {"epsilon": "eps", "v_prediction": "v", "sample": "x_0"}
    kind = scheduler.get("prediction_type", "epsilon")
    if kind not in kinds:
        raise UserError(f"the scheduler's prediction_type is {kind!r}: give one of {', '.join(kinds)}")
    return kinds[kind]


def side_of(network: nn.Module) -> int:
    """The image size that a UNet was trained at; its config may give both sides."""
    side = network.config.sample_size
    return side if isinstance(side, int) else side[0]
