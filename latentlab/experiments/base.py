"""What every experiment is made of: a stream to watch and stop, a frozen result, and the common stages."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from .. import __version__, decoding, inversion, upsampling
from ..diffusion import Conditioning
from ..errors import UserError
from ..io import images
from ..latents import Latent, PairLatent
from ..slerp import normalize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..models import Lab


PREVIEWED = 12  # pictures in a preview: a sweep of many would spend more on being watched than on itself


class Progress(NamedTuple):
    """Where an experiment is: `step` of `steps` in a stage, and its first pictures as they look by now, if any."""

    stage: str
    step: int
    steps: int
    pixels: Tensor | None = None  # (B, 3, H, W)


def streamed(result: type) -> Callable[[Callable[..., Iterator[Any]]], Callable[..., Any]]:
    """Make a generator of Progress whose last value is a `result` into a function that returns that.

    The generator itself stays as `.stream`.
    """

    def decorate(experiment: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
        @functools.wraps(experiment)
        def run(*args, **kwargs):
            for value in experiment(*args, **kwargs):
                last = value
            return last

        run.__signature__ = inspect.signature(experiment).replace(return_annotation=result.__name__)
        run.stream = experiment
        return run

    return decorate


@dataclass(frozen=True, repr=False, kw_only=True)
class Result:
    """What an experiment found; each one adds its pictures.

    Args:
        table: tidy rows, one a measured quantity at one place of the sweep: the place's coordinates, `quantity`,
            `value`, `n`, and `low`, `high` of the 95% interval (None where n is 1).
        settings: everything that is needed to do it again.
        notes: what the model could not see or do.
    """

    table: tuple[dict, ...] = ()
    settings: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def figure(self) -> Figure:
        """The experiment as one picture to look at."""
        raise NotImplementedError

    def summary(self) -> str:
        """What there is to see, in a sentence or two, with the numbers."""
        raise NotImplementedError

    def value(self, quantity: str, **where) -> float:
        """The one value in the table of that quantity, at that place."""
        wanted = {"quantity": quantity, **where}
        found = [row["value"] for row in self.table if all(row.get(k) == v for k, v in wanted.items())]
        if len(found) != 1:
            known = ", ".join(dict.fromkeys(row["quantity"] for row in self.table))
            raise UserError(f"{len(found)} rows have {wanted}: name one place; the quantities are {known}")
        return found[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.summary()}"

    def _repr_png_(self) -> bytes:
        return self.figure()._repr_png_()


def settings_of(lab: Lab, experiment: str, **knobs) -> dict:
    """What a result remembers: the versions of code and weights, the experiment, its knobs."""
    return {
        "latentlab": __version__, "experiment": experiment, "model": lab.name, "weights": lab.weights, **knobs
    }  # fmt: skip


def checked_pixels(pixels: Tensor, side: int) -> Tensor:
    """The pictures as they are.

    Raises:
        UserError: they are not (B, 3, H, W) floats in [-1, 1], at least one.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise UserError(f"pixels are {tuple(pixels.shape)}, wanted (B, 3, H, W): images.load(path, {side})")
    if not len(pixels) or not pixels.is_floating_point() or not (pixels.abs() <= 1.01).all():
        raise UserError(
            f"pixels are {pixels.dtype} of shape {tuple(pixels.shape)}, wanted floats in [-1, 1] of at least one "
            "picture: images.to_tensor makes them from PIL images"
        )
    return pixels


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of embeddings, row by row: (..., D) twice to (...)."""
    return (normalize(a) * normalize(b)).sum(-1)


@dataclass(frozen=True, repr=False)
class Inverted:
    """Pictures and their two latents: what every experiment on a picture begins with, so that it is found once.

    Args:
        original: (B, 3, H, W), as the decoder was given it.
        latent: z_i of the encoder, x_T of the inversion; of an exact method z_i and the pair of states.
        residual: (steps,). converged: (B,). evaluations: of the decoder. As in `inversion.Inversion`.
        steps: of the inversion, and so of the way back.
        method: by which x_T was found.
    """

    original: Tensor
    latent: Latent | PairLatent
    residual: Tensor
    converged: Tensor
    evaluations: int
    steps: int
    method: str

    def __len__(self) -> int:
        return len(self.original)

    def row(self, k: int) -> Inverted:
        """One picture of several."""
        rows = slice(k, k + 1 or None)
        return replace(self, original=self.original[rows], latent=self.latent[k], converged=self.converged[rows])

    def __repr__(self) -> str:
        return f"Inverted({len(self)} pictures, {self.method}, {self.steps} steps, {self.evaluations} evaluations)"


@streamed(Inverted)
def invert(
    lab: Lab,
    pixels: Tensor,
    *,
    steps: int = 25,
    method: str = "fixed-point",
    iterations: int = 20,
    memory: int = 2,
    tolerance: float = 2e-4,
    preview_every: int = 5,
) -> Iterator[Progress | Inverted]:
    """Find pictures' two latents (z_i, x_T).  Ramesh et al. 2022, section 3.

    Args:
        pixels: (B, 3, H, W) in [-1, 1]; the encoder and the decoder each resize them to their own side, so give them
            no smaller than `lab.image_size`.
        steps: of the inversion and of the way back.
        method, iterations, memory, tolerance: as in `inversion.invert_steps`.

    Raises:
        UserError: pictures that are not (B, 3, H, W) in [-1, 1], or knobs out of their range.
    """
    pixels = checked_pixels(pixels, lab.image_size).to(lab.device, torch.float32)
    original = images.resize(pixels, lab.require_decoder().image_size)
    z_i = lab.encoder.encode_image(images.resize(pixels, lab.image_size))
    x_0 = lab.require_decoder().to_x0(original)
    if preview_every:  # something to look at while x_T is sought: what the best inversion can bring back
        yield Progress("first stage", 1, 1, decoding.pictures(lab.require_decoder(), x_0[:PREVIEWED]))
    knobs = {"steps": steps, "method": method, "iterations": iterations, "memory": memory, "tolerance": tolerance}
    for number, total, found in inversion.invert_steps(lab.require_decoder(), x_0, Conditioning(z_i), **knobs):  # noqa: B007
        yield Progress("inversion", number, total)
    yield Inverted(original, found.latent, found.residual, found.converged, found.evaluations, steps, method)


def forward_progress(stream: Iterator) -> Iterator[Progress]:
    """`yield from` this: an experiment's progress; its result."""
    for value in stream:
        if isinstance(value, Progress):
            yield value
    return value


def ensure_inverted(lab: Lab, given: Tensor | Inverted, **knobs) -> Iterator[Progress]:
    """`yield from` this: the pictures inverted, or what was inverted before as it is; knobs as in `invert`."""
    return given if isinstance(given, Inverted) else (yield from forward_progress(invert.stream(lab, given, **knobs)))


def decode_latents(lab: Lab, latent: Latent, *, preview_every: int = 0, **knobs) -> Iterator[Progress]:
    """`yield from` this: pictures (B, 3, H, W) of latents, watched; knobs as in `decoding.sample_steps`."""
    for step in decoding.sample_steps(lab.require_decoder(), latent, **knobs):
        due = preview_every and (step.number == 1 or step.number % preview_every == 0)
        shown = (
            decoding.pictures(lab.require_decoder(), step.x_0[:PREVIEWED]) if due and step.number < step.total else None
        )
        yield Progress("decoder", step.number, step.total, shown)
    return decoding.pictures(lab.require_decoder(), step.x_t)


def run_to_end(stage: Iterator[Progress]) -> Any:
    """What a stage returns, its progress unseen."""
    while True:
        try:
            next(stage)
        except StopIteration as end:
            return end.value


def upsample_images(lab: Lab, pixels: Tensor, seeds: Sequence[int]) -> Iterator[Progress]:
    """`yield from` this: pictures upsampled where the lab can, as they are where it can't.

    The frames of one path want one seed for all: with draws of their own, what the upsampler adds would flicker.
    """
    if lab.upsampler is None:
        return pixels
    yield Progress("upsampler", 0, 1, pixels)
    return upsampling.upsample(lab.upsampler, pixels, seeds=seeds)
