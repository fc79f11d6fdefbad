"""The commands that make pictures: from captions, and from a picture's two latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from .options import (
    Chosen,
    Count,
    Fit,
    Guidance,
    Json,
    Out,
    Picture,
    Seed,
    Steps,
    choosing,
    free,
    make,
    note,
    numbers,
    opened,
    report,
    save_result,
    say,
    slug,
    squared,
    watch,
)

Thetas = Annotated[int, typer.Option(min=2, max=64, help="How many frames.")]


@choosing
def generate(
    model: Chosen,
    prompt: Annotated[str, typer.Argument(help="What the picture shows, like “a red apple on a blue background”.")],
    count: Count = 4,
    best: Annotated[int | None, typer.Option(min=1, help="Keep only so many: those that CLIP finds nearest.")] = None,
    seed: Seed = 0,
    steps: Steps = 25,
    guidance: Guidance = 2.0,
    prior_steps: Annotated[int, typer.Option(min=1, max=980, help="Of the prior.")] = 16,
    prior_guidance: Annotated[float, typer.Option(min=0, max=20, help="Of the prior; 1 is none.")] = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Make pictures of a caption: prior, decoder, upsampler."""
    from .. import experiments
    from ..clip import caption_warnings
    from ..io import atomic, images

    if not prompt.strip():
        raise UserError("the caption is empty: say what the picture shows, like “a red apple”")
    if best is not None and best > count:
        raise UserError(f"--best is {best} of --count {count}: keep at most as many as are made")
    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    note(caption_warnings([lab.encoder.check_caption(prompt)]))
    seeds = range(seed, seed + count)
    stream = experiments.generate.stream(
        lab, prompt, seeds=seeds, steps=steps, guidance=guidance, prior_steps=prior_steps,
        prior_guidance=prior_guidance, preview_every=0,
    )  # fmt: skip
    found = watch(stream, as_json)
    found = found if best is None else found.best(best)
    make(folder)
    rows = []
    for k, picture in enumerate(images.to_pil(found.pixels)):
        path = free(folder / f"{slug(prompt)}-{found.seeds[k]}.png", found.metadata(k))
        images.save_png(picture, path, found.metadata(k))
        rows.append({"path": str(path), "seed": found.seeds[k], "similarity": round(float(found.similarity[k]), 4)})
    lines = [f"{r['path']}  seed {r['seed']}  cosine to the caption {r['similarity']:.3f}" for r in rows]
    say({**found.settings, "pictures": rows, "warnings": list(found.notes)}, as_json, lines)


@choosing
def invert(
    model: Chosen,
    image: Picture,
    fit: Fit = "crop",
    steps: Steps = 25,
    method: Annotated[str, typer.Option(help="fixed-point, naive, bdia or edict.")] = "fixed-point",
    iterations: Annotated[int, typer.Option(min=1, max=50, help="Evaluations a step at most, fixed-point.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the other x_T that z_i is decoded with for comparison.")] = 0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Find a picture's two latents (z_i, x_T) and decode them again."""
    from .. import experiments, inversion
    from ..io import atomic, images

    picture = opened([image], fit)
    if method not in inversion.METHODS:
        raise UserError(f"--method is {method!r}: give one of {', '.join(inversion.METHODS)}")
    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    stream = experiments.reconstruct.stream(
        lab, squared(picture, lab, fit), steps=steps, method=method, iterations=iterations, seed=seed, preview_every=0
    )
    found = watch(stream, as_json)
    settings = {**found.settings, "image": image.name, "fit": fit}
    paths = {}
    make(folder)
    for name, pixels in (("reconstruction", found.large), ("z_i-alone", found.large_from_z_i)):
        shows = {**settings, "shows": name}
        path = free(folder / f"{slug(image.stem)}-{name}.png", shows)
        paths[name.replace("-", "_")] = str(images.save_png(images.to_pil(pixels)[0], path, shows))
    drawn = Path(paths["reconstruction"])  # its number, where one was wanted, is the latents' too
    latent = drawn.with_name("".join(drawn.stem.rsplit("-reconstruction", 1)) + ".safetensors")
    found.inverted.latent.save(latent, {k: str(v) for k, v in settings.items()})
    paths["latent"] = str(latent)
    measured = found.numbers()
    lines = [
        *paths.values(),
        f"PSNR {measured['psnr']:.1f} dB (first stage alone {measured['psnr_first_stage']:.1f} dB), "
        f"SSIM {measured['ssim']:.3f}, cosine to z_i {measured['cosine']:.3f}, "
        f"{measured['evaluations']} evaluations, residual "
        + ("unknown" if measured["residual"] is None else f"{measured['residual']:.1e}"),
    ]
    if not measured["converged"] and method != "naive":
        lines.append("note: the inversion did not reach its tolerance; give it more --iterations or --steps")
    say({**settings, **measured, **paths}, as_json, lines)


@choosing
def vary(
    model: Chosen,
    image: Picture,
    eta: Annotated[str, typer.Option(help="One or several with commas; 0 reconstructs, 1 varies most.")] = "0,0.5,1",
    count: Count = 6,
    seed: Seed = 0,
    fit: Fit = "crop",
    steps: Steps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Make variations of a picture: what stays is what CLIP saw."""
    from .. import experiments
    from ..io import atomic

    picture, etas, folder = opened([image], fit), numbers(eta, "--eta"), atomic.writable_folder(out)
    lab = model.load(as_json)
    stream = experiments.vary.stream(
        lab, squared(picture, lab, fit), etas=etas, seeds=range(seed, seed + count), steps=steps, guidance=guidance,
        preview_every=0,
    )  # fmt: skip
    found = watch(stream, as_json)
    paths = save_result(found, folder, f"{slug(image.stem)}-variations", image=image.name, fit=fit)
    report(found, paths, as_json, image=image.name)


@choosing
def interpolate(
    model: Chosen,
    first: Picture,
    second: Picture,
    noise: Annotated[str, typer.Option(help="slerp turns x_T too, so the ends reconstruct; fixed holds it.")] = "slerp",
    count: Annotated[int, typer.Option(min=1, max=64, help="How many paths when x_T is held fixed.")] = 3,
    frames: Thetas = 9,
    animation: Annotated[str, typer.Option(help="gif, webp or none.")] = "gif",
    seed: Seed = 0,
    fit: Fit = "crop",
    steps: Steps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Go from one picture to another through CLIP's latent space."""
    from .. import experiments
    from ..io import atomic

    if noise not in ("slerp", "fixed"):
        raise UserError(f"--noise is {noise!r}: give 'slerp' or 'fixed'")
    if animation not in ("gif", "webp", "none"):
        raise UserError(f"--animation is {animation!r}: give 'gif', 'webp' or 'none'")
    pictures, folder = opened([first, second], fit), atomic.writable_folder(out)
    lab = model.load(as_json)
    seeds = range(seed, seed + count) if noise == "fixed" else ()
    stream = experiments.interpolate.stream(
        lab, squared(pictures, lab, fit), thetas=frames, seeds=seeds, steps=steps, guidance=guidance, preview_every=0
    )
    found = watch(stream, as_json)
    stem = f"{slug(first.stem)}-to-{slug(second.stem)}"
    paths = save_result(found, folder, stem, images=[first.name, second.name], fit=fit)
    if animation != "none":
        path = Path(paths["figure"]).with_suffix(f".{animation}")
        paths["animation"] = str(found.save_animation(path))
    report(found, paths, as_json, images=[first.name, second.name])


@choosing
def diff(
    model: Chosen,
    image: Picture,
    to: Annotated[list[str], typer.Option("--to", help="The caption wanted; give it again for a row each.")],
    source: Annotated[str, typer.Option("--from", help="A caption of the picture as it is.")] = "a photo",
    theta: Annotated[str, typer.Option(help="Fractions of the arc, with commas; or leave it to --frames.")] = "",
    frames: Thetas = 6,
    fit: Fit = "crop",
    steps: Steps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Change a picture as a change of its caption says."""
    from .. import experiments
    from ..io import atomic

    picture, folder = opened([image], fit), atomic.writable_folder(out)
    thetas = numbers(theta, "--theta") if theta else frames
    lab = model.load(as_json)
    stream = experiments.diff.stream(
        lab, squared(picture, lab, fit), to, source=source, thetas=thetas, steps=steps, guidance=guidance,
        preview_every=0,
    )  # fmt: skip
    found = watch(stream, as_json)
    paths = save_result(found, folder, f"{slug(image.stem)}-to-{slug(to[0])}", image=image.name, fit=fit)
    report(found, paths, as_json, image=image.name)


COMMANDS = (generate, invert, vary, interpolate, diff)
