"""`latentlab …`: every command takes --model, --seed, --out DIR and --json where they mean something."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .errors import UserError

if TYPE_CHECKING:
    from .models import Lab

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: rich alone costs half of the start-up
    help="Walk through CLIP's latent space with an unCLIP pipeline.",
)

Model = Annotated[str, typer.Option(help="A name from `latentlab models`, or a folder with a checkpoint of a family.")]
Seed = Annotated[int, typer.Option(help="Of the first picture; the next ones count up.")]
Out = Annotated[Path, typer.Option(help="Folder for what is written; made if it is not there.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, and nothing else.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, …; a GPU if there is one.")]
Dtype = Annotated[str | None, typer.Option(help="float16, bfloat16 or float32; float16 on a GPU.")]


def _console():
    from rich.console import Console

    return Console(stderr=True)


def _load(model: str, device: str | None, quiet: bool, dtype: str | None = None) -> Lab:
    from . import models

    models.check(model)
    if quiet:
        return models.load(model, device=device, dtype=dtype)
    with _console().status(f"loading {model}"):
        return models.load(model, device=device, dtype=dtype)


def _watch(stream: Iterator[Any], quiet: bool) -> Any:
    """Run an experiment's stream to its end, under a progress bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console(), disable=quiet) as progress:
        bars: dict[str, Any] = {}
        for value in stream:
            if hasattr(value, "stage"):
                if value.stage not in bars:
                    bars[value.stage] = progress.add_task(value.stage, total=value.steps)
                progress.update(bars[value.stage], completed=value.step)
            else:
                for bar in bars.values():
                    progress.update(bar, completed=progress.tasks[bar].total)
    return value


def _make(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} can't be made ({error.strerror}): give a folder that can be written") from error
    return folder


def _free(path: Path, settings: dict) -> Path:
    """The path, or the next free one with a number if a picture made otherwise is there: nothing is lost unasked."""
    from . import images

    for number in itertools.count(2):
        taken = path if number == 2 else path.with_stem(f"{path.stem}-{number - 1}")
        if not taken.exists():
            return taken
        if taken.is_file() and taken.suffix == ".png" and images.read_metadata(taken) == settings:
            return taken
    raise AssertionError("itertools.count has no end")


def _say(found: dict, as_json: bool, lines: list[str]) -> None:
    print(json.dumps(found, ensure_ascii=False)) if as_json else print("\n".join(lines))


def _slug(text: str) -> str:
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-")[:60] or "picture"


def _version(asked: bool) -> None:
    if asked:
        print(f"latentlab {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Say the version.", callback=_version)] = False,
) -> None:
    pass


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What the picture shows, like “a red apple on a blue background”.")],
    count: Annotated[int, typer.Option(min=1, max=256, help="How many pictures.")] = 4,
    seed: Seed = 0,
    steps: Annotated[int, typer.Option(min=1, max=980, help="Of the decoder.")] = 25,
    guidance: Annotated[float, typer.Option(min=0, max=20, help="Of the decoder; 1 is none.")] = 2.0,
    out: Out = Path("out"),
    model: Model = "emoji",
    device: Device = None,
    dtype: Dtype = None,
    as_json: Json = False,
) -> None:
    """Make pictures of a caption: prior, decoder, upsampler."""
    from . import experiments, files, images

    if not prompt.strip():
        raise UserError("the caption is empty: say what the picture shows, like “a red apple”")
    folder = files.writable_folder(out)
    lab = _load(model, device, as_json, dtype)
    warnings = lab.encoder.read(prompt).warnings()
    for sentence in warnings:
        print(f"note: {sentence}", file=sys.stderr)
    seeds = range(seed, seed + count)
    stream = experiments.generate.stream(lab, prompt, seeds=seeds, steps=steps, guidance=guidance, preview_every=0)
    found = _watch(stream, as_json)
    _make(folder)
    paths = []
    for k, (picture, s) in enumerate(zip(images.to_pil(found.pixels), seeds)):
        path = _free(folder / f"{_slug(prompt)}-{s}.png", found.metadata(k))
        paths.append(images.save_png(picture, path, found.metadata(k)))
    rows = [
        {"path": str(p), "seed": s, "similarity": round(c, 4)}
        for p, s, c in zip(paths, seeds, found.similarity.tolist())
    ]
    lines = [f"{r['path']}  seed {r['seed']}  cosine to the caption {r['similarity']:.3f}" for r in rows]
    _say({**found.settings, "pictures": rows, "warnings": list(found.warnings)}, as_json, lines)


@app.command()
def invert(
    image: Annotated[Path, typer.Argument(help="PNG, JPEG, WEBP, GIF or BMP of any size.")],
    fit: Annotated[str, typer.Option(help="crop the middle square, or pad to a square.")] = "crop",
    steps: Annotated[int, typer.Option(min=1, max=980, help="Of the inversion, and of the way back.")] = 25,
    method: Annotated[str, typer.Option(help="fixed-point or naive.")] = "fixed-point",
    iterations: Annotated[int, typer.Option(min=1, max=50, help="Evaluations a step at most, fixed-point.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the other x_T that z_i is decoded with for comparison.")] = 0,
    out: Out = Path("out"),
    model: Model = "emoji",
    device: Device = None,
    dtype: Dtype = None,
    as_json: Json = False,
) -> None:
    """Find a picture's two latents (z_i, x_T) and decode them again."""
    from . import experiments, files, images, inversion

    picture = images.open_image(image)  # refuse a bad file before loading the model
    if fit not in ("crop", "pad"):
        raise UserError(f"--fit is {fit!r}: give 'crop' or 'pad'")
    if method not in inversion.METHODS:
        raise UserError(f"--method is {method!r}: give one of {', '.join(inversion.METHODS)}")
    folder = files.writable_folder(out)
    lab = _load(model, device, as_json, dtype)
    pixels = images.to_tensor(images.square(picture, lab.decoder.pixels, fit=fit))
    stream = experiments.reconstruct.stream(
        lab, pixels, steps=steps, method=method, iterations=iterations, seed=seed, preview_every=0
    )
    found = _watch(stream, as_json)
    settings = {**found.settings, "image": image.name, "fit": fit}
    paths = {}
    _make(folder)
    for name, pixels in (("reconstruction", found.large), ("z_i-alone", found.large_from_z_i)):
        shows = {**settings, "shows": name}
        path = _free(folder / f"{_slug(image.stem)}-{name}.png", shows)
        paths[name.replace("-", "_")] = str(images.save_png(images.to_pil(pixels)[0], path, shows))
    latent = Path(paths["reconstruction"].replace("-reconstruction", "")).with_suffix(".safetensors")
    found.latent.save(latent, {k: str(v) for k, v in settings.items()})
    paths["latent"] = str(latent)
    numbers = found.numbers()
    lines = [
        *paths.values(),
        f"PSNR {numbers['psnr']:.1f} dB (first stage alone {numbers['psnr_first_stage']:.1f} dB), "
        f"SSIM {numbers['ssim']:.3f}, cosine to z_i {numbers['cosine']:.3f}, "
        f"{numbers['evaluations']} evaluations, residual {numbers['residual']:.1e}",
    ]
    _say({**settings, **numbers, **paths}, as_json, lines)


@app.command()
def models(as_json: Json = False) -> None:
    """List what can be loaded, what it takes, and whether it is here; never looks at the network."""
    from . import models as registry

    rows = registry.listing()
    if as_json:
        print(json.dumps({"models": rows}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("name", "about", "CLIP", "licence", "size", "memory", "here"):
        table.add_column(column)
    for row in rows:
        size = f"{row['megabytes'] / 1000:.1f} GB" if row["megabytes"] > 1000 else f"{row['megabytes']} MB"
        memory = " / ".join(f"{value:.0f}" for value in row["memory"].values())
        here = {None: "comes with latentlab", True: "cached", False: "to be fetched"}[row["cached"]]
        table.add_row(
            row["name"], row["about"], row["clip"], row["licence"], size, memory and f"{memory} GB",
            "; ".join(filter(None, (here, row["why_not"]))),
        )  # fmt: skip
    Console().print(table)
    print("memory: in float16 / float32")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is here, what is wrong, and how to mend it; exit code 1 if something is wrong."""
    from .health import examine

    found = examine()
    lines = [f"{name:<18} {value}" for name, value in found["facts"].items()]
    lines += [f"wrong: {problem}" for problem in found["problems"]] or ["everything is in order"]
    _say(found, as_json, lines)
    raise typer.Exit(1 if found["problems"] else 0)


@app.command(name="app")
def open_app(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="7860 or the next free one by default.")] = None,
    model: Model = "emoji",
) -> None:
    """Open the app on this machine."""
    import os
    import runpy

    page = Path(__file__).parent.parent / "apps" / "app.py"
    if not page.is_file():
        raise UserError("the app lives in the repository's apps/ folder: clone the repository and run `make app` there")
    os.environ["LATENTLAB_MODEL"] = model
    if port is not None:
        os.environ["GRADIO_SERVER_PORT"] = str(port)
    runpy.run_path(str(page), run_name="__main__")


def main() -> None:
    """The entry point: a user's error is one sentence and exit code 2, never a traceback."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
