"""The commands that change pictures: interpolate, diff and edit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from .inputs import Inputs, load_together, numbers, open_images
from .options import (
    Count,
    Fit,
    Guidance,
    Json,
    ModelChoice,
    Out,
    PictureOrLatents,
    Pictures,
    RoundTripSteps,
    Seed,
    Steps,
    with_model_options,
)
from .output import report, report_each, run_with_progress_bar, save_result, slug

if TYPE_CHECKING:
    from PIL import Image

    from ..experiments import EditingResult, TextDiffResult
    from ..experiments.history import History

Thetas = Annotated[int, typer.Option(min=2, max=64, help="Number of frames.")]


@with_model_options
def interpolate(
    model: ModelChoice,
    first: PictureOrLatents,
    second: PictureOrLatents,
    noise: Annotated[
        str,
        typer.Option(
            help="slerp interpolates x_T too, so that the ends are reconstructions; fixed keeps one x_T per path."
        ),
    ] = "slerp",
    count: Annotated[int, typer.Option(min=1, max=64, help="Number of paths when x_T is fixed.")] = 3,
    frames: Thetas = 9,
    animation: Annotated[str, typer.Option(help="Format of the animation: gif, webp or none.")] = "gif",
    seed: Seed = 0,
    fit: Fit = "crop",
    steps: RoundTripSteps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Interpolate between two pictures in CLIP's latent space."""
    from .. import experiments
    from ..io import atomic

    if noise not in ("slerp", "fixed"):
        raise UserError(f"--noise is {noise!r}: give 'slerp' or 'fixed'")
    _check_animation(animation)
    for path in (first, second):
        if path.is_dir():
            raise UserError(f"{path} is a folder: give two pictures, or latents of two")
    inputs, folder = Inputs([first, second], fit), atomic.writable_folder(out)
    lab = model.load(as_json)
    seeds = range(seed, seed + count) if noise == "fixed" else ()
    ends = load_together([*inputs], lab, fit, steps, as_json)
    stream = experiments.interpolate.stream(
        lab, ends, thetas=frames, seeds=seeds, steps=steps, guidance=guidance, preview_every=0
    )
    result = run_with_progress_bar(stream, as_json)
    stem = f"{slug(first.stem)}-to-{slug(second.stem)}"
    paths = save_result(result, folder, stem, images=[first.name, second.name], fit=fit)
    if animation != "none":
        path = Path(paths["figure"]).with_suffix(f".{animation}")
        paths["animation"] = str(result.save_animation(path))
    report(result, paths, as_json, images=[first.name, second.name])


@with_model_options
def diff(
    model: ModelChoice,
    pictures: Pictures,
    to: Annotated[
        list[str], typer.Option("--to", help="Caption of the wanted picture; may be repeated, and each makes a row.")
    ],
    source: Annotated[str, typer.Option("--from", help="Caption of the picture as it is.")] = "a photo",
    theta: Annotated[
        str,
        typer.Option(help="Fractions of the arc, separated by commas; by default --frames of them are spread evenly."),
    ] = "",
    frames: Thetas = 6,
    fit: Fit = "crop",
    steps: RoundTripSteps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Turn pictures from one caption to another.

    z_i moves in the direction of the difference of the two captions' embeddings; x_T stays.
    """
    from .. import experiments
    from ..io import atomic

    inputs, folder = Inputs(pictures, fit), atomic.writable_folder(out)
    thetas = numbers(theta, "--theta") if theta else frames
    lab = model.load(as_json)
    params: dict[str, Any] = {"source": source, "thetas": thetas, "guidance": guidance, "preview_every": 0}

    def results() -> Iterator[tuple[TextDiffResult, dict[str, str], dict[str, Any]]]:
        for picture in inputs:
            content, back = picture.load(lab, fit), picture.steps(steps)
            result = run_with_progress_bar(experiments.diff.stream(lab, content, to, steps=back, **params), as_json)
            stem = f"{slug(picture.stem)}-to-{slug(' and '.join(to))}"
            extra: dict[str, Any] = {"image": picture.name}
            yield result, save_result(result, folder, stem, fit=fit, **extra), extra

    report_each(results(), as_json, inputs.several)


@with_model_options
def edit(
    model: ModelChoice,
    image: Annotated[
        Path, typer.Argument(help="Image of any size; or the JSON file of earlier edits, which are continued.")
    ],
    mask: Annotated[
        Path | None, typer.Option(help="Image of the same size, white where something is to be painted.")
    ] = None,
    prompt: Annotated[
        str, typer.Option(help="Prompt of the whole picture as wanted; without one what is visible is continued.")
    ] = "",
    grow: Annotated[
        list[str] | None,
        typer.Option(help="Side on which the canvas grows by half: left, right, top or bottom; may be repeated."),
    ] = None,
    strength: Annotated[
        float,
        typer.Option(help="From above 0 to 1: how much changes of what the mask covers, or of everything without one."),
    ] = 1.0,
    by: Annotated[
        str,
        typer.Option(
            help="How to guide the decoder: classifier-free; clip, by the gradient of CLIP's score; or noised-clip."
        ),
    ] = "classifier-free",
    decoder: Annotated[
        str, typer.Option(help="plain; or fine-tuned, where the model has a decoder that was trained to inpaint.")
    ] = "plain",
    state: Annotated[
        int | None, typer.Option(help="Number of the picture in the JSON file to continue from, 0 being the first one.")
    ] = None,
    animation: Annotated[str, typer.Option(help="Format of the history's animation: gif, webp or none.")] = "gif",
    count: Count = 4,
    seed: Seed = 0,
    fit: Fit = "crop",
    steps: Steps = 25,
    guidance: Guidance = 2.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Inpaint, outpaint or change a whole picture.

    --mask marks the part to paint anew, --grow the sides to paint beyond, and --strength alone changes all of it. The
    edit is added to a history, whose JSON file can be given as IMAGE for the next edit.
    """
    from .. import experiments
    from ..experiments.editing import DECODERS
    from ..experiments.guidance import GUIDANCES
    from ..io import atomic, images

    if by not in GUIDANCES:
        raise UserError(f"--by is {by!r}: give one of {', '.join(GUIDANCES)}")
    if decoder not in DECODERS:
        raise UserError(f"--decoder is {decoder!r}: give {' or '.join(DECODERS)}")
    _check_animation(animation)
    start = _history(image, state) if image.suffix == ".json" else None
    if state is not None and start is None:
        raise UserError(f"--state is {state}, but {image.name} is a picture: give the JSON file of earlier edits")
    pictures = images.to_pil(start.pixels) if start else open_images([image], fit)
    masks = open_images([mask], fit) if mask else []
    _check_mask(masks, pictures[0])
    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    if not start:
        side = max(lab.image_size, lab.output_size)
        pictures, squares = ([images.square(x, side, fit=fit) for x in part] for part in (pictures, masks))
        if any(_marks(x) for x in masks) and not any(_marks(x) for x in squares):
            raise UserError(f"--fit {fit} cuts off all that the mask marks: give --fit pad, or mark another part")
        masks = squares
    stream = experiments.edit.stream(
        lab,
        start or images.to_tensor(*pictures),
        images.to_tensor(*masks)[0].mean(0) > 0 if masks else None,
        prompt,
        grow=grow or (),
        strength=strength,
        seeds=range(seed, seed + count),
        steps=steps,
        by=by,
        guidance=guidance,
        decoder=decoder,
        preview_every=0,
    )
    result = run_with_progress_bar(stream, as_json)
    names = {"image": image.name, "mask": mask.name if mask else "", "fit": fit}
    report(result, _save_edit(result, folder, image.stem, animation, names), as_json, **names)


def _marks(mask: Image.Image) -> bool:
    return mask.convert("L").point(lambda level: 255 * (level > 127)).getbbox() is not None


def _check_mask(masks: Sequence[Image.Image], picture: Image.Image) -> None:
    for mask in masks:
        if mask.size != picture.size:
            sizes = " and the picture ".join(f"{w}x{h}" for w, h in (mask.size, picture.size))
            raise UserError(f"the mask is {sizes} pixels: make them one size")


def _save_edit(result: EditingResult, folder: Path, stem: str, animation: str, names: dict[str, str]) -> dict[str, Any]:
    """Write the pictures, and the history as JSON and as an animation; an edit of an edit keeps the first name."""
    stem = slug(re.sub(r"-edited(-[0-9]+)?$", "", stem))
    paths = save_result(result, folder, f"{stem}-edited", figures=None, **names)
    paths["history"] = str(result.history.save(Path(paths["figure"]).with_suffix(".json")))
    if animation != "none":
        path = Path(paths["figure"]).with_suffix(f".{animation}")
        paths["animation"] = str(result.history.save_animation(path))
    return paths


def _history(path: Path, state: int | None) -> History:
    """The history in a JSON file, at the state of that number or at its current one."""
    from ..experiments.history import History

    history = History.load(path)
    return history if state is None else history.at(state)


def _check_animation(animation: str) -> None:
    if animation not in ("gif", "webp", "none"):
        raise UserError(f"--animation is {animation!r}: give 'gif', 'webp' or 'none'")


COMMANDS = (interpolate, diff, edit)
