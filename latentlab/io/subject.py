"""The subject of a picture: what stands out from its transparent or uniform ground."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .rgb import to_rgb

TOLERANCE = 24  # of 255, in any channel: JPEG's noise and a scanner's stay below it on a white ground
UNIFORM = 0.95  # the share of the border that has the ground's colour
SHARE = 0.85  # the share of the square that the subject's longer side takes
FILLS = (0.6, 0.95)  # a subject with that share of a square picture already is left where it is

Box = tuple[int, int, int, int]


def subject_box(image: Image.Image) -> Box | None:
    """The smallest box that holds all pixels which are not ground: (left, top, right, bottom) as in Pillow.

    The ground is what is transparent or, in an opaque picture, what has the colour of the border.

    Returns:
        None where nothing stands out, or where the border has no uniform colour, as in a photograph.
    """
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        if alpha.min() < 255:
            return Image.fromarray(255 * (alpha > TOLERANCE).astype(np.uint8)).getbbox()
    pixels = np.asarray(to_rgb(image), np.int16)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(border, 0)
    if np.mean(np.abs(border - ground).max(1) <= TOLERANCE) < UNIFORM:
        return None
    mask = np.abs(pixels - ground).max(2) > TOLERANCE
    return Image.fromarray(mask.astype(np.uint8)).getbbox()


def crop_to_subject(image: Image.Image) -> Image.Image:
    """A square RGB picture whose middle is the subject, at 85% of its side, on the picture's own ground.

    A photograph without a uniform border, and a square picture that its subject fills already, come back uncropped.
    """
    box, picture = subject_box(image), to_rgb(image)
    if box is None:
        return picture
    left, top, right, bottom = box
    longer = max(right - left, bottom - top)
    if image.width == image.height and FILLS[0] <= longer / image.width <= FILLS[1]:
        return picture
    side = max(1, round(longer / SHARE))
    corner = (left + right - side) // 2, (top + bottom - side) // 2
    square = Image.new("RGB", (side, side), "white" if image.has_transparency_data else _ground(picture))
    square.paste(picture, (-corner[0], -corner[1]))
    return square


def _ground(picture: Image.Image) -> tuple[int, int, int]:
    """The median colour of the border."""
    pixels = np.asarray(picture)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(border, 0).round().astype(int).tolist()
    return red, green, blue
