"""Exact inversion: samplers that carry two states, so that each step can be solved for the one before.

Each step evaluates the noise at a state that both directions hold, so it can be solved for the state that it started
from, whatever the network says there: x_0 comes back to the precision of the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .diffusion import Conditioning, Decoder, abar_at, ddim_step, evaluate
from .errors import UserError
from .latents import PAIRS, PairLatent

METHODS = PAIRS
MIX = {"bdia": 1.0, "edict": 0.93}  # gamma and p, as the two papers set them for the round trip
EVALUATIONS = {"bdia": 1, "edict": 2}  # of a step

Pair = tuple[Tensor, Tensor]


def bdia_step(x_before: Tensor, x: Tensor, eps: Tensor, abar: Sequence[float], gamma: float) -> Tensor:
    """The state after x, either way.

    x_after = S(x, a → a_after) + γ (x_before - S(x, a → a_before)), S being DDIM's step with the noise at x.
    Solved for x_before, the equation keeps its form, with 1/γ in place of γ.  γ = 0 is DDIM.
    Zhang et al. 2023 (BDIA), section 4.

    Args:
        x_before, x: (B, C, H, W), the two last states.
        eps: the noise predicted in x.
        abar: of the three levels, a_before, a and a_after.
        gamma: γ towards the clean picture, 1/γ away from it.
    """
    a_before, a, a_after = abar
    return ddim_step(x, eps, a, a_after) + gamma * (x_before - ddim_step(x, eps, a, a_before))


def edict_mix(x: Tensor, y: Tensor, p: float) -> Pair:
    """Draw the two states together: x' = p x + (1-p) y, y' = p y + (1-p) x'.

    Wallace et al. 2022 (EDICT), section 4; p = 1 leaves them as they are.
    """
    x = p * x + (1 - p) * y
    return x, p * y + (1 - p) * x


def edict_part(x: Tensor, y: Tensor, p: float) -> Pair:
    """Undo `edict_mix`: y = (y' - (1-p) x') / p, x = (x' - (1-p) y) / p."""
    y = (y - (1 - p) * x) / p
    return (x - (1 - p) * y) / p, y


@torch.no_grad()
def ascend(
    decoder: Decoder, x_0: Tensor, cond: Conditioning, times: Sequence[int], *, method: str, mix: float | None = None
) -> Iterator[tuple[PairLatent, int]]:
    """From the clean picture to noise: yields (the pair, evaluations so far) after each step.

    EDICT begins with the picture twice.  BDIA needs two states a step apart, of which the second is the naive DDIM
    step from the first.  An error of that step bends the path and not the way back, which ends with this very pair.

    Args:
        x_0: (B, C, H, W).
        cond: B rows.
        times: from noise to CLEAN, from `diffusion.levels`.
        method: "bdia", one evaluation a step, or "edict", two.
        mix: BDIA's γ or EDICT's p; the papers' 1 and 0.93 by default.

    Raises:
        UserError: BDIA in a single step, EDICT in so many that 1/p² to their power is above 10⁷, or a mix out of range.
    """
    mix = MIX[method] if mix is None else mix
    PairLatent(cond.z_i, x_0, x_0, method, tuple(times), mix)  # which refuses what does not fit
    if method == "bdia" and len(times) < 3:
        raise UserError("steps is 1: bdia holds two states a step apart, give 2 or more")
    most = math.inf if mix == 1 else math.floor(math.log(1e-7) / (2 * math.log(mix)))
    if method == "edict" and len(times) - 1 > most:
        raise UserError(
            f"steps is {len(times) - 1}: edict's two states part by a factor of {mix**-2:.2f} a step, and then too far "
            f"for float32; give at most {most}, or method='bdia'"
        )
    pair = (x_0, x_0)
    for number in range(1, len(times)):
        visited = tuple(times[-number - 1 :])
        pair = _up(decoder, PairLatent(cond.z_i, *pair, method, visited, mix), cond)
        yield PairLatent(cond.z_i, *pair, method, visited, mix), number * EVALUATIONS[method]


@torch.no_grad()
def descend(decoder: Decoder, pair: PairLatent, cond: Conditioning) -> Iterator[tuple[int, int, Tensor, Tensor, int]]:
    """The exact way back over the pair's own times: yields (number, total, x_t, the x_0 expected, evaluations so far).

    The last x_t is x_0.  BDIA's pair reaches a step down already, so its way back is a step shorter.
    """
    steps, per_step = len(pair.times) - 1, EVALUATIONS[pair.method]
    total = steps - 1 if pair.method == "bdia" else steps
    for number in range(1, total + 1):
        states, expected = _down(decoder, pair, cond)
        if number < total:
            pair = PairLatent(pair.z_i, *states, pair.method, pair.times[1:], pair.mix)
        yield number, total, states[1 if pair.method == "bdia" else 0], expected, number * per_step


def _up(decoder: Decoder, pair: PairLatent, cond: Conditioning) -> Pair:
    """The two states a step nearer to noise, at the first of the pair's times, where they are not yet."""
    t, s, *below = pair.times
    a_t, a_s = abar_at(decoder.abar, t), abar_at(decoder.abar, s)
    if pair.method == "bdia":
        x, x_before = pair.first, pair.second
        eps = evaluate(decoder, x, max(s, 0), cond)
        if not below:
            return ddim_step(x, eps, a_s, a_t), x
        return bdia_step(x_before, x, eps, (abar_at(decoder.abar, below[0]), a_s, a_t), 1 / pair.mix), x
    x, y = edict_part(pair.second, pair.first, pair.mix)
    y = ddim_step(y, evaluate(decoder, x, t, cond), a_s, a_t)
    return ddim_step(x, evaluate(decoder, y, t, cond), a_s, a_t), y


def _down(decoder: Decoder, pair: PairLatent, cond: Conditioning) -> tuple[Pair, Tensor]:
    """The two states a step nearer to the picture, and the x_0 expected there."""
    a = [abar_at(decoder.abar, t) for t in pair.times[:3]]
    if pair.method == "bdia":
        eps = evaluate(decoder, pair.second, pair.times[1], cond)
        x = bdia_step(pair.first, pair.second, eps, a, pair.mix)
        return (pair.second, x), ddim_step(pair.second, eps, a[1], 1.0)
    x = ddim_step(pair.first, evaluate(decoder, pair.second, pair.times[0], cond), a[0], a[1])
    eps = evaluate(decoder, x, pair.times[0], cond)
    x, y = edict_mix(x, ddim_step(pair.second, eps, a[0], a[1]), pair.mix)
    return (y, x), ddim_step(pair.second, eps, a[0], 1.0)  # swapped: the two take turns in leading, as in the paper
