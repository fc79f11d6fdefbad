"""Truncation: pictures decoded from the first k principal components of z_i."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..analysis.intervals import mean, proportion
from ..analysis.pca import Directions
from ..errors import UserError
from ..io import images
from ..latents import Latent
from ..noise import draw_x_T
from ..slerp import normalize
from .base import Progress, Result, experiment, size
from .inversion import Pictures, ensure_inverted
from .stages import check_same_clip, checked_pixels, cosine, sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class TruncationResult(Result):
    """Pictures decoded from the first k principal components of z_i.

    Args:
        original: (B, 3, H, W).
        pixels: (B, K, 3, H, W), upsampled where the lab can.
        dims: K, how many components each column keeps.
        explained: K, the share of the variance that they hold.
        seed: of the one x_T that all are decoded from.
    """

    original: Tensor
    pixels: Tensor
    dims: tuple[int, ...]
    explained: tuple[float, ...]
    seed: int

    def figure(self) -> Figure:
        from ..plotting import rows

        first = images.resize(self.original, self.pixels.shape[-1])[:, None]
        titles = ["original", *(f"{k} · {share:.1%}" for k, share in zip(self.dims, self.explained))]
        named = {f"{k + 1}": row for k, row in enumerate(torch.cat([first, self.pixels], 1))}
        return rows(named, titles=titles, heading="components kept · share of the variance")

    def curves(self) -> Figure:
        """Variance explained, and what the truncated embedding and its picture still say, against k."""
        from ..plotting import curves

        quantities = dict.fromkeys(row["quantity"] for row in self.table)
        return curves(self.table, x="k", quantities=[q for q in quantities if q != "PSNR"], xlabel="components kept")

    def summary(self) -> str:
        cosines = []
        for k in sorted({self.dims[0], self._enough(), self.dims[-1]}, key=self.dims.index):
            likeness, share = self.value("cosine of the picture to z_i", k=k), self.explained[self.dims.index(k)]
            cosines.append(f"{likeness:.2f} with {k} component{'s' * (k != 1)} ({share:.1%} of the variance)")
        return f"A picture decoded from the first components has this cosine to the whole z_i: {', '.join(cosines)}."

    def _enough(self) -> int:
        """The first of dims that holds nine tenths of the variance; the last if none does."""
        return next((k for k, share in zip(self.dims, self.explained) if share >= 0.9), self.dims[-1])


def default_dims(directions: Directions) -> tuple[int, ...]:
    """1, 2, 4, … up to 128 components, and all of them."""
    return (*(k for k in (1, 2, 4, 8, 16, 32, 64, 128) if k < len(directions)), len(directions))


@experiment(
    TruncationResult,
    page="pca",
    task="truncate",
    command="pca show",
    figures=("7",),
    stages=("decoder", "upsampler"),
    images=lambda a: len(a["pictures"]) * size(a["dims"] or default_dims(a["directions"])),
)
def truncate(
    lab: Lab,
    pictures: Pictures,
    directions: Directions,
    *,
    dims: Sequence[int] | None = None,
    labels: Sequence[str] = (),
    truth: Sequence[str] = (),
    seed: int = 0,
    steps: int = 25,
    guidance: float = 1.0,
    preview_every: int = 5,
) -> Iterator[Progress | TruncationResult]:
    """Decode pictures from the first k components of z_i, from one fixed x_T.  Ramesh et al. 2022, section 4, figure 7.

    Args:
        pictures: (B, 3, H, W) in [-1, 1]; or what `invert` returned, or latents, whose z_i is taken as it is.
        directions: fitted on many z_i of the same CLIP.
        dims: how many components each column keeps; 0 is the mean embedding. By default `default_dims`.
        labels: captions of all classes, for zero-shot accuracy against k; truth: each picture's own label.
        seed: of x_T, the same for every picture and k.

    The table holds, for each k: the share of variance explained; the cosine of the truncated z_i, and of the picture
    decoded from it, to the whole z_i; and with labels the zero-shot accuracy of either.

    Raises:
        UserError: no dims, one that is beyond the fitted components, components of another CLIP, or truth that is not
            among the labels.
    """
    if isinstance(pictures, Tensor):
        checked_pixels(pictures, lab.image_size)
    dims = default_dims(directions) if dims is None else tuple(int(k) for k in dims)
    if not dims or len(set(dims)) < len(dims):
        raise UserError(f"dims are {list(dims)}: give at least one number of components, like 16, and each once")
    for k in dims:
        directions.explained(k)  # refuse what was not fitted before anything is computed
    if (labels or truth) and (len(truth) != len(pictures) or not set(truth) <= set(labels)):
        raise UserError(f"truth is {list(truth)[:4]}…: give one of the {len(labels)} labels for each picture")
    check_same_clip(lab, directions)
    original, z_i = yield from _pictures_and_z_i(lab, pictures, steps)
    truncated = torch.stack([directions.reconstruct(z_i, k) for k in dims], 1)  # (B, K, D)
    x_T = draw_x_T(lab.require_decoder(), [seed], device=lab.device)
    latent = Latent(truncated.flatten(0, 1), x_T.expand(len(pictures) * len(dims), -1, -1, -1))
    decoded = yield from sample_images(lab, latent, steps=steps, guidance=guidance, preview_every=preview_every)
    grid = (len(pictures), len(dims))
    z = lab.encoder.encode_image(decoded).unflatten(0, grid)
    z_t = normalize(lab.encoder.encode_text(labels)) if labels else z_i[:0]
    own = torch.tensor([list(labels).index(t) for t in truth], device=z.device)
    table = _table(directions, dims, z_i, {"z_i": truncated, "the picture": z}, z_t, own)
    decoded = yield from upsample_images(lab, decoded, [seed] * len(decoded))
    yield TruncationResult(
        original=original,
        pixels=decoded.unflatten(0, grid),
        dims=dims,
        seed=seed,
        table=table,
        explained=tuple(float(directions.explained(k)) for k in dims),
    )


def _pictures_and_z_i(lab: Lab, pictures: Pictures, steps: int) -> Generator[Progress, None, tuple[Tensor, Tensor]]:
    """`yield from` this: the pictures at the lab's image size and their z_i, which latents bring along."""
    if isinstance(pictures, Tensor):
        original = images.resize(pictures.to(lab.device, torch.float32), lab.image_size)
        return original, lab.encoder.encode_image(original)
    inversion = yield from ensure_inverted(lab, pictures, steps=steps)
    return images.resize(inversion.original, lab.image_size), inversion.latent.z_i


def _table(
    directions: Directions, dims: Sequence[int], z_i: Tensor, embeddings: Mapping[str, Tensor], z_t: Tensor, own: Tensor
) -> tuple[dict, ...]:
    """The rows of every k: z_i (B, D), embeddings (B, K, D) by name, and of labels z_t (L, D) each picture's own."""
    table = []
    for column, k in enumerate(dims):
        share = float(directions.explained(k))
        table.append(
            {"k": k, "quantity": "variance explained", "value": share, "n": directions.count, "low": None, "high": None}
        )
        for name, embedding in embeddings.items():
            of = "the truncated z_i" if name == "z_i" else name
            table.append(mean(cosine(embedding[:, column], z_i), quantity=f"cosine of {of} to z_i", k=k))
            if len(own):
                right = (normalize(embedding[:, column]) @ z_t.T).argmax(-1) == own
                table.append(proportion(right, quantity=f"zero-shot accuracy of {name}", k=k))
    return tuple(table)
