"""The commands that train a part of Emoji World's miniature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..errors import UserError
from ..models.emoji_files import weights_folder
from .drawings import load_sprites
from .exports import (
    load_autoencoder,
    load_decoder,
    load_dvae,
    load_encoder,
    load_masked_pool,
    load_pool,
    load_token_pool,
    run_folder,
)
from .options import Device, FromShipped, Minutes, Resume, Scenes, Start, console, device_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .loop import Part

N = TypeVar("N", bound="nn.Module")


def _train(
    part: Part[N],
    name: str,
    minutes: float,
    resume: bool,
    from_shipped: bool,
    device: torch.device,
    *,
    start: Path | None = None,
    compiled: bool = False,
) -> None:
    from . import loop

    start = start or (weights_folder() if from_shipped else None)
    if start and not (run_folder(name) / "checkpoint.pt").exists():
        from safetensors.torch import load_file

        state = load_file(next((start / name).glob("*.safetensors")))
        state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        part.network.load_state_dict(part.adopt(state, start))
    numbers = loop.train(part, run_folder(name), minutes=minutes, device=device, resume=resume, compiled=compiled)
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in numbers.items()}))


def clip(
    minutes: Minutes = 30,
    resume: Resume = True,
    from_shipped: FromShipped = False,
    device: Device = "",
    anchored: Annotated[
        bool, typer.Option(help="Keep the shipped CLIP's text tower and space, so that the other parts stay valid.")
    ] = False,
    locked: Annotated[
        bool, typer.Option(help="Keep the shipped CLIP's image tower, so that all that works on z_i stays valid.")
    ] = False,
) -> None:
    """Train CLIP, on which all other parts depend."""
    from .anchored_clip import AnchoredClip
    from .clip import Clip
    from .locked_clip import LockedClip

    if anchored and locked:
        raise UserError("--anchored trains the image tower and --locked the text tower: give one of them")
    where = device_of(device)
    part = (AnchoredClip if anchored else LockedClip if locked else Clip)(load_sprites(), run_folder("clip"), where)
    _train(part, "clip", minutes, resume, from_shipped, where)


def autoencoder(
    minutes: Minutes = 15,
    resume: Resume = True,
    from_shipped: FromShipped = False,
    device: Device = "",
    channels: Annotated[int, typer.Option(help="The number of latent channels; new ones are added.")] = 16,
    same_latents: Annotated[
        bool, typer.Option(help="Train the decoding alone, with further blocks; the latents stay.")
    ] = False,
    start: Start = None,
) -> None:
    """Train the decoder's first stage, from pictures of 64x64 to latents of 8x8."""
    from .autoencoder import Autoencoder, SameLatents

    where = device_of(device)
    part: Autoencoder
    if same_latents:
        part = SameLatents(load_sprites(), load_decoder(where), where)
    else:
        part = Autoencoder(load_sprites(), where, channels=channels)
    _train(part, "autoencoder", minutes, resume, from_shipped, where, start=start)


def decoder(
    minutes: Minutes = 60,
    resume: Resume = True,
    from_shipped: FromShipped = False,
    device: Device = "",
    scenes: Scenes = 32_000,
    pixels: Annotated[bool, typer.Option(help="Diffuse pixels of 32x32 instead of latents, for comparison.")] = False,
    start: Start = None,
    compiled: Annotated[
        bool, typer.Option(help="Use torch.compile, which takes two minutes and saves a fifth of the time on a CPU.")
    ] = False,
    inpaint: Annotated[
        bool, typer.Option(help="Fine-tune the newest decoder, or the shipped one, to paint beside a known part.")
    ] = False,
) -> None:
    """Train the decoder, which takes the longest."""
    from .decoder import Decoder

    if inpaint:
        if pixels or start or compiled:
            raise UserError("--inpaint fine-tunes a trained decoder: give it without --pixels, --start and --compiled")
        _inpainting(minutes, resume, from_shipped, device_of(device), scenes)
        return
    where, sprites = device_of(device), load_sprites()
    encoder, first_stage = load_encoder(where), None if pixels else load_autoencoder(where)
    side = 32 if pixels else 64
    pool = load_pool(sprites, encoder, first_stage, count=scenes, side=side, progress=console)
    part = Decoder(sprites, encoder, first_stage, pool)
    name = "decoder-pixels" if pixels else "decoder"
    _train(part, name, minutes, resume, from_shipped, where, start=start, compiled=compiled)


def _inpainting(minutes: float, resume: bool, from_shipped: bool, where: torch.device, scenes: int) -> None:
    from .inpainting import InpaintingTraining

    sprites, base = load_sprites(), load_decoder(where, shipped=from_shipped)
    pool = load_pool(sprites, base.encoder, base.autoencoder, count=scenes, side=64, progress=console)
    masked = load_masked_pool(sprites, base)
    _train(InpaintingTraining(sprites, base, pool, masked), "inpainting", minutes, resume, False, where)


def prior(
    minutes: Minutes = 15,
    resume: Resume = True,
    from_shipped: FromShipped = False,
    device: Device = "",
    scenes: Scenes = 32_000,
    autoregressive: Annotated[
        bool, typer.Option(help="Train the second prior, which draws principal coordinates one after another.")
    ] = False,
) -> None:
    """Train the prior, from captions to image embeddings."""
    from .autoregressive_prior import of_miniature
    from .pools import Pool
    from .prior import Prior

    where, sprites = device_of(device), load_sprites()
    encoder, first_stage = load_encoder(where), load_autoencoder(where)
    pool = load_pool(sprites, encoder, first_stage, count=scenes, side=64, progress=console)
    held_out = Pool.build(sprites, encoder, first_stage, first=10**9, count=512, side=64)
    part: Part[Any] = of_miniature(encoder, pool, held_out) if autoregressive else Prior(encoder, pool, held_out)
    _train(part, part.name, minutes, resume, from_shipped, where)


def upsampler(
    minutes: Minutes = 15, resume: Resume = True, from_shipped: FromShipped = False, device: Device = ""
) -> None:
    """Train the upsampler, from 64 to 256 pixels."""
    from .upsampler import HIGH, Upsampler

    where = device_of(device)
    part = Upsampler(load_sprites(size=HIGH), load_decoder(where), where)
    _train(part, "upsampler", minutes, resume, from_shipped, where)


def judge(minutes: Minutes = 15, resume: Resume = True, from_shipped: FromShipped = False, device: Device = "") -> None:
    """Train the judge, a separate classifier of real drawings that scores the generated pictures."""
    from .judge import JudgeTraining

    where = device_of(device)
    _train(JudgeTraining(load_sprites(), where), "judge", minutes, resume, from_shipped, where)


def noised_clip(
    minutes: Minutes = 15, resume: Resume = True, from_shipped: FromShipped = False, device: Device = ""
) -> None:
    """Train CLIP's image tower further on noised scenes, for guidance by a noised CLIP."""
    from .noised_clip import NoisedClipTraining

    where = device_of(device)
    part = NoisedClipTraining(load_sprites(), load_encoder(where), load_autoencoder(where))
    _train(part, "noised-clip", minutes, resume, from_shipped, where)


def dvae(
    minutes: Minutes = 15,
    resume: Resume = True,
    from_shipped: FromShipped = False,
    device: Device = "",
    scenes: Scenes = 32_000,
    tokens: Annotated[int, typer.Option(help="The number of a picture's tokens, 64 or 256.")] = 64,
    same_tokens: Annotated[
        bool, typer.Option(help="Train the decoding of the newest weights alone; the tokens stay. Use with --restart.")
    ] = False,
) -> None:
    """Train DALL·E 1's discrete first stage, a quantiser of the first stage's latents."""
    from .dvae import DvaeTraining

    where, sprites = device_of(device), load_sprites()
    encoder, first_stage = load_encoder(where), load_autoencoder(where)
    pool = load_pool(sprites, encoder, first_stage, count=scenes, side=64, progress=console)
    start = load_dvae(where).network if same_tokens else None
    part = DvaeTraining(sprites, pool.x_0, first_stage, encoder, tokens=tokens, start=start)
    _train(part, "dvae", minutes, resume, from_shipped, where)


def dalle(
    minutes: Minutes = 60,
    resume: Resume = True,
    from_shipped: FromShipped = False,
    device: Device = "",
    scenes: Scenes = 32_000,
) -> None:
    """Train DALL·E 1's transformer, from captions to the tokens of pictures."""
    from .dalle import DalleTraining, TokenPool
    from .pools import Pool

    where, sprites = device_of(device), load_sprites()
    encoder, quantizer = load_encoder(where), load_dvae(where)
    pool = load_pool(sprites, encoder, quantizer.autoencoder, count=scenes, side=64, progress=console)
    new = Pool.build(sprites, encoder, quantizer.autoencoder, first=10**9, count=512, side=64)
    held_out = TokenPool.build(sprites, new.x_0, quantizer, encoder, first=10**9)
    tokens = load_token_pool(sprites, pool.x_0, quantizer, encoder)
    _train(DalleTraining(quantizer, encoder, tokens, held_out), "dalle", minutes, resume, from_shipped, where)
