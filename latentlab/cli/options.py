"""The options that the commands share, and the model that they load."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import console, print_notes

if TYPE_CHECKING:
    from ..models import Lab

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
PICTURE_OR_LATENTS = "image of any size (PNG, JPEG, WEBP, GIF or BMP), or .safetensors file of `latentlab invert`"
PictureOrLatents = Annotated[Path, typer.Argument(help=f"One {PICTURE_OR_LATENTS}.")]
Pictures = Annotated[
    list[Path], typer.Argument(help=f"One {PICTURE_OR_LATENTS}; or several, or folders of them, one after another.")
]
Fit = Annotated[str, typer.Option(help="How to make the image square: crop its middle, pad it, or take its subject.")]
ClipFit = Annotated[
    str,
    typer.Option(
        help="How to make the image square: as the model's own preprocessing does (model), crop its middle, pad it, or "
        "take its subject."
    ),
]
Steps = Annotated[int, typer.Option(min=1, max=980, help="Steps of the decoder.")]
RoundTripSteps = Annotated[int, typer.Option(min=1, max=980, help="Steps of the inversion, and of the decoder.")]
Guidance = Annotated[
    float, typer.Option(min=0, max=20, help="Classifier-free guidance scale of the decoder; 1 disables it.")
]
Count = Annotated[int, typer.Option(min=1, max=256, help="Number of pictures; each has its own seed.")]


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
    """Add the model's options to a command, which takes them as one `ModelChoice`, its first argument.

    A parameter that is a dataclass of options, which several commands share, stands for its fields.
    """
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
        for name, (group, fields) in groups.items():
            arguments[name] = group(**{field.name: arguments.pop(field.name) for field in fields})
        command(ModelChoice(model, family, device, dtype, offload), **arguments)

    _, *own, last = inspect.signature(command, eval_str=True).parameters.values()  # --json stays the last one
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    shared: dict[str, Any] = {p.name: p.annotation for p in own if is_dataclass(p.annotation)}
    groups = {name: (group, _fields(group)) for name, group in shared.items()}
    own = [field for p in own for field in (groups[p.name][1] if p.name in groups else [p])]
    added = [
        inspect.Parameter(name, kind, default=default, annotation=hint) for name, (hint, default) in options.items()
    ]
    run.__signature__ = inspect.Signature([*own, *added, last])  # type: ignore[attr-defined]  # typer reads it
    return run


def _fields(group: Callable[..., Any]) -> list[inspect.Parameter]:
    """The options of a dataclass."""
    return [*inspect.signature(group, eval_str=True).parameters.values()]
