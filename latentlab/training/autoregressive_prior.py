"""The autoregressive prior of a lab: GPT-2 on the quantised principal coordinates of z_i."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..analysis.covariance import Moments
from ..analysis.pca import Directions
from ..analysis.quantiser import Quantiser
from ..clip import Encoder, class_embeddings
from ..models.autoregressive_prior import AutoregressivePrior, CodeTransformer
from ..models.emoji import prior_conditioning, prior_tokens
from ..prior import PriorConditioning, sample
from ..slerp import normalize
from .loop import Part, save_half
from .pools import Pool

SHARE = 0.995  # of the variance of z_i, which the components keep


class Examples(NamedTuple):
    """Pictures and their captions, encoded once."""

    z_i: Tensor  # (N, D)
    z_t: Tensor  # (N, D)
    tokens: Tensor  # (N, L, W), as the lab's prior lays them out

    @staticmethod
    def of_pool(pool: Pool) -> Examples:
        """The miniature's scenes whose captions describe them."""
        z_i, z_t, text, mask = (part[~pool.varied] for part in (pool.z_i, pool.z_t, pool.text, pool.mask))
        return Examples(z_i.float(), z_t.float(), prior_tokens(text, mask, z_i.shape[1]))


class AutoregressivePriorTraining(Part[CodeTransformer]):
    """-log p(code | caption), which some rows lack.  Ramesh et al. 2022, section 2.2.

    Args:
        encoder: of the lab.
        encode_prompt: captions to z_t and tokens, as the examples have them.
        directions: of z_i, by default fitted on the examples.
        size: of the network.
    """

    name = "autoregressive-prior"
    lr = 1e-3
    muon_lr = 3e-3
    weight_decay = 0.1
    batch = 128
    caption_dropped = 0.1
    ema_decay = 0.99

    def __init__(
        self,
        encoder: Encoder,
        encode_prompt: Callable[[Sequence[str]], PriorConditioning],
        examples: Examples,
        held_out: Examples,
        captions: Sequence[str],
        *,
        directions: Directions | None = None,
        bins: int = 64,
        **size: int,
    ) -> None:
        torch.manual_seed(0)
        if directions is None:
            moments = Moments.of(examples.z_i)
            count = Directions.from_moments(moments).needed(SHARE)
            directions = Directions.from_moments(moments, count, metadata={"clip": encoder.fingerprint()})
        self.quantiser = Quantiser.fit(directions, examples.z_i, examples.z_t, bins=bins)
        self.encoder, self.encode_prompt, self.captions = encoder, encode_prompt, tuple(captions)
        self.examples, self.held_out = examples, held_out
        self.codes, self.held_out_codes = (self.quantiser.encode(e.z_i, e.z_t) for e in (examples, held_out))
        context, text = examples.tokens.shape[1:]
        shape = {"text": text, "context": context, "embed": self.quantiser.width}
        self.network = CodeTransformer(**shape, length=self.quantiser.length, bins=bins, **size)

    def matrices(self) -> list[nn.Parameter]:
        return [p for name, p in self.network.transformer.h.named_parameters() if p.ndim == 2]

    def _nats(self, network: CodeTransformer, examples: Examples, codes: Tensor, keep: Tensor) -> Tensor:
        """The mean negative log-likelihood of a number of the code."""
        device = self.encoder.device
        z_t, tokens, codes, keep = (part.to(device) for part in (examples.z_t, examples.tokens, codes, keep))
        logits = network(z_t * keep[:, None], tokens.float() * keep[:, None, None], codes)
        return F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())

    def loss(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(0, len(self.codes), (self.batch,), generator=generator)
        keep = torch.rand(len(rows), generator=generator) > self.caption_dropped
        batch = Examples(*(part[rows] for part in self.examples))
        return self._nats(self.network, batch, self.codes[rows], keep)

    def measure(self, network: CodeTransformer) -> dict[str, float]:
        """Nats a number on held-out examples, and how often a drawn z_i is nearest to its own caption."""
        keep = torch.ones(len(self.held_out_codes), dtype=torch.bool)
        nats = self._nats(network, self.held_out, self.held_out_codes, keep).item()
        z_i = sample(self._sampler(network), self.captions, seeds=range(len(self.captions)))
        classes = class_embeddings(self.encoder, self.captions)
        right = (normalize(z_i) @ classes.T).argmax(1).cpu() == torch.arange(len(self.captions))
        return {"held_out_nats": nats, "top1_of_sampled": right.float().mean().item()}

    def _sampler(self, network: CodeTransformer) -> AutoregressivePrior:
        return AutoregressivePrior(network, self.quantiser, self.encode_prompt)

    def preview(self, network: CodeTransformer) -> Image.Image:
        """The codes of held-out examples (left) and drawn ones (right), one row for every caption."""
        count = min(64, len(self.captions))
        z_i = sample(self._sampler(network), self.captions[:count], seeds=range(count)).cpu()
        drawn = self.quantiser.encode(z_i, self.encode_prompt(self.captions[:count]).z_t)
        codes = torch.cat([self.held_out_codes[:count], drawn[: len(self.held_out_codes)]], 1)
        grey = (255 * codes / (self.quantiser.bins - 1)).byte().cpu().numpy()
        return Image.fromarray(grey).resize((12 * codes.shape[1], 8 * len(codes)), Image.Resampling.NEAREST)

    def export(self, network: CodeTransformer, folder: Path) -> None:
        save_half(copy.deepcopy(network), folder)
        self._sampler(network).save(folder)


def of_miniature(encoder: Encoder, pool: Pool, held_out: Pool) -> AutoregressivePriorTraining:
    """The training on the scenes of the decoder's pool."""
    from .things import things

    examples, unseen = Examples.of_pool(pool), Examples.of_pool(held_out)
    captions = [thing.phrases[0] for thing in things()]
    encode_prompt = functools.partial(prior_conditioning, encoder)
    return AutoregressivePriorTraining(encoder, encode_prompt, examples, unseen, captions)
