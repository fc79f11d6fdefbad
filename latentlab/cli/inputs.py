"""The pictures, latents and lists that the commands read from their arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..errors import UserError
from .output import LATENTS, print_notes, run_with_progress_bar

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..experiments import InversionResult
    from ..latents import Latent, PairLatent
    from ..models import Lab

FITS = ("crop", "pad", "subject")  # those of `io.images`, which imports torch


def check_fit(fit: str, fits: tuple[str, ...]) -> None:
    """Refuse a --fit that is not one of these."""
    if fit not in fits:
        raise UserError(f"--fit is {fit!r}: give {', '.join(map(repr, fits[:-1]))} or {fits[-1]!r}")


@dataclass(frozen=True)
class Input:
    """One picture, or one row of a file of latents.

    Args:
        name: the file's name, or its path below the user's folder. stem: what the files made of it are called.
        content: the picture, or its latents. metadata: what the file of latents records.
    """

    name: str
    stem: str
    content: Image.Image | Latent | PairLatent
    metadata: dict[str, str] = field(default_factory=dict)

    def steps(self, steps: int) -> int:
        """The steps of the inversion that the latents record, or the steps that are given."""
        recorded = self.metadata.get("steps", "")
        return int(recorded) if recorded.isdigit() else steps

    @property
    def is_latents(self) -> bool:
        return hasattr(self.content, "z_i")

    def load(self, lab: Lab, fit: str) -> Tensor | Latent | PairLatent:
        """The picture as (1, 3, side, side) in [-1, 1], or its latents as they are."""
        return self.latents(lab) if self.is_latents else to_pixels([cast("Image.Image", self.content)], lab, fit)

    def latents(self, lab: Lab) -> Latent | PairLatent:
        """The latents as they are.

        Raises:
            UserError: they are of another model, or of other weights.
        """
        recorded = {"model": lab.name, "weights": lab.weights, **self.metadata}
        if (recorded["model"], recorded["weights"]) != (lab.name, lab.weights):
            other, own = f"{recorded['model']} ({recorded['weights']})", f"{lab.name} ({lab.weights})"
            raise UserError(f"{self.name} holds latents of {other}, this lab is {own}: invert the picture with it")
        return cast("Latent | PairLatent", self.content)

    def pixels(self, lab: Lab, fit: str, quiet: bool) -> Tensor:
        """The picture as (1, 3, side, side) in [-1, 1], decoded and resized where the file holds latents."""
        from .. import experiments
        from ..io import images

        if not self.is_latents:
            return to_pixels([cast("Image.Image", self.content)], lab, fit)
        stream = experiments.decode.stream(lab, self.latents(lab), steps=self.steps(25), preview_every=0)
        decoded = run_with_progress_bar(stream, quiet).pixels
        return images.resize(decoded, lab.encoder.image_size if fit == "model" else lab.image_size)


class Inputs:
    """The user's files and folders, opened one at a time.

    A bad file that the user named is refused before a model is loaded; of a folder, bad files are skipped and named.

    Raises:
        UserError: a named file that cannot be read, an empty folder, or another fit.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        fit: str,
        fits: tuple[str, ...] = FITS,
        *,
        only_latents: bool = False,
    ) -> None:
        from ..io import embeddings

        check_fit(fit, fits)
        self.fit = fit
        self.several = len(paths) > 1 or paths[0].is_dir()  # whether there may be several results
        self.files: list[tuple[Path, str]] = []  # each with its name
        names = Counter(path.name for path in paths)
        for path in paths:
            if path.is_dir():
                files = [file for file in embeddings.list_files(path) if _may_be_input(file, only_latents)]
                self.files += [(file, file.relative_to(path).as_posix()) for file in files]
            else:
                self.files.append((path, path.name if names[path.name] == 1 else path.as_posix()))
                for _ in _open(path, path.name, fit):
                    pass
        self.named = {path for path in paths if not path.is_dir()}

    def __iter__(self) -> Iterator[Input]:
        count = 0
        for path, name in self.files:
            try:
                inputs = [*_open(path, name, self.fit)]
            except UserError as error:
                if path in self.named:
                    raise
                print_notes([f"skipped {name}: {error}"])
            else:
                count += len(inputs)
                yield from inputs
        if not count:
            raise UserError(f"none of the {len(self.files)} files can be read: give pictures, or latents of `invert`")


def _may_be_input(path: Path, only_latents: bool) -> bool:
    from ..io import embeddings

    return path.suffix == LATENTS or (not only_latents and embeddings.may_be_picture(path))


def _open(path: Path, name: str, fit: str) -> Iterator[Input]:
    """The picture in a file, or every row of its latents."""
    from .. import latents
    from ..io import images

    stem = str(Path(name).with_suffix(""))
    if path.suffix != LATENTS:
        yield Input(name, stem, images.open_image(path, alpha=fit == "subject"))
        return
    latent, metadata = latents.load(path), latents.metadata(path)
    for k in range(len(latent)):
        yield Input(name, stem if len(latent) == 1 else f"{stem}-{k:03d}", latent[k], metadata)


def load_together(inputs: Sequence[Input], lab: Lab, fit: str, steps: int, quiet: bool) -> Tensor | InversionResult:
    """Pictures as one batch; beside latents, as one inversion by the steps that the latents record.

    Raises:
        UserError: latents by different steps, or with a pair of states, which cannot be interpolated.
    """
    import torch

    from ..experiments import InversionResult, invert
    from ..experiments.inversion import ensure_inverted
    from ..experiments.stages import run_to_end

    if not any(source.is_latents for source in inputs):
        return torch.cat([source.pixels(lab, fit, quiet) for source in inputs])
    recorded = {source.steps(steps) for source in inputs if source.is_latents}
    if len(recorded) > 1:
        raise UserError(f"the latents were inverted by {sorted(recorded)} steps: invert the pictures by the same steps")
    steps = recorded.pop() if recorded else steps
    return InversionResult.stack(
        [
            run_to_end(ensure_inverted(lab, source.latents(lab), steps=steps))
            if source.is_latents
            else run_with_progress_bar(
                invert.stream(lab, source.pixels(lab, fit, quiet), steps=steps, preview_every=0), quiet
            )
            for source in inputs
        ]
    )


def load_pixels(inputs: Inputs, lab: Lab, fit: str, quiet: bool) -> tuple[list[str], Tensor]:
    """The names of all pictures, and the pictures as one batch; latents are decoded."""
    import torch

    loaded = [(source.name, source.pixels(lab, fit, quiet)) for source in inputs]
    return [name for name, _ in loaded], torch.cat([pixels for _, pixels in loaded])


def open_images(paths: list[Path], fit: str, fits: tuple[str, ...] = FITS) -> list[Image.Image]:
    """Open the user's files as PIL images, so that a bad file is refused before a model is loaded."""
    from ..io import images

    check_fit(fit, fits)
    return [images.open_image(path, alpha=fit == "subject") for path in paths]


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
