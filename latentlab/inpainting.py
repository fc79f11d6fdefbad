"""Inpainting: the known part is put back at every noise level; a decoder that was trained to inpaint reads it, too."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from .clip_guidance import ClipGuidance, clip_guided
from .decoding import Step, sample_steps
from .diffusion import CLEAN, Conditioning, Decoder, abar_at, ddim_step, evaluate, levels
from .errors import UserError
from .latents import Latent
from .noise import SeededNoise

KNOWN = ("trajectory", "noised")
SWEEPS = 8  # of the relaxation at each size
REFRESHES = (1 / 3, 2 / 3)  # shares of the steps after which cells that are painted in part are encoded anew
Known = Callable[[int], Tensor]  # a time to the state (1 or B, C, H, W) of the part of x_0 that is known


@runtime_checkable
class InpaintingDecoder(Protocol):
    """A decoder that was trained to inpaint, with what is known as further input channels (GLIDE, section 4)."""

    def encode_known(self, x_0: Tensor, mask: Tensor) -> Tensor:
        """x_0 (B, C, H, W) and the mask (B, 1, H, W), True where it is painted, to Conditioning.known."""


def with_known(decoder: Decoder, cond: Conditioning, x_0: Tensor, mask: Tensor) -> Conditioning:
    """The conditioning with what is known, for a decoder that was trained to inpaint; as it is for another one.

    Args:
        cond: B rows. x_0: (1 or B, C, H, W). mask: (1 or B, 1, H, W) in the latents' grid.
    """
    if not isinstance(decoder, InpaintingDecoder):
        return cond
    x_0, mask = x_0.expand(len(cond), -1, -1, -1), mask.expand(len(cond), -1, -1, -1)
    return replace(cond, known=decoder.encode_known(x_0, mask))


def noised(x_0: Tensor, abar: Tensor, draw: Callable[[], Tensor]) -> Known:
    """The known part under fresh noise at every call: √a x_0 + √(1-a) noise.

    Lugmayr et al. 2022 (RePaint), equation 8a.

    Args:
        x_0: (1 or B, C, H, W).
        draw: B draws of standard normal noise.
    """

    def state(t: int) -> Tensor:
        return x_0 if t == CLEAN else ddim_step(x_0, draw(), 1.0, abar_at(abar, t))

    return state


@torch.no_grad()
def trajectory(decoder: Decoder, x_0: Tensor, cond: Conditioning, times: Sequence[int]) -> Known:
    """The known part on its own deterministic path from x_0 to x_T, as DDIM inversion finds it.

    Unlike fresh noise it is the same whenever a level is visited, so that what is painted beside it has one thing to
    agree with.  The states are those of the naive inversion (Song et al. 2021, section 4.3) in steps of three levels,
    one evaluation each: nothing is decoded from them alone, so they need not be exact.

    Args:
        x_0: (1 or B, C, H, W). cond: as many rows, z_i of the picture as it is.
        times: those that `inpaint_steps` visits, from noise to CLEAN.
    """
    x_t, states = x_0, {CLEAN: x_0}
    for number, (s, t) in enumerate(itertools.pairwise(reversed(times))):
        if number % 3 == 0:
            eps = evaluate(decoder, x_t, max(s, 0), cond)
        x_t = states[t] = ddim_step(x_t, eps, abar_at(decoder.abar, s), abar_at(decoder.abar, t))
    return states.__getitem__


def decoded_trajectory(decoder: Decoder, x_0: Tensor, latent: Latent, steps: int) -> Known:
    """The known part on the path of a picture that was inverted: what its (z_i, x_T) is decoded through.

    It is as exact as the inversion was, and costs one evaluation a step like `trajectory`.

    Args:
        x_0: (1, C, H, W), which stands at the end in place of the decoded one.
        latent: one row. steps: those of the inversion.
    """
    times = levels(decoder.abar, steps)
    path = sample_steps(decoder, latent, steps=times)
    states = {times[0]: latent.x_T, **{t: step.x_t for t, step in zip(times[1:], path)}, CLEAN: x_0}
    return states.__getitem__


def times_from(abar: Tensor, steps: int, strength: float) -> list[int]:
    """The times of `levels` from the strength's share of the way up; a strength of 1 takes them all.

    Meng et al. 2022 (SDEdit), section 3.

    Raises:
        UserError: a strength that is not above 0 and up to 1.
    """
    if not 0 < strength <= 1:
        raise UserError(
            f"strength is {strength}: give a number above 0 and up to 1, which keeps nothing of what was there"
        )
    times = levels(abar, steps)
    return times[-1 - max(1, round(strength * (len(times) - 1))) :]


@torch.no_grad()
def inpaint_steps(
    decoder: Decoder,
    cond: Conditioning,
    mask: Tensor,
    known: Known,
    x_t: Tensor,
    times: Sequence[int],
    *,
    seeds: Sequence[int],
    guidance: float = 1.0,
    resamplings: int = 1,
    eta: float = 0.0,
    clip: ClipGuidance | None = None,
    joined: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Step]:
    """Denoise what the mask covers beside what is known, a step at a time; the last step's x_t is x_0.

    x_s = m step(x_t) + (1-m) known(s); then up again, x_t = √(a_t/a_s) x_s + √(1-a_t/a_s) noise, and once more down,
    `resamplings` times in all, so that both parts agree.  Lugmayr et al. 2022 (RePaint), algorithm 1, with jumps of one
    step.

    A known cell of a first stage may hold painted pixels, of which known(s) has a guess only.  With `joined` it goes on
    from known(s) + √a_s (joined(x̂_0) - known(0)), x̂_0 being the prediction after each of the `REFRESHES`.

    Args:
        cond: B rows.
        mask: (1 or B, 1, H, W) in the latents' grid (`on_grid`), True where the picture is painted.
        known: `trajectory` or `noised`.
        x_t: (B, C, H, W), the state to start from, at the first of the times.
        seeds: B integers, for the noise of the ways up and of eta.
        eta: of the steps down; 1 is RePaint's.
        joined: x_0 (B, C, H, W) as predicted to that of its picture with the known pixels pasted in.

    Raises:
        UserError: fewer than one resampling, or a mask of another grid than the states.
    """
    if resamplings < 1:
        raise UserError(f"resamplings is {resamplings}: give 1 (none) or more")
    if mask.shape[-2:] != x_t.shape[-2:]:
        raise UserError(f"mask is {tuple(mask.shape)} and x_t {tuple(x_t.shape)}: inpainting.on_grid(mask, decoder)")
    clip = clip and clip.expand(len(x_t))
    draw = SeededNoise(seeds, decoder.shape, stream="inpainting", device=x_t.device, dtype=x_t.dtype)
    refreshes = {round(share * (len(times) - 1)) for share in REFRESHES} if joined else set()
    x_t = torch.where(mask, x_t, known(times[0]))
    evaluations, drift = 0, torch.zeros_like(x_t)
    for number, (t, s) in enumerate(itertools.pairwise(times), 1):
        a_t, a_s = abar_at(decoder.abar, t), abar_at(decoder.abar, s)
        for left in reversed(range(resamplings)):
            eps = clip_guided(decoder, x_t, t, cond, guidance, clip)
            x_0 = ddim_step(x_t, eps, a_t, 1.0)
            x_s = ddim_step(x_t, eps, a_t, a_s, eta=eta, noise=draw() if eta else None)
            if joined and number in refreshes and not left:
                drift = joined(x_0) - known(CLEAN)
            x_s = torch.where(mask, x_s, known(s) + math.sqrt(a_s) * drift)
            evaluations += 1
            if left:
                up = math.sqrt(a_t / a_s) * x_s + math.sqrt(1 - a_t / a_s) * draw()
                x_t = torch.where(mask, up, known(t) + math.sqrt(a_t) * drift)
        x_t = x_s
        yield Step(number, len(times) - 1, x_t, x_0, evaluations)


def on_grid(mask: Tensor, decoder: Decoder) -> Tensor:
    """A mask of pixels (B, 1, H, W) in the grid of x_0: a cell is painted where at least half of it is.

    So the cells of the border go on telling the decoder what lies outside.  What is painted far from any such cell, a
    thin line, takes every cell that it touches.
    """
    share = F.adaptive_avg_pool2d(mask.float(), decoder.shape[1:])
    mostly = share >= 0.5
    near = F.max_pool2d(mostly.float(), 3, 1, 1) > 0
    return mostly | ((share > 0) & ~near)


def continued(values: Tensor, unknown: Tensor) -> Tensor:
    """Values (B, C, H, W) with the unknown ones (B, 1, H, W) replaced by a smooth continuation of the others.

    It is the harmonic function that meets them at the border, Δf = 0, nearly: means of the known among 2 × 2, coarser
    and coarser until all are known; on the way back bilinear, and at each size `SWEEPS` times the mean of the four
    neighbours (the cascadic multigrid of Bornemann and Deuflhard 1996).  A picture of which nothing is known becomes 0.
    """
    if not unknown.any() or values.shape[-2:] == (1, 1):
        return values
    weight = F.avg_pool2d((~unknown).to(values), 2, ceil_mode=True)
    coarse = F.avg_pool2d(values.where(~unknown, 0), 2, ceil_mode=True) / weight.clamp_min(1e-6)
    coarse = continued(coarse, weight == 0)
    smooth = F.interpolate(coarse, values.shape[-2:], mode="bilinear", align_corners=False)
    values = torch.where(unknown, smooth, values)
    for _ in range(SWEEPS):
        wide = F.pad(values, (1, 1, 1, 1), mode="replicate")
        around = wide[..., 1:-1, :-2] + wide[..., 1:-1, 2:] + wide[..., :-2, 1:-1] + wide[..., 2:, 1:-1]
        values = torch.where(unknown, around / 4, values)
    return values


def composed(painted: Tensor, original: Tensor, mask: Tensor, reach: int) -> Tensor:
    """The painted picture inside the mask, and the original, exactly, outside.

    What the decoder and its first stage changed outside is continued into the mask, fading to nothing within `reach`
    pixels, and taken off the painted part: no edge shows where the two meet, and farther inside nothing changes.  It is
    the membrane of Pérez et al. 2003 (Poisson image editing), which would reach across the whole mask.

    Args:
        painted: (B, 3, H, W). original: (1 or B, 3, H, W). mask: (1 or B, 1, H, W).
        reach: a cell of the first stage, in pixels: as far as it bleeds.
    """
    unknown = mask.expand(len(painted), -1, -1, -1)
    near = F.avg_pool2d((~mask).to(painted), 2 * reach + 1, 1, reach, count_include_pad=False)
    fade = (near * (2 + 1 / reach)).clamp(max=1)  # 1 beside a straight border
    corrected = painted + fade * continued(original - painted, unknown)
    return torch.where(mask, corrected.clamp(-1, 1), original)


def seam(pixels: Tensor, mask: Tensor) -> Tensor:
    """The mean absolute difference between neighbours on two sides of the mask's border: (B, 3, H, W) to (B,).

    Args:
        mask: (1 or B, 1, H, W).
    """
    total, count = pixels.new_zeros(len(pixels)), pixels.new_zeros(1)
    for dim in (-1, -2):
        size = pixels.shape[dim] - 1
        across = mask.narrow(dim, 0, size) ^ mask.narrow(dim, 1, size)
        change = (pixels.narrow(dim, 1, size) - pixels.narrow(dim, 0, size)).abs().mean(1, keepdim=True)
        total = total + (change * across).flatten(1).sum(1)
        count = count + across.flatten(1).sum(1)
    return total / count
