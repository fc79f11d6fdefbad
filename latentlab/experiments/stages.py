"""The stages that experiments share: decoding, upsampling, and what each of them checks and measures."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from .. import decoding, prior, upsampling
from ..clip import probe
from ..errors import UserError
from ..latents import Latent, PairLatent
from ..noise import draw_x_T
from ..slerp import normalize
from .base import Progress

if TYPE_CHECKING:
    from ..analysis.dictionary import Dictionary
    from ..analysis.pca import Directions
    from ..clip import Encoder
    from ..models.lab import Lab

T = TypeVar("T")
SAME_CLIP = 0.99  # cosine of one picture's z_i: precisions and libraries leave 0.999, two CLIPs are near 0
PREVIEWED = 12  # pictures in a preview: a sweep of many would spend more on being watched than on itself


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


def check_same_clip(lab: Lab, directions: Directions | Dictionary) -> None:
    """Refuse components or features of another CLIP's z_i, or of normalised ones, where their metadata records either.

    Raises:
        UserError: the z_i that the components were fitted on are of another CLIP, or normalised.
    """
    metadata = directions.metadata
    command = "features" if directions.kind == "feature" else "pca"
    fit = f"fit them with `latentlab {command} fit FOLDER --model {lab.name}`"
    if metadata.get("normalised") == "yes":
        wanted = f"{lab.name} wants z_i in CLIP's own scale"
        raise UserError(f"the {directions.kind}s are of normalised z_i, {wanted}: {fit}")
    if "probe" in metadata:
        recorded, own = torch.tensor(json.loads(metadata["probe"])), probe(lab.encoder)
        same = recorded.shape == own.shape and bool(cosine(recorded, own) > SAME_CLIP)
    else:
        same = metadata.get("weights", lab.weights) == lab.weights
    if not same:
        fitted_on = f"{metadata.get('model', 'a CLIP')} ({metadata.get('weights') or 'no weights'})"
        wanted = f"{lab.name} ({lab.weights or 'no weights'})"
        raise UserError(f"the {directions.kind}s are of the CLIP of {fitted_on}, this lab has that of {wanted}: {fit}")


def check_traversal(
    lab: Lab, directions: Directions | Dictionary, components: Sequence[int], distances: Sequence[float]
) -> None:
    """Refuse, before anything is computed, to move along components that were not fitted or are of another CLIP.

    Raises:
        UserError: as `directions.traverse` and `check_same_clip`.
    """
    for component in components:
        directions.traverse(directions.mean[None], component, distances)
    check_same_clip(lab, directions)


def encoder_of(lab: Lab | Encoder) -> Encoder:
    """The encoder of a lab, or the encoder itself."""
    from ..models.lab import Lab

    return lab.encoder if isinstance(lab, Lab) else lab


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of embeddings, row by row: (..., D) twice to (...)."""
    return (normalize(a) * normalize(b)).sum(-1)


def forward_progress(stream: Iterator[Progress | T]) -> Generator[Progress, None, T]:
    """`yield from` this: an experiment's progress; it returns the experiment's result."""
    for value in stream:
        if isinstance(value, Progress):
            yield value
    return value  # type: ignore[return-value]


def sample_images(
    lab: Lab, latent: Latent | PairLatent, *, preview_every: int = 0, **params: Any
) -> Generator[Progress, None, Tensor]:
    """`yield from` this: pictures (B, 3, H, W) of latents; parameters as in `decoding.sample_steps`."""
    decoder = lab.require_decoder()
    for step in decoding.sample_steps(decoder, latent, **params):
        due = preview_every and (step.number == 1 or step.number % preview_every == 0)
        preview = (
            decoding.pictures(lab.require_decoder(), step.x_0[:PREVIEWED]) if due and step.number < step.total else None
        )
        yield Progress("decoder", step.number, step.total, preview)
    return decoding.pictures(lab.require_decoder(), step.x_t)


def run_to_end(stage: Generator[Progress, None, T]) -> T:
    """Run a stage to its end, ignore its progress, and return its value."""
    while True:
        try:
            next(stage)
        except StopIteration as end:
            return end.value


def upsample_images(lab: Lab, pixels: Tensor, seeds: Sequence[int]) -> Generator[Progress, None, Tensor]:
    """`yield from` this: pictures upsampled if the lab has an upsampler, unchanged otherwise.

    Give all frames of one path the same seed: with different seeds the details that the upsampler adds would flicker.
    """
    if lab.upsampler is None:
        return pixels
    yield Progress("upsampler", 0, 1, pixels)
    return upsampling.upsample(lab.upsampler, pixels, seeds=seeds)


def draw_prompts(
    lab: Lab, prompts: Sequence[str], *, seeds: Sequence[int], **params: Any
) -> Generator[Progress, None, tuple[Latent, Tensor]]:
    """`yield from` this: latents and pictures of every prompt from every seed; parameters as in `sample_images`."""
    rows, noises = [prompt for prompt in prompts for _ in seeds], list(seeds) * len(prompts)
    yield Progress("prior", 0, 1)
    z_i = prior.sample(lab.prior, rows, seeds=noises)
    decoder = lab.require_decoder()
    latent = Latent(z_i, draw_x_T(decoder, noises, device=lab.device))
    return latent, (yield from sample_images(lab, latent, text=decoder.encode_prompt(rows), **params))
