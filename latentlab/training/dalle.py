"""DALL·E 1's transformer: the tokens of captions and pictures, predicted one after another."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..clip import Encoder, class_embeddings
from ..io.images import to_pil
from ..models import gpt2
from ..models.dalle import Dalle, vocabulary_digest
from ..models.dvae import Dvae
from .curriculum import for_decoder
from .drawings import Sprites
from .loop import Part
from .pools import built_once
from .things import things

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

CAPTION_SHARE = 1 / 8  # of the loss; Ramesh et al. 2021, section 2.2


class TokenPool(NamedTuple):
    """Scenes as tokens, computed once."""

    captions: Tensor  # (N, L), padded
    pictures: Tensor  # (N, M)

    @staticmethod
    @torch.no_grad()
    def build(sprites: Sprites, latents: Tensor, dvae: Dvae, encoder: Encoder, *, first: int = 0) -> TokenPool:
        """Encode the scenes of the seeds first .. first + N, whose latents (N, C, H, W) are a decoder's pool's x_0."""
        parts = []
        for start in range(0, len(latents), 256):
            some = latents[start : start + 256]
            captions = [for_decoder(first + start + k, sprites).caption for k in range(len(some))]
            tokens = dvae.network.encode(some.to(encoder.device).float())[1].flatten(1)
            parts.append((encoder.tokens(captions).short(), tokens.int()))
        return TokenPool(*(torch.cat(column) for column in zip(*parts)))

    @staticmethod
    def cached(path: Path, sprites: Sprites, latents: Tensor, dvae: Dvae, encoder: Encoder) -> TokenPool:
        """Read the pool from a file, or `build` it and write the file.

        Raises:
            UserError: the file's tokens are outside the codebook.
        """
        pool = TokenPool(*built_once(path, lambda: TokenPool.build(sprites, latents, dvae, encoder)))
        dvae.check_tokens(pool.pictures)
        return pool


class DalleTraining(Part["GPT2LMHeadModel"]):
    """-log p(caption, picture), token by token; 10% of the pictures come without their caption, for guidance.

    Ramesh et al. 2021, section 2.2; the caption's share of the loss is an eighth.
    """

    name = "dalle"
    lr = 2e-3
    muon_lr = 6e-3
    weight_decay = 0.05
    batch = 64
    dropped = 0.1

    def __init__(
        self, dvae: Dvae, encoder: Encoder, pool: TokenPool, held_out: TokenPool, *, width: int = 192, layers: int = 4
    ) -> None:
        torch.manual_seed(0)
        self.dvae, self.encoder, self.pool, self.held_out = dvae, encoder, pool, held_out
        self.context, self.words = pool.captions.shape[1], len(encoder.tokenizer.tokenizer)
        self.network = gpt2.build(
            vocabulary=self.words + dvae.codebook_size,
            positions=self.context + dvae.length,
            width=width,
            layers=layers,
            heads=width // 32,
        )
        self.network.config.words = vocabulary_digest(encoder)
        self.levels = level_rows(dvae.network.config["levels"]).to(encoder.device)
        self.network.add_module("levels", nn.Embedding(int(self.levels.max()) + 1, width))
        nn.init.normal_(self._rows_of_levels(self.network), std=0.02)

    def matrices(self) -> list[nn.Parameter]:
        return [p for p in self.network.transformer.h.parameters() if p.ndim == 2]

    def adopt(self, state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
        """Add the output layer, which is the table of embeddings and is not stored, and the levels, which it holds."""
        zeros = torch.zeros_like(self._rows_of_levels(self.network))
        return {**state, "lm_head.weight": state["transformer.wte.weight"], "levels.weight": zeros}

    @staticmethod
    def _rows_of_levels(network: GPT2LMHeadModel) -> Tensor:
        return cast("nn.Embedding", network.levels).weight

    def table(self, network: GPT2LMHeadModel) -> Tensor:
        """The table of embeddings: words, and tokens of which each is its own row and the rows of its levels."""
        rows = network.lm_head.weight
        shared = F.embedding(self.levels, self._rows_of_levels(network)).sum(1)  # (codebook, W)
        return torch.cat([rows[: self.words], rows[self.words :] + shared])

    def _losses(self, network: GPT2LMHeadModel, captions: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The cross-entropies of a caption's token and of a picture's, in nats."""
        ids = torch.cat([captions, pictures + self.words], 1)
        table, border = self.table(network), self.context - 1
        states = network.transformer(inputs_embeds=F.embedding(ids, table), use_cache=False).last_hidden_state[:, :-1]
        words = F.linear(states[:, :border], table[: self.words]).flatten(0, 1).float()
        codes = F.linear(states[:, border:], table[self.words :]).flatten(0, 1).float()
        following = captions[:, 1:].flatten()
        weight = (following > 0).float()  # padding follows padding, which teaches nothing
        caption = (F.cross_entropy(words, following, reduction="none") * weight).sum() / weight.sum().clamp(min=1)
        return caption, F.cross_entropy(codes, pictures.flatten())

    def _rows(self, pool: TokenPool, rows: Tensor) -> tuple[Tensor, Tensor]:
        captions, pictures = (tensor[rows].to(self.encoder.device).long() for tensor in pool)
        return captions, pictures

    def loss(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(0, len(self.pool.pictures), (self.batch,), generator=generator)
        captions, pictures = self._rows(self.pool, rows)
        kept = (torch.rand(len(rows), 1, generator=generator) >= self.dropped).to(captions)
        caption, picture = self._losses(self.network, captions * kept, pictures)
        return CAPTION_SHARE * caption + (1 - CAPTION_SHARE) * picture

    def folded(self, network: GPT2LMHeadModel) -> GPT2LMHeadModel:
        """A copy with the levels added to the table, which is a plain GPT-2."""
        plain = copy.deepcopy(network)
        plain.transformer.wte.weight.data = self.table(network).detach()
        plain.lm_head.weight = plain.transformer.wte.weight
        del plain.levels
        return plain

    def _sampler(self, network: GPT2LMHeadModel) -> Dalle:
        return Dalle(self.folded(network), self.dvae, self.encoder)

    def measure(self, network: GPT2LMHeadModel) -> dict[str, float]:
        """The loss of held-out pictures with captions and without, and CLIP's accuracy on a picture of each thing."""
        captions, pictures = self._rows(self.held_out, torch.arange(len(self.held_out.pictures)))
        losses = [
            torch.stack([self._losses(network, c, p)[1] for c, p in zip(shown.split(128), pictures.split(128))]).mean()
            for shown in (captions, torch.zeros_like(captions))
        ]
        names = [t.phrases[0] for t in things()]
        drawn_pictures = self._sampler(network).generate(names, seeds=range(len(names)))
        classes = class_embeddings(self.encoder, names)
        right = (self.encoder.encode_image(drawn_pictures) @ classes.T).argmax(1).cpu() == torch.arange(len(names))
        return {
            "held_out_loss": losses[0].item(),
            "held_out_loss_without_captions": losses[1].item(),
            "top1_of_sampled": right.float().mean().item(),
        }

    def preview(self, network: GPT2LMHeadModel) -> Image.Image:
        """One picture of each of 40 things."""
        from torchvision.utils import make_grid

        names = [t.phrases[0] for t in things()[::4][:40]]
        return to_pil(make_grid(self._sampler(network).generate(names, seeds=range(len(names))), 10)[None])[0]

    def export(self, network: GPT2LMHeadModel, folder: Path) -> None:
        gpt2.save_half(self.folded(network), folder)


def level_rows(levels: Sequence[int]) -> Tensor:
    """For every token the rows of its levels, one for each channel of its code: (codebook, channels).

    Tokens that share levels look alike.  Added to a token's own embedding, rows of their own let the transformer learn
    from each token about all of them.
    """
    tokens, rows, basis, first = torch.arange(math.prod(levels)), [], 1, 0
    for count in levels:
        rows.append(first + tokens // basis % count)
        basis, first = basis * count, first + count
    return torch.stack(rows, 1)
