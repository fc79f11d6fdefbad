"""Pictures against captions: their cosines, and the gap between the two kinds of embedding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..analysis.intervals import mean, mean_of_pairs, proportion
from ..captions import caption_warnings
from ..clip import Encoder
from ..errors import UserError
from ..slerp import normalize
from .base import Progress, Result, experiment
from .stages import checked_pixels, encoder_of

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class ComparisonResult(Result):
    """Pictures against captions.

    Args:
        pixels: (B, 3, H, W).
        captions: N.
        similarity: (B, N), cosines.
        z_i: (B, D). z_t: (N, D).
    """

    pixels: Tensor
    captions: tuple[str, ...]
    similarity: Tensor
    z_i: Tensor
    z_t: Tensor

    def figure(self) -> Figure:
        from ..plotting import matrix

        return matrix(
            self.similarity, pixels=self.pixels, labels=self.captions, heading="cosine of picture and caption"
        )

    def gap_figure(self) -> Figure:
        """Both kinds of embedding on the plane of their first two principal components."""
        from ..plotting import plane

        both = torch.cat([normalize(self.z_i), normalize(self.z_t)]).double()
        _, _, v = torch.linalg.svd(both - both.mean(0), full_matrices=False)
        flat = (both - both.mean(0)) @ v[:2].T
        return plane({"pictures (z_i)": flat[: len(self.z_i)], "captions (z_t)": flat[len(self.z_i) :]})

    def summary(self) -> str:
        gap = self.value("modality gap")
        among = self.value("cosine among pictures"), self.value("cosine among captions")
        return (
            f"The mean of the normalised pictures lies {gap:.2f} from that of the captions. Two pictures have a cosine "
            f"of {among[0]:.2f} on average, two captions one of {among[1]:.2f}."
        )


@experiment(
    ComparisonResult,
    page="clip",
    task="compare",
    command="compare",
    figures=("clip",),
    stages=("CLIP",),
    images=lambda a: 0,
)
def compare(lab: Lab | Encoder, pixels: Tensor, captions: Sequence[str]) -> Iterator[Progress | ComparisonResult]:
    """Cosines of all pictures with all captions, and the modality gap.  Radford et al. 2021; Liang et al. 2022.

    gap = |mean ẑ_i - mean ẑ_t|  (Liang et al. 2022, arXiv 2203.02053, section 2).

    Args:
        lab: a lab, or an encoder alone.
        pixels: (B, 3, H, W) in [-1, 1], two or more.
        captions: two or more. Where there are as many as pictures they are taken for their own, pair by pair, and
            the table holds recall@1 both ways.

    Raises:
        UserError: fewer than two of either.
    """
    encoder, captions = encoder_of(lab), tuple(captions)
    if len(captions) < 2 or len(pixels) < 2:
        raise UserError(f"{len(pixels)} pictures and {len(captions)} captions: give two or more of each")
    checked_pixels(pixels, encoder.image_size)
    notes = caption_warnings(encoder.check_caption(caption) for caption in captions)
    yield Progress("CLIP", 0, 1)
    z_i, z_t = encoder.encode_image(pixels), encoder.encode_text(captions)
    a, b = normalize(z_i), normalize(z_t)
    similarity = a @ b.T
    gap = float((a.mean(0) - b.mean(0)).norm())
    table = [{"quantity": "modality gap", "value": round(gap, 4), "n": len(a) + len(b), "low": None, "high": None}]
    for name, z in (("pictures", a), ("captions", b)):
        table.append(mean_of_pairs(z @ z.T, quantity=f"cosine among {name}"))
    if len(captions) == len(pixels):
        own = torch.arange(len(pixels), device=similarity.device)
        table.append(mean(similarity.diagonal(), quantity="cosine of own pairs"))
        right = torch.cat([similarity.argmax(1) == own, similarity.argmax(0) == own])
        table.append(proportion(right, quantity="recall@1, both ways"))
    yield ComparisonResult(
        pixels=pixels,
        captions=captions,
        similarity=similarity,
        z_i=z_i,
        z_t=z_t,
        table=tuple(table),
        notes=tuple(notes),
    )
