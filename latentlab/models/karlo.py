"""Karlo: the open unCLIP closest to the paper, in pixels, with a super-resolution of two networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..diffusion import CLEAN, Conditioning, abar_at, guided, to_eps
from ..io import images
from .checkpoint import Checkpoint
from .configs import abar_of, prediction, same_width, side_of
from .lab import Lab
from .registry import spec
from .transformers_clip import Towers, pack, unpack
from .unclip_prior import UnclipPrior

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel

# The published configs name no schedule, because UnCLIPScheduler has only this one.
SCHEDULER = {"beta_schedule": "squaredcos_cap_v2"}


class KarloDecoder:
    """UNet2DConditionModel in pixels, conditioned on z_i and the caption by the text projection.

    z_i and z_t are added to the timestep embedding, and z_i becomes four more tokens of context before the caption's.
    Ramesh et al. 2022, section 2.1.

    Args:
        network: the UNet, which predicts eps and a variance in 6 channels.
        projection: the text projection, which also holds the learned null z_i.
        encoder: the CLIP whose text tower encodes the captions.
        scheduler: the config of the decoder's scheduler.
    """

    max_batch_size = 16

    def __init__(
        self,
        network: UNet2DConditionModel,
        projection: UnCLIPTextProjModel,
        encoder: Towers,
        scheduler: Mapping[str, Any],
    ) -> None:
        self.network, self.projection, self.encoder = network, projection, encoder
        scheduler = {**SCHEDULER, **scheduler}
        self.abar, self.kind = abar_of(scheduler), prediction(scheduler)
        self.image_size = side_of(network)
        self.shape: tuple[int, int, int] = (network.config["in_channels"], self.image_size, self.image_size)
        self.null = projection.learned_classifier_free_guidance_embeddings.float()[None]  # (1, D)
        self.empty = self.encode_prompt([""])

    def to_x0(self, pixels: Tensor) -> Tensor:
        return images.resize(pixels, self.image_size)

    def to_pixels(self, x_0: Tensor) -> Tensor:
        return x_0.clamp(-1, 1)

    def encode_prompt(self, prompts: Sequence[str]) -> Tensor:
        """The last states of the text tower with their mask, and z_t as one more token: (B, L + 1, D + 1)."""
        z_t, states, mask = self.encoder.states(prompts)
        return torch.cat([pack(states, mask), F.pad(z_t, (0, 1))[:, None]], 1)

    def eps(self, x_t: Tensor, t: int, cond: Conditioning, guidance: float = 1.0) -> Tensor:
        empty = self.empty.expand(len(x_t), -1, -1)
        full = Conditioning(cond.z_i, empty if cond.text is None else cond.text)
        null = Conditioning(self.null.expand(len(x_t), -1), empty)

        def predict(x: Tensor, cond: Conditioning) -> Tensor:
            return self._predict(x, t, cond).to(x_t)

        return to_eps(guided(predict, x_t, full, null, guidance), x_t, abar_at(self.abar, t), self.kind)

    def _predict(self, x: Tensor, t: int, cond: Conditioning) -> Tensor:
        assert cond.text is not None  # `eps` fills in the empty caption
        kind = self.network.dtype
        states, mask = unpack(cond.text[:, :-1])
        context, labels = self.projection(
            image_embeddings=cond.z_i.to(kind),
            prompt_embeds=cond.text[:, -1, :-1].to(kind),
            text_encoder_hidden_states=states.to(kind),
            do_classifier_free_guidance=False,
        )
        mask = F.pad(mask, (context.shape[1] - mask.shape[1], 0), value=True)
        out = self.network(x.to(kind), t, context, class_labels=labels, attention_mask=mask).sample
        return out[:, : self.shape[0]]


class KarloUpsampler:
    """Two UNet2DModels on [x_t, enlarged picture], of which the second computes the last step.

    The predicted x_0 is clipped to [-1, 1] at every step, as in the published sampler.  The sampler starts at 999,
    where the cosine schedule is singular, and only the clipping keeps x_0 finite there.  eps is computed from the
    clipped x_0.

    Args:
        low: the side of the small picture.
        scheduler: the config of the upsampler's scheduler.
    """

    steps: int | Sequence[int] = (999, 832, 666, 500, 333, 166, 0, CLEAN)
    max_batch_size = 8

    def __init__(self, first: UNet2DModel, last: UNet2DModel, low: int, scheduler: Mapping[str, Any]) -> None:
        self.first, self.last, self.low, self.high = first, last, low, side_of(first)
        self.abar = abar_of({**SCHEDULER, **scheduler})

    @torch.no_grad()
    def eps(self, x_t: Tensor, t: int, pixels: Tensor) -> Tensor:
        """The noise in x_t; the network `last` was trained for t = 0 alone."""
        network = self.last if t == 0 else self.first
        large = F.interpolate(pixels, (self.high, self.high), mode="bicubic", antialias=True)
        eps = network(torch.cat([x_t, large.to(x_t)], 1).to(network.dtype), t).sample.to(x_t)
        a = abar_at(self.abar, t)
        x_0 = ((x_t - (1 - a) ** 0.5 * eps) / a**0.5).clamp(-1, 1)
        return to_eps(x_0, x_t, a, "x_0")

    def to_pixels(self, x_0: Tensor, pixels: Tensor) -> Tensor:
        return x_0.clamp(-1, 1)


def load(
    name: str,
    *,
    device: torch.device,
    dtype: torch.dtype | None = None,
    offload: bool | None = None,
    user_folder: Path | None = None,
) -> Lab:
    """Assemble the lab part by part, because the published index names a module that diffusers has moved."""
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    from .causal_prior import CausalPrior

    files = Checkpoint(spec(name), user_folder, device=device, dtype=dtype, offload=offload)
    image = files.network(CLIPVisionModelWithProjection, "clip", "image_encoder")
    text = files.network(CLIPTextModelWithProjection, "decoder", "text_encoder")
    prior_network = files.network(CausalPrior, "prior", "prior")
    projection = files.network(UnCLIPTextProjModel, "decoder", "text_proj", stays=True)
    widths = {"image tower": image.config.projection_dim, "text tower": text.config.projection_dim}
    widths |= {"prior": prior_network.config["embedding_dim"], "decoder": projection.config["clip_embeddings_dim"]}
    same_width(widths)
    processor = files.config("clip", "image_encoder", "preprocessor_config.json")
    encoder = Towers(image, text, files.tokenizer("decoder", "tokenizer"), processor, device)
    network = files.network(UNet2DConditionModel, "decoder", "decoder")
    decoder = KarloDecoder(network, projection, encoder, files.scheduler("decoder", "decoder_scheduler"))
    first = files.network(UNet2DModel, "decoder", "super_res_first")
    last = files.network(UNet2DModel, "decoder", "super_res_last")
    upsampler = KarloUpsampler(first, last, decoder.image_size, files.scheduler("decoder", "super_res_scheduler"))
    prior = UnclipPrior(prior_network, encoder, files.scheduler("prior", "prior_scheduler"))
    return Lab(name, encoder, prior, decoder, upsampler, files.weights)
