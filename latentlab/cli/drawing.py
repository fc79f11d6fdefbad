"""The command of drawings by CLIP alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from .inputs import open_images, parse_list
from .options import Count, Json, ModelChoice, Out, Seed, with_model_options
from .output import report, run_with_progress_bar, save_result, slug

if TYPE_CHECKING:
    from PIL import Image

    from ..experiments import DrawingResult
    from ..models import Lab


@dataclass(frozen=True)
class DrawingOptions:
    """What is drawn, on what, and how it is judged."""

    prompts: Annotated[
        list[str] | None,
        typer.Argument(help="What to draw; of several prompts each may end in its weight, like “a hat:0.5”."),
    ] = None
    canvas: Annotated[str, typer.Option(help="What is drawn on: strokes, pixels, fourier, latents, x_T or z_i.")] = (
        "strokes"
    )
    strokes: Annotated[int, typer.Option(help="Number of strokes.")] = 24
    style: Annotated[str, typer.Option(help="Style of strokes: strokes, closed shapes, or one line.")] = "strokes"
    palette: Annotated[str, typer.Option(help="Colours of the strokes, separated by commas; any by default.")] = ""
    negative_prompt: Annotated[str, typer.Option(help="What to stay away from, separated by commas.")] = ""
    target: Annotated[Path | None, typer.Option(help="Image to come near to, beside the prompts or alone.")] = None
    start: Annotated[str, typer.Option(help="Where to begin: noise, blank, or the path of an image.")] = "noise"
    steps: Annotated[int, typer.Option(min=1, max=5000, help="Steps of the climb.")] = 120
    views: Annotated[
        int, typer.Option(min=0, max=64, help="Random views at each step; 0 shows CLIP the picture itself.")
    ] = 4
    labels: Annotated[
        str, typer.Option(help="Classes for recognising the picture, separated by commas; the model's own by default.")
    ] = ""
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="Another CLIP that only scores, as open_clip's NAME:TAG; may be repeated."),
    ] = None

    @property
    def weighted(self) -> dict[str, float]:
        """The weight of each prompt."""
        return dict(weighted_prompt(text) for text in self.prompts or ())

    def open_images(self) -> dict[str, Image.Image]:
        """The image to come near to and the one to begin with, those that are given."""
        from ..experiments.drawing_stages import STARTS

        paths = {"target": self.target, "start": None if self.start in STARTS else Path(self.start)}
        return {name: open_images([path], "crop")[0] for name, path in paths.items() if path}

    def params(self, lab: Lab, opened: dict[str, Image.Image]) -> dict[str, Any]:
        """The parameters of `experiments.draw` after the prompts, with the images that `open_images` returned."""
        from ..io import images
        from ..models.clip_only import encoder as clip

        names = ("canvas", "strokes", "style", "start", "steps", "views")
        params: dict[str, Any] = {name: getattr(self, name) for name in names}
        params |= {name: parse_list(getattr(self, name)) for name in ("palette", "negative_prompt", "labels")}
        side = lab.encoder.image_size
        params |= {name: images.to_tensor(images.square(x, side)).to(lab.device) for name, x in opened.items()}
        encoders = {name: clip(name, device=lab.device) for name in self.encoder or ()}
        return {**params, "encoders": encoders or None, "preview_every": 0}


@with_model_options
def draw(
    model: ModelChoice,
    options: DrawingOptions,
    svg: Annotated[bool, typer.Option("--svg", help="Write the strokes as SVG, too.")] = False,
    animation: Annotated[str, typer.Option(help="Format of the animation: gif, webp or none.")] = "gif",
    count: Count = 1,
    seed: Seed = 0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Let CLIP draw a prompt by itself, without a generator."""
    from .. import experiments
    from ..io import atomic

    if animation not in ("gif", "webp", "none"):
        raise UserError(f"--animation is {animation!r}: give 'gif', 'webp' or 'none'")
    if svg and options.canvas != "strokes":
        raise UserError(f"--svg is of strokes, and --canvas is {options.canvas}: leave one of them out")
    prompts, opened, folder = options.weighted, options.open_images(), atomic.writable_folder(out)
    lab = model.load(as_json)
    params = options.params(lab, opened)
    stream = experiments.draw.stream(lab, prompts, seeds=range(seed, seed + count), **params)
    result = run_with_progress_bar(stream, as_json)
    stem = slug(" ".join(prompts) or (options.target.stem if options.target else "drawing"))
    paths = save_result(result, folder, f"{stem}-{options.canvas}", figures={"curve": result.curve()})
    report(result, {**paths, **_further(result, Path(paths["figure"]), svg, animation)}, as_json)


def weighted_prompt(text: str) -> tuple[str, float]:
    """A prompt and its weight, the number after its last colon, 1 by default."""
    prompt, _, weight = text.rpartition(":")
    try:
        return prompt.strip(), float(weight)
    except ValueError:
        return text, 1.0


def _further(result: DrawingResult, figure: Path, svg: bool, animation: str) -> dict[str, str]:
    """Write the SVGs beside the figure's folder of pictures, and the animation; return their paths."""
    from ..io.atomic import atomic_write

    paths: dict[str, str] = {}
    if svg:
        for row in range(len(result.seeds)):
            with atomic_write(figure.with_suffix("") / f"{row:03d}.svg") as part:
                part.write_text(result.svg(row), "utf-8")
        paths["svg"] = str(figure.with_suffix("") / "000.svg")
    if animation != "none":
        paths["animation"] = str(result.save_animation(figure.with_suffix(f".{animation}")))
    return paths


COMMANDS = (draw,)
