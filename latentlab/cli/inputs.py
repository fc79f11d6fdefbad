"""The images and lists that the commands read from their arguments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..models import Lab


def check_fit(fit: str, fits: tuple[str, ...]) -> None:
    """Refuse a --fit that is not one of these."""
    if fit not in fits:
        raise UserError(f"--fit is {fit!r}: give {', '.join(map(repr, fits[:-1]))} or {fits[-1]!r}")


def open_images(paths: list[Path], fit: str, fits: tuple[str, ...] = ("crop", "pad")) -> list[Image.Image]:
    """Open the user's files as PIL images, so that a bad file is refused before a model is loaded."""
    from ..io import images

    check_fit(fit, fits)
    return [images.open_image(path) for path in paths]


def to_pixels(pictures: list[Image.Image], lab: Lab, fit: str) -> Tensor:
    """Convert PIL images to (B, 3, side, side) in [-1, 1], side being the lab's `image_size`, or its CLIP's."""
    from .. import clip
    from ..io import images

    if fit == "model":
        return images.to_tensor(*(clip.square(lab.encoder, picture) for picture in pictures))
    return images.to_tensor(*(images.square(picture, lab.image_size, fit=fit) for picture in pictures))


def parse_list(text: str) -> list[str]:
    """Split `a,b , c` into its parts."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str, option: str) -> list[float]:
    """Read `0,0.5,1` as numbers.

    Raises:
        UserError: a part is not a number.
    """
    try:
        return [float(part) for part in parse_list(text)]
    except ValueError as error:
        raise UserError(f"{option} is {text!r}: give numbers separated by commas, like 0,0.5,1") from error


def integers(text: str, option: str) -> list[int]:
    """Read `0,1,4` as integers.

    Raises:
        UserError: a part is not an integer.
    """
    values = numbers(text, option)
    if not all(x.is_integer() for x in values):
        raise UserError(f"{option} is {text!r}: give whole numbers separated by commas, like 1,2,4")
    return [int(x) for x in values]
