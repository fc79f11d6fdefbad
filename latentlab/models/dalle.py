"""DALL·E 1: a causal transformer that writes a picture's tokens after those of its caption."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..autoregression import sample_steps
from ..captions import check_captions
from ..errors import UserError
from ..io import images
from ..noise import checked_seeds
from . import gpt2
from .dvae import Dvae

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
    from transformers import GPT2LMHeadModel

    from ..clip import Encoder

FOLDER = "dalle"
RETRAIN = "python -m latentlab.training dalle"
# CLIP names more of the sampled pictures than at guidance 2 or with 32 tokens to choose from (MODEL_CARD.md).
TEMPERATURE, TOP_K, GUIDANCE = 1.0, 128, 3.0


def vocabulary_digest(encoder: Encoder) -> str:
    """Identifies the words whose ids the transformer learnt."""
    return f"{zlib.crc32(' '.join(encoder.vocabulary).encode()):08x}"


def prompts_for(prompts: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """A prompt for every seed.

    Raises:
        UserError: there are neither as many prompts as seeds nor a single one.
    """
    if len(prompts) not in (1, len(seeds)):
        raise UserError(f"{len(prompts)} prompts for {len(seeds)} seeds: give one for all, or one each")
    return list(prompts) * (len(seeds) // len(prompts))


class Dalle:
    """Prompts to pictures, token by token.  Ramesh et al. 2021, section 2.

    Args:
        network: GPT-2 on the prompt's ids, padded to CLIP's context, and then the picture's tokens, whose ids follow
            those of the words.
        dvae: the discrete first stage.
        encoder: the CLIP whose tokenizer reads the prompts.

    Raises:
        UserError: the transformer was trained for another codebook, another context or other words.
    """

    max_batch_size = 64  # the largest number of pictures sampled at once, which bounds memory

    def __init__(self, network: GPT2LMHeadModel, dvae: Dvae, encoder: Encoder) -> None:
        self.network, self.encoder = network, encoder
        self.dvae: Dvae = dvae
        self.context: int = encoder.tokenizer.context_length
        self.words: int = network.config.vocab_size - dvae.codebook_size
        self.image_size = dvae.image_size
        self._check()

    def _check(self) -> None:
        config, length = self.network.config, self.context + self.dvae.length
        digest = vocabulary_digest(self.encoder)
        mend = f"`{RETRAIN}` trains one that fits"
        if self.words < 1 or config.n_positions != length:
            raise UserError(
                f"the transformer has {config.vocab_size} ids and {config.n_positions} positions, wanted more than the "
                f"codebook's {self.dvae.codebook_size} ids and {length} positions: {mend}"
            )
        if getattr(config, "words", digest) != digest:
            raise UserError(f"the transformer learnt the words {config.words}, and this CLIP has {digest}: {mend}")

    def embed_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Prompts to the embeddings of their tokens, without positions: (B, L, W)."""
        return self.network.get_input_embeddings()(self.encoder.tokens(prompts))

    def sample_steps(
        self,
        prompts: Sequence[str],
        *,
        seeds: Sequence[int],
        begin: Tensor | None = None,
        temperature: float = TEMPERATURE,
        top_k: int | None = TOP_K,
        guidance: float = GUIDANCE,
        cached: bool = True,
    ) -> Iterator[Tensor]:
        """Yield the tokens (B, k) after each new one, of all pictures at once; as `autoregression.sample_steps`.

        Args:
            prompts: B, or one for all seeds.
            begin: (B, S), a picture's first tokens, row by row, which are continued.

        Raises:
            UserError: an empty prompt or one without a known word, or parameters out of their range.
        """
        check_captions(self.encoder, prompts)
        count = len(checked_seeds(seeds))
        prefix = self.embed_prompts(prompts_for(prompts, seeds))
        pad = torch.zeros(1, self.context, dtype=torch.long, device=prefix.device)
        null = self.network.get_input_embeddings()(pad).expand(count, -1, -1)
        choices = [range(self.words, self.words + self.dvae.codebook_size)] * self.dvae.length
        options = {"temperature": temperature, "top_k": top_k, "guidance": guidance, "cached": cached}
        yield from sample_steps(self.network, prefix, choices, seeds=seeds, null=null, begin=begin, **options)  # type: ignore[arg-type]

    def sample_batches(
        self, prompts: Sequence[str], *, seeds: Sequence[int], begin: Tensor | None = None, **options: Any
    ) -> Iterator[Iterator[Tensor]]:
        """For every batch that fits into memory what `sample_steps` yields; prompts, begin and options as there."""
        seeds = checked_seeds(seeds)
        prompts = prompts_for(prompts, seeds)
        for start in range(0, len(seeds), self.max_batch_size):
            some = slice(start, start + self.max_batch_size)
            first = None if begin is None else begin[some]
            yield self.sample_steps(prompts[some], seeds=seeds[some], begin=first, **options)

    def generate(self, prompts: Sequence[str], *, seeds: Sequence[int], **options: Any) -> Tensor:
        """One picture a seed, (B, 3, H, W) in [-1, 1]; as many as wanted, sampled in batches.

        Args:
            prompts, options: as in `sample_steps`.
        """
        pixels = []
        for steps in self.sample_batches(prompts, seeds=seeds, **options):
            *_, tokens = steps
            pixels.append(self.dvae.to_pixels(tokens))
        return torch.cat(pixels)

    def upper_part(self, pixels: Tensor, share: float = 0.5) -> Tensor:
        """The tokens of the upper part of pictures, in whole rows of tokens: (B, 3, H, W) to (B, S).

        Raises:
            UserError: a share that is not between 0 and 1.
        """
        if not 0 < share < 1:
            raise UserError(f"the share of the picture to keep is {share}: give a number between 0 and 1")
        rows = max(1, round(share * self.dvae.side))
        kept = images.resize(pixels, self.image_size)
        return self.dvae.to_tokens(kept)[:, : rows * self.dvae.side]

    def preview(self, tokens: Tensor) -> Tensor:
        """Pictures of the first tokens (B, k), in which the missing ones repeat the last: (B, 3, H, W)."""
        missing = self.dvae.length - tokens.shape[1]
        return self.dvae.to_pixels(torch.cat([tokens, tokens[:, -1:].expand(-1, missing)], 1))


def load_dalle(folder: Path, autoencoder: AutoencoderDC, encoder: Encoder) -> Dalle:
    """DALL·E 1 from a miniature's folder, with that miniature's first stage and CLIP.

    Raises:
        UserError: a part is missing or damaged, or the parts do not fit.
    """
    dvae = Dvae.load(folder / "dvae", autoencoder)
    network = gpt2.load(folder / FOLDER, retrain=RETRAIN)
    network.to(encoder.device)  # type: ignore[arg-type]
    return Dalle(network, dvae, encoder)
