"""Stable unCLIP: Stable Diffusion 2.1 conditioned on z_i, with a chosen level of noise on z_i."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..clip import Encoder, local
from ..diffusion import Conditioning, abar_at, guided, to_eps
from ..errors import UserError
from ..io import images
from ..noise import SeededNoise
from .checkpoint import Checkpoint
from .configs import abar_of, prediction, same_width, side_of
from .lab import Lab
from .registry import spec
from .transformers_clip import Tokens, Towers
from .unclip_prior import UnclipPrior

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
    from transformers import CLIPTextModel, CLIPTokenizer

SCHEDULER = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
}
NOISING = {"beta_schedule": "squaredcos_cap_v2"}


class StableUnclipDecoder:
    """UNet2DConditionModel in a VAE's latents, with z_i as class label and the caption as context; it predicts v.

    The label is [√a z + √(1-a) noise, sinusoid(level)], where z is z_i standardised and a the level's abar; the first
    half goes back to CLIP's scale.  The published pipeline draws the noise anew even at level 0, so one z_i has many
    labels there; here the noise is zero, or of a seed, so that the same z_i decodes to the same picture.

    Args:
        normalizer: the mean and the standard deviation of z_i.
        text: Stable Diffusion's text tower, which has no projection.
        schedulers: the configs of the schedulers of the denoising and of the noise on z_i.
    """

    max_batch_size = 4
    level = 0  # of the noise on z_i
    noise: Tensor | None = None  # on z_i, (1, D); None is zero
    noise_seed: int | None = None

    @property
    def settings(self) -> dict[str, int | None]:
        """The parameters of this decoder that a result has to record, because its pictures depend on them."""
        return {"noise_level": self.level, "noise_seed": self.noise_seed}

    def __init__(
        self,
        network: UNet2DConditionModel,
        first_stage: AutoencoderKL,
        normalizer: StableUnCLIPImageNormalizer,
        text: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        schedulers: tuple[Mapping[str, Any], Mapping[str, Any]],
    ) -> None:
        self.network, self.first_stage, self.normalizer = network, first_stage, normalizer
        self.text, self.tokenizer = text, Tokens(tokenizer)
        denoising, noising = {**SCHEDULER, **schedulers[0]}, {**NOISING, **schedulers[1]}
        self.abar, self.kind, self.noising = abar_of(denoising), prediction(denoising), abar_of(noising)
        self.width: int = normalizer.config["embedding_dim"]
        self.factor: float = first_stage.config["scaling_factor"]
        side = side_of(network)
        self.shape: tuple[int, int, int] = (network.config["in_channels"], side, side)
        self.image_size: int = side * 2 ** (len(first_stage.config["block_out_channels"]) - 1)
        self.empty = self.encode_prompt([""])

    def with_noise(self, level: int, *, seed: int | None = None) -> StableUnclipDecoder:
        """A copy of this decoder that adds noise to z_i, so that pictures keep less of what CLIP saw.

        Args:
            level: 0 to 999.
            seed: the seed of the noise, which is the same for all pictures; None tells the network the level and adds
                no noise.

        Raises:
            UserError: the level is out of range.
        """
        if not 0 <= level < len(self.noising):
            raise UserError(f"level is {level}: give a number from 0 to {len(self.noising) - 1}")
        other = copy.copy(self)
        other.level, other.noise_seed = level, seed
        other.noise = None if seed is None else SeededNoise([seed], (self.width,), stream="z_i")()
        return other

    def labels(self, z_i: Tensor) -> Tensor:
        """The network's class labels (B, 2 D): z_i (B, D) with noise, and the level of the noise."""
        from diffusers.models.embeddings import get_timestep_embedding

        mean, std = self.normalizer.mean.to(z_i), self.normalizer.std.to(z_i)
        a = abar_at(self.noising, self.level)
        z = math.sqrt(a) * (z_i - mean) / std
        if self.noise is not None:
            z = z + math.sqrt(1 - a) * self.noise.to(z)
        level = torch.full((len(z_i),), self.level, device=z_i.device)
        sinusoid = get_timestep_embedding(level, self.width, flip_sin_to_cos=True, downscale_freq_shift=0)
        return torch.cat([z * std + mean, sinusoid.to(z)], 1)

    @torch.no_grad()
    def to_x0(self, pixels: Tensor) -> Tensor:
        """The mean of the VAE's latents, times its scale factor."""
        pixels = images.resize(pixels, self.image_size)
        kind, encode = self.first_stage.dtype, self.first_stage.encode
        latents = [encode(p.to(kind)).latent_dist.mean.to(pixels) for p in pixels.split(1)]
        return torch.cat(latents) * self.factor

    def to_pixels(self, x_0: Tensor) -> Tensor:
        kind, decode = self.first_stage.dtype, self.first_stage.decode
        pixels = [decode((x / self.factor).to(kind)).sample.to(x_0) for x in x_0.split(1)]
        return torch.cat(pixels).clamp(-1, 1)

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str]) -> Tensor:
        """The last states of Stable Diffusion's text tower, including those of the padding: (B, L, W)."""
        ids = self.tokenizer(prompts).to(self.normalizer.mean.device)  # an offloaded tower is on another device
        return self.text(ids).last_hidden_state.float()

    def eps(self, x_t: Tensor, t: int, cond: Conditioning, guidance: float = 1.0) -> Tensor:
        kind, empty = self.network.dtype, self.empty.expand(len(x_t), -1, -1)
        full = Conditioning(self.labels(cond.z_i), empty if cond.text is None else cond.text)
        null = Conditioning(torch.zeros_like(full.z_i), empty)

        def predict(x: Tensor, cond: Conditioning) -> Tensor:
            assert cond.text is not None  # both conditionings above have text
            return self.network(x.to(kind), t, cond.text.to(kind), class_labels=cond.z_i.to(kind)).sample.to(x_t)

        return to_eps(guided(predict, x_t, full, null, guidance), x_t, abar_at(self.abar, t), self.kind)


def load(
    name: str,
    *,
    device: torch.device,
    dtype: torch.dtype | None = None,
    offload: bool | None = None,
    user_folder: Path | None = None,
) -> Lab:
    """Load the lab; `-l` takes z_t and the prior from Karlo, which has the same CLIP, and `-h` has no prior."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    from .causal_prior import CausalPrior

    files = Checkpoint(spec(name), user_folder, device=device, dtype=dtype, offload=offload)
    image = files.network(CLIPVisionModelWithProjection, "decoder", "image_encoder")
    normalizer = files.network(StableUnCLIPImageNormalizer, "decoder", "image_normalizer", stays=True)
    network = files.network(UNet2DConditionModel, "decoder", "unet")
    widths = {"image tower": image.config.projection_dim, "normalizer": normalizer.config["embedding_dim"]}
    widths["decoder"] = (network.config["projection_class_embeddings_input_dim"] or 0) // 2
    first_stage = files.network(AutoencoderKL, "decoder", "vae")
    decoder_text = files.network(CLIPTextModel, "decoder", "text_encoder")
    tokenizer = files.tokenizer("decoder", "tokenizer")
    schedulers = files.scheduler("decoder", "scheduler"), files.scheduler("decoder", "image_noising_scheduler")
    decoder = StableUnclipDecoder(network, first_stage, normalizer, decoder_text, tokenizer, schedulers)
    processor = files.config("decoder", "feature_extractor", "preprocessor_config.json")
    if all(source.role != "prior" for source in spec(name).sources):
        same_width(widths)
        tag = spec(name).open_clip
        assert tag is not None  # the registry names it for every Stable unCLIP
        encoder = Towers(image, lambda: z_t_encoder(tag, user_folder, device), tokenizer, processor, device)
        return Lab(name, encoder, None, decoder, weights=files.weights)
    text = files.network(CLIPTextModelWithProjection, "prior", "text_encoder")
    prior_network = files.network(CausalPrior, "prior", "prior")
    widths |= {"text tower": text.config.projection_dim, "prior": prior_network.config["embedding_dim"]}
    same_width(widths)
    encoder = Towers(image, text, files.tokenizer("prior", "tokenizer"), processor, device)
    prior = UnclipPrior(prior_network, encoder, files.scheduler("prior", "prior_scheduler"))
    return Lab(name, encoder, prior, decoder, weights=files.weights)


def z_t_encoder(tag: tuple[str, str], user_folder: Path | None, device: torch.device) -> Encoder:
    """The complete CLIP of `-h`, for z_t: Stable Diffusion's own text tower ends before its projection.

    Raises:
        UserError: that CLIP is not cached and can't be fetched.
    """
    if user_folder is not None and (user_folder / "open_clip" / "open_clip_config.json").is_file():
        return local(user_folder / "open_clip", device=device)
    try:
        return Encoder(*tag, device=device)
    except UserError as error:
        raise UserError(
            f"z_t of this model comes from a CLIP that has its text tower whole: {error}; here that is open_clip/ "
            "beside the checkpoint's parts"
        ) from error
