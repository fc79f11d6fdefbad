"""The progress bar, the files and the text that the commands write."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from ..errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
    from torch import Tensor

    from ..experiments import Progress, Result
    from ..plotting import Figure

LATENTS = ".safetensors"
T = TypeVar("T")


def console() -> Console:
    """Return rich's console on standard error, so that standard output holds the results alone."""
    from rich.console import Console

    return Console(stderr=True)


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


def make_folder(folder: Path) -> Path:
    """Make the folder and its parents, and return it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be created ({error.strerror}): give a folder that can be written") from error
    return folder


def free_path(path: Path, settings: dict[str, Any]) -> Path:
    """Return the path, or the next numbered one that is free where a file with other settings is there."""
    from ..io.atomic import utf8

    settings = json.loads(utf8(json.dumps(settings, ensure_ascii=False)))  # as read from a file: tuples become lists
    for number in itertools.count(1):
        candidate = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        if not candidate.exists():
            return candidate
        with contextlib.suppress(UserError):  # a file that can't be read was made by something else
            if _has_settings(candidate, settings):
                return candidate
    raise AssertionError("itertools.count has no end")


def _has_settings(path: Path, settings: dict[str, Any]) -> bool:
    from .. import latents
    from ..io import images

    if path.suffix == LATENTS:
        return latents.metadata(path) == {name: str(value) for name, value in settings.items()}
    return path.suffix == ".png" and images.read_metadata(path) == settings


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
    values, lines = _output(result, paths, **extra)
    print_output(values, as_json, lines)


def report_each(results: Iterable[tuple[Result, dict[str, str], dict[str, Any]]], as_json: bool, several: bool) -> None:
    """Print the numbers and files of results, each with what else is known of it, as they come.

    In JSON several results are the list `results` of one object.
    """
    print_each((_output(result, paths, **extra) for result, paths, extra in results), as_json, several)


def print_each(outputs: Iterable[tuple[Mapping[str, object], list[str]]], as_json: bool, several: bool) -> None:
    """Print values and lines as they come; in JSON several of them are the list `results` of one object."""
    values = []
    for value, lines in outputs:
        values.append(value)
        if not as_json:
            print_output(value, as_json, lines)
    if as_json:
        print_output({"results": values} if several else values[0], as_json, [])


def _output(result: Result, paths: dict[str, str], **extra: Any) -> tuple[dict[str, object], list[str]]:
    """The result's numbers and files as plain values and as a short text; its notes are printed."""
    print_notes(result.notes)
    values = {**result.settings, **extra, **paths, "table": list(result.table), "notes": list(result.notes)}
    return values, [*(f"{name:<9} {path}" for name, path in paths.items()), result.summary()]


def print_output(values: Mapping[str, object], as_json: bool, lines: list[str]) -> None:
    """Print the values as one JSON object, or the lines."""
    from ..io.atomic import utf8

    print(utf8(json.dumps(values, ensure_ascii=False) if as_json else "\n".join(lines)))


def slug(text: str) -> str:
    """Turn a text into the part of a file's name: at most 60 letters and digits, words joined by hyphens."""
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-")[:60] or "picture"
