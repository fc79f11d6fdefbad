"""What every command shares: its options, its progress bar, and how it writes and says what it found."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from ..experiments import Result
    from ..models import Lab

Model = Annotated[
    str,
    typer.Option(
        help="A name from `latentlab models`; a folder or OWNER/NAME on the hub with a published family's parts; or, "
        "for what needs no decoder, open_clip's NAME:TAG."
    ),
]
Family = Annotated[
    str | None, typer.Option(help="Of a folder or OWNER/NAME that does not say it: karlo, kandinsky22, ….")
]
Seed = Annotated[int, typer.Option(help="Of the first picture; the next ones count up.")]
Out = Annotated[Path, typer.Option(help="Folder for what is written; made if it is not there.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, and nothing else.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, …; a GPU if there is one.")]
Dtype = Annotated[str | None, typer.Option(help="float16, bfloat16 or float32; float16 on a GPU.")]
Offload = Annotated[
    bool | None, typer.Option(help="Keep only the running network on the device; done where they don't all fit.")
]
Picture = Annotated[Path, typer.Argument(help="PNG, JPEG, WEBP, GIF or BMP of any size.")]
Fit = Annotated[str, typer.Option(help="crop the middle square, or pad to a square.")]
Steps = Annotated[int, typer.Option(min=1, max=980, help="Of the decoder, and of the inversion where there is one.")]
Guidance = Annotated[float, typer.Option(min=0, max=20, help="Of the decoder; 1 is none.")]
Count = Annotated[int, typer.Option(min=1, max=256, help="How many pictures, a seed each.")]


def console():
    from rich.console import Console

    return Console(stderr=True)


@dataclass(frozen=True)
class Chosen:
    """The model that a command line names, and how it is to be loaded."""

    name: str
    family: str | None = None
    device: str | None = None
    dtype: str | None = None
    offload: bool | None = None

    def load(self, quiet: bool) -> Lab:
        from .. import models

        models.check(self.name, self.family)
        options = {"family": self.family, "device": self.device, "dtype": self.dtype, "offload": self.offload}
        if announce(self.name) or quiet:  # the hub's client draws its own bars
            return models.load(self.name, **options)
        with console().status(f"loading {self.name}"):
            return models.load(self.name, **options)


def announce(name: str) -> bool:
    """Say how much a model fetches from the hub; whether it may have to fetch anything."""
    from .. import models

    row = models.REGISTRY.get(name)
    if row is None:
        return not Path(name).expanduser().is_dir()
    missing = bool(row.sources) and not models.availability(row)["cached"]
    if missing:
        note([f"{name} is not here yet, the hub has {row.megabytes / 1000:.1f} GB of it"])
    return missing


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a model, which it takes as one `Chosen`, its first argument."""
    options = {"model": (Model, "emoji"), "family": (Family, None), "device": (Device, None), "dtype": (Dtype, None),
               "offload": (Offload, None)}  # fmt: skip

    @functools.wraps(command)
    def run(*, model, family, device, dtype, offload, **given) -> None:
        command(Chosen(model, family, device, dtype, offload), **given)

    _, *own, last = inspect.signature(command, eval_str=True).parameters.values()  # --json stays the last one
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    added = [
        inspect.Parameter(name, kind, default=default, annotation=hint) for name, (hint, default) in options.items()
    ]
    run.__signature__ = inspect.Signature([*own, *added, last])
    return run


def watched(stream: Iterator[Any], quiet: bool) -> Iterator[Any]:
    """The same stream, under a progress bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), disable=quiet) as progress:
        bars: dict[str, Any] = {}
        for value in stream:
            if hasattr(value, "stage"):
                if value.stage not in bars:
                    bars[value.stage] = progress.add_task(value.stage, total=value.steps)
                progress.update(bars[value.stage], completed=value.step, total=value.steps)
            else:
                for bar in bars.values():
                    progress.update(bar, completed=progress.tasks[bar].total)
            yield value


def watch(stream: Iterator[Any], quiet: bool) -> Any:
    """Run an experiment's stream to its end, under a progress bar."""
    for value in watched(stream, quiet):
        last = value
    return last


def opened(paths: list[Path], fit: str) -> list:
    """The users' files as PIL images, refused before a model is loaded."""
    from ..io import images

    if fit not in ("crop", "pad"):
        raise UserError(f"--fit is {fit!r}: give 'crop' or 'pad'")
    return [images.open_image(path) for path in paths]


def squared(pictures: list, lab: Lab, fit: str) -> Tensor:
    """PIL images as (B, 3, side, side), as large as the lab can see."""
    from ..io import images

    return images.to_tensor(*(images.square(picture, lab.image_size, fit=fit) for picture in pictures))


def listed(text: str) -> list[str]:
    """`a,b , c` as its parts."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str, option: str) -> list[float]:
    """`0,0.5,1` as numbers.

    Raises:
        UserError: a part that is no number.
    """
    try:
        return [float(part) for part in listed(text)]
    except ValueError as error:
        raise UserError(f"{option} is {text!r}: give numbers with commas between, like 0,0.5,1") from error


def integers(text: str, option: str) -> list[int]:
    """`0,1,4` as integers.

    Raises:
        UserError: a part that is no integer.
    """
    found = numbers(text, option)
    if not all(x.is_integer() for x in found):
        raise UserError(f"{option} is {text!r}: give whole numbers with commas between, like 1,2,4")
    return [int(x) for x in found]


def make(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} can't be made ({error.strerror}): give a folder that can be written") from error
    return folder


def free(path: Path, settings: dict) -> Path:
    """The path, or the next free one with a number if a picture made otherwise is there: nothing is lost unasked."""
    from ..io import images

    settings = json.loads(json.dumps(settings))  # as it comes back from a file: tuples are lists there
    for number in itertools.count(1):
        taken = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        if not taken.exists():
            return taken
        with contextlib.suppress(UserError):  # what is no PNG at all was not made by us
            if taken.suffix == ".png" and images.read_metadata(taken) == settings:
                return taken
    raise AssertionError("itertools.count has no end")


def save_result(found: Result, folder: Path, stem: str, *, figures: dict | None = None, **extra) -> dict[str, str]:
    """The experiment's figure, and its pictures one by one in a folder of the same name; what was written, by name.

    Every PNG carries the settings.
    """
    from .. import plotting as drawing
    from ..io import images

    settings = {**found.settings, **extra}
    make(folder)
    paths = {}
    for name, figure in {"figure": found.figure(), **(figures or {})}.items():
        path = free(folder / (f"{stem}.png" if name == "figure" else f"{stem}-{name}.png"), {**settings, "shows": name})
        paths[name] = str(drawing.save(figure, path, {**settings, "shows": name}))
    inside = make(Path(paths["figure"]).with_suffix(""))
    for k, picture in enumerate(images.to_pil(found.pixels.flatten(0, -4))):
        images.save_png(picture, inside / f"{k:03d}.png", {**settings, "picture": k})
    paths["pictures"] = str(inside)
    return paths


def note(sentences: Iterable[str]) -> None:
    """Say something beside the result, where it does not mix with it."""
    for sentence in sentences:
        print(f"note: {sentence}", file=sys.stderr)


def report(found: Result, paths: dict, as_json: bool, **extra) -> None:
    """The result's numbers and files, as one JSON object or as a short text."""
    note(found.notes)
    say(
        {**found.settings, **extra, **paths, "table": list(found.table), "notes": list(found.notes)}, as_json,
        [*(f"{name:<9} {path}" for name, path in paths.items()), found.summary()],
    )  # fmt: skip


def say(found: dict, as_json: bool, lines: list[str]) -> None:
    print(json.dumps(found, ensure_ascii=False)) if as_json else print("\n".join(lines))


def slug(text: str) -> str:
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-")[:60] or "picture"
