"""The two ends of the pipeline: files and PIL images <-> tensors (B, 3, H, W) in [-1, 1]."""

from __future__ import annotations

import io
import json
import os
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from ..errors import UserError
from .atomic import atomic_write, utf8
from .rgb import to_rgb
from .subject import crop_to_subject

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_BYTES = 20 * 2**20
MAX_PIXELS = 40 * 10**6
METADATA_KEY = "latentlab"


FITS = ("crop", "pad", "subject")  # ways to make a picture square


def open_image(path: str | Path, *, alpha: bool = False) -> Image.Image:
    """A user's file as an upright RGB image, transparency laid on white, the first frame of an animation.

    Args:
        alpha: keep transparency as RGBA, by which `square(..., fit="subject")` finds the subject.

    Raises:
        UserError: missing, empty, over 20 MB or 40 Mpx, not one of PNG, JPEG, WEBP, GIF, BMP, or broken.
    """
    path = Path(path)
    if os.path.isdir(path):  # where Path.is_dir raises for a name that is too long
        raise UserError(f"{path.name} is a folder: give the path of one image")
    if not os.path.isfile(path):
        raise UserError(f"{path} is not there: give the path of an image ({', '.join(FORMATS)})")
    size = path.stat().st_size
    _check_size(path.name, size)
    try:
        return decode_image(path.read_bytes(), path.name, alpha=alpha)
    except OSError as error:
        raise UserError(f"{path.name} can't be read ({error}): give another image") from error


def _check_size(name: str, size: int) -> None:
    if size == 0:
        raise UserError(f"{name} is empty: give an image of one of {', '.join(FORMATS)}")
    if size > MAX_BYTES:
        raise UserError(f"{name} has {size / 2**20:.1f} MB, at most {MAX_BYTES / 2**20:.0f} MB is read: shrink it")


def decode_image(data: bytes, name: str, *, alpha: bool = False) -> Image.Image:
    """The bytes of a user's file as `open_image` gives them.

    Args:
        name: what the refusals call the file. alpha: as for `open_image`.

    Raises:
        UserError: as for `open_image`.
    """
    _check_size(name, len(data))
    try:
        with _quiet, Image.open(io.BytesIO(data), formats=FORMATS) as file:
            width, height = file.size
            if width * height > MAX_PIXELS:
                raise UserError(
                    f"{name} is {width}x{height} = {width * height / 1e6:.0f} Mpx, at most "
                    f"{MAX_PIXELS / 1e6:.0f} Mpx is read: shrink it"
                )
            grey_key = _grey_key(file)
            file.load()
            picture: Image.Image = file
            if grey_key is not None:
                picture = file.convert("L")
                picture.info["transparency"] = grey_key
            if alpha and picture.has_transparency_data:
                return ImageOps.exif_transpose(picture).convert("RGBA")
            return to_rgb(picture)
    except UserError:
        raise
    except Image.DecompressionBombError as error:  # before our own count, when it is far more
        raise UserError(
            f"{name} has far too many pixels, at most {MAX_PIXELS / 1e6:.0f} Mpx is read: shrink it"
        ) from error
    except UnidentifiedImageError as error:
        raise UserError(f"{name} is not an image that can be read: give one of {', '.join(FORMATS)}") from error
    except (OSError, ValueError, SyntaxError, NotImplementedError) as error:
        raise UserError(f"{name} is broken ({error}): save it again, or give another image") from error


class _Quiet:
    """Pillow's warnings left out, while at least one thread reads: of a large picture, where our limit is stricter, and
    of metadata that we do not use. `warnings.catch_warnings` alone would mix up the filters of several threads."""

    def __init__(self) -> None:
        self.lock, self.readers = threading.Lock(), 0

    def __enter__(self) -> None:
        with self.lock:
            if self.readers == 0:
                self.context = warnings.catch_warnings()
                self.context.__enter__()
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                warnings.simplefilter("ignore", UserWarning)
            self.readers += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.readers -= 1
            if self.readers == 0:
                self.context.__exit__(None, None, None)


_quiet = _Quiet()


def _grey_key(image: ImageFile.ImageFile) -> int | None:
    """The transparent grey of a PNG of 1, 2 or 4 bits in 8 bits, where Pillow scales the pixels and not the key."""
    key = image.info.get("transparency")
    bits = {"1": 1, "L;2": 2, "L;4": 4}.get(str(image.tile[0].args)) if image.format == "PNG" and image.tile else None
    return key * 255 // (2**bits - 1) if bits and isinstance(key, int) else None


def square(image: Image.Image, size: int, *, fit: str = "crop") -> Image.Image:
    """The image as a square of `size` pixels.

    Args:
        fit: "crop" keeps its middle; "pad" keeps all of it and adds its border's colour; "subject" keeps what stands
            out from a transparent or uniform ground, and the middle where there is no such ground.

    Raises:
        UserError: another fit.
    """
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    if fit == "pad":
        scale = size / max(image.size)
        small = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)
        canvas = Image.new(image.mode, (size, size), image.getpixel((0, 0)))
        canvas.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
        return canvas
    if fit == "subject":
        return ImageOps.fit(crop_to_subject(image), (size, size), Image.Resampling.LANCZOS)
    raise UserError(f"fit is {fit!r}: give 'crop', 'pad' or 'subject'")


def to_tensor(*images: Image.Image) -> Tensor:
    """PIL images of one size as (B, 3, H, W) in [-1, 1]."""
    sizes = {image.size for image in images}
    if len(sizes) != 1:
        raise UserError(f"images of sizes {sorted(sizes)}: make them one size first (images.square)")
    width, height = images[0].size
    rows = [torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8) for image in images]
    return torch.stack(rows).view(-1, height, width, 3).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pil(pixels: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [-1, 1], clipped, as PIL images."""
    grey = ((pixels.detach().float().clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)
    return [Image.fromarray(row.permute(1, 2, 0).contiguous().numpy()) for row in grey]


def resize(pixels: Tensor, size: int) -> Tensor:
    """(B, 3, H, W) to (B, 3, size, size), bicubic, without aliasing; the same size comes back as it is.

    >>> resize(torch.zeros(2, 3, 48, 64), 32).shape
    torch.Size([2, 3, 32, 32])
    """
    if pixels.shape[-2:] == (size, size):
        return pixels
    return F.interpolate(pixels, (size, size), mode="bicubic", antialias=True).clamp(-1, 1)


def load(path: str | Path, size: int, *, fit: str = "crop") -> Tensor:
    """A user's file as (1, 3, size, size) in [-1, 1]: `open_image`, `square`, `to_tensor`."""
    return to_tensor(square(open_image(path, alpha=fit == "subject"), size, fit=fit))


def save_png(image: Image.Image, path: str | Path, metadata: dict | None = None) -> Path:
    """Write a PNG whose text chunk `latentlab` holds the metadata as JSON, whole or not at all."""
    path = Path(path)
    info = PngImagePlugin.PngInfo()
    if metadata is not None:
        info.add_itxt(METADATA_KEY, utf8(json.dumps(metadata, ensure_ascii=False)))
    with atomic_write(path) as part:
        image.save(part, "PNG", pnginfo=info)
    return path


def save_animation(frames: Sequence[Image.Image], path: str | Path, *, milliseconds: int) -> Path:
    """Write pictures of one size as a GIF or WebP that runs without end, by the path's suffix.

    Raises:
        UserError: another suffix than .gif or .webp.
    """
    path = Path(path)
    if path.suffix not in (".gif", ".webp"):
        raise UserError(f"{path.name} is no animation: give a name that ends in .gif or .webp")
    with atomic_write(path) as part:
        first, *others = (
            frames if path.suffix == ".webp" else [f.quantize(method=Image.Quantize.FASTOCTREE) for f in frames]
        )
        first.save(part, path.suffix[1:].upper(), save_all=True, append_images=others, duration=milliseconds, loop=0)
    return path


def read_metadata(path: str | Path) -> dict | None:
    """What `save_png` put into a PNG, or None if it holds nothing of ours.

    Raises:
        UserError: the file is missing, or no PNG.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            text = image.info.get(METADATA_KEY)
    except (OSError, SyntaxError) as error:
        raise UserError(f"{Path(path).name} is not a PNG that can be read ({error})") from error
    try:
        metadata = json.loads(text) if text else None
    except json.JSONDecodeError:
        return None
    return metadata if isinstance(metadata, dict) else None


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """10 log10(2² / mean (a - b)²) in dB for pictures in [-1, 1]: (B, 3, H, W) twice to (B,).

    >>> psnr(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.2)).round().item()  # 10 log10(4 / 0.04)
    20.0
    """
    error = (a.double() - b.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error.clamp_min(1e-20))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of pictures in [-1, 1], by scikit-image: (B, 3, H, W) twice to (B,).  Wang et al. 2004."""
    from skimage.metrics import structural_similarity

    pairs = zip(a.double().cpu().numpy(), b.double().cpu().numpy())
    return torch.tensor([structural_similarity(x, y, channel_axis=0, data_range=2.0) for x, y in pairs])


def cielab(pixels: Tensor) -> Tensor:
    """Pictures in [-1, 1] as CIELAB (D65), by scikit-image: (B, 3, H, W) to float64 (B, 3, H, W), L 0 to 100."""
    from skimage.color import rgb2lab

    return torch.from_numpy(rgb2lab((pixels.detach().cpu().double().clamp(-1, 1).numpy() + 1) / 2, channel_axis=1))
