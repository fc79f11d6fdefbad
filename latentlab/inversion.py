"""x_0 -> x_T for a z_i: DDIM run backwards."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import exact_inversion
from .diffusion import Conditioning, Decoder, abar_at, ddim_step, evaluate, levels
from .errors import UserError
from .latents import Latent, PairLatent

METHODS = ("naive", "fixed-point", *exact_inversion.METHODS)


@dataclass(frozen=True)
class Inversion:
    """The result of an inversion.

    Args:
        latent: z_i and x_T; of an exact method the pair of states instead.
        residuals: (B, steps), the RMS by which one more iteration would change x_t, at the last point evaluated; x_t
            itself is one iteration further.  It is NaN for a naive inversion, which does not compute it, and 0 for an
            exact one, which has no equation to solve.
        spent: (B,), the number of evaluations of the decoder for every sample.
        converged: (B,), whether the residuals of all of a sample's steps came below the tolerance, without which a
            fixed-point inversion's x_T can't be trusted.  It is False for a naive inversion and True for an exact one.
    """

    latent: Latent | PairLatent
    residuals: Tensor
    spent: Tensor
    converged: Tensor

    @property
    def residual(self) -> Tensor:
        """(steps,), the largest residual of all samples at every step."""
        return self.residuals.amax(0)

    @property
    def evaluations(self) -> int:
        """The evaluations of the decoder for the sample that needed most."""
        return int(self.spent.max())


@torch.no_grad()
def invert_steps(
    decoder: Decoder,
    x_0: Tensor,
    cond: Conditioning,
    *,
    steps: int | Sequence[int] = 25,
    method: str = "fixed-point",
    iterations: int = 20,
    memory: int = 2,
    tolerance: float = 2e-4,
) -> Iterator[tuple[int, int, Inversion]]:
    """Invert a step at a time: yields (number, total, the inversion so far).

    DDIM's step from t to s is x_s = step(x_t, eps(x_t, t)).  Undoing it needs eps at the unknown point x_t.
    *naive* uses eps(x_s, s) instead, and its error falls like 1/steps (Song et al. 2021, section 4.3);
    *fixed-point* solves x_t = step⁻¹(x_s, eps(x_t, t)) by iterating (Pan et al. 2023, AIDI; Garibi et al. 2024,
    ReNoise) with Anderson's acceleration (`solve`), from a first guess without an evaluation: the noise of the two
    steps before, extrapolated.  *bdia* and *edict* are exact, but their result is a pair of states (`exact_inversion`).
    Guidance stays at 1: above it the iteration is no longer a contraction.

    The defaults let the tolerance decide and not a fixed number of iterations: the step from the clean picture, which
    nothing precedes, wants five times the evaluations of the others.  25 steps are decoding's own default, and at
    2e-4 most of them end after 2 or 3 evaluations, under 100 there and back (benchmarks/inversion.py).

    Args:
        x_0: (B, C, H, W), from `decoder.to_x0`.
        cond: z_i of the pictures and, where decoding will use one, the caption.
        iterations: evaluations a step at most, fixed-point only.
        memory: how many earlier iterations Anderson's acceleration mixes in; 0 is the plain iteration.
        tolerance: a sample's step ends early when its residual is below; in units of x_t, whose RMS is about 1.

    Raises:
        UserError: x_0 does not fit the decoder, is not finite, the method is unknown, or a parameter is out of
            its range.
    """
    _check(decoder, x_0, method, iterations, memory)
    cond = cond.expand(len(x_0))
    times = levels(decoder.abar, steps)
    if method in exact_inversion.METHODS:
        yield from _exact_steps(decoder, x_0, cond, times, method)
        return
    x_t, residuals = x_0, list[Tensor]()
    past: list[tuple[int, Tensor]] = []
    spent = torch.zeros(len(x_0), dtype=torch.long, device=x_0.device)
    converged = torch.full_like(spent, method != "naive", dtype=torch.bool)
    for number, (s, t) in enumerate(itertools.pairwise(times[::-1]), 1):
        a_s, a_t, x_s = abar_at(decoder.abar, s), abar_at(decoder.abar, t), x_t
        if method == "naive":
            x_t = ddim_step(x_s, evaluate(decoder, x_s, max(s, 0), cond), a_s, a_t)
            count, residual = torch.ones_like(spent), x_t.new_full((len(x_t),), float("nan"))
        else:

            def undo(
                x: Tensor, rows: Tensor, x_s: Tensor = x_s, t: int = t, a_s: float = a_s, a_t: float = a_t
            ) -> Tensor:
                return ddim_step(x_s[rows], evaluate(decoder, x, t, cond[rows]), a_s, a_t)

            guess = ddim_step(x_s, _prolonged(past, t), a_s, a_t) if past else x_s
            x_t, residual, count = solve(undo, guess, iterations=iterations, memory=memory, tolerance=tolerance)
            past = [*past[-1:], (t, _noise_between(x_s, x_t, a_s, a_t))]
        spent, converged = spent + count, converged & (residual < tolerance)
        residuals.append(residual.float().cpu())
        inversion = Inversion(Latent(cond.z_i, x_t), torch.stack(residuals, 1), spent, converged)
        yield number, len(times) - 1, inversion


def _check(decoder: Decoder, x_0: Tensor, method: str, iterations: int, memory: int) -> None:
    if method not in METHODS:
        raise UserError(f"method is {method!r}: give one of {', '.join(METHODS)}")
    if iterations < 1:
        raise UserError(f"iterations is {iterations}: give 1 or more")
    if memory < 0:
        raise UserError(f"memory is {memory}: give 0 (plain iteration) or more")
    if x_0.ndim != 4 or x_0.shape[1:] != tuple(decoder.shape):
        raise UserError(
            f"x_0 is {tuple(x_0.shape)}, this decoder wants (B, {', '.join(map(str, decoder.shape))}): "
            "decoder.to_x0(images.resize(pixels, decoder.image_size))"
        )
    if not x_0.isfinite().all():
        raise UserError("x_0 holds values that are not finite: check the picture it came from")


def _exact_steps(
    decoder: Decoder, x_0: Tensor, cond: Conditioning, times: Sequence[int], method: str
) -> Iterator[tuple[int, int, Inversion]]:
    pairs = exact_inversion.ascend(decoder, x_0, cond, times, method=method)
    for number, (pair, evaluations) in enumerate(pairs, 1):
        converged = torch.ones(len(x_0), dtype=torch.bool, device=x_0.device)
        spent = torch.full((len(x_0),), evaluations, device=x_0.device)
        yield number, len(times) - 1, Inversion(pair, torch.zeros(len(x_0), number), spent, converged)


def invert(decoder: Decoder, x_0: Tensor, cond: Conditioning, **params: Any) -> Inversion:
    """The x_T from which `decoding.decode` gives x_0 back: `invert_steps` to its end, with the same parameters."""
    for _, _, inversion in invert_steps(decoder, x_0, cond, **params):  # noqa: B007  (the last one is the result)
        pass
    return inversion


def solve(
    g: Callable[[Tensor, Tensor], Tensor], x: Tensor, *, iterations: int, memory: int, tolerance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Find x = g(x), every sample for itself.

    With f = g(x) - x and the differences ΔF, ΔG of the last f and g from the `memory` ones before,
    x' = g(x) - ΔG γ,   γ = argmin |f - ΔF γ|.  Anderson 1965; Walker & Ni 2011, section 2 (type II).

    Args:
        g: (x, rows) -> g(x) of the samples with these indices, which x holds alone.
        x: (B, …), the guess.
        iterations: evaluations of g at most.
        tolerance: a sample whose residual, the RMS of f, is below takes this last step and is evaluated no more.

    Returns:
        x (B, …); the residual of the last evaluated point (B,); evaluations (B,).
    """
    solution, rows = x.clone(), torch.arange(len(x), device=x.device)
    residual = x.new_full((len(x),), float("inf"))
    count = torch.zeros_like(rows)
    past: list[tuple[Tensor, Tensor]] = []
    for _ in range(iterations):
        g_x = g(solution[rows], rows)
        f = g_x - solution[rows]
        residual[rows] = f.square().flatten(1).mean(1).sqrt()
        count[rows] += 1
        past = [*past, (f, g_x)][-memory - 1 :]
        solution[rows] = _mixed(past)
        left = residual[rows] >= tolerance  # which NaN is not: nothing more can come of it
        rows, past = rows[left], [(f[left], g_x[left]) for f, g_x in past]
        if not len(rows):
            break
    return solution, residual, count


def _mixed(past: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Anderson's next x from the last f and g(x), the newest at the end."""
    (f, g_x), *rest = past[::-1]
    if not rest:
        return g_x
    dF = torch.stack([(f - older).flatten(1) for older, _ in rest], 1).double()  # (B, memory, C H W)
    gram = dF @ dF.mT
    # Iterates that stand still, or move along one line, leave the Gram matrix singular: a little on its diagonal.
    little = 1e-10 * gram.diagonal(dim1=1, dim2=2).sum(1) + 1e-100
    gram = gram + little[:, None, None] * torch.eye(len(rest), dtype=gram.dtype, device=gram.device)
    gamma, _ = torch.linalg.solve_ex(gram, dF @ f.flatten(1).double()[..., None])  # (B, memory, 1), never raises
    dG = torch.stack([(g_x - older).flatten(1) for _, older in rest], 1)
    return g_x - (gamma.to(g_x.dtype) * dG).sum(1).view_as(g_x)


def _prolonged(past: list[tuple[int, Tensor]], t: int) -> Tensor:
    """eps at t on the straight line through those of the last two times; never further than these are apart."""
    (t_1, eps_1), (t_2, eps_2) = past[-1], past[0]
    return eps_1 if len(past) == 1 else eps_1 + min(1.0, (t - t_1) / (t_1 - t_2)) * (eps_1 - eps_2)


def _noise_between(x_s: Tensor, x_t: Tensor, a_s: float, a_t: float) -> Tensor:
    """The eps with which `ddim_step` goes from x_s to x_t."""
    u_s, u_t = (math.sqrt((1 - a) / a) for a in (a_s, a_t))
    return (x_t / math.sqrt(a_t) - x_s / math.sqrt(a_s)) / (u_t - u_s)
