"""Pictures of any mode as upright RGB pictures of 8 bits."""

from __future__ import annotations

import io

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps


def to_rgb(image: Image.Image) -> Image.Image:
    """Upright by its EXIF orientation, transparency on white, CMYK by its own profile, 8-bit RGB."""
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # where it is, `exif_transpose` would copy the picture
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = _in_eight_bits(image)
    if image.mode == "CMYK" and image.info.get("icc_profile"):
        image = _from_inks(image)
    if image.has_transparency_data:
        image = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """16-bit greys, which `convert` would clip to white; the transparent one is white."""
    grey = np.asarray(image, np.float32)
    deep = image.mode != "I" or grey.max() > 255
    eight = (grey / (257 if deep else 1)).round().astype(np.uint8)
    if isinstance(key := image.info.get("transparency"), int):
        eight[grey == key] = 255
    return Image.fromarray(eight)


def _from_inks(image: Image.Image) -> Image.Image:
    """A CMYK picture in sRGB by the profile that it carries; as it is if that is damaged."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    except (ImageCms.PyCMSError, OSError):
        return image
