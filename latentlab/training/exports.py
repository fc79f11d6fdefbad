"""The trained parts on this machine: the folders of their runs, their newest weights, and the scenes they encoded."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ..errors import UserError
from ..models.emoji_files import weights_folder
from .drawings import Sprites, cache_dir

if TYPE_CHECKING:
    import torch
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
    from torch import Tensor

    from ..clip import Encoder
    from ..models.dvae import Dvae
    from ..models.emoji import EmojiDecoder
    from .dalle import TokenPool
    from .pools import Pool

SOURCES = ("curriculum.py", "scenes.py", "things.py", "things.txt")  # the files that decide the scenes


def run_folder(part: str) -> Path:
    """The folder of a part's checkpoints, log and export."""
    return cache_dir() / "runs" / part


def export_or_none(part: str) -> Path | None:
    """As `newest_export`; None where there are no weights."""
    folders = (run_folder(part) / "export", weights_folder() / part)
    return next((folder for folder in folders if any(folder.glob("*.safetensors"))), None)


def newest_export(part: str) -> Path:
    """The folder of a part's newest weights: those that this machine trained, or else the shipped ones.

    Raises:
        UserError: there are none.
    """
    if folder := export_or_none(part):
        return folder
    raise UserError(f"{part} is not trained yet: run `python -m latentlab.training {part}` first")


def load_encoder(device: torch.device) -> Encoder:
    """The newest CLIP."""
    from ..clip import local

    return local(newest_export("clip"), device=device)


def load_autoencoder(device: torch.device) -> AutoencoderDC:
    """The newest first stage of the decoder, frozen."""
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
    from torch import float32, nn

    network = AutoencoderDC.from_pretrained(newest_export("autoencoder"), torch_dtype=float32)
    nn.Module.to(network.eval().requires_grad_(False), device)
    return network


def load_decoder(device: torch.device, *, shipped: bool = False) -> EmojiDecoder:
    """The newest decoder, or the shipped one, with the newest first stage and CLIP, frozen."""
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
    from torch import float32, nn

    from ..models.emoji import EmojiDecoder

    folder = weights_folder() / "decoder" if shipped else newest_export("decoder")
    network = SD3Transformer2DModel.from_pretrained(folder, torch_dtype=float32)
    nn.Module.to(network.eval().requires_grad_(False), device)
    return EmojiDecoder(network, load_autoencoder(device), load_encoder(device))


def load_dvae(device: torch.device) -> Dvae:
    """The newest discrete first stage, frozen."""
    from ..models.dvae import Dvae

    return Dvae.load(newest_export("dvae"), load_autoencoder(device))


def load_pool(
    sprites: Sprites,
    encoder: Encoder,
    autoencoder: AutoencoderDC | None,
    *,
    count: int,
    side: int,
    progress: Console,
) -> Pool:
    """The decoder's training scenes, encoded by the newest networks and cached under a name made of both."""
    from .pools import Pool

    name = _digest("clip", *(["autoencoder"] if autoencoder is not None else []))
    path = cache_dir() / "pools" / f"{name}-{count}-{side}.pt"
    progress.print(f"{count} scenes, encoded once: {path.name}")
    return Pool.cached(path, sprites, encoder, autoencoder, first=0, count=count, side=side)


def load_masked_pool(sprites: Sprites, decoder: EmojiDecoder) -> Tensor:
    """What is known of the first training scenes through random masks, cached as the scenes themselves are."""
    from .inpainting import COUNT, masked_scenes
    from .pools import built_once

    path = cache_dir() / "pools" / f"{_digest('clip', 'autoencoder')}-{COUNT}-masked.pt"
    (known,) = built_once(path, lambda: (masked_scenes(sprites, decoder, first=0, count=COUNT),))
    return known


def load_token_pool(sprites: Sprites, latents: Tensor, dvae: Dvae, encoder: Encoder) -> TokenPool:
    """The training scenes of DALL·E 1 as tokens, cached under a name made of the networks that encode them."""
    from .dalle import TokenPool

    path = cache_dir() / "pools" / f"{_digest('clip', 'autoencoder', 'dvae')}-{len(latents)}-tokens.pt"
    return TokenPool.cached(path, sprites, latents, dvae, encoder)


def _digest(*parts: str) -> str:
    """Twelve digits of what decides the scenes, and of these parts' newest weights."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update(files(__package__).joinpath(name).read_bytes())
    for part in parts:
        digest.update(next(newest_export(part).glob("*.safetensors")).read_bytes())
    return digest.hexdigest()[:12]
