"""Pictures on the workbench: what a visitor chose, what a run made, and the files that one can take away."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..errors import UserError
from ..experiments import Inverted
from ..io import images
from ..latents import Latent, PairLatent
from ..models import Lab

SIDE = 512  # what is kept of an upload
_FOLDERS: deque[Path] = deque()
_ROOT = tempfile.TemporaryDirectory(prefix="latentlab-", ignore_cleanup_errors=True)


@dataclass(frozen=True, eq=False)
class Known:
    """Latents that a picture is known to be decoded from, and by which model, weights and steps."""

    inverted: Inverted
    key: tuple[str, str, int]


@dataclass(frozen=True, eq=False)
class Chosen:
    """A picture as an input.

    Args:
        name: for the visitor's eyes.
        picture: RGB, at most SIDE on its longer side.
        caption: what it shows, if that is known.
        known: its latents, if it was made here from them.
        example: the name of the example that it is, which a link can say.
    """

    name: str
    picture: Image.Image
    caption: str = ""
    known: Known | None = None
    example: str = ""

    def pixels(self, lab: Lab, fit: str = "crop") -> Tensor:
        """(1, 3, H, W) in [-1, 1], as large as the lab can see."""
        if self.known and self.known.key[:2] == (lab.name, lab.weights):
            return self.known.inverted.original.cpu()
        return images.to_tensor(images.square(self.picture, lab.image_size, fit=fit))


def example(path: Path, caption: str) -> Chosen:
    name = path.stem.lstrip("0123456789-").replace("-", " ")
    return Chosen(name, images.open_image(path), caption, example=path.stem)


def uploaded(path: str | None) -> Chosen:
    """A visitor's file.

    Raises:
        UserError: there is none, or it is no picture that can be read.
    """
    if not path:
        raise UserError("there is no picture yet: drop a file, or click one of the examples")
    picture = images.open_image(path)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return Chosen(Path(path).name, picture)


@dataclass(frozen=True, eq=False)
class Shot:
    """A picture that a run made.

    Args:
        latent: what it was decoded from, if that is known.
        known: the same as an input, where decoding it without a caption or guidance gives this picture again.
    """

    picture: Image.Image
    title: str
    caption: str = ""
    latent: Latent | PairLatent | None = None
    known: Known | None = None
    settings: dict = field(default_factory=dict)

    def having(self, settings: dict) -> Shot:
        return replace(self, settings=settings)

    def chosen(self) -> Chosen:
        return Chosen(self.title, self.picture, self.caption, self.known)


@dataclass(frozen=True, eq=False)
class Made:
    """What a run left on the workbench; `fields` are the page's inputs, to do it again."""

    page: str = ""
    shots: tuple[Shot, ...] = ()
    fields: dict = field(default_factory=dict)


def shots(
    pixels: Tensor, titles: Sequence[str], *, captions: Sequence[str] = (), known: Sequence[Known | None] = (),
    latents: Sequence | Latent = (),
) -> list[Shot]:  # fmt: skip
    """Pictures (B, 3, H, W) with a title each, and what is known of each of them."""
    found = []
    for k, picture in enumerate(images.to_pil(pixels)):
        own = known[k] if known else None
        latent = latents[k] if latents else own.inverted.latent if own else None
        found.append(Shot(picture, titles[k], captions[k] if captions else "", latent, own))
    return found


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


def _name(made: Made, row: int) -> str:
    words = "".join(c if c.isascii() and c.isalnum() else "-" for c in made.shots[row].title.lower())
    return f"{made.page}-{row + 1:02d}-{'-'.join(w for w in words.split('-') if w)}"[:60]


def save_picture(made: Made, row: int, inside: Path | None = None) -> str:
    """One picture as a PNG with its settings, in a folder of its own unless one is given."""
    shot = made.shots[row]
    return str(images.save_png(shot.picture, (inside or folder()) / f"{_name(made, row)}.png", shot.settings))


def save_pictures(made: Made) -> list[str]:
    inside = folder()
    return [save_picture(made, row, inside) for row in range(len(made.shots))]


def save_latents(made: Made, row: int) -> str | None:
    """z_i and x_T of one picture, or None where they are not known."""
    shot = made.shots[row]
    if shot.latent is None:
        return None
    path = folder() / f"{_name(made, row)}.safetensors"
    shot.latent.save(path, {k: v if isinstance(v, str) else json.dumps(v) for k, v in shot.settings.items()})
    return str(path)


def save_all(made: Made) -> str:
    """Every picture of the run in one zip."""
    path = folder() / f"{made.page}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for picture in save_pictures(made):
            archive.write(picture, Path(picture).name)
    return str(path)


def settings_in(path: str | None) -> dict | None:
    """The settings inside a PNG of ours; None for any other file."""
    try:
        return images.read_metadata(path) if path else None
    except (UserError, ValueError, Image.DecompressionBombError):
        return None


def kept(latent: Latent, row: int) -> Latent:
    return Latent(latent.z_i[row : row + 1].cpu(), latent.x_T[row : row + 1].cpu())


def knows(latent: Latent, pixels: Tensor, lab: Lab, steps: int) -> list[Known]:
    """What each of some pictures was decoded from, at guidance 1 and without a caption."""
    original = images.resize(pixels.cpu().float(), lab.require_decoder().image_size)
    zeros, yes = torch.zeros(steps), torch.ones(1).bool()
    return [
        Known(
            Inverted(original[k : k + 1], kept(latent, k), zeros, yes, 0, steps, "fixed-point"),
            (lab.name, lab.weights, steps),
        )
        for k in range(len(original))
    ]
