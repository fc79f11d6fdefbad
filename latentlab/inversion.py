"""x_0 -> x_T given z_i: DDIM run backwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .diffusion import Condition, Decoder, abar_at, ddim_step, levels
from .errors import UserError
from .latents import Latent

METHODS = ("naive", "fixed-point")


@dataclass(frozen=True)
class Inversion:
    """What an inversion found.

    Args:
        latent: z_i as given, and x_T.
        residual: (steps,), how far each step's equation is from holding: the RMS of x_t minus what one more iteration
            would give, the worst sample's. A naive inversion does not know it: NaN.
        evaluations: how often the decoder was evaluated, a batch counting once.
    """

    latent: Latent
    residual: Tensor
    evaluations: int


@torch.no_grad()
def walk(
    decoder: Decoder,
    x_0: Tensor,
    cond: Condition,
    *,
    steps: int | Sequence[int] = 50,
    method: str = "fixed-point",
    iterations: int = 4,
    tolerance: float = 1e-4,
) -> Iterator[tuple[int, int, Inversion]]:
    """Invert a step at a time: yields (number, total, what is found so far).

    DDIM's step from t to s is x_s = step(x_t, eps(x_t, t)).  To undo it one has to know eps at the point that is
    looked for.  *naive* takes eps(x_s, s) for it, and its error falls like 1/steps (Song et al. 2021, section 4.3);
    *fixed-point* solves x_t = step⁻¹(x_s, eps(x_t, t)) by iterating from x_s (Pan et al. 2023, AIDI; Garibi et al.
    2024, ReNoise).  Guidance stays at 1: above it the iteration is no longer a contraction.

    Args:
        x_0: (B, C, H, W), from `decoder.to_x0`.
        cond: z_i of the pictures and, where the walk back will have one, the caption.
        iterations: evaluations a step at most, fixed-point only.
        tolerance: a step ends early when its residual is below; in units of x_t, whose RMS is about 1.

    Raises:
        UserError: x_0 does not fit the decoder, is not finite, or the method is unknown.
    """
    if method not in METHODS:
        raise UserError(f"method is {method!r}: give one of {', '.join(METHODS)}")
    if iterations < 1:
        raise UserError(f"iterations is {iterations}: give 1 or more")
    if x_0.ndim != 4 or x_0.shape[1:] != tuple(decoder.shape):
        raise UserError(
            f"x_0 is {tuple(x_0.shape)}, this decoder wants (B, {', '.join(map(str, decoder.shape))}): "
            "decoder.to_x0(images.resize(pixels, decoder.pixels))"
        )
    if not x_0.isfinite().all():
        raise UserError("x_0 holds values that are not finite: check the picture it came from")
    cond = cond.expand(len(x_0))
    times = levels(decoder.abar, steps)[::-1]
    x_t, residuals, evaluations = x_0, [], 0
    for number, (s, t) in enumerate(itertools.pairwise(times), 1):
        a_s, a_t = abar_at(decoder.abar, s), abar_at(decoder.abar, t)
        x_s, residual = x_t, float("nan")
        if method == "naive":
            x_t = ddim_step(x_s, decoder.eps(x_s, max(s, 0), cond), a_s, a_t)
            evaluations += 1
        else:
            for _ in range(iterations):
                x_new = ddim_step(x_s, decoder.eps(x_t, t, cond), a_s, a_t)
                evaluations += 1
                residual = float((x_new - x_t).square().flatten(1).mean(1).max().sqrt())
                x_t = x_new
                if residual < tolerance:
                    break
        residuals.append(residual)
        yield number, len(times) - 1, Inversion(Latent(cond.z_i, x_t), torch.tensor(residuals), evaluations)


def invert(decoder: Decoder, x_0: Tensor, cond: Condition, **knobs) -> Inversion:
    """The x_T from which `decoding.decode` gives x_0 back: `walk` to its end, with the same knobs."""
    for _, _, found in walk(decoder, x_0, cond, **knobs):  # noqa: B007  (the last one is the result)
        pass
    return found
