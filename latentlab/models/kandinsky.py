"""Kandinsky 2.2: a prior of CLIP bigG's z_i, and a UNet in MoVQ's latents that is conditioned on z_i alone.

A second decoder was trained to inpaint: its UNet reads the known latents and their mask beside x_t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..diffusion import Conditioning, abar_at, guided, to_eps
from ..io import images
from .checkpoint import Checkpoint
from .configs import abar_of, prediction, same_width, side_of
from .lab import Lab
from .registry import spec
from .transformers_clip import Towers
from .unclip_prior import UnclipPrior

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vq_model import VQModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

SCHEDULER = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012}


class KandinskyDecoder:
    """UNet2DConditionModel conditioned on z_i alone, which becomes context tokens and a part of the time embedding.

    There is no text: a caption reaches the picture only through the prior's z_i.

    Args:
        null: (1, D), the z_i that guidance leads away from: the embedding of standardised pixels that are all zero.
        scheduler: the config of the decoder's scheduler.
    """

    max_batch_size = 8

    def __init__(
        self, network: UNet2DConditionModel, first_stage: VQModel, null: Tensor, scheduler: Mapping[str, Any]
    ) -> None:
        self.network, self.first_stage, self.null = network, first_stage, null
        scheduler = {**SCHEDULER, **scheduler}
        self.abar, self.kind = abar_of(scheduler), prediction(scheduler)
        side = side_of(network)
        self.shape: tuple[int, int, int] = (first_stage.config["latent_channels"], side, side)
        self.image_size: int = side * 2 ** (len(first_stage.config["block_out_channels"]) - 1)

    @torch.no_grad()
    def to_x0(self, pixels: Tensor) -> Tensor:
        """MoVQ's latents before the codebook; they have no scale factor."""
        pixels = images.resize(pixels, self.image_size)
        kind = self.first_stage.dtype
        return torch.cat([self.first_stage.encode(p.to(kind)).latents.to(pixels) for p in pixels.split(1)])

    def to_pixels(self, x_0: Tensor) -> Tensor:
        kind, decode = self.first_stage.dtype, self.first_stage.decode
        pixels = [decode(x.to(kind), force_not_quantize=True).sample.to(x_0) for x in x_0.split(1)]
        return torch.cat(pixels).clamp(-1, 1)

    def encode_prompt(self, prompts: Sequence[str]) -> None:
        return None

    def eps(self, x_t: Tensor, t: int, cond: Conditioning, guidance: float = 1.0) -> Tensor:
        kind = self.network.dtype

        def predict(x: Tensor, cond: Conditioning) -> Tensor:
            out = self.network(
                self.channels(x, cond).to(kind),
                t,
                encoder_hidden_states=None,
                added_cond_kwargs={"image_embeds": cond.z_i.to(kind)},
            ).sample
            return out[:, : self.shape[0]].to(x_t)  # the other half is the learned variance

        null = Conditioning(self.null.expand(len(x_t), -1), known=cond.known)
        out = guided(predict, x_t, Conditioning(cond.z_i, known=cond.known), null, guidance)
        return to_eps(out, x_t, abar_at(self.abar, t), self.kind)

    def channels(self, x_t: Tensor, cond: Conditioning) -> Tensor:
        """What the network reads: x_t itself."""
        return x_t


class KandinskyInpaintingDecoder(KandinskyDecoder):
    """The decoder that was trained to inpaint: [x_t, m x_0, m] are its channels, m being 1 where x_0 is known."""

    def encode_known(self, x_0: Tensor, mask: Tensor) -> Tensor:
        known = (~mask).to(x_0)
        return torch.cat([x_0 * known, known], 1)

    def channels(self, x_t: Tensor, cond: Conditioning) -> Tensor:
        """x_t and what is known; zeros where nothing is."""
        nothing = x_t.new_zeros(len(x_t), self.shape[0] + 1, *x_t.shape[2:])
        return torch.cat([x_t, nothing if cond.known is None else cond.known.to(x_t)], 1)


def load(
    name: str,
    *,
    device: torch.device,
    dtype: torch.dtype | None = None,
    offload: bool | None = None,
    user_folder: Path | None = None,
) -> Lab:
    """Load the lab from the two published repositories, or from a user's own copies."""
    from diffusers.models.autoencoders.vq_model import VQModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    from .causal_prior import CausalPrior

    files = Checkpoint(spec(name), user_folder, device=device, dtype=dtype, offload=offload)
    image = files.network(CLIPVisionModelWithProjection, "prior", "image_encoder")
    text = files.network(CLIPTextModelWithProjection, "prior", "text_encoder")
    prior_network = files.network(CausalPrior, "prior", "prior")
    network = files.network(UNet2DConditionModel, "decoder", "unet")
    widths = {"image tower": image.config.projection_dim, "text tower": text.config.projection_dim}
    widths |= {"prior": prior_network.config["embedding_dim"], "decoder": network.config["encoder_hid_dim"]}
    same_width(widths)
    processor = files.config("prior", "image_processor", "preprocessor_config.json")
    encoder = Towers(image, text, files.tokenizer("prior", "tokenizer"), processor, device)
    null = encoder.embed(torch.zeros(1, 3, encoder.image_size, encoder.image_size, device=device))
    first_stage, scheduler = files.network(VQModel, "decoder", "movq"), files.scheduler("decoder", "scheduler")
    inpaints = network.config["in_channels"] > first_stage.config["latent_channels"]
    kind = KandinskyInpaintingDecoder if inpaints else KandinskyDecoder
    decoder = kind(network, first_stage, null, scheduler)
    prior = UnclipPrior(prior_network, encoder, files.scheduler("prior", "scheduler"))
    return Lab(name, encoder, prior, decoder, weights=files.weights)
