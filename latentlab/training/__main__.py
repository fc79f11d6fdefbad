"""`python -m latentlab.training …`: one command a part."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..errors import UserError
from ..models.emoji import weights_folder
from .drawings import HELD_OUT_STYLES, STYLES, cache_dir, load_sprites, things

app = typer.Typer(
    no_args_is_help=True, help="Train Emoji World's miniature, a part at a time, in the order listed here."
)
console = Console(stderr=True)

Minutes = Annotated[float, typer.Option(help="Running time of this session; the rate falls to zero at its end.")]
Resume = Annotated[bool, typer.Option("--resume/--restart", help="Go on from the last checkpoint, or begin anew.")]
FromShipped = Annotated[bool, typer.Option(help="Start from the shipped weights when there is no checkpoint.")]
Device = Annotated[str, typer.Option(help="cpu or cuda; found by itself.")]

SHIPPED = ("clip", "autoencoder", "prior", "decoder", "upsampler", "directions", "judge")


def runs(part: str) -> Path:
    return cache_dir() / "runs" / part


def _device(name: str):
    import torch

    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def _export(part: str) -> Path:
    """The newest weights of a part: this machine's own training, or else the shipped ones."""
    for folder in (runs(part) / "export", weights_folder() / part):
        if any(folder.glob("*.safetensors")):
            return folder
    raise UserError(f"{part} is not trained yet: run `python -m latentlab.training {part}` first")


def _encoder(device):
    from ..clip import local

    return local(_export("clip"), device=device)


def _autoencoder(device):
    from diffusers import AutoencoderDC
    from torch import float32

    network = AutoencoderDC.from_pretrained(_export("autoencoder"), torch_dtype=float32)
    return network.eval().requires_grad_(False).to(device)


def _decoder(device):
    from diffusers import SD3Transformer2DModel
    from torch import float32

    from ..models.emoji import EmojiDecoder

    network = SD3Transformer2DModel.from_pretrained(_export("decoder"), torch_dtype=float32)
    return EmojiDecoder(network.eval().requires_grad_(False).to(device), _autoencoder(device), _encoder(device))


def _pool(sprites, encoder, autoencoder, *, count: int, side: int):
    """The decoder's training scenes, kept beside the networks that encoded them."""
    from . import decoder, scenes

    digest = hashlib.sha256(Path(scenes.__file__).read_bytes())
    for part in ("clip", *(["autoencoder"] if autoencoder is not None else [])):
        digest.update(next(_export(part).glob("*.safetensors")).read_bytes())
    path = cache_dir() / "pools" / f"{digest.hexdigest()[:12]}-{count}-{side}.pt"
    console.print(f"{count} scenes, encoded once: {path.name}")
    return decoder.Pool.cached(path, sprites, encoder, autoencoder, first=0, count=count, side=side)


def _train(
    part, name: str, minutes: float, resume: bool, from_shipped: bool, device, *, start=None, compiled=False
) -> None:
    from . import loop

    start = start or (weights_folder() if from_shipped else None)
    if start and not (runs(name) / "checkpoint.pt").exists():
        from safetensors.torch import load_file

        state = load_file(next((start / name).glob("*.safetensors")))
        state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        part.network.load_state_dict(part.adopt(state, start))
    found = loop.train(part, runs(name), minutes=minutes, device=device, resume=resume, compiled=compiled)
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}))


@app.command()
def data() -> None:
    """Fetch the drawings from npm and render them into the cache."""
    sprites = load_sprites()
    held_out = ", ".join(HELD_OUT_STYLES)
    print(f"{len(things())} things, {len(STYLES)} styles ({held_out} held out), {len(sprites.index)} sprites")


@app.command()
def clip(minutes: Minutes = 30, resume: Resume = True, from_shipped: FromShipped = False, device: Device = "") -> None:
    """CLIP: everything leans on it, so train it first."""
    from .clip import Clip

    where = _device(device)
    _train(Clip(load_sprites(), runs("clip"), where), "clip", minutes, resume, from_shipped, where)


@app.command()
def autoencoder(
    minutes: Minutes = 15,
    resume: Resume = True,
    from_shipped: FromShipped = False,
    device: Device = "",
    channels: Annotated[int, typer.Option(help="Of the latents; more than it starts with are grown.")] = 16,
    same_latents: Annotated[bool, typer.Option(help="Train how latents decode, and leave the latents alone.")] = False,
    start: Annotated[Path | None, typer.Option(help="Start from the miniature in this folder.")] = None,
) -> None:
    """The decoder's first stage: 64x64 pictures as 8x8 latents."""
    from .autoencoder import Autoencoder

    where = _device(device)
    part = Autoencoder(load_sprites(), where, channels=channels, same_latents=same_latents)
    _train(part, "autoencoder", minutes, resume, from_shipped, where, start=start)


@app.command()
def decoder(
    minutes: Minutes = 60,
    resume: Resume = True,
    from_shipped: FromShipped = False,
    device: Device = "",
    scenes: Annotated[int, typer.Option(help="Training scenes, encoded once.")] = 32_000,
    pixels: Annotated[bool, typer.Option(help="Diffuse 32x32 pixels instead of latents: the comparison.")] = False,
    start: Annotated[Path | None, typer.Option(help="Start from the miniature in this folder.")] = None,
    compiled: Annotated[bool, typer.Option(help="torch.compile: two minutes, then a fifth faster on a CPU.")] = False,
) -> None:
    """The decoder: the longest."""
    from .decoder import Decoder

    where, sprites = _device(device), load_sprites()
    encoder, first_stage = _encoder(where), None if pixels else _autoencoder(where)
    pool = _pool(sprites, encoder, first_stage, count=scenes, side=32 if pixels else 64)
    part = Decoder(sprites, encoder, first_stage, pool)
    name = "decoder-pixels" if pixels else "decoder"
    _train(part, name, minutes, resume, from_shipped, where, start=start, compiled=compiled)


@app.command()
def prior(
    minutes: Minutes = 15,
    resume: Resume = True,
    from_shipped: FromShipped = False,
    device: Device = "",
    scenes: Annotated[int, typer.Option(help="Training scenes, encoded once.")] = 32_000,
) -> None:
    """The prior: captions to image embeddings."""
    from .decoder import Pool
    from .prior import Prior

    where, sprites = _device(device), load_sprites()
    encoder, first_stage = _encoder(where), _autoencoder(where)
    pool = _pool(sprites, encoder, first_stage, count=scenes, side=64)
    held_out = Pool.build(sprites, encoder, first_stage, first=10**9, count=512, side=64)
    _train(Prior(encoder, pool, held_out), "prior", minutes, resume, from_shipped, where)


@app.command()
def upsampler(
    minutes: Minutes = 15, resume: Resume = True, from_shipped: FromShipped = False, device: Device = ""
) -> None:
    """The upsampler: 64 to 256 pixels."""
    from .upsampler import HIGH, Upsampler

    where = _device(device)
    part = Upsampler(load_sprites(size=HIGH), _decoder(where), where)
    _train(part, "upsampler", minutes, resume, from_shipped, where)


@app.command()
def judge(minutes: Minutes = 15, resume: Resume = True, from_shipped: FromShipped = False, device: Device = "") -> None:
    """The judge: another network, trained on real drawings, that scores what the others make."""
    from .judge import JudgeTraining

    where = _device(device)
    _train(JudgeTraining(load_sprites(), where), "judge", minutes, resume, from_shipped, where)


@app.command()
def directions(
    device: Device = "", scenes: Annotated[int, typer.Option(help="Training scenes, encoded once.")] = 32_000
) -> None:
    """The principal directions of z_i, over the training scenes."""
    from ..analysis.pca import Directions

    where, sprites = _device(device), load_sprites()
    pool = _pool(sprites, _encoder(where), _autoencoder(where), count=scenes, side=64)
    known = {"model": "emoji", "fitted on": f"{scenes} training scenes"}
    fitted = Directions.fit(pool.z_i.float().split(4096), metadata=known)
    folder = runs("directions") / "export"
    folder.mkdir(parents=True, exist_ok=True)
    fitted.save(folder / "directions.safetensors")
    print(json.dumps({"n": fitted.count, "width": len(fitted.mean), "components for 99%": fitted.needed(0.99)}))


# How much of the time each part gets in `all`.
SHARES = {"clip": 0.24, "autoencoder": 0.12, "prior": 0.06, "decoder": 0.46, "upsampler": 0.06, "judge": 0.06}


@app.command("all")
def every_part(
    minutes: Annotated[float, typer.Option(help="Training time of all parts together, encoding not counted.")] = 9,
    resume: Resume = True,
    from_shipped: FromShipped = False,
    device: Device = "",
    scenes: Annotated[int, typer.Option(help="Training scenes of decoder and prior, encoded once.")] = 32_000,
) -> None:
    """Train every part in order, each for its share of the time: for an accelerator, where it takes minutes."""
    settings = {"resume": resume, "from_shipped": from_shipped, "device": device}
    for part in (clip, autoencoder, prior, decoder, upsampler, judge):
        name = part.__name__
        pooled = {"scenes": scenes} if name in ("prior", "decoder") else {}
        console.print(f"{name}: {minutes * SHARES[name]:.2g} minutes")
        part(minutes=minutes * SHARES[name], **settings, **pooled)
    directions(device=device, scenes=scenes)


@app.command()
def gallery() -> None:
    """Draw the 24 sample pictures that ship with the model: held-out scenes of the styles, at 128 pixels."""
    from ..io.images import save_png, to_pil
    from .rendering import Renderer
    from .scenes import gallery_scenes

    sprites, folder = load_sprites(), weights_folder() / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    found = gallery_scenes(sprites)
    listing = {}
    for k, (scene, picture) in enumerate(zip(found, to_pil(Renderer(sprites)(found, 128)))):
        name = f"{k:02d}-{scene.thing or scene.kind}.png"
        save_png(picture, folder / name, {"caption": scene.caption, "drawing": scene.layers[0].key})
        listing[name] = scene.caption
    (folder / "gallery.json").write_text(json.dumps(listing, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(listing)} pictures in {folder}")


@app.command()
def ship() -> None:
    """Copy every part's newest export into latentlab/weights/emoji and write its MANIFEST.json."""
    target, log = weights_folder(), {}
    for part in SHIPPED:
        source = runs(part) / "export"
        if source.is_dir():
            shutil.copytree(source, target / part, dirs_exist_ok=True)
        lines = (runs(part) / "log.jsonl").read_text().splitlines() if (runs(part) / "log.jsonl").exists() else []
        if lines:
            log[part] = json.loads(lines[-1])
    digests = {
        str(path.relative_to(target)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(target.rglob("*"))
        if path.is_file() and path.parent != target
    }
    old = target / "MANIFEST.json"
    trained = {**(json.loads(old.read_text())["trained"] if old.exists() else {}), **log}
    old.write_text(json.dumps({"trained": trained, "sha256": digests}, indent=1) + "\n")
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    print(f"{len(digests)} files, {size / 2**20:.1f} MB, in {target}")


@app.command()
def sheet(
    out: Annotated[Path, typer.Option(help="Folder for the sheets.")] = Path("sheets"),
    seed: Annotated[int, typer.Option(help="Of captions, pictures and noise.")] = 0,
) -> None:
    """Contact sheets of the shipped miniature, to judge it by eye."""
    from .. import models
    from ..plotting import save
    from .sheet import sheets

    out.mkdir(parents=True, exist_ok=True)
    for name, figure in sheets(models.load("emoji"), load_sprites(), seed=seed):
        print(save(figure, out / f"{name.replace(' ', '-')}.png", dpi=80))


@app.command()
def report(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    card: Annotated[bool, typer.Option(help="Write the table into MODEL_CARD.md.")] = False,
    seed: Annotated[int, typer.Option(help="Of the held-out scenes.")] = 0,
    folder: Annotated[Path | None, typer.Option(help="A miniature's folder instead of the shipped one.")] = None,
) -> None:
    """Measure a miniature: every number with its n and interval."""
    from . import report as module

    rows = module.measure(folder=folder, seed=seed, progress=console)
    if card:
        module.write_card(rows, weights_folder() / "MODEL_CARD.md")
    print(json.dumps({"model": "emoji", "seed": seed, "rows": rows}, indent=1) if as_json else module.table(rows))


@app.command()
def compare(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    count: Annotated[int, typer.Option(min=40, help="Held-out scenes, and pictures for each signal.")] = 512,
    seed: Annotated[int, typer.Option(help="Of the held-out scenes.")] = 0,
) -> None:
    """The paper's comparison (its table 2): caption only, z_t, the prior's z_i and real z_i against held-out scenes."""
    from .. import models
    from . import comparison

    found = comparison.compare(models.load("emoji"), load_sprites(), count=count, seed=seed)
    print(
        json.dumps({"settings": found.settings, "rows": found.table}, indent=1) if as_json else comparison.table(found)
    )


def main() -> None:
    try:
        app(standalone_mode=True)
    except (UserError, RuntimeError) as error:
        console.print(f"[bold red]error:[/] {error}")
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
