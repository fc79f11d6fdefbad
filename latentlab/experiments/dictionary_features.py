"""Features of a dictionary: where each is most active, its captions, and the decoder's pictures of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..analysis.dictionary import Dictionary
from ..analysis.intervals import mean, proportion
from ..errors import UserError
from ..io import images
from ..latents import Latent
from ..noise import draw_x_T
from .base import Progress, Result, experiment, size
from .stages import check_traversal, checked_pixels, cosine, sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure

SHOWN = 8  # features by default


@dataclass(frozen=True, repr=False, kw_only=True)
class DictionaryFeaturesResult(Result):
    """Some features of a dictionary among pictures, a row each.

    Args:
        original: (B, 3, H, W). activations: (B, F), of each feature in each picture.
        strongest: (F, T), the rows of `original` in which each feature is most active, the strongest first.
        pixels: (F, S, 3, H, W), decoded from the first picture's z_i and so much of the feature, from one x_T;
            upsampled where the lab can.
        latent: F S, what they are decoded from.
        features: F. strengths: S, multiples of the feature's mean strength. names: F, the captions that rise most.
    """

    original: Tensor
    activations: Tensor
    strongest: Tensor
    pixels: Tensor
    latent: Latent
    features: tuple[int, ...]
    strengths: tuple[float, ...]
    names: tuple[str, ...]

    def figure(self) -> Figure:
        from ..plotting import rows

        side = self.pixels.shape[-1]
        lines = {}
        for k, feature in enumerate(self.features):
            strongest = images.resize(self.original[self.strongest[k]], side).cpu()
            strongest[self.activations[self.strongest[k], k].cpu() <= 0] = 1  # blank: the feature is not active there
            share = self.value("pictures in which it is active", feature=feature)
            label = "\n".join(filter(None, (f"{feature}: {share:.0%}", self.names[k])))
            lines[label] = torch.cat([strongest, self.pixels[k].cpu()])
        titles = [f"most active, no. {k + 1}" for k in range(self.strongest.shape[1])]
        titles += [f"z_i + {s:g} ×" if s else "z_i" for s in self.strengths]
        return rows(lines, titles=titles, wide_labels=True)

    def summary(self) -> str:
        rising = [
            (row["feature"], row["value"]) for row in self.table if row["quantity"] == "rise of the feature, decoded"
        ]
        clear = [feature for feature, value in rising if value > 0]
        named = [f"{f} ({name})" for f, name in zip(self.features, self.names) if name]
        words = f" By captions, they are {', '.join(named)}." if named else ""
        return (
            f"{len(clear)} of {len(rising)} features are stronger in the picture decoded from the most of them than in "
            f"the one decoded from none.{words}"
        )


@experiment(
    DictionaryFeaturesResult,
    page="",
    command="features show",
    figures=(),
    stages=("CLIP", "decoder", "upsampler"),
    images=lambda a: size(a["features"] or SHOWN) * size(a["strengths"]),
)
def features(
    lab: Lab,
    pixels: Tensor,
    dictionary: Dictionary,
    *,
    features: Sequence[int] | None = None,
    strengths: Sequence[float] = (0, 2, 4, 8),
    top: int = 3,
    captions: Sequence[str] = (),
    seed: int = 0,
    steps: int = 25,
    guidance: float = 2.0,
    preview_every: int = 5,
) -> Iterator[Progress | DictionaryFeaturesResult]:
    """Show features of z_i: where they are most active, their captions, and the decoder's pictures of z_i + a f_k.

    Args:
        pixels: (B, 3, H, W) in [-1, 1]; the first one's z_i is moved, and all are searched.
        dictionary: fitted on many z_i of the same CLIP.
        features: which, from 0; by default the eight that are strongest in these pictures.
        strengths: multiples of the feature's mean strength where it is active, the least first.
        top: how many of the pictures in which a feature is most active are shown; blank where it is in fewer.
        captions: a vocabulary to name the features by.
        seed: of x_T, the same for all.

    Raises:
        UserError: a feature that is not there, no strengths, or a dictionary of another CLIP.
    """
    checked_pixels(pixels, lab.image_size)
    if not len(strengths) or top < 1:
        raise UserError(f"strengths are {list(strengths)}, top is {top}: give at least one strength, and top from 1")
    check_traversal(lab, dictionary, features or (), strengths)
    yield Progress("CLIP", 0, 1)
    original = images.resize(pixels.to(lab.device, torch.float32), lab.image_size)
    z_i = lab.encoder.encode_image(original)
    a = dictionary.encode(z_i)  # (B, K)
    chosen = dictionary.leading(z_i, SHOWN) if features is None else [int(k) for k in features]
    moved = torch.cat([dictionary.traverse(z_i[:1], k, strengths) for k in chosen])
    x_T = draw_x_T(lab.require_decoder(), [seed], device=lab.device).expand(len(moved), -1, -1, -1)
    latent = Latent(moved, x_T)
    decoded = yield from sample_images(lab, latent, steps=steps, guidance=guidance, preview_every=preview_every)
    z = lab.encoder.encode_image(decoded)
    grid = (len(chosen), len(strengths))
    table = _table(dictionary, chosen, a, cosine(z, moved).view(grid), dictionary.encode(z).unflatten(0, grid))
    decoded = yield from upsample_images(lab, decoded, [seed] * len(decoded))
    yield DictionaryFeaturesResult(
        original=original,
        activations=a[:, chosen],
        strongest=a[:, chosen].T.argsort(dim=1, descending=True, stable=True)[:, :top],
        pixels=decoded.unflatten(0, grid),
        latent=latent,
        features=tuple(chosen),
        strengths=tuple(strengths),
        names=_rising_captions(lab, dictionary, chosen, captions),
        table=table,
    )


def _rising_captions(
    lab: Lab, dictionary: Dictionary, chosen: Sequence[int], captions: Sequence[str]
) -> tuple[str, ...]:
    """The two captions that rise most along each feature; "" without a vocabulary."""
    if not captions:
        return ("",) * len(chosen)
    named = dictionary.name(lab.encoder.encode_text(captions), captions, top=2)
    return tuple(", ".join(caption for caption, _ in named[k].rising) for k in chosen)


def _table(
    dictionary: Dictionary, chosen: Sequence[int], a: Tensor, likeness: Tensor, again: Tensor
) -> tuple[dict, ...]:
    """The rows of every feature: its activations a (B, K), the cosines (F, S) and activations (F, S, K) of pictures."""
    table = []
    for row, k in enumerate(chosen):
        fitted = {"value": round(dictionary.frequency[k].item(), 6), "n": dictionary.count, "low": None, "high": None}
        rise = (again[row, -1:, k] - again[row, :1, k]) / dictionary.strength[k].item()
        table += [
            {"feature": k, "quantity": "frequency in the fit", **fitted},
            proportion(a[:, k] > 0, quantity="pictures in which it is active", feature=k),
            mean(likeness[row], within=(-1, 1), quantity="cosine of the pictures to the moved z_i", feature=k),
            mean(rise, quantity="rise of the feature, decoded", feature=k),
        ]
    return tuple(table)
