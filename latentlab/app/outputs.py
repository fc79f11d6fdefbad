"""Input and output images, and the files that a visitor can download."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..errors import UserError
from ..experiments import Inverted
from ..io import images
from ..latents import Latent, PairLatent
from ..models import Lab

MAX_SIDE = 512  # what is kept of an upload
_FOLDERS: deque[Path] = deque()
_ROOT = tempfile.TemporaryDirectory(prefix="latentlab-", ignore_cleanup_errors=True)


@dataclass(frozen=True, eq=False)
class KnownLatents:
    """Latents that a picture is known to be decoded from, and by which model, weights and steps."""

    inverted: Inverted
    key: tuple[str, str, int]


@dataclass(frozen=True, eq=False)
class InputImage:
    """A picture as an input.

    Args:
        name: for the visitor's eyes.
        picture: RGB, at most MAX_SIDE on its longer side.
        caption: what it shows, if that is known.
        known_latents: its latents, if they are known.
        example: the name of the example that it is, which a link can say.
    """

    name: str
    picture: Image.Image
    caption: str = ""
    known_latents: KnownLatents | None = None
    example: str = ""

    def pixels(self, lab: Lab, fit: str = "crop") -> Tensor:
        """(1, 3, H, W) in [-1, 1], as large as the lab can see."""
        if self.known_latents and self.known_latents.key[:2] == (lab.name, lab.weights):
            return self.known_latents.inverted.original.cpu()
        return images.to_tensor(images.square(self.picture, lab.image_size, fit=fit))


def example_image(path: Path, caption: str) -> InputImage:
    name = path.stem.lstrip("0123456789-").replace("-", " ")
    return InputImage(name, images.open_image(path), caption, example=path.stem)


def uploaded_image(path: str | None) -> InputImage:
    """A visitor's file.

    Raises:
        UserError: there is none, or it is no picture that can be read.
    """
    if not path:
        raise UserError("there is no picture yet: drop a file, or click one of the examples")
    picture = images.open_image(path)
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return InputImage(Path(path).name, picture)


@dataclass(frozen=True, eq=False)
class OutputImage:
    """A picture that a run made.

    Args:
        latent: what it was decoded from, if that is known.
        known_latents: the same as an input, where decoding it without a caption or guidance gives this picture again.
    """

    picture: Image.Image
    title: str
    caption: str = ""
    latent: Latent | PairLatent | None = None
    known_latents: KnownLatents | None = None
    settings: dict = field(default_factory=dict)

    def as_input(self) -> InputImage:
        return InputImage(self.title, self.picture, self.caption, self.known_latents)


@dataclass(frozen=True, eq=False)
class RunOutput:
    """What a run made; `fields` are the values of the page's controls, which repeat it."""

    page: str = ""
    images: tuple[OutputImage, ...] = ()
    fields: dict = field(default_factory=dict)


def output_images(
    pixels: Tensor,
    titles: Sequence[str],
    *,
    captions: Sequence[str] = (),
    known_latents: Sequence[KnownLatents | None] = (),
    latents: Sequence | Latent = (),
) -> list[OutputImage]:
    """Pictures (B, 3, H, W) with a title each, and what is known of each of them."""
    output = []
    for k, picture in enumerate(images.to_pil(pixels)):
        own = known_latents[k] if known_latents else None
        latent = latents[k] if latents else own.inverted.latent if own else None
        output.append(OutputImage(picture, titles[k], captions[k] if captions else "", latent, own))
    return output


def folder() -> Path:
    """An empty folder for downloads; the oldest of many is removed."""
    _FOLDERS.append(Path(tempfile.mkdtemp(dir=_ROOT.name)))
    while len(_FOLDERS) > 64:
        shutil.rmtree(_FOLDERS.popleft(), ignore_errors=True)
    return _FOLDERS[-1]


def files(pictures: Sequence[Image.Image]) -> list[str]:
    """Pictures as files to show.

    A picture itself Gradio would write to a place that is named by its bytes, over the same picture that somebody's
    browser may be reading; a file it copies there once.
    """
    inside = folder()
    return [str(images.save_png(picture, inside / f"{k + 1}.png")) for k, picture in enumerate(pictures)]


def file(picture: Image.Image) -> str:
    return files([picture])[0]


def _name(run_output: RunOutput, row: int) -> str:
    words = "".join(c if c.isascii() and c.isalnum() else "-" for c in run_output.images[row].title.lower())
    return f"{run_output.page}-{row + 1:02d}-{'-'.join(w for w in words.split('-') if w)}"[:60]


def save_picture(run_output: RunOutput, row: int, inside: Path | None = None) -> str:
    """One picture as a PNG with its settings, in a folder of its own unless one is given."""
    image = run_output.images[row]
    return str(images.save_png(image.picture, (inside or folder()) / f"{_name(run_output, row)}.png", image.settings))


def save_pictures(run_output: RunOutput) -> list[str]:
    inside = folder()
    return [save_picture(run_output, row, inside) for row in range(len(run_output.images))]


def save_latents(run_output: RunOutput, row: int) -> str | None:
    """z_i and x_T of one picture, or None where they are not known."""
    image = run_output.images[row]
    if image.latent is None:
        return None
    path = folder() / f"{_name(run_output, row)}.safetensors"
    image.latent.save(path, {k: v if isinstance(v, str) else json.dumps(v) for k, v in image.settings.items()})
    return str(path)


def save_all(run_output: RunOutput) -> str:
    """Every picture of the run in one zip."""
    path = folder() / f"{run_output.page}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for picture in save_pictures(run_output):
            archive.write(picture, Path(picture).name)
    return str(path)


def settings_in(path: str | None) -> dict | None:
    """The settings inside a PNG of ours; None for any other file."""
    try:
        return images.read_metadata(path) if path else None
    except (UserError, ValueError, Image.DecompressionBombError):
        return None


def latent_row(latent: Latent, row: int) -> Latent:
    return Latent(latent.z_i[row : row + 1].cpu(), latent.x_T[row : row + 1].cpu())


def known_latents(latent: Latent, pixels: Tensor, lab: Lab, steps: int) -> list[KnownLatents]:
    """What each of some pictures was decoded from, at guidance 1 and without a caption."""
    original = images.resize(pixels.cpu().float(), lab.require_decoder().image_size)
    solved = torch.zeros(1, steps), torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.long)
    return [
        KnownLatents(
            Inverted(original[k : k + 1], latent_row(latent, k), *solved, {"steps": steps, "method": "fixed-point"}),
            (lab.name, lab.weights, steps),
        )
        for k in range(len(original))
    ]
