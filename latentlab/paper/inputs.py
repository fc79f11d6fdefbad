"""The pictures of the paper's figures: a folder's or the gallery's, those that the lab knows best first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import decoding
from ..analysis.pca import Directions
from ..errors import UserError
from ..experiments import Progress
from ..io import embeddings, images
from ..latents import Latent
from ..noise import draw_x_T

if TYPE_CHECKING:
    from ..models import Lab

_RELATED = "above|below|on top of|left of|right of|beside|next to"


@dataclass(frozen=True)
class Inputs:
    """What the figures are made of.

    Args:
        pixels: (B, 3, H, W), six pictures or more.
        captions: one a picture.
        directions: PCA of many z_i, or None: then figure 7 is left out.
        skipped: the files that could not be read, each with the reason.
        order: the rows as they are to be taken, see `ranked`; as they come by default.
    """

    pixels: Tensor
    captions: tuple[str, ...]
    directions: Directions | None
    skipped: dict[str, str] = field(default_factory=dict)
    order: tuple[int, ...] = ()

    def thing(self, row: int) -> str:
        """The caption without its background."""
        return thing(self.captions[row])

    def plain(self) -> list[int]:
        """The pictures of one thing without a word, in their order; all, if there are none."""
        rows = self.order or range(len(self.captions))
        other = rf"^(two|three|four|several) | (label|says|left|right|{_RELATED}) "
        return [k for k in rows if not re.search(other, self.captions[k])] or [*rows]

    def related(self) -> list[int]:
        """The pictures of two things whose caption says where they are."""
        return [k for k, caption in enumerate(self.captions) if re.search(rf" ({_RELATED}) ", caption)]

    def things(self, count: int) -> list[str]:
        """The first different things of the plain pictures."""
        return list(dict.fromkeys(self.thing(k) for k in self.plain()))[:count]

    def distinct(self, count: int) -> list[int]:
        """The first plain pictures of different things."""
        first: dict[str, int] = {}
        for k in self.plain():
            first.setdefault(self.thing(k), k)
        return [*first.values()][:count]


def thing(caption: str) -> str:
    """A caption without its background: `a fox on a red background` -> `a fox`."""
    return re.split(r" on an? | on | and an? ", caption)[0]


def inputs(lab: Lab, folder: Path | None = None, directions: Path | None = None) -> Inputs:
    """A folder's pictures, captioned by their file names, or the gallery of the embedded model.

    Pictures that can't be read are skipped and named; the first 24 others are taken.

    Raises:
        UserError: fewer than six pictures.
    """
    from .. import models

    listing, skipped = models.gallery("emoji"), {}
    if folder is not None:
        listing = [(path, re.sub(r"[-_]+", " ", path.stem)) for path in embeddings.list_files(folder)]
    pixels, captions = [], []
    for path, caption in listing:
        try:
            pixels.append(images.load(path, lab.image_size))
        except UserError as error:
            if embeddings.may_be_picture(path):
                skipped[path.name] = str(error)
        else:
            captions.append(caption)
        if len(captions) == 24:
            break
    if len(captions) < 6:
        raise UserError(f"{folder} has {len(captions)} pictures that can be read, the figures want six or more")
    fitted = Directions.load(directions) if directions else models.directions(lab.name)
    return Inputs(torch.cat(pixels), tuple(captions), fitted, skipped)


def ranked(lab: Lab, inputs: Inputs) -> Iterator[Progress | Inputs]:
    """The same pictures, those first that this lab draws best: so figures show the method, not a lack of training.

    Every z_i is decoded from three x_T.  What counts is the probability that CLIP then gives to the picture's own thing
    among all the things here and all that the model knows, on average.
    """
    z_i = lab.encoder.encode_image(inputs.pixels.to(lab.device)).repeat(3, 1)
    x_T = draw_x_T(lab.require_decoder(), range(3), device=lab.device).repeat_interleave(len(inputs.captions), 0)
    for step in decoding.sample_steps(lab.require_decoder(), Latent(z_i, x_T), steps=12):
        yield Progress("ranking", step.number, step.total)
    decoded = decoding.pictures(lab.require_decoder(), step.x_t)
    things = [inputs.thing(k) for k in range(len(inputs.captions))]
    labels = list(dict.fromkeys([*things, *lab.things]))
    own = torch.tensor([labels.index(thing) for thing in things] * 3, device=decoded.device)
    drawn = lab.encoder.zero_shot(decoded, labels).gather(1, own[:, None]).view(3, -1).mean(0)
    yield replace(inputs, order=tuple(drawn.argsort(descending=True, stable=True).tolist()))
