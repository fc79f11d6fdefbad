"""Latent -> x_0: the sampler, as steps that callers can watch and stop."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import exact_inversion
from .clip_guidance import ClipGuidance, clip_guided
from .diffusion import Conditioning, Decoder, abar_at, checked_times, ddim_step, dpm_solver_step, levels
from .errors import UserError
from .latents import Latent, PairLatent
from .noise import SeededNoise

SOLVERS = ("ddim", "dpm++")


class Step(NamedTuple):
    """One step of the sampler, `number` of `total`: the state `x_t` after it, and the `x_0` predicted before it.

    `evaluations` is how often the decoder was evaluated so far.
    """

    number: int
    total: int
    x_t: Tensor
    x_0: Tensor
    evaluations: int


@torch.no_grad()
def sample_steps(
    decoder: Decoder,
    latent: Latent | PairLatent,
    *,
    text: Tensor | None = None,
    steps: int | Sequence[int] | None = None,
    guidance: float = 1.0,
    eta: float | Sequence[float] = 0.0,
    seeds: Sequence[int] | None = None,
    solver: str = "ddim",
    guidance_interval: tuple[int, int] | None = None,
    clip: ClipGuidance | None = None,
) -> Iterator[Step]:
    """Denoise x_T to x_0, a step at a time; the last step's x_t is x_0.

    DDIM from each level to the next (`diffusion.ddim_step`).  Song et al. 2021; variations by eta > 0:
    Ramesh et al. 2022, section 3.1.  A PairLatent is decoded by the exact reverse of its
    inversion (`exact_inversion.descend`).

    Args:
        latent: z_i (B, D), x_T (B, C, H, W); or the pair of states of an exact inversion.
        text: (1 or B, L, W) from `decoder.encode_prompt`, or None: no caption.
        steps: how many, or the times themselves; 25 by default. A pair has times of its own.
        guidance: classifier-free guidance scale; 1 disables it.
        eta: 0 reconstructs, above 0 varies; one number for all samples, or B numbers.
        seeds: B integers for eta's noise; required when eta > 0.
        solver: "ddim", whose path an inversion can undo, or "dpm++", DPM-Solver++ (2M), which needs half of the steps
            and is for pictures that are not inverted (`diffusion.dpm_solver_step`).
        guidance_interval: the least and the greatest time at which guidance is used; outside it is 1.  Kynkäänniemi et
            al. 2024. None: at every time.
        clip: guidance by CLIP towards one caption or B of them, within the same interval
            (`clip_guidance.clip_guided`).

    Raises:
        UserError: x_T does not fit the decoder, guidance is negative or not finite, an eta is not within 0 to 1, there
            are more or fewer etas, seeds or captions than samples, eta > 0 comes without seeds or with another solver
            than DDIM, the solver is unknown, the interval is not two of the decoder's times, the least first; or a pair
            comes with anything but text, because all else would leave its path.
    """
    if isinstance(latent, PairLatent):
        params = {"steps": steps, "guidance": guidance, "eta": eta, "seeds": seeds, "solver": solver}
        _check_pair(decoder, latent, {**params, "guidance_interval": guidance_interval, "clip": clip})
        descent = exact_inversion.descend(decoder, latent, _conditioning(latent, text))
        yield from itertools.starmap(Step, descent)
        return
    _check(decoder, latent.x_T, guidance, solver)
    low, high = _checked_interval(guidance_interval, len(decoder.abar))
    etas = _checked_etas(eta, len(latent), seeds, solver)
    cond = _conditioning(latent, text)
    x_t, clip = latent.x_T, clip and clip.expand(len(latent))
    draw = None
    if any(etas) and seeds is not None:
        draw = SeededNoise(seeds, decoder.shape, stream="eta", device=x_t.device, dtype=x_t.dtype)
    eta_step = torch.tensor(etas, device=x_t.device, dtype=x_t.dtype).view(-1, 1, 1, 1) if len(etas) > 1 else etas[0]
    times = levels(decoder.abar, 25 if steps is None else steps)
    previous: tuple[Tensor, float] | None = None
    for number, (t, t_next) in enumerate(itertools.pairwise(times), 1):
        a, a_next = abar_at(decoder.abar, t), abar_at(decoder.abar, t_next)
        guided = low <= t <= high
        eps = clip_guided(decoder, x_t, t, cond, guidance if guided else 1.0, clip if guided else None)
        x_0 = ddim_step(x_t, eps, a, 1.0)  # a step to abar = 1, where no noise is left, is the prediction of x_0
        if solver == "ddim":
            x_t = ddim_step(x_t, eps, a, a_next, eta=eta_step if draw else 0.0, noise=draw() if draw else None)
        else:
            x_t, previous = dpm_solver_step(x_t, x_0, a, a_next, previous), (x_0, a)
        yield Step(number, len(times) - 1, x_t, x_0, number)


def _check(decoder: Decoder, x_T: Tensor, guidance: float, solver: str) -> None:
    if x_T.shape[1:] != tuple(decoder.shape):
        raise UserError(
            f"x_T is {tuple(x_T.shape)}, this decoder wants (B, {', '.join(map(str, decoder.shape))}): "
            "invert the picture with the same model"
        )
    if not 0 <= guidance < float("inf"):
        raise UserError(f"guidance is {guidance}: give 1 for none, or a number above, like 2")
    if solver not in SOLVERS:
        raise UserError(f"solver is {solver!r}: give one of {', '.join(SOLVERS)}")


def _checked_interval(interval: Sequence[int] | None, count: int) -> tuple[int, int]:
    """The least and the greatest of the `count` times at which guidance is used."""
    if interval is None:
        return 0, count - 1
    if not isinstance(interval, Sequence) or len(interval) != 2 or not 0 <= interval[0] <= interval[1] < count:
        raise UserError(
            f"guidance_interval is {interval}: give two times from 0 to {count - 1}, the least first, like (300, 800)"
        )
    return interval[0], interval[1]


def _conditioning(latent: Latent | PairLatent, text: Tensor | None) -> Conditioning:
    """z_i with the text's rows, of which one stands for all samples."""
    if text is None:
        return Conditioning(latent.z_i)
    if text.ndim != 3 or len(text) not in (1, len(latent)):
        raise UserError(
            f"text is {tuple(text.shape)} for {len(latent)} samples: give (1, L, W) for all or ({len(latent)}, L, W), "
            "as decoder.encode_prompt returns them for one caption or one each"
        )
    return Conditioning(latent.z_i, text.expand(len(latent), -1, -1))


def _checked_etas(eta: float | Sequence[float], count: int, seeds: Sequence[int] | None, solver: str) -> list[float]:
    """One eta for all samples, or one for every sample; above 0 they need `count` seeds and DDIM."""
    etas = list(eta) if isinstance(eta, Sequence) else [eta]
    if not all(0 <= value <= 1 for value in etas):  # NaN fails, too
        raise UserError(f"eta is {eta}: give numbers from 0 (deterministic) to 1 (ancestral)")
    if isinstance(eta, Sequence) and len(etas) != count:
        raise UserError(f"{len(etas)} etas for {count} samples: give one for all, or one each")
    if any(etas) and (seeds is None or len(seeds) != count):
        number = "none" if seeds is None else str(len(seeds))
        raise UserError(f"eta is {eta} and seeds: {number}; variations want one seed for each of {count} samples")
    if any(etas) and solver != "ddim":
        raise UserError(f"eta is {eta} with solver {solver!r}, which adds no noise: use solver 'ddim' for variations")
    return etas


def _check_pair(decoder: Decoder, pair: PairLatent, params: dict[str, Any]) -> None:
    """Refuse a decoder or a parameter of `sample_steps` by which the pair would leave its path."""
    if pair.first.shape[1:] != tuple(decoder.shape):
        raise UserError(
            f"the states are {tuple(pair.first.shape)}, this decoder wants (B, {', '.join(map(str, decoder.shape))}): "
            "invert the picture with the same model"
        )
    defaults = {"guidance": 1, "eta": 0, "solver": "ddim"}
    for name, value in params.items():
        if value is not None and not (name in defaults and value == defaults[name]):
            raise UserError(
                f"{name} is {value}: {pair.method}'s pair of states goes back by the steps that it came, without "
                f"guidance or noise, and is exact on no other; leave {name} out, or invert with method='fixed-point'"
            )
    checked_times(decoder.abar, pair.times)


def decode(decoder: Decoder, latent: Latent | PairLatent, **params: Any) -> Tensor:
    """The x_0 of a latent: `sample_steps` to its end, with the same parameters.

    Returns:
        x_0: (B, C, H, W); `decoder.to_pixels` makes it a picture.
    """
    for step in sample_steps(decoder, latent, **params):
        x_0 = step.x_t
    return x_0


@torch.no_grad()
def pictures(decoder: Decoder, x_0: Tensor) -> Tensor:
    """`decoder.to_pixels` of any number of rows, at most `decoder.max_batch_size` at a time: (B, 3, pixels, pixels)."""
    return torch.cat([decoder.to_pixels(rows) for rows in x_0.split(decoder.max_batch_size)])
