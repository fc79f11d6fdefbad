"""The options, parsers, progress bar and output that the commands share."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import json
import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar, runtime_checkable

import typer

from ..errors import UserError

if TYPE_CHECKING:
    from PIL import Image
    from rich.console import Console
    from rich.progress import TaskID
    from torch import Tensor

    from ..experiments import Progress, Result
    from ..models import Lab
    from ..plotting import Figure

T = TypeVar("T")

Model = Annotated[
    str,
    typer.Option(
        help="A name from `latentlab models`; a folder or OWNER/NAME on the hub with a published family's parts; or, "
        "for what needs no decoder, open_clip's NAME:TAG."
    ),
]
Family = Annotated[
    str | None, typer.Option(help="Family of a folder or OWNER/NAME whose files do not name it: karlo, kandinsky22, ….")
]
Seed = Annotated[int, typer.Option(help="Seed of the first picture; the following pictures count up from it.")]
Out = Annotated[Path, typer.Option(help="Folder to write to; it is created if it does not exist.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]
Device = Annotated[str | None, typer.Option(help="Device: cpu, cuda, …; by default a GPU if there is one.")]
Dtype = Annotated[
    str | None,
    typer.Option(help="Precision: float16, bfloat16 or float32; by default float16 on a GPU, float32 elsewhere."),
]
Offload = Annotated[
    bool | None, typer.Option(help="Keep only the running network on the device; by default where they do not all fit.")
]
Picture = Annotated[Path, typer.Argument(help="Image of any size: PNG, JPEG, WEBP, GIF or BMP.")]
Fit = Annotated[str, typer.Option(help="How to make the image square: crop its middle, or pad it.")]
ClipFit = Annotated[
    str,
    typer.Option(help="How to make the image square: as the model's own preprocessing does, crop its middle, or pad."),
]
Steps = Annotated[
    int, typer.Option(min=1, max=980, help="Steps of the decoder, and of the inversion where there is one.")
]
Guidance = Annotated[
    float, typer.Option(min=0, max=20, help="Classifier-free guidance scale of the decoder; 1 disables it.")
]
Count = Annotated[int, typer.Option(min=1, max=256, help="Number of pictures; each has its own seed.")]


def console() -> Console:
    from rich.console import Console

    return Console(stderr=True)


@dataclass(frozen=True)
class ModelChoice:
    """The model that the command line names, and how to load it."""

    name: str
    family: str | None = None
    device: str | None = None
    dtype: str | None = None
    offload: bool | None = None

    def load(self, quiet: bool) -> Lab:
        from .. import models

        models.check(self.name, self.family)
        downloads = announce_download(self.name)
        quiet = quiet or downloads  # the hub's client draws its own bars
        with contextlib.nullcontext() if quiet else console().status(f"loading {self.name}"):
            return models.load(
                self.name, family=self.family, device=self.device, dtype=self.dtype, offload=self.offload
            )


def announce_download(name: str) -> bool:
    """Print how much a model downloads from the hub; return whether it may download anything."""
    from .. import models

    spec = models.REGISTRY.get(name)
    if spec is None:
        return not Path(name).expanduser().is_dir()
    missing = bool(spec.sources) and not models.availability(spec)["cached"]
    if missing:
        print_notes([f"{name} is not on this machine yet: the download takes {spec.megabytes / 1000:.1f} GB"])
    return missing


def with_model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the model's options to a command, which takes them as one `ModelChoice`, its first argument."""
    options = {
        "model": (Model, "emoji"),
        "family": (Family, None),
        "device": (Device, None),
        "dtype": (Dtype, None),
        "offload": (Offload, None),
    }

    @functools.wraps(command)
    def run(
        *, model: str, family: str | None, device: str | None, dtype: str | None, offload: bool | None, **arguments: Any
    ) -> None:
        command(ModelChoice(model, family, device, dtype, offload), **arguments)

    _, *own, last = inspect.signature(command, eval_str=True).parameters.values()  # --json stays the last one
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    added = [
        inspect.Parameter(name, kind, default=default, annotation=hint) for name, (hint, default) in options.items()
    ]
    run.__signature__ = inspect.Signature([*own, *added, last])  # type: ignore[attr-defined]  # typer reads it
    return run


@runtime_checkable
class Step(Protocol):
    """What the progress bar shows of a Progress or of a Shard."""

    @property
    def stage(self) -> str: ...

    @property
    def step(self) -> int: ...

    @property
    def steps(self) -> int: ...


def with_progress_bar(stream: Iterator[T], quiet: bool) -> Generator[T, None, None]:
    """Pass a stream on, and show the progress of its values that have a stage as a bar."""
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description:<10}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console(), disable=quiet) as display:
        tasks: dict[str, TaskID] = {}
        for value in stream:
            if isinstance(value, Step):
                if value.stage not in tasks:
                    tasks[value.stage] = display.add_task(value.stage, total=value.steps)
                display.update(tasks[value.stage], completed=value.step, total=value.steps)
            else:
                for task in tasks.values():
                    display.update(task, completed=display.tasks[task].total)
            yield value


def run_with_progress_bar(stream: Iterator[Progress | T], quiet: bool) -> T:
    """Run an experiment's stream to its end with a progress bar, and return its result."""
    from ..experiments.stages import forward_progress, run_to_end

    return run_to_end(forward_progress(with_progress_bar(stream, quiet)))


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


def make_folder(folder: Path) -> Path:
    """Make the folder and its parents, and return it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be created ({error.strerror}): give a folder that can be written") from error
    return folder


def free_path(path: Path, settings: dict[str, Any]) -> Path:
    """Return the path, or the next numbered one that is free where a picture with other settings is there."""
    from ..io import images
    from ..io.atomic import utf8

    settings = json.loads(utf8(json.dumps(settings, ensure_ascii=False)))  # as read from a file: tuples become lists
    for number in itertools.count(1):
        candidate = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        if not candidate.exists():
            return candidate
        with contextlib.suppress(UserError):  # a file that is no PNG was made by something else
            if candidate.suffix == ".png" and images.read_metadata(candidate) == settings:
                return candidate
    raise AssertionError("itertools.count has no end")


class ResultWithPixels(Protocol):
    """A result with pictures (..., 3, H, W) in [-1, 1]; every experiment's result but an inversion is one."""

    @property
    def pixels(self) -> Tensor: ...

    @property
    def settings(self) -> dict[str, Any]: ...

    def figure(self) -> Figure: ...


def save_result(
    result: ResultWithPixels, folder: Path, stem: str, *, figures: dict[str, Figure] | None = None, **extra: Any
) -> dict[str, str]:
    """Write the result's figures, and its pictures one by one in a folder of the same name; return the paths by name.

    Every PNG carries the settings.
    """
    from .. import plotting
    from ..io import images

    settings = {**result.settings, **extra}
    make_folder(folder)
    paths = {}
    for name, figure in {"figure": result.figure(), **(figures or {})}.items():
        path = free_path(
            folder / (f"{stem}.png" if name == "figure" else f"{stem}-{name}.png"), {**settings, "shows": name}
        )
        paths[name] = str(plotting.save(figure, path, {**settings, "shows": name}))
    picture_folder = make_folder(Path(paths["figure"]).with_suffix(""))
    for k, picture in enumerate(images.to_pil(result.pixels.flatten(0, -4))):
        images.save_png(picture, picture_folder / f"{k:03d}.png", {**settings, "picture": k})
    paths["pictures"] = str(picture_folder)
    return paths


def print_notes(sentences: Iterable[str]) -> None:
    """Print notes on standard error, apart from the result."""
    for sentence in sentences:
        print(f"note: {sentence}", file=sys.stderr)


def report(result: Result, paths: dict[str, str], as_json: bool, **extra: Any) -> None:
    """Print the result's numbers and files as one JSON object or as a short text."""
    print_notes(result.notes)
    print_output(
        {**result.settings, **extra, **paths, "table": list(result.table), "notes": list(result.notes)},
        as_json,
        [*(f"{name:<9} {path}" for name, path in paths.items()), result.summary()],
    )


def print_output(values: Mapping[str, object], as_json: bool, lines: list[str]) -> None:
    """Print the values as one JSON object, or the lines."""
    from ..io.atomic import utf8

    print(utf8(json.dumps(values, ensure_ascii=False) if as_json else "\n".join(lines)))


def slug(text: str) -> str:
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-")[:60] or "picture"
