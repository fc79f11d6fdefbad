"""Gradient ascent: a canvas drawn by CLIP alone, towards captions, pictures or directions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .canvas import Canvas
from .clip import MAX_BATCH_SIZE
from .clip_guidance import ImageEncoder
from .errors import UserError
from .io import images
from .slerp import normalize

PRECISION = 1e30  # a gradient above this overflows when Adam squares it


@dataclass(frozen=True, eq=False, repr=False)
class Objective:
    """The objective that is maximised: Σ_c w_c cos(z_i - μ, z_c) / Σ_c |w_c|.

    Args:
        z: (C, D), embeddings of captions or pictures, or directions; (B, C, D) where each of B pictures has its own.
        weights: C, negative ones for what should not be seen.
        centre: μ (D,), None for 0; with the mean of many z_i the z may be directions among pictures.

    Raises:
        UserError: no targets, more or fewer weights than targets, or weights that are all 0 or not finite.
    """

    z: Tensor
    weights: Sequence[float]
    centre: Tensor | None = None

    def __post_init__(self) -> None:
        count = self.z.shape[-2]
        if count != len(self.weights) or not count:
            raise UserError(f"{len(self.weights)} weights for {count} targets: give one weight for each, and one")
        if not any(self.weights) or not all(math.isfinite(w) for w in self.weights):
            raise UserError(f"weights are {list(self.weights)}: give finite numbers that are not all 0, like 1 and 0.5")

    def __call__(self, z_i: Tensor) -> Tensor:
        """The objective of each z_i: (N, D) to (N,); where z is of B pictures, N = V · B, view after view."""
        centred = z_i if self.centre is None else z_i - self.centre.to(z_i)
        weights = torch.tensor(self.weights, device=z_i.device, dtype=z_i.dtype)
        targets = normalize(self.z.to(z_i)) if self.z.ndim == 3 else normalize(self.z.to(z_i))[None]
        rows = normalize(centred).view(-1, len(targets), 1, z_i.shape[-1])  # (V, B, 1, D)
        return (rows @ targets.mT).flatten(0, 2) @ (weights / weights.abs().sum())


class Step(NamedTuple):
    """One step: the pictures (B, 3, H, W) before it, and their objective (B,) over its views.

    Args:
        good: whether all numbers are finite; if not, the canvas is back at the step before, and this was the last.
    """

    number: int
    total: int
    pixels: Tensor
    score: Tensor
    good: bool = True


class Views:
    """Random views of pictures: moved, turned, tilted, cropped, and in other light, by torchvision.

    Frans et al. 2021 (CLIPDraw), section 3.

    Args:
        count: V, views of each picture; 0 gives the picture itself.
        size: side of a view.
        strength: how far views are from the picture: 1 changes it a little, 2 twice as much.
        stream: what the views are for; views of different streams differ.
    """

    def __init__(self, count: int, size: int, *, strength: float = 1.0, stream: int = 0) -> None:
        from torchvision.transforms import v2

        self.count, self.size, self.stream = count, size, stream
        # A fill of None leaves 0; torchvision cannot differentiate any other.
        moved: dict[str, Any] = {"translate": (0.06 * strength,) * 2, "scale": (1.4 - 0.4 * strength, 1)}
        self.moved = v2.Compose(
            [
                v2.RandomPerspective(0.1 + 0.2 * strength, p=0.8, fill=None),
                v2.RandomAffine(12 * strength, **moved, interpolation=v2.InterpolationMode.BILINEAR, fill=None),
                v2.RandomResizedCrop(size, scale=(0.6, 1), ratio=(0.9, 1.1), antialias=True),
            ]
        )
        self.lit = v2.ColorJitter(*[0.15 * strength] * 3)  # torchvision cannot differentiate a change of hue

    def __len__(self) -> int:
        return max(1, self.count)

    def __call__(self, pixels: Tensor, step: int, view: int) -> Tensor:
        """View number `view` at a step, the same of each picture: (B, 3, H, W) to (B, 3, size, size)."""
        if not self.count:
            return images.resize(pixels, self.size)
        with torch.random.fork_rng(devices=[]):
            # torchvision draws on the CPU; torch.manual_seed would format the stack for each kind of accelerator.
            torch.default_generator.manual_seed(self.stream + 7919 * step + view)
            ink = self.moved((1 - pixels) / 2)  # white is 0, with which torchvision fills what a picture leaves free
            return self.lit((1 - ink).clamp(0, 1)) * 2 - 1


def ascend(
    canvas: Canvas, encoder: ImageEncoder, objective: Objective, *, views: Views, steps: int, size: int
) -> Iterator[Step]:
    """Adam on the canvas's parameters towards the objective, averaged over views; learning rates follow a cosine.

    Views are encoded `clip.MAX_BATCH_SIZE` pictures at a time at most, each batch with its own backward pass,
    so that memory does not grow with their number.

    Args:
        size: side of the picture that is rendered and viewed.

    Raises:
        UserError: no steps.
    """
    if steps < 1:
        raise UserError(f"steps is {steps}: give at least 1, like 120")
    optimiser = torch.optim.Adam(canvas.groups(), betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: 0.1 + 0.45 * (1 + math.cos(math.pi * k / steps)))
    good = _copy(canvas)
    for number in range(1, steps + 1):
        optimiser.zero_grad()
        pixels = canvas.render(size)
        score, gradient = _pulled_back(pixels.detach(), encoder, objective, views, number)
        if not score.isfinite().all() or not (gradient.abs() < PRECISION).all():
            canvas.load_state_dict(good)
            yield Step(number, steps, canvas.render(size).detach(), score, good=False)
            return
        good = _copy(canvas)
        pixels.backward(-gradient)
        optimiser.step()
        schedule.step()
        canvas.project()
        yield Step(number, steps, pixels.detach(), score)
    if not all(value.isfinite().all() for value in canvas.state_dict().values()):
        canvas.load_state_dict(good)


def _copy(canvas: Canvas) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in canvas.state_dict().items()}


def _pulled_back(
    pixels: Tensor, encoder: ImageEncoder, objective: Objective, views: Views, step: int
) -> tuple[Tensor, Tensor]:
    """The objective of pictures averaged over views (B,), and its gradient at the pixels (B, 3, H, W)."""
    together = max(1, MAX_BATCH_SIZE // len(pixels))
    leaf, total = pixels.requires_grad_(), pixels.new_zeros(len(pixels))
    for first in range(0, len(views), together):
        numbers = range(first, min(first + together, len(views)))
        with torch.enable_grad():
            viewed = torch.cat([views(leaf, step, number) for number in numbers])
            score = objective(encoder.encode_image(viewed)).view(len(numbers), -1).sum(0) / len(views)
            score.sum().backward()
        total += score.detach()
    assert leaf.grad is not None
    return total, leaf.grad
