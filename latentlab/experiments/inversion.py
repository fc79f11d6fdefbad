"""Picture -> (z_i, x_T): what every experiment on a picture begins with, so that it is done once."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import decoding
from ..diffusion import Conditioning
from ..inversion import invert_steps
from ..io import images
from ..latents import Latent, PairLatent
from .base import Progress, experiment
from .stages import PREVIEWED, checked_pixels, forward_progress, sample_images

if TYPE_CHECKING:
    from ..models import Lab


PER_PICTURE = ("original", "residuals", "converged", "spent")  # the tensors of InversionResult that have a row for each


@dataclass(frozen=True, repr=False)
class InversionResult:
    """Pictures and their two latents: what every experiment on a picture begins with, so that it is done once.

    Args:
        original: (B, 3, H, W), as the decoder was given it.
        latent: z_i of the encoder, x_T of the inversion; of an exact method z_i and the pair of states.
        residuals: (B, steps). converged: (B,). spent: (B,), evaluations of the decoder. As in `inversion.Inversion`.
        settings: how x_T was found: `steps`, which the way back takes too, `method`, and the method's own parameters.
    """

    original: Tensor
    latent: Latent | PairLatent
    residuals: Tensor
    converged: Tensor
    spent: Tensor
    settings: dict[str, Any]

    @property
    def steps(self) -> int:
        """The steps of the inversion, and so of the way back."""
        return self.settings["steps"]

    @property
    def method(self) -> str:
        """The method by which x_T was found."""
        return self.settings["method"]

    @property
    def bipartite(self) -> Latent:
        """(z_i, x_T).

        Raises:
            UserError: the method was an exact one, whose pair of states has no x_T.
        """
        return self.latent if isinstance(self.latent, Latent) else Latent(self.latent.z_i, self.latent.x_T)

    @property
    def residual(self) -> Tensor:
        """(steps,), the worst picture's at each step."""
        return self.residuals.amax(0)

    @property
    def evaluations(self) -> int:
        """The evaluations of the decoder for the picture that needed most."""
        return int(self.spent.max())

    def numbers(self, row: int = 0) -> dict[str, float | bool | None]:
        """One picture's convergence, evaluations and largest residual, which is None where the method has none."""
        residual = float(self.residuals[row].max())
        return {
            "converged": bool(self.converged[row]),
            "evaluations": int(self.spent[row]),
            "residual": residual if math.isfinite(residual) else None,
        }

    @staticmethod
    def of_latents(latent: Latent | PairLatent, original: Tensor, *, steps: int) -> InversionResult:
        """What latents stand for that were not inverted here: their pictures (B, 3, H, W) are what they decode to."""
        method = latent.method if isinstance(latent, PairLatent) else "fixed-point"
        rows = len(latent)
        nothing = torch.zeros(rows, steps), torch.ones(rows, dtype=torch.bool), torch.zeros(rows, dtype=torch.long)
        return InversionResult(original, latent, *nothing, {"steps": steps, "method": method})

    def __len__(self) -> int:
        return len(self.original)

    def row(self, k: int) -> InversionResult:
        """One picture of several."""
        rows = slice(k, k + 1 or None)
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in PER_PICTURE}
        return replace(self, latent=self.latent[k], **parts)

    @staticmethod
    def stack(inversions: Sequence[InversionResult]) -> InversionResult:
        """Several inversions by the same settings as one batch."""
        first = inversions[0]
        parts: dict[str, Any] = {
            name: torch.cat([getattr(inversion, name) for inversion in inversions]) for name in PER_PICTURE
        }
        return replace(first, latent=Latent.stack(inversion.bipartite for inversion in inversions), **parts)

    def __repr__(self) -> str:
        return (
            f"InversionResult({len(self)} pictures, {self.method}, {self.steps} steps, {self.evaluations} evaluations)"
        )


Pictures = Tensor | InversionResult | Latent | PairLatent  # pictures, or latents of them: what experiments begin with


@experiment(
    InversionResult,
    page="",
    command="invert",
    figures=(),
    stages=("first stage", "inversion"),
    images=lambda a: len(a["pixels"]),
)
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
) -> Iterator[Progress | InversionResult]:
    """Find pictures' two latents (z_i, x_T).  Ramesh et al. 2022, section 3.

    Args:
        pixels: (B, 3, H, W) in [-1, 1]; the encoder and the decoder each resize them to their own side, so give them
            no smaller than `lab.image_size`.
        steps: of the inversion and of the way back.
        method, iterations, memory, tolerance: as in `inversion.invert_steps`.

    Raises:
        UserError: pictures that are not (B, 3, H, W) in [-1, 1], or parameters out of their range.
    """
    pixels = checked_pixels(pixels, lab.image_size).to(lab.device, torch.float32)
    original = images.resize(pixels, lab.require_decoder().image_size)
    z_i = lab.encoder.encode_image(images.resize(pixels, lab.image_size))
    x_0 = lab.require_decoder().to_x0(original)
    if preview_every:  # something to look at while x_T is sought: what the best inversion can bring back
        yield Progress("first stage", 1, 1, decoding.pictures(lab.require_decoder(), x_0[:PREVIEWED]))
    params: dict[str, Any] = {
        "steps": steps,
        "method": method,
        "iterations": iterations,
        "memory": memory,
        "tolerance": tolerance,
    }
    for number, total, inversion in invert_steps(lab.require_decoder(), x_0, Conditioning(z_i), **params):  # noqa: B007
        yield Progress("inversion", number, total)
    yield InversionResult(original, inversion.latent, inversion.residuals, inversion.converged, inversion.spent, params)


def ensure_inverted(lab: Lab, pictures: Pictures, **params: Any) -> Generator[Progress, None, InversionResult]:
    """`yield from` this: the pictures inverted, or what was inverted before as it is; parameters as in `invert`."""
    if isinstance(pictures, InversionResult):
        return pictures
    if isinstance(pictures, Tensor):
        return (yield from forward_progress(invert.stream(lab, pictures, **params)))
    latent, steps = pictures.to(lab.device, torch.float32), params["steps"]
    if isinstance(latent, PairLatent):
        steps, original = len(latent.times) - 1, (yield from sample_images(lab, latent))
    else:
        original = yield from sample_images(lab, latent, steps=steps)
    return InversionResult.of_latents(latent, original, steps=steps)
