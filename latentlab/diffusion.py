"""Diffusion as a handful of formulas: noise levels, one DDIM step for both directions, and guidance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from .errors import UserError

CLEAN = -1  # the level at which abar is 1 and nothing is noise


@dataclass(frozen=True)
class Conditioning:
    """What a decoder is conditioned on.

    Args:
        z_i: (B, D), CLIP image embedding.
        text: (B, L, W), the caption as the decoder reads it, or None: no caption.
        known: (B, C + 1, H, W), x_0 where it is known and the mask of that part, for a decoder that was trained to
            inpaint (`inpainting.InpaintingDecoder`); None: nothing is known.
    """

    z_i: Tensor
    text: Tensor | None = None
    known: Tensor | None = None

    def __len__(self) -> int:
        return len(self.z_i)

    def __getitem__(self, rows: slice | Tensor) -> Conditioning:
        text, known = (None if part is None else part[rows] for part in (self.text, self.known))
        return Conditioning(self.z_i[rows], text, known)

    def expand(self, count: int) -> Conditioning:
        """One row repeated `count` times; as many rows as that stay as they are."""
        if len(self) not in (1, count):
            raise UserError(f"{len(self)} conditions for {count} pictures: give one for all, or one each")
        text, known = self.text, self.known
        return Conditioning(
            self.z_i.expand(count, -1),
            None if text is None else text.expand(count, -1, -1),
            None if known is None else known.expand(count, -1, -1, -1),
        )

    def concatenate(self, other: Conditioning) -> Conditioning:
        """These rows and then the other's; both have text, or neither, and the same holds for what is known."""
        pairs = ((self.text, other.text), (self.known, other.known))
        text, known = (None if a is None or b is None else torch.cat([a, b]) for a, b in pairs)
        return Conditioning(torch.cat([self.z_i, other.z_i]), text, known)


class Concatenable(Protocol):
    """The conditioning of a decoder or of a prior."""

    def concatenate(self: C, other: C, /) -> C:
        """These rows and then the other's."""


C = TypeVar("C", bound=Concatenable)


class Decoder(Protocol):
    """A denoiser and its first stage: all that the theory needs to know of a model."""

    abar: Tensor  # (T,) cumulative alphas, decreasing
    shape: tuple[int, int, int]  # (C, H, W) of x_T
    image_size: int  # side of the picture that to_pixels makes
    max_batch_size: int  # the largest number of rows evaluated at once, which bounds memory

    def to_x0(self, pixels: Tensor) -> Tensor:
        """(B, 3, pixels, pixels) in [-1, 1] to x_0 (B, C, H, W): identity, VAE or MoVQ."""

    def to_pixels(self, x_0: Tensor) -> Tensor:
        """The approximate inverse of `to_x0`."""

    def eps(self, x_t: Tensor, t: int, cond: Conditioning, guidance: float = 1.0) -> Tensor:
        """The predicted noise in x_t at time t."""

    def encode_prompt(self, prompts: Sequence[str]) -> Tensor | None:
        """Prompts as Conditioning.text, or None where the decoder takes no text."""


def cosine_abar(T: int = 1000) -> Tensor:
    """abar of the cosine schedule: f(t) = cos²((t + .008)/1.008 · π/2), betas capped at .999.

    Nichol & Dhariwal 2021, equation 17 and the cap below it; diffusers' `squaredcos_cap_v2`.
    """

    def f(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - f((i + 1) / T) / f(i / T), 0.999) for i in range(T)]
    return (1 - torch.tensor(betas, dtype=torch.float64)).cumprod(0)


def checked_times(abar: Tensor, times: Sequence[int]) -> list[int]:
    """The times as plain integers.

    Raises:
        UserError: fewer than two, or they do not decrease from one of abar's (T,) times to CLEAN.
    """
    times = [int(t) for t in times]
    decreasing = all(a > b for a, b in itertools.pairwise(times))
    if len(times) < 2 or not decreasing or times[0] >= len(abar) or times[-1] != CLEAN:
        raise UserError(f"times {times[:6]}… must decrease, from below {len(abar)} to {CLEAN} (clean)")
    return times


def levels(abar: Tensor, steps: int | Sequence[int]) -> list[int]:
    """The times that a sampler visits, from noise to CLEAN.

    `steps` equal strides from the last usable time.  A cosine schedule is singular at its end (1/√abar is 20,291 at
    t = 999 and 34 at t = 980), so sampling starts where 1/√abar is at most 35.

    Args:
        abar: (T,).
        steps: how many steps, or the times themselves, decreasing, which are checked and kept.

    Returns:
        steps + 1 times; the last is CLEAN.

    >>> levels(cosine_abar(), 4)
    [980, 735, 490, 244, -1]

    Raises:
        UserError: fewer than one step, more than there are times, or times that do not decrease.
    """
    if not isinstance(steps, (int, Integral)):
        return checked_times(abar, steps)
    count, last = int(steps), int((abar >= 1 / 35**2).sum()) - 1
    if not 1 <= count <= last + 1:
        raise UserError(f"steps is {steps}: give a number from 1 to {last + 1}")
    return [round(last + (CLEAN - last) * k / count) for k in range(count + 1)]


def abar_at(abar: Tensor, t: int) -> float:
    """abar at time t; 1 at CLEAN."""
    return 1.0 if t == CLEAN else float(abar[t])


def ddim_step(
    x: Tensor, eps: Tensor, abar_from: float, abar_to: float, *, eta: float | Tensor = 0.0, noise: Tensor | None = None
) -> Tensor:
    """Go from one noise level to another, either way.

    x_0 = (x - √(1-a) eps) / √a,   x' = √a' x_0 + √(1-a'-σ²) eps + σ noise,
    σ = η √((1-a')/(1-a)) √(1-a/a').  Song et al. 2021 (DDIM), equations 12 and 16.

    Args:
        x, eps: (B, C, H, W), the state and the noise predicted in it.
        abar_from, abar_to: a and a'; a' > a denoises, a' < a inverts.
        eta: 0 is deterministic, 1 is ancestral sampling; needs `noise` and a' > a. A number, or (B, 1, 1, 1).
        noise: like x.

    >>> x_0, eps = torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 2.0)
    >>> x_t = ddim_step(x_0, eps, 1.0, 0.36)  # √0.36 · 1 + √0.64 · 2
    >>> round(x_t.item(), 4), round(ddim_step(x_t, eps, 0.36, 1.0).item(), 4)
    (2.2, 1.0)

    Raises:
        UserError: eta outside 0..1, or above 0 without noise or while inverting.
    """
    if not (((eta >= 0) & (eta <= 1)).all() if isinstance(eta, Tensor) else 0 <= eta <= 1):
        raise UserError(f"eta is {eta}: give a number from 0 (deterministic) to 1 (ancestral)")
    x_0 = (x - math.sqrt(1 - abar_from) * eps) / math.sqrt(abar_from)
    if not isinstance(eta, Tensor) and eta == 0:
        return math.sqrt(abar_to) * x_0 + math.sqrt(1 - abar_to) * eps
    if noise is None or abar_to < abar_from:
        raise UserError("eta above 0 adds noise: it needs `noise`, and a step towards the clean picture")
    sigma = eta * math.sqrt((1 - abar_to) / (1 - abar_from) * (1 - abar_from / abar_to))
    # Never negative but for rounding: at η = 1 and the clean end it is 0.
    eps_factor = torch.as_tensor(1 - abar_to - sigma**2, dtype=x.dtype, device=x.device).clamp_min(0).sqrt()
    return math.sqrt(abar_to) * x_0 + eps_factor * eps + sigma * noise


def dpm_solver_step(
    x: Tensor, x_0: Tensor, abar_from: float, abar_to: float, before: tuple[Tensor, float] | None = None
) -> Tensor:
    """Take one denoising step of DPM-Solver++ (2M), which is second order in the step size where DDIM is first order.

    x' = σ'/σ x + (α' - α σ'/σ) D,   D = x_0 + h / (2 h_before) (x_0 - x_0_before),
    α = √a, σ = √(1-a), h = λ' - λ, λ = log(α/σ).  Lu et al. 2022 (DPM-Solver++), algorithm 2.
    Without `before`, and in the step to the clean end where h is infinite, D = x_0: that is DDIM's step with η = 0.

    Args:
        x, x_0: (B, C, H, W), the state and the clean picture predicted from it.
        abar_from, abar_to: a and a'; a' > a.
        before: x_0 and a of the step before.
    """
    sigma_ratio = math.sqrt((1 - abar_to) / (1 - abar_from))
    if before is not None and abar_to < 1:
        x_0_before, abar_before = before
        h = _half_log_snr(abar_to) - _half_log_snr(abar_from)
        h_before = _half_log_snr(abar_from) - _half_log_snr(abar_before)
        x_0 = x_0 + h / (2 * h_before) * (x_0 - x_0_before)
    return sigma_ratio * x + (math.sqrt(abar_to) - math.sqrt(abar_from) * sigma_ratio) * x_0


def _half_log_snr(abar: float) -> float:
    """λ = log(α/σ), half of the logarithm of the signal-to-noise ratio."""
    return 0.5 * math.log(abar / (1 - abar))


def evaluate(decoder: Decoder, x_t: Tensor, t: int, cond: Conditioning, guidance: float = 1.0) -> Tensor:
    """`decoder.eps` of any number of rows, at most `decoder.max_batch_size` at a time; a guided row counts as two.

    Args:
        x_t: (B, C, H, W).
        cond: B rows.

    Returns:
        eps (B, C, H, W), as of one batch.
    """
    rows = max(1, decoder.max_batch_size // (1 if guidance == 1 else 2))
    starts = range(0, max(1, len(x_t)), rows)
    return torch.cat([decoder.eps(x_t[k : k + rows], t, cond[k : k + rows], guidance) for k in starts])


def to_eps(prediction: Tensor, x_t: Tensor, abar: float, kind: str) -> Tensor:
    """A network's output as the noise in x_t.

    v = √a eps - √(1-a) x_0 (Salimans & Ho 2022, section 4), so eps = √a v + √(1-a) x_t;
    and from x_0: eps = (x_t - √a x_0) / √(1-a).

    Args:
        kind: "eps", "v" or "x_0": what the network predicts.
    """
    if kind == "eps":
        return prediction
    if kind == "v":
        return math.sqrt(abar) * prediction + math.sqrt(1 - abar) * x_t
    if kind == "x_0":
        return (x_t - math.sqrt(abar) * prediction) / math.sqrt(1 - abar)
    raise ValueError(f"kind is {kind!r}, not 'eps', 'v' or 'x_0'")


def guided(predict: Callable[[Tensor, C], Tensor], x_t: Tensor, cond: C, null: C, guidance: float) -> Tensor:
    """Classifier-free guidance, with both halves in one batch; a scale of 1 evaluates only the conditional half.

    out = null + g (cond - null).  Ho & Salimans 2021, equation 6 (with w = g - 1).

    Args:
        predict: (x, condition) -> prediction, for any batch size.
        null: the family's own empty condition, as many rows as cond.
    """
    if guidance == 1:
        return predict(x_t, cond)
    with_cond, without = predict(torch.cat([x_t, x_t]), cond.concatenate(null)).chunk(2)
    return without + guidance * (with_cond - without)
