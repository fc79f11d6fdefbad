"""The commands between pictures and their latents: invert, reconstruct and decode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from .inputs import Input, Inputs
from .options import Fit, Guidance, Json, ModelChoice, Out, Pictures, RoundTripSteps, with_model_options
from .output import LATENTS, free_path, make_folder, print_each, report_each, run_with_progress_bar, save_result, slug

if TYPE_CHECKING:
    from ..experiments import InversionResult, LatentDecodingResult, ReconstructionResult


@dataclass(frozen=True)
class InversionOptions:
    """How pictures are read and inverted."""

    fit: Fit = "crop"
    steps: RoundTripSteps = 25
    method: Annotated[str, typer.Option(help="Method of inversion: fixed-point, naive, bdia or edict.")] = "fixed-point"
    iterations: Annotated[
        int, typer.Option(min=1, max=50, help="Largest number of evaluations per step of the fixed-point method.")
    ] = 20

    def params(self) -> dict[str, Any]:
        """The parameters of `experiments.invert` and `experiments.reconstruct`.

        Raises:
            UserError: there is no such method.
        """
        from .. import inversion

        if self.method not in inversion.METHODS:
            raise UserError(f"--method is {self.method!r}: give one of {', '.join(inversion.METHODS)}")
        return {"steps": self.steps, "method": self.method, "iterations": self.iterations, "preview_every": 0}


@with_model_options
def invert(
    model: ModelChoice,
    pictures: Pictures,
    options: InversionOptions,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Invert pictures to their latents (z_i, x_T).

    It writes the latents only. `reconstruct` also decodes them, and measures how near the picture comes back.
    """
    from .. import experiments
    from ..experiments.settings import settings_of
    from ..io import atomic

    params, fit = options.params(), options.fit
    inputs, folder = Inputs(pictures, fit), atomic.writable_folder(out)
    lab = model.load(as_json)

    def outputs() -> Iterator[tuple[dict[str, Any], list[str]]]:
        for picture in inputs:
            stream = experiments.invert.stream(lab, picture.pixels(lab, fit, as_json), **params)
            inversion = run_with_progress_bar(stream, as_json)
            settings = settings_of("invert", {"lab": lab, **inversion.settings}, inversion)
            settings |= {"image": picture.name, "fit": fit}
            numbers = inversion.numbers()
            latent = free_path(make_folder(folder) / f"{slug(picture.stem)}{LATENTS}", settings)
            inversion.latent.save(latent, {k: str(v) for k, v in settings.items()})
            yield {**settings, **numbers, "latent": str(latent)}, [str(latent), _effort(numbers), *_notes(inversion)]

    print_each(outputs(), as_json, inputs.several)


@with_model_options
def reconstruct(
    model: ModelChoice,
    pictures: Pictures,
    options: InversionOptions,
    seed: Annotated[int, typer.Option(help="Seed of the other x_T that z_i is decoded with for comparison.")] = 0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Invert pictures to (z_i, x_T), and decode them again.

    It writes the latents, as `invert` does, the picture decoded from both, and z_i decoded from another x_T.
    """
    from .. import experiments
    from ..io import atomic

    params, fit = options.params(), options.fit
    inputs, folder = Inputs(pictures, fit), atomic.writable_folder(out)
    lab = model.load(as_json)

    def outputs() -> Iterator[tuple[dict[str, Any], list[str]]]:
        for picture in inputs:
            pixels = picture.pixels(lab, fit, as_json)
            stream = experiments.reconstruct.stream(lab, pixels, seed=seed, **params)
            yield _save_reconstruction(run_with_progress_bar(stream, as_json), picture, fit, folder)

    print_each(outputs(), as_json, inputs.several)


def _save_reconstruction(
    result: ReconstructionResult, picture: Input, fit: str, folder: Path
) -> tuple[dict[str, Any], list[str]]:
    """Write a reconstruction's two pictures and latents; return its numbers and files as values and as lines."""
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
        f"SSIM {measured['ssim']:.3f}, cosine to z_i {measured['cosine']:.3f}, " + _effort(measured),
        *_notes(result.inverted),
    ]
    return {**settings, **measured, **paths}, lines


def _effort(numbers: dict[str, Any]) -> str:
    residual = "unknown" if numbers["residual"] is None else f"{numbers['residual']:.1e}"
    return f"{numbers['evaluations']} evaluations, residual {residual}"


def _notes(inversion: InversionResult) -> list[str]:
    if inversion.converged.all() or inversion.method == "naive":
        return []
    return ["note: the inversion did not reach its tolerance; give it more --iterations or --steps"]


@with_model_options
def decode(
    model: ModelChoice,
    latents: Annotated[
        list[Path],
        typer.Argument(help="File of latents that `latentlab invert` or the page wrote; or several, or folders."),
    ],
    prompt: Annotated[str, typer.Option(help="Prompt that the decoder reads beside z_i.")] = "",
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


COMMANDS = (invert, reconstruct, decode)
