"""The miniature's decoder: SD3's transformer on z_i and the caption, in pixels or in an autoencoder's latents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..clip import Encoder, local
from ..decoding import decode
from ..diffusion import cosine_abar
from ..io.images import to_pil
from ..latents import Latent
from ..models.emoji import Z_TOKENS, EmojiDecoder, context, scaled
from ..noise import SeededNoise
from ..slerp import normalize, slerp
from .curriculum import for_decoder
from .drawings import Sprites
from .loop import Part, save_half
from .pools import Pool, drawn
from .rendering import Renderer
from .things import things

if TYPE_CHECKING:
    from diffusers.models.attention import JointTransformerBlock
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

TIME_LIMIT = 981  # sampling never visits later times (diffusion.levels)
# Captions that say little or nothing about a picture, from which text diffs turn away.
BLANK = (
    "a photo", " ", "a picture", "an image", "a drawing", "a thing", "an emoji", "a sign", "something",
    "a photo of a thing", "a picture of something", "a background", "nothing", "a scene", "flat", "glossy", "outlined",
    "a colour", "two things", "a word",
)  # fmt: skip


class Noised(NamedTuple):
    """Noised scenes with their conditions, and the v that is to be predicted from them."""

    x_t: Tensor  # (B, C, H, W)
    v: Tensor
    z_i: Tensor  # (B, D), scaled
    text: Tensor  # (B, L, W)
    t: Tensor  # (B,)

    def inputs(self) -> tuple[Tensor, ...]:
        """What the network reads."""
        return self.x_t, context(self.z_i, self.text), self.z_i, self.t


def build(
    side: int, patch: int, channels: int, *, width: int = 192, layers: int = 6, embed: int = 256, text: int = 192
) -> SD3Transformer2DModel:
    """SD3Transformer2DModel with zeros in its modulations and its last layer, which diffusers does not set."""
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

    network = SD3Transformer2DModel(
        sample_size=side,
        patch_size=patch,
        in_channels=channels,
        out_channels=channels,
        num_layers=layers,
        attention_head_dim=48,
        num_attention_heads=width // 48,
        joint_attention_dim=text + Z_TOKENS * embed,
        caption_projection_dim=width,
        pooled_projection_dim=embed,
        pos_embed_max_size=side // patch,
        qk_norm="rms_norm",
    )
    blocks = cast("list[JointTransformerBlock]", list(network.transformer_blocks))
    modulations = [norm.linear for block in blocks for norm in (block.norm1, block.norm1_context)]
    modulations.append(network.norm_out.linear)
    for linear in [*modulations, network.proj_out]:
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
    return network


def stratified(count: int, generator: torch.Generator) -> Tensor:
    """One time from every one of `count` equal intervals, for less noise in the loss (Kingma et al. 2021, I.1)."""
    order = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    return (order * TIME_LIMIT / count).long()


def linear_map(a: Tensor, b: Tensor, ridge: float = 1e-3) -> Tensor:
    """The linear map (B, A) that takes the rows of a (N, A) nearest to those of b (N, B)."""
    a, b = a.double(), b.double()
    gram = a.T @ a
    gram.diagonal().add_(ridge * gram.diagonal().mean())
    return torch.linalg.solve(gram, a.T @ b).T.float()


class Decoder(Part["SD3Transformer2DModel"]):
    """|v - v̂|² on noised scenes; z_i is dropped in 10%, the caption in 50%.  Ramesh et al. 2022, section 2.1."""

    name = "decoder"
    lr = 2e-3
    batch = 128
    fall = 0.35
    z_i_dropped, caption_dropped = 0.1, 0.5

    def __init__(
        self,
        sprites: Sprites,
        encoder: Encoder,
        autoencoder: AutoencoderDC | None,
        pool: Pool,
        *,
        held_out: int = 512,
        **size: int,
    ) -> None:
        torch.manual_seed(0)
        side = 8 if autoencoder is not None else 32
        channels = autoencoder.config["latent_channels"] if autoencoder is not None else 3
        self.network = build(side, 1 if autoencoder is not None else 4, channels, **size)
        self.encoder, self.autoencoder, self.sprites = encoder, autoencoder, sprites
        self.side = 64 if autoencoder is not None else 32
        self.pool = pool
        blank = encoder.encode_text(BLANK).cpu().repeat(1 + len(pool.z_t) // 24 // len(BLANK), 1)
        # About a quarter of these are blank captions.
        self.captions = normalize(torch.cat([pool.z_t[::8].cpu().float(), blank]))
        self.held_out = Pool.build(sprites, encoder, autoencoder, first=10**9, count=held_out, side=self.side)
        self.abar = cosine_abar().float().to(encoder.device)

    @torch.no_grad()
    def adopt(self, state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
        """Adapt the weights of a decoder for another CLIP and first stage to the present ones.

        Linear maps from the new latents, z_i and text states to the old ones, and from the old latents to the new ones,
        are fitted on 2,048 scenes and multiplied into the network's outermost layers, which are linear.
        """
        from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC

        encoder = local(folder / "clip", device=self.encoder.device)
        first_stage = None
        if self.autoencoder is not None:
            first_stage = AutoencoderDC.from_pretrained(folder / "autoencoder", torch_dtype=torch.float32).eval()
            nn.Module.to(first_stage, encoder.device)
        count = min(2048, len(self.pool.x_0))
        old = Pool.build(self.sprites, encoder, first_stage, first=0, count=count, side=self.side)
        new = Pool(*(tensor[:count] for tensor in self.pool))
        into, out = (a.movedim(1, -1).flatten(0, -2).float() for a in (old.x_0, new.x_0))
        state = dict(state)
        if self.autoencoder is not None:
            name = "pos_embed.proj.weight"
            state[name] = (state[name][:, :, 0, 0] @ linear_map(out, into))[..., None, None]
            for name in ("proj_out.weight", "proj_out.bias"):
                state[name] = linear_map(into, out) @ state[name]
        z_map = linear_map(scaled(new.z_i.float()), scaled(old.z_i.float()))
        name = "time_text_embed.text_embedder.linear_1.weight"
        state[name] = state[name] @ z_map
        text, *blocks = state["context_embedder.weight"].tensor_split(
            [old.text.shape[-1] + k * len(z_map) for k in range(Z_TOKENS)], dim=1
        )
        text_map = linear_map(new.text[old.mask].float(), old.text[old.mask].float())
        state["context_embedder.weight"] = torch.cat([text @ text_map, *(block @ z_map for block in blocks)], 1)
        return state

    def matrices(self) -> list[nn.Parameter]:
        named = self.network.transformer_blocks.named_parameters()
        return [p for name, p in named if p.ndim == 2 and "norm" not in name]

    def _v_loss(
        self, network: SD3Transformer2DModel, pool: Pool, rows: Tensor, generator: torch.Generator, *, drop: bool
    ) -> Tensor:
        noised = self.noised(pool, rows, generator, drop=drop)
        return F.mse_loss(network(*noised.inputs()).sample.float(), noised.v)

    def noised(self, pool: Pool, rows: Tensor, generator: torch.Generator, *, drop: bool) -> Noised:
        """The scenes of these rows at random times; `drop`: with z_i turned and conditions left out, as in training."""
        device = self.encoder.device
        x_0, z_i, text = (tensor[rows].to(device).float() for tensor in (pool.x_0, pool.z_i, pool.text))
        count = len(rows)
        t = stratified(count, generator).to(device)
        eps = torch.randn(x_0.shape, generator=generator).to(device)
        if drop:
            z_i = self._turned(z_i, generator)
            coin = torch.rand(2, count, generator=generator).to(device)
            z_i = z_i * (coin[0] > self.z_i_dropped)[:, None]
            text = text * (coin[1] > self.caption_dropped)[:, None, None]
        a = self.abar[t].view(-1, 1, 1, 1)
        x_t, v = a.sqrt() * x_0 + (1 - a).sqrt() * eps, a.sqrt() * eps - (1 - a).sqrt() * x_0
        return Noised(x_t, v, scaled(z_i), text, t)

    def _turned(self, z_i: Tensor, generator: torch.Generator) -> Tensor:
        """Turn five of nine z_i towards a difference of captions, a caption or noise, by up to 0.55 of the arc.

        Text diffs lead to z_i that belong to no picture, where a decoder trained on pictures' z_i alone breaks down.
        """
        count, width = z_i.shape
        a, b = (self.captions[torch.randint(len(self.captions), (count,), generator=generator)] for _ in range(2))
        noise = torch.randn(count, width, generator=generator)
        kind = torch.rand(count, 1, generator=generator)
        kind = kind.where((a != b).any(1, keepdim=True), torch.zeros(()))  # a - b = 0 has no direction
        towards = torch.where(kind < 0.2, noise, torch.where(kind < 0.3, a, a - b)).to(z_i)
        theta = (0.99 * torch.rand(count, 1, generator=generator) - 0.44).clamp_min(0).to(z_i)
        return slerp(z_i, normalize(towards) * z_i.norm(dim=1, keepdim=True), theta)

    def loss(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(0, len(self.pool.x_0), (self.batch,), generator=generator)
        return self._v_loss(self.network, self.pool, rows, generator, drop=True)

    def measure(self, network: SD3Transformer2DModel) -> dict[str, float]:
        generator = torch.Generator().manual_seed(0)
        rows = torch.arange(len(self.held_out.x_0))
        losses = [self._v_loss(network, self.held_out, r, generator, drop=False).item() for r in rows.split(128)]
        return {"held_out_v_loss": sum(losses) / len(losses), "top1_of_decoded": self._accuracy(network)}

    def _accuracy(self, network: SD3Transformer2DModel, count: int = 96) -> float:
        """Top-1 of encode(decode(z_i)) among all things, for single things of held-out seeds."""
        from .clip import class_embeddings

        scenes = [for_decoder(s, self.sprites) for s in range(10**9, 10**9 + 512)]
        rows = [k for k, s in enumerate(scenes) if "posed" in s.facts][:count]
        decoder = EmojiDecoder(network, self.autoencoder, self.encoder)
        z_i = self.held_out.z_i[rows].float().to(self.encoder.device)
        x_T = SeededNoise(rows, decoder.shape, device=self.encoder.device)()
        pictures = decoder.to_pixels(decode(decoder, Latent(z_i, x_T), steps=12, guidance=1.5))
        classes = class_embeddings(self.encoder.model.encode_text, lambda c: self.encoder.tokens(c))
        best = (self.encoder.encode_image(pictures) @ classes.T).argmax(1).tolist()
        return sum(things()[b].name == scenes[k].thing for b, k in zip(best, rows)) / len(rows)

    def preview(self, network: SD3Transformer2DModel) -> Image.Image:
        """Held-out scenes, with the pictures that the decoder makes of their z_i below them."""
        from torchvision.utils import make_grid

        decoder = EmojiDecoder(network, self.autoencoder, self.encoder)
        seeds = range(10**9, 10**9 + 40)
        scenes = [for_decoder(s, self.sprites) for s in seeds]
        real = drawn(Renderer(self.sprites, self.encoder.device), scenes)
        x_T = SeededNoise(seeds, decoder.shape, device=self.encoder.device)()
        latent = Latent(self.encoder.encode_image(real), x_T)
        decoded = F.interpolate(decoder.to_pixels(decode(decoder, latent, steps=20, guidance=1.5)), (64, 64))
        rows = torch.stack([real.view(4, 10, 3, 64, 64), decoded.view(4, 10, 3, 64, 64)], 1).flatten(0, 2)
        return to_pil(make_grid(rows, 10)[None])[0]

    def export(self, network: SD3Transformer2DModel, folder: Path) -> None:
        save_half(network, folder)
