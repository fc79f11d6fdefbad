"""The drawings of Emoji World, rendered once into one array of sprites: icons, coloured solids and words on paper."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ..errors import UserError
from ..grammar import COLOURS, SOLIDS
from ..io.atomic import atomic_write, read_json
from .icon_sets import DRAWINGS, FIRST_EDITION, HELD_OUT_STYLES, STYLES, fetch, find_icons, to_svg
from .things import sign_words, things

SIZE = 128  # the side of a sprite, which is premultiplied RGBA; the upsampler is trained on larger ones
# The files that decide the pixels: a change of one of them renders all sprites again.
SOURCES = ("drawings.py", "icon_sets.py", "things.py", "things.txt")


def cache_dir() -> Path:
    """The folder `$LATENTLAB_CACHE`, or latentlab's folder in the user's cache."""
    root = os.environ.get("LATENTLAB_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "latentlab"
    return Path(root).expanduser()


def _rasterize(svg: str, size: int) -> Image.Image:
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))
    return ImageOps.pad(Image.open(io.BytesIO(png)).convert("RGBA"), (size, size), color=(0, 0, 0, 0))


def _enclosed(image: Image.Image) -> Image.Image:
    """Mark the area that the lines of a drawing in one ink enclose, in its red channel, so that a scene can fill it."""
    from scipy.ndimage import binary_fill_holes

    alpha = np.asarray(image)[..., 3]
    inside = np.where(binary_fill_holes(alpha > 100), 255, alpha).astype(np.uint8)
    return Image.fromarray(np.stack([inside, alpha, alpha, alpha], -1))


def _solid(shape: str, rgb: tuple[int, int, int], size: int) -> Image.Image:
    """A shaded solid whose colour and outline fit the names of its colour and shape."""

    def shade(k: float) -> str:
        return "#" + "".join(f"{int(max(0, min(255, c * k + (25 if k > 1 else 0)))):02x}" for c in rgb)

    if shape == "cube":
        body = (
            f'<path d="M64 10 114 34 64 60 14 34Z" fill="{shade(1.15)}"/>'
            f'<path d="M14 34 64 60V118L14 92Z" fill="{shade(0.9)}"/>'
            f'<path d="M114 34 64 60V118L114 92Z" fill="{shade(0.65)}"/>'
        )
    elif shape == "ball":
        body = (
            f'<defs><radialGradient id="g" cx=".35" cy=".3" r=".8"><stop offset="0" stop-color="{shade(1.3)}"/>'
            f'<stop offset=".5" stop-color="{shade(1)}"/><stop offset="1" stop-color="{shade(0.55)}"/></radialGradient>'
            '</defs><circle cx="64" cy="64" r="54" fill="url(#g)"/>'
        )
    elif shape == "cone":
        body = (
            f'<defs><linearGradient id="g"><stop offset="0" stop-color="{shade(0.75)}"/><stop offset=".35" '
            f'stop-color="{shade(1.2)}"/><stop offset="1" stop-color="{shade(0.55)}"/></linearGradient></defs>'
            '<path d="M64 8 116 102Q64 136 12 102Z" fill="url(#g)"/>'
        )
    else:
        tips = [(64 + r * np.sin(a), 68 - r * np.cos(a)) for a, r in zip(np.arange(10) * np.pi / 5, [58, 25] * 5)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in tips)
        edge = f'stroke="{shade(0.7)}" stroke-width="5" stroke-linejoin="round"'
        body = f'<polygon points="{points}" fill="{shade(1)}" {edge}/>'
    return _rasterize(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 128">{body}</svg>', size)


def paper(word: str, size: int = SIZE, *, post: bool) -> Image.Image:
    """A word in black on paper, which is a sign on a post or a label: (size, size) RGBA."""
    image = Image.new("RGBA", (256, 256))
    draw = ImageDraw.Draw(image)
    if post:
        draw.rectangle((118, 150, 138, 256), fill=(125, 85, 55, 255))
        box = (6, 34, 250, 160)
    else:
        box = (6, 70, 250, 186)
    draw.rounded_rectangle(box, 10, fill=(253, 250, 238, 255), outline=(90, 85, 80, 255), width=5)
    points = 90
    while (font := ImageFont.load_default(points)).getlength(word) > 222:
        points -= 2
    draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), word, (15, 15, 20, 255), font, anchor="mm")
    return image.resize((size, size), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Sprites:
    """All drawings: premultiplied pixels (N, 4, size, size) uint8, and an `index` of keys to rows.

    The red channel of a drawing in one ink is not a colour but the area that its lines enclose.
    """

    pixels: np.ndarray
    index: dict[str, int]

    def drawings_of(self, style: str, thing: str) -> list[str]:
        """The keys of an artist's drawings of a thing."""
        keys = (f"{style}/{thing}", *(f"{style}/{thing}/{k}" for k in range(2, DRAWINGS + 1)))
        return [key for key in keys if key in self.index]

    def styles_of(self, thing: str, *, held_out: bool = False) -> list[str]:
        """The artists who drew a thing: those of the training, or the held-out ones."""
        return [s for s in STYLES if (s in HELD_OUT_STYLES) == held_out and self.drawings_of(s, thing)]

    def first_edition(self) -> Sprites:
        """The same sprites without the artists and the second drawings that were added after the first edition."""
        later = set(STYLES) - {*FIRST_EDITION, "emojione"}
        old = {k: row for k, row in self.index.items() if k.split("/")[0] not in later and k[-2:] not in ("/2", "/3")}
        return Sprites(self.pixels, old)


def _draw_all(folder: Path, size: int) -> Iterator[tuple[str, Image.Image]]:
    for style in STYLES:
        icons = json.loads((folder / f"{style}.json").read_text("utf-8"))
        for thing in things():
            for key, name in find_icons(icons, style, thing).items():
                image = _rasterize(to_svg(icons, name), size)
                yield key, _enclosed(image) if STYLES[style].monochrome else image
    for shape in SOLIDS:
        for colour, rgb in COLOURS.items():
            yield f"solid/{colour}/{shape}", _solid(shape, rgb, size)
    for word in sign_words():
        yield f"sign/{word}", paper(word, size, post=True)
        yield f"label/{word}", paper(word, size, post=False)


def _premultiplied(image: Image.Image) -> np.ndarray:
    rgba = np.asarray(image, np.float32)
    rgba[..., :3] *= rgba[..., 3:] / 255
    return rgba.round().astype(np.uint8).transpose(2, 0, 1)


def load_sprites(folder: Path | None = None, *, size: int = SIZE) -> Sprites:
    """Read all sprites from the cache; the first call renders them, in a minute or more."""
    folder = folder or cache_dir() / "drawings"
    source = b"".join(files(__package__).joinpath(name).read_bytes() for name in SOURCES)
    source += repr((COLOURS, SOLIDS)).encode() + (b"" if size == SIZE else str(size).encode())
    stem = folder / f"sprites-{hashlib.sha256(source).hexdigest()[:12]}"
    if not stem.with_suffix(".json").exists():
        fetch(folder)
        keys, pixels = [], []
        for key, image in _draw_all(folder, size):
            keys.append(key)
            monochrome = key.split("/")[0] in STYLES and STYLES[key.split("/")[0]].monochrome
            pixels.append(np.asarray(image).transpose(2, 0, 1) if monochrome else _premultiplied(image))
        with atomic_write(stem.with_suffix(".npy")) as part, part.open("wb") as file:
            np.save(file, np.stack(pixels))
        with atomic_write(stem.with_suffix(".json")) as part:
            part.write_text(json.dumps(keys))
    remedy = f"delete {stem}.json, and the next run draws all of them again"
    keys = read_json(stem.with_suffix(".json"), remedy)
    try:
        return Sprites(np.load(stem.with_suffix(".npy"), mmap_mode="r"), {k: i for i, k in enumerate(keys)})
    except (ValueError, OSError) as error:
        raise UserError(f"{stem}.npy is not whole ({error}): {remedy}") from error
