"""Input and output images, and the files that a visitor can download."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from PIL import Image
from torch import Tensor

from ..clip import square
from ..errors import UserError
from ..experiments import InversionResult
from ..io import images
from ..io.rgb import to_rgb
from ..io.subject import crop_to_subject
from ..latents import Latent, PairLatent
from ..models import Lab

MAX_SIDE = 512  # pixels on the longer side, to which an upload is reduced
_FOLDERS: deque[Path] = deque()
_SAVED: WeakKeyDictionary[RunOutput, list[Path]] = WeakKeyDictionary()  # the files of runs
_ROOT = tempfile.TemporaryDirectory(prefix="latentlab-", ignore_cleanup_errors=True)


@dataclass(frozen=True, eq=False)
class KnownLatents:
    """The latents from which a picture was decoded, and the model, weights and steps of the decoding."""

    inverted: InversionResult
    key: tuple[str, str, int]


@dataclass(frozen=True, eq=False)
class InputImage:
    """A picture as an input.

    Args:
        name: its name on the page.
        picture: RGB, at most MAX_SIDE on its longer side.
        caption: its caption, empty if there is none.
        known_latents: its latents, None if they are unknown.
        example: the name of the example that it is, for links; empty for other pictures.
        upload: a visitor's file before it was cropped to its subject, with its transparency; None for other pictures.
        guesses: CLIP's labels of an upload with their probabilities, best first; the first one is its caption.
        sure_above: the probability from which on CLIP is sure of the first one.
    """

    name: str
    picture: Image.Image
    caption: str = ""
    known_latents: KnownLatents | None = None
    example: str = ""
    upload: Image.Image | None = None
    guesses: tuple[tuple[str, float], ...] = ()
    sure_above: float = 0.5

    def pixels(self, lab: Lab, fit: str = "crop") -> Tensor:
        """Return the picture as (1, 3, H, W) in [-1, 1], at the lab's image size, or by "model" at its CLIP's."""
        if self.known_latents and self.known_latents.key[:2] == (lab.name, lab.weights):
            return self.known_latents.inverted.original.cpu()
        if fit == "model":
            return images.to_tensor(square(lab.encoder, self.picture))
        return images.to_tensor(images.square(self.picture, lab.image_size, fit=fit))


def example_image(path: Path, caption: str) -> InputImage:
    name = path.stem.lstrip("0123456789-").replace("-", " ")
    return InputImage(name, images.open_image(path), caption, example=path.stem)


def uploaded_image(path: str | None, crop: bool = True) -> InputImage:
    """Read a visitor's file, and crop it to its subject if it has a transparent or uniform ground.

    Raises:
        UserError: there is no file, or it is not a picture that can be read.
    """
    if not path:
        raise UserError("there is no picture yet: drop a file, or click one of the examples")
    picture = images.open_image(path, alpha=True)
    picture.thumbnail((2 * MAX_SIDE, 2 * MAX_SIDE), Image.Resampling.LANCZOS)  # its subject may be a small part
    return cropped(InputImage(Path(path).name, picture, upload=picture), crop)


def cropped(image: InputImage, crop: bool) -> InputImage:
    """Return an upload cropped to its subject, or whole."""
    if image.upload is None:
        return image
    picture = crop_to_subject(image.upload) if crop else to_rgb(image.upload.copy())
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return replace(image, picture=picture)


@dataclass(frozen=True, eq=False)
class OutputImage:
    """A picture from a run.

    Args:
        latent: the latents from which it was decoded, None if they are unknown.
        known_latents: the same for its use as an input, if decoding them without caption and guidance gives this
            picture again.
    """

    picture: Image.Image
    title: str
    caption: str = ""
    latent: Latent | PairLatent | None = None
    known_latents: KnownLatents | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def as_input(self) -> InputImage:
        return InputImage(self.title, self.picture, self.caption, self.known_latents)


@dataclass(frozen=True, eq=False)
class RunOutput:
    """A run's pictures; `fields` are the values of the page's controls, which repeat the run."""

    page: str = ""
    images: tuple[OutputImage, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)


def output_images(
    pixels: Tensor,
    titles: Sequence[str],
    *,
    captions: Sequence[str] = (),
    known_latents: Sequence[KnownLatents | None] = (),
    latents: Sequence[Latent | PairLatent | None] | Latent = (),
) -> list[OutputImage]:
    """Split pictures (B, 3, H, W) into B images, each with its title, caption and latents."""
    outputs = []
    for k, picture in enumerate(images.to_pil(pixels)):
        latents_of_picture = known_latents[k] if known_latents else None
        latent = latents[k] if latents else latents_of_picture.inverted.latent if latents_of_picture else None
        caption = captions[k] if captions else ""
        outputs.append(OutputImage(picture, titles[k], caption, latent, latents_of_picture))
    return outputs


def folder() -> Path:
    """Create an empty folder for downloads; the oldest of more than 64 is removed."""
    _FOLDERS.append(Path(tempfile.mkdtemp(dir=_ROOT.name)))
    while len(_FOLDERS) > 64:
        shutil.rmtree(_FOLDERS.popleft(), ignore_errors=True)
    return _FOLDERS[-1]


def files(pictures: Sequence[Image.Image]) -> list[str]:
    """Save pictures as files for Gradio.

    Gradio would write a PIL image to a path that its bytes determine, over the same file that another visitor's browser
    may be reading. It copies a file to such a path only once.
    """
    directory = folder()
    return [str(images.save_png(picture, directory / f"{k + 1}.png")) for k, picture in enumerate(pictures)]


def file(picture: Image.Image) -> str:
    return files([picture])[0]


def _name(run_output: RunOutput, row: int) -> str:
    words = re.findall("[a-z0-9]+", run_output.images[row].title.lower())
    return f"{run_output.page}-{row + 1:02d}-{'-'.join(words)}"[:60]


def save_pictures(run_output: RunOutput) -> list[str]:
    """Save a run's pictures as PNGs with their settings, once; later calls return the same files while they last."""
    paths = _SAVED.get(run_output)
    if paths is None or not all(path.exists() for path in paths):
        directory = folder()
        paths = [
            images.save_png(image.picture, directory / f"{_name(run_output, row)}.png", image.settings)
            for row, image in enumerate(run_output.images)
        ]
        _SAVED[run_output] = paths
    return [str(path) for path in paths]


def save_picture(run_output: RunOutput, row: int) -> str:
    return save_pictures(run_output)[row]


def save_latents(run_output: RunOutput, row: int) -> str | None:
    """Save z_i and x_T of one picture; return None if they are unknown."""
    image = run_output.images[row]
    if image.latent is None:
        return None
    path = folder() / f"{_name(run_output, row)}.safetensors"
    image.latent.save(path, {k: v if isinstance(v, str) else json.dumps(v) for k, v in image.settings.items()})
    return str(path)


def save_all(run_output: RunOutput) -> str:
    """Save all pictures of the run in one zip."""
    path = folder() / f"{run_output.page}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for picture in save_pictures(run_output):
            archive.write(picture, Path(picture).name)
    return str(path)


def settings_in(path: str | None) -> dict[str, Any] | None:
    """Read the settings inside a PNG that latentlab wrote; return None for any other file."""
    try:
        return images.read_metadata(path) if path else None
    except (UserError, ValueError, Image.DecompressionBombError):
        return None


def latent_row(latent: Latent, row: int) -> Latent:
    return Latent(latent.z_i[row : row + 1].cpu(), latent.x_T[row : row + 1].cpu())


def known_latents(latent: Latent, pixels: Tensor, lab: Lab, steps: int) -> list[KnownLatents]:
    """Return the latents of pictures (B, 3, H, W) that were decoded from B latents without caption and guidance."""
    original = images.resize(pixels.cpu().float(), lab.require_decoder().image_size)
    key = (lab.name, lab.weights, steps)
    return [
        KnownLatents(InversionResult.of_latents(latent_row(latent, k), original[k : k + 1], steps=steps), key)
        for k in range(len(original))
    ]
