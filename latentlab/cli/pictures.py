"""The commands that make pictures from a prompt, and variations of a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from .inputs import Inputs, integers, numbers
from .options import (
    Count,
    Fit,
    Guidance,
    Json,
    ModelChoice,
    Out,
    Pictures,
    RoundTripSteps,
    Seed,
    Steps,
    with_model_options,
)
from .output import (
    free_path,
    make_folder,
    print_notes,
    print_output,
    report_each,
    run_with_progress_bar,
    save_result,
    slug,
)

if TYPE_CHECKING:
    from ..experiments import GenerationResult, VariationResult


@dataclass(frozen=True)
class GenerationOptions:
    """How many pictures are generated, and by which settings of the prior and the decoder."""

    count: Count = 4
    best: Annotated[
        int | None,
        typer.Option(min=1, help="Keep only this many pictures: those that CLIP scores closest to the prompt."),
    ] = None
    seed: Seed = 0
    steps: Steps = 12
    guidance: Guidance = 3.0
    solver: Annotated[
        str,
        typer.Option(help="Solver of the decoder: dpm++; or ddim, whose path an inversion undoes, with 25 steps."),
    ] = "dpm++"
    guidance_interval: Annotated[
        str,
        typer.Option(help="Least and greatest time of the decoder's guidance, like 300,800; by default all times."),
    ] = ""
    prior: Annotated[
        str, typer.Option(help="Prior: diffusion; or autoregressive, which the miniature has as well.")
    ] = "diffusion"
    prior_steps: Annotated[int, typer.Option(min=1, max=980, help="Steps of the diffusion prior.")] = 16
    prior_guidance: Annotated[
        float, typer.Option(min=0, max=20, help="Classifier-free guidance scale of the prior; 1 disables it.")
    ] = 1.5
    candidates: Annotated[
        int, typer.Option(min=1, max=64, help="So many z_i are drawn for each seed, and the nearest to z_t is kept.")
    ] = 4

    def params(self) -> dict[str, Any]:
        """The parameters of `experiments.generate`.

        Raises:
            UserError: --best is above --count, or there is no such solver, prior or interval.
        """
        from ..decoding import SOLVERS
        from ..models.lab import PRIORS

        if self.best is not None and self.best > self.count:
            raise UserError(f"--best is {self.best} of --count {self.count}: keep at most as many pictures as --count")
        if self.solver not in SOLVERS:
            raise UserError(f"--solver is {self.solver!r}: give one of {', '.join(SOLVERS)}")
        if self.prior not in PRIORS:
            raise UserError(f"--prior is {self.prior!r}: give one of {', '.join(PRIORS)}")
        names = ("best", "steps", "guidance", "solver", "prior", "prior_steps", "prior_guidance", "candidates")
        params = {name: getattr(self, name) for name in names}
        seeds = range(self.seed, self.seed + self.count)
        return {**params, "seeds": seeds, "guidance_interval": self._interval(), "preview_every": 0}

    def _interval(self) -> tuple[int, int] | None:
        times = integers(self.guidance_interval, "--guidance-interval")
        if len(times) not in (0, 2) or times != sorted(times):
            raise UserError(
                f"--guidance-interval is {self.guidance_interval!r}: give the least and the greatest time, like 300,800"
            )
        return (times[0], times[1]) if times else None


@with_model_options
def generate(
    model: ModelChoice,
    prompt: Annotated[str, typer.Argument(help="Prompt of the pictures, like “a red apple on a blue background”.")],
    options: GenerationOptions,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Generate pictures of a prompt.

    The prior makes z_i of the prompt, the decoder a small picture of z_i, and the upsampler enlarges it.
    """
    from .. import experiments
    from ..captions import caption_warnings
    from ..io import atomic

    if not prompt.strip():
        raise UserError("the prompt is empty: give a prompt, like “a red apple”")
    params, folder = options.params(), atomic.writable_folder(out)
    lab = model.load(as_json)
    print_notes(caption_warnings([lab.encoder.check_caption(prompt)]))
    result = run_with_progress_bar(experiments.generate.stream(lab, prompt, **params), as_json)
    pictures = _save_pictures(result, make_folder(folder), slug(prompt))
    lines = [f"{p['path']}  seed {p['seed']}  cosine to the prompt {p['similarity']:.3f}" for p in pictures]
    print_output({**result.settings, "pictures": pictures, "notes": list(result.notes)}, as_json, lines)


def _save_pictures(result: GenerationResult, folder: Path, stem: str) -> list[dict[str, Any]]:
    """Write a PNG for each picture; return the path, the seed and the cosine to the prompt of each."""
    from ..io import images

    rows = []
    for k, picture in enumerate(images.to_pil(result.pixels)):
        path = free_path(folder / f"{stem}-{result.seeds[k]}.png", result.metadata(k))
        images.save_png(picture, path, result.metadata(k))
        rows.append({"path": str(path), "seed": result.seeds[k], "similarity": round(float(result.similarity[k]), 4)})
    return rows


@with_model_options
def vary(
    model: ModelChoice,
    pictures: Pictures,
    eta: Annotated[
        str, typer.Option(help="Values of DDIM's η from 0 to 1, separated by commas; 0 reconstructs, 1 varies most.")
    ] = "0,0.5,1",
    count: Count = 6,
    seed: Seed = 0,
    fit: Fit = "crop",
    steps: RoundTripSteps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Make variations of pictures that keep z_i."""
    from .. import experiments
    from ..io import atomic

    inputs, etas, folder = Inputs(pictures, fit), numbers(eta, "--eta"), atomic.writable_folder(out)
    if not all(0 <= value <= 1 for value in etas):
        raise UserError(f"--eta is {eta!r}: give numbers from 0 to 1 separated by commas, like 0,0.5,1")
    lab = model.load(as_json)
    params: dict[str, Any] = {"etas": etas, "seeds": range(seed, seed + count), "guidance": guidance}

    def results() -> Iterator[tuple[VariationResult, dict[str, str], dict[str, Any]]]:
        for picture in inputs:
            content, back = picture.load(lab, fit), picture.steps(steps)
            stream = experiments.vary.stream(lab, content, steps=back, preview_every=0, **params)
            result = run_with_progress_bar(stream, as_json)
            extra: dict[str, Any] = {"image": picture.name}
            yield result, save_result(result, folder, f"{slug(picture.stem)}-variations", fit=fit, **extra), extra

    report_each(results(), as_json, inputs.several)


COMMANDS = (generate, vary)
