"""The commands that make pictures from captions and invert and vary a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from .inputs import LATENTS, Input, Inputs, integers, numbers
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
    print_each,
    print_notes,
    print_output,
    report_each,
    run_with_progress_bar,
    save_result,
    slug,
)

if TYPE_CHECKING:
    from ..experiments import LatentDecodingResult, ReconstructionResult, VariationResult


@with_model_options
def generate(
    model: ModelChoice,
    prompt: Annotated[str, typer.Argument(help="Caption of the pictures, like “a red apple on a blue background”.")],
    count: Count = 4,
    best: Annotated[
        int | None,
        typer.Option(min=1, help="Keep only this many pictures: those that CLIP scores closest to the caption."),
    ] = None,
    seed: Seed = 0,
    steps: Steps = 25,
    guidance: Guidance = 2.0,
    solver: Annotated[
        str,
        typer.Option(help="Solver of the decoder: ddim, whose path an inversion undoes, or dpm++, for half the steps."),
    ] = "ddim",
    guidance_interval: Annotated[
        str,
        typer.Option(help="Least and greatest time of the decoder's guidance, like 300,800; by default all times."),
    ] = "",
    prior_steps: Annotated[int, typer.Option(min=1, max=980, help="Steps of the prior.")] = 16,
    prior_guidance: Annotated[
        float, typer.Option(min=0, max=20, help="Classifier-free guidance scale of the prior; 1 disables it.")
    ] = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Generate pictures of a caption.

    The prior makes z_i of the caption, the decoder a small picture of z_i, and the upsampler enlarges it.
    """
    from .. import experiments
    from ..clip import caption_warnings
    from ..decoding import SOLVERS
    from ..io import atomic, images

    if not prompt.strip():
        raise UserError("the caption is empty: give a caption, like “a red apple”")
    if best is not None and best > count:
        raise UserError(f"--best is {best} of --count {count}: keep at most as many pictures as --count")
    interval = integers(guidance_interval, "--guidance-interval")
    if len(interval) not in (0, 2) or interval != sorted(interval):
        raise UserError(
            f"--guidance-interval is {guidance_interval!r}: give the least and the greatest time, like 300,800"
        )
    if solver not in SOLVERS:
        raise UserError(f"--solver is {solver!r}: give one of {', '.join(SOLVERS)}")
    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    print_notes(caption_warnings([lab.encoder.check_caption(prompt)]))
    seeds = range(seed, seed + count)
    stream = experiments.generate.stream(
        lab,
        prompt,
        seeds=seeds,
        steps=steps,
        guidance=guidance,
        solver=solver,
        guidance_interval=(interval[0], interval[1]) if interval else None,
        prior_steps=prior_steps,
        prior_guidance=prior_guidance,
        best=best,
        preview_every=0,
    )
    result = run_with_progress_bar(stream, as_json)
    make_folder(folder)
    rows = []
    for k, picture in enumerate(images.to_pil(result.pixels)):
        path = free_path(folder / f"{slug(prompt)}-{result.seeds[k]}.png", result.metadata(k))
        images.save_png(picture, path, result.metadata(k))
        rows.append({"path": str(path), "seed": result.seeds[k], "similarity": round(float(result.similarity[k]), 4)})
    lines = [f"{r['path']}  seed {r['seed']}  cosine to the caption {r['similarity']:.3f}" for r in rows]
    print_output({**result.settings, "pictures": rows, "notes": list(result.notes)}, as_json, lines)


@with_model_options
def invert(
    model: ModelChoice,
    pictures: Pictures,
    fit: Fit = "crop",
    steps: RoundTripSteps = 25,
    method: Annotated[
        str, typer.Option(help="Method of inversion: fixed-point, naive, bdia or edict.")
    ] = "fixed-point",
    iterations: Annotated[
        int, typer.Option(min=1, max=50, help="Largest number of evaluations per step of the fixed-point method.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the other x_T that z_i is decoded with for comparison.")] = 0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Invert pictures to (z_i, x_T), and decode them.

    z_i is also decoded from another x_T for comparison.
    """
    from .. import experiments, inversion
    from ..io import atomic

    inputs = Inputs(pictures, fit)
    if method not in inversion.METHODS:
        raise UserError(f"--method is {method!r}: give one of {', '.join(inversion.METHODS)}")
    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    params: dict[str, Any] = {"steps": steps, "method": method, "iterations": iterations, "seed": seed}

    def outputs() -> Iterator[tuple[dict[str, Any], list[str]]]:
        for picture in inputs:
            pixels = picture.pixels(lab, fit, as_json)
            stream = experiments.reconstruct.stream(lab, pixels, preview_every=0, **params)
            yield _save_inversion(run_with_progress_bar(stream, as_json), picture, fit, folder)

    print_each(outputs(), as_json, inputs.several)


def _save_inversion(
    result: ReconstructionResult, picture: Input, fit: str, folder: Path
) -> tuple[dict[str, Any], list[str]]:
    """Write the two pictures and the latents of an inversion; return its numbers and files as values and as lines."""
    from ..io import images

    settings = {**result.settings, "image": picture.name, "fit": fit}
    paths = {}
    make_folder(folder)
    for name, pixels in (("reconstruction", result.large), ("z_i-alone", result.large_from_z_i)):
        shows = {**settings, "shows": name}
        path = free_path(folder / f"{slug(picture.stem)}-{name}.png", shows)
        paths[name.replace("-", "_")] = str(images.save_png(images.to_pil(pixels)[0], path, shows))
    reconstruction_path = Path(paths["reconstruction"])  # a numbered file keeps its number in the latents' name
    latent = reconstruction_path.with_name("".join(reconstruction_path.stem.rsplit("-reconstruction", 1)) + LATENTS)
    result.inverted.latent.save(latent, {k: str(v) for k, v in settings.items()})
    paths["latent"] = str(latent)
    measured = result.numbers()
    lines = [
        *paths.values(),
        f"PSNR {measured['psnr']:.1f} dB (first stage alone {measured['psnr_first_stage']:.1f} dB), "
        f"SSIM {measured['ssim']:.3f}, cosine to z_i {measured['cosine']:.3f}, "
        f"{measured['evaluations']} evaluations, residual "
        + ("unknown" if measured["residual"] is None else f"{measured['residual']:.1e}"),
    ]
    if not measured["converged"] and result.inverted.method != "naive":
        lines.append("note: the inversion did not reach its tolerance; give it more --iterations or --steps")
    return {**settings, **measured, **paths}, lines


@with_model_options
def decode(
    model: ModelChoice,
    latents: Annotated[
        list[Path],
        typer.Argument(help="File of latents that `latentlab invert` or the page wrote; or several, or folders."),
    ],
    prompt: Annotated[str, typer.Option(help="Caption that the decoder reads beside z_i.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the upsampler.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, max=980, help="Steps of the decoder; by default those of the inversion.")
    ] = None,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Decode latents to pictures."""
    from .. import experiments
    from ..io import atomic

    wrong = [path for path in latents if path.suffix != LATENTS and not path.is_dir()]
    if wrong:
        raise UserError(f"{wrong[0]} holds no latents: give a {LATENTS} file, which `latentlab invert IMAGE` writes")
    inputs, folder = Inputs(latents, "crop", only_latents=True), atomic.writable_folder(out)
    lab = model.load(as_json)
    params: dict[str, Any] = {"prompt": prompt, "seed": seed, "guidance": guidance, "preview_every": 0}

    def results() -> Iterator[tuple[LatentDecodingResult, dict[str, str], dict[str, Any]]]:
        for source in inputs:
            latent, wanted = source.latents(lab), source.steps(25) if steps is None else steps
            result = run_with_progress_bar(experiments.decode.stream(lab, latent, steps=wanted, **params), as_json)
            extra: dict[str, Any] = {"image": source.name}
            yield result, save_result(result, folder, f"{slug(source.stem)}-decoded", **extra), extra

    report_each(results(), as_json, inputs.several)


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


COMMANDS = (generate, invert, decode, vary)
