"""Each experiment as one call that returns a frozen result: pictures, numbers, and a figure.

Every experiment can also be watched: `generate(...)` runs to the end and returns the result, `generate.stream(...)`
yields `Progress` on the way and the result last, so that a page can draw and stop it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from . import __version__, decoding, images, inversion, prior, upsampling
from .diffusion import Condition, noise
from .errors import UserError
from .latents import Latent, PairLatent
from .sphere import normalize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .models import Lab


class Progress(NamedTuple):
    """Where an experiment is: `step` of `steps` in a stage, and the pictures as they look by now, if there are any."""

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


@dataclass(frozen=True, repr=False)
class Generated:
    """Pictures of a caption.

    Args:
        pixels: (B, 3, H, W), upsampled where the lab can.
        latent: z_i from the prior, x_T from the seeds.
        similarity: (B,), cosine of encode(picture) and z_t.
        seeds: one a picture.
        settings: everything that is needed to make them again.
        warnings: what of the caption the model did not see.
    """

    pixels: Tensor
    latent: Latent
    similarity: Tensor
    seeds: tuple[int, ...]
    settings: dict
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Generated({self.settings['prompt']!r}, {len(self.seeds)} x {tuple(self.pixels.shape[1:])})"

    def metadata(self, row: int) -> dict:
        """What the PNG of one picture carries."""
        return {**self.settings, "seed": self.seeds[row]}

    def figure(self) -> Figure:
        from .figures import grid

        titles = [f"seed {s} · cos {c:.2f}" for s, c in zip(self.seeds, self.similarity.tolist())]
        return grid(self.pixels, titles=titles, heading=self.settings["prompt"])


@streamed(Generated)
def generate(
    lab: Lab,
    caption: str,
    *,
    seeds: Sequence[int] = (0,),
    steps: int = 25,
    guidance: float = 2.0,
    prior_steps: int = 16,
    prior_guidance: float = 1.0,
    candidates: int = 2,
    preview_every: int = 5,
) -> Iterator[Progress | Generated]:
    """Caption -> prior -> decoder -> upsampler: one picture a seed.  Ramesh et al. 2022, section 2.

    Args:
        seeds: a picture each; picture k depends on its own seed alone.
        steps, guidance: the decoder's.
        prior_steps, prior_guidance, candidates: the prior's; of so many z_i the one nearest to z_t is kept.
        preview_every: `.stream` shows pictures each so many steps.

    Raises:
        UserError: an empty caption, no seeds, or knobs out of their range.
    """
    reading = lab.encoder.read(caption)
    seeds = tuple(int(s) for s in seeds)
    if not seeds:
        raise UserError("seeds is empty: give one integer for each picture")
    settings = {
        "latentlab": __version__, "experiment": "generate", "model": lab.name, "weights": lab.weights,
        "prompt": caption, "steps": steps,
        "guidance": guidance, "prior_steps": prior_steps, "prior_guidance": prior_guidance, "candidates": candidates,
    }  # fmt: skip
    yield Progress("prior", 0, 1)
    z_i = prior.sample(
        lab.prior, [caption], seeds=seeds, steps=prior_steps, guidance=prior_guidance, candidates=candidates
    )
    latent = Latent(z_i, noise(lab.decoder, seeds, device=z_i.device, dtype=z_i.dtype))
    text = lab.decoder.read([caption])
    for step in decoding.walk(lab.decoder, latent, text=text, steps=steps, guidance=guidance):
        show = preview_every and step.number % preview_every == 0 and step.number < step.total
        yield Progress("decoder", step.number, step.total, decoding.pictures(lab.decoder, step.x_0) if show else None)
    pixels = decoding.pictures(lab.decoder, step.x_t)
    z_t = lab.encoder.encode_text([caption])
    similarity = (normalize(lab.encoder.encode_image(pixels)) * normalize(z_t)).sum(-1)
    if lab.upsampler is not None:
        yield Progress("upsampler", 0, 1, pixels)
        pixels = upsampling.upsample(lab.upsampler, pixels, seeds=seeds)
    yield Generated(pixels, latent, similarity, seeds, settings, tuple(reading.warnings()))


@dataclass(frozen=True, repr=False)
class Reconstructed:
    """A picture as (z_i, x_T), and back.

    Args:
        original: (B, 3, H, W), as the decoder was given it.
        pixels: (B, 3, H, W), decoded from the two latents.
        from_z_i: (B, 3, H, W), decoded from z_i and a random x_T: what CLIP saw, without the rest.
        large, large_from_z_i: the two, upsampled where the lab can.
        latent: the two latents; of an exact method z_i and the pair of states.
        psnr, ssim: (B,), of pixels against original.
        psnr_first_stage: (B,), of the first stage alone: the ceiling of psnr.
        residual: (steps,), of the inversion.
        converged: (B,), whether the inversion solved every step to its tolerance.
        evaluations: of the decoder, there and back.
        cosine: (B,), between z_i and the encoding of pixels.
        settings: everything that is needed to do it again.
    """

    original: Tensor
    pixels: Tensor
    from_z_i: Tensor
    large: Tensor
    large_from_z_i: Tensor
    latent: Latent | PairLatent
    psnr: Tensor
    ssim: Tensor
    psnr_first_stage: Tensor
    residual: Tensor
    converged: Tensor
    evaluations: int
    cosine: Tensor
    settings: dict = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Reconstructed({len(self.pixels)} x {tuple(self.pixels.shape[1:])}, PSNR {self.psnr.mean():.1f} dB)"

    def numbers(self, row: int = 0) -> dict[str, float | bool]:
        """One picture's numbers, by name."""
        found = {k: v for k, v in vars(self).items() if k in ("psnr", "ssim", "psnr_first_stage", "cosine")}
        rounded = {k: round(float(v[row]), 4) for k, v in found.items()}
        spent = {"converged": bool(self.converged[row]), "evaluations": self.evaluations}
        return {**rounded, "residual": float(self.residual.max()), **spent}

    def figure(self) -> Figure:
        from .figures import grid

        columns = torch.stack([self.original, self.pixels, self.from_z_i], 1).flatten(0, 1)
        titles = [t for p in self.psnr.tolist() for t in ("original", f"(z_i, x_T) · {p:.1f} dB", "z_i, another x_T")]
        return grid(columns, titles=titles, columns=3)


@streamed(Reconstructed)
def reconstruct(
    lab: Lab,
    pixels: Tensor,
    *,
    steps: int = 25,
    method: str = "fixed-point",
    iterations: int = 20,
    memory: int = 2,
    tolerance: float = 2e-4,
    seed: int = 0,
    preview_every: int = 5,
) -> Iterator[Progress | Reconstructed]:
    """Invert pictures to (z_i, x_T) and decode them again.  Ramesh et al. 2022, section 3.

    Beside it stands what z_i says alone: the same z_i decoded from another x_T.

    Args:
        pixels: (B, 3, H, W) in [-1, 1]; resized to the decoder's side.
        steps: of the inversion and of the way back.
        method, iterations, memory, tolerance: as in `inversion.walk`.
        seed: of the other x_T.

    Raises:
        UserError: pictures that are not (B, 3, H, W) in [-1, 1], or knobs out of their range.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        wanted = f"wanted (B, 3, H, W): images.load(path, {lab.decoder.pixels})"
        raise UserError(f"pixels are {tuple(pixels.shape)}, {wanted}")
    if not len(pixels) or not pixels.is_floating_point() or not (pixels.abs() <= 1.01).all():
        raise UserError(
            f"pixels are {pixels.dtype} of shape {tuple(pixels.shape)}, wanted floats in [-1, 1] of at least one "
            "picture: images.to_tensor makes them from PIL images"
        )
    original = images.resize(pixels.to(lab.device, torch.float32), lab.decoder.pixels)
    settings = {
        "latentlab": __version__, "experiment": "reconstruct", "model": lab.name, "weights": lab.weights,
        "steps": steps, "method": method,
        "iterations": iterations, "memory": memory, "tolerance": tolerance, "seed": seed,
    }  # fmt: skip
    z_i = lab.encoder.encode_image(original)
    x_0 = lab.decoder.to_x0(original)
    knobs = {"steps": steps, "method": method, "iterations": iterations, "memory": memory, "tolerance": tolerance}
    for number, total, found in inversion.walk(lab.decoder, x_0, Condition(z_i), **knobs):  # noqa: B007
        yield Progress("inversion", number, total)
    other = Latent(z_i, noise(lab.decoder, range(seed, seed + len(z_i)), device=z_i.device, dtype=z_i.dtype))
    if isinstance(found.latent, Latent):
        ways = [decoding.walk(lab.decoder, Latent.stack([found.latent, other]), steps=steps)]
    else:  # a pair goes back by its own steps, which x_T can't share
        ways = [decoding.walk(lab.decoder, found.latent), decoding.walk(lab.decoder, other, steps=steps)]
    ends = []
    for way in ways:
        for step in way:
            show = len(ways) == 1 and preview_every and step.number % preview_every == 0 and step.number < step.total
            shown = decoding.pictures(lab.decoder, step.x_0) if show else None
            yield Progress("decoder", step.number, step.total, shown)
        ends.append(step)
    both = decoding.pictures(lab.decoder, torch.cat([step.x_t for step in ends]))
    large, (made, from_z_i) = both, both.chunk(2)
    if lab.upsampler is not None:
        yield Progress("upsampler", 0, 1)
        large = upsampling.upsample(lab.upsampler, both, seeds=range(len(both)))
    yield Reconstructed(
        original, made, from_z_i, *large.chunk(2), found.latent,
        psnr=images.psnr(original, made), ssim=images.ssim(original, made),
        psnr_first_stage=images.psnr(original, decoding.pictures(lab.decoder, x_0)), residual=found.residual,
        converged=found.converged, evaluations=found.evaluations + ends[0].evaluations,
        cosine=(normalize(lab.encoder.encode_image(made)) * normalize(z_i)).sum(-1), settings=settings,
    )  # fmt: skip
