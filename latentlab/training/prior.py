"""The miniature's diffusion prior: PriorTransformer on the z_i and captions of the decoder's scenes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..clip import Encoder, local
from ..diffusion import cosine_abar
from ..models.emoji import EmojiPrior, predict_x0, prior_tokens, scaled
from ..prior import sample
from .decoder import TIME_LIMIT, linear_map
from .drawings import load_sprites
from .loop import Part, save_half
from .pools import Pool
from .things import things

if TYPE_CHECKING:
    from diffusers.models.transformers.prior_transformer import PriorTransformer


def build(*, width: int = 192, layers: int = 6, embed: int = 256, context: int = 20) -> PriorTransformer:
    from diffusers.models.transformers.prior_transformer import PriorTransformer

    return PriorTransformer(
        num_attention_heads=width // 48,
        attention_head_dim=48,
        num_layers=layers,
        embedding_dim=embed,
        num_embeddings=context,
        additional_embeddings=4,
    )


class Prior(Part["PriorTransformer"]):
    """|z_i - ẑ_i|² from the noised z_i and the caption, which some rows lack.  Ramesh et al. 2022, section 2.2."""

    name = "prior"
    lr = 1e-3
    batch = 256
    caption_dropped = 0.1

    def __init__(self, encoder: Encoder, pool: Pool, held_out: Pool) -> None:
        torch.manual_seed(0)
        self.network = build()
        self.scenes = pool
        pool, held_out = (Pool(*(tensor[~p.varied] for tensor in p)) for p in (pool, held_out))
        self.encoder, self.pool, self.held_out = encoder, pool, held_out
        self.network.clip_mean.data = pool.z_i.float().mean(0, keepdim=True)
        self.network.clip_std.data = pool.z_i.float().std(0, keepdim=True)
        self.network.clip_mean.requires_grad_(False)
        self.network.clip_std.requires_grad_(False)
        self.abar = cosine_abar().float().to(encoder.device)

    @torch.no_grad()
    def adopt(self, state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
        """Adapt the weights of a prior for another CLIP to this one by linear maps fitted on 2,048 scenes."""
        encoder = local(folder / "clip", device=self.encoder.device)
        count = min(2048, len(self.scenes.z_i))
        old = Pool.build(load_sprites(), encoder, None, first=0, count=count, side=32)
        new = Pool(*(tensor[:count] for tensor in self.scenes))
        z_old = (old.z_i.float() - state["clip_mean"]) / state["clip_std"]
        z_new = (new.z_i.float() - self.network.clip_mean) / self.network.clip_std
        state = {**state, "clip_mean": self.network.clip_mean.data, "clip_std": self.network.clip_std.data}
        back = linear_map(z_old, z_new)
        for name in ("proj_to_clip_embeddings.weight", "proj_to_clip_embeddings.bias"):
            state[name] = back @ state[name]
        state["proj_in.weight"] = state["proj_in.weight"] @ linear_map(z_new, z_old)
        z_t_map = linear_map(scaled(new.z_t.float()), scaled(old.z_t.float()))
        state["embedding_proj.weight"] = state["embedding_proj.weight"] @ z_t_map
        text_map = linear_map(new.text[old.mask].float(), old.text[old.mask].float())
        text, rest = state["encoder_hidden_states_proj.weight"].tensor_split([len(text_map)], dim=1)
        state["encoder_hidden_states_proj.weight"] = torch.cat([text @ text_map, rest], 1)
        return state

    def _x0_loss(
        self, network: PriorTransformer, pool: Pool, rows: Tensor, generator: torch.Generator, *, drop: bool
    ) -> Tensor:
        device = self.encoder.device
        z_i, z_t, text = (tensor[rows].to(device).float() for tensor in (pool.z_i, pool.z_t, pool.text))
        tokens = prior_tokens(text, pool.mask[rows].to(device), z_i.shape[1])
        x_0 = (z_i - network.clip_mean) / network.clip_std
        t = torch.randint(0, TIME_LIMIT, (len(rows),), generator=generator).to(device)
        eps = torch.randn(x_0.shape, generator=generator).to(device)
        if drop:
            keep = (torch.rand(len(rows), generator=generator) > self.caption_dropped).to(device)
            z_t, tokens = z_t * keep[:, None], tokens * keep[:, None, None]
        a = self.abar[t][:, None]
        return F.mse_loss(predict_x0(network, a.sqrt() * x_0 + (1 - a).sqrt() * eps, t, z_t, tokens).float(), x_0)

    def loss(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(0, len(self.pool.z_i), (self.batch,), generator=generator)
        return self._x0_loss(self.network, self.pool, rows, generator, drop=True)

    def _sampler(self, network: PriorTransformer) -> EmojiPrior:
        """The prior as the library samples it, with the weights of a network in training."""
        from ..models.causal_prior import CausalPrior

        causal = CausalPrior.from_config(network.config)
        causal.load_state_dict(network.state_dict())
        return EmojiPrior(causal.eval().to(self.encoder.device), self.encoder)

    def measure(self, network: PriorTransformer) -> dict[str, float]:
        from .clip import class_embeddings

        generator = torch.Generator().manual_seed(0)
        loss = self._x0_loss(network, self.held_out, torch.arange(len(self.held_out.z_i)), generator, drop=False)
        captions = [t.phrases[0] for t in things()]
        z_i = sample(self._sampler(network), captions, seeds=range(len(captions)))
        classes = class_embeddings(self.encoder.model.encode_text, self.encoder.tokens)
        right = ((z_i @ classes.T).argmax(1).cpu() == torch.arange(len(captions))).float().mean()
        return {"held_out_x0_loss": loss.item(), "top1_of_sampled": right.item()}

    def preview(self, network: PriorTransformer) -> Image.Image:
        """Real (left) and sampled (right) embeddings, one row for every caption."""
        rows = self.held_out.z_i[:64].float()
        z = (rows - network.clip_mean.cpu()) / network.clip_std.cpu()
        captions = [t.phrases[0] for t in things()[:64]]
        sampled = sample(self._sampler(network), captions, seeds=range(64)).cpu()
        sampled = (sampled - network.clip_mean.cpu()) / network.clip_std.cpu()
        grey = (torch.cat([z, sampled], 1).clamp(-2.5, 2.5) / 5 + 0.5) * 255
        return Image.fromarray(grey.byte().numpy()).resize((1024, 256), Image.Resampling.NEAREST)

    def export(self, network: PriorTransformer, folder: Path) -> None:
        save_half(network, folder)
