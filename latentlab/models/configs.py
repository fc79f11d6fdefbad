"""The values that a published checkpoint's configs give: noise levels, prediction type, widths, image sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..diffusion import cosine_abar
from ..errors import UserError

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


def same_width(widths: Mapping[str, int | None]) -> None:
    """Check that all parts use embeddings of one width.

    Raises:
        UserError: the widths differ.
    """
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise UserError(
            f"the parts disagree about the width of z_i ({listed}): take all from checkpoints of one family"
        )


def abar_of(scheduler: Mapping[str, Any]) -> Tensor:
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


def prediction(scheduler: Mapping[str, Any]) -> str:
    """What the network predicts, in the names of `diffusion.to_eps`."""
    kinds = {"epsilon": "eps", "v_prediction": "v", "sample": "x_0"}
    kind = scheduler.get("prediction_type", "epsilon")
    if kind not in kinds:
        raise UserError(f"the scheduler's prediction_type is {kind!r}: give one of {', '.join(kinds)}")
    return kinds[kind]


def side_of(network: UNet2DModel | UNet2DConditionModel) -> int:
    """The image size that a UNet was trained at; its config may give one side or both."""
    side: int | tuple[int, int] = network.config["sample_size"]
    return side if isinstance(side, int) else side[0]
