"""Tokens one after another from a causal transformer: temperature, top-k, guidance, and a cache of keys and values."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .errors import UserError
from .noise import checked_seeds


class CausalNetwork(Protocol):
    """transformers' causal language models, such as GPT2LMHeadModel."""

    def get_input_embeddings(self) -> Any:
        """The table that turns ids (B, N) into embeddings (B, N, W)."""

    def __call__(
        self, *, inputs_embeds: Tensor, past_key_values: Any = None, use_cache: bool, logits_to_keep: int
    ) -> Any:
        """An output with `logits` (B, logits_to_keep, V) and `past_key_values`."""


def guided_logits(conditional: Tensor, null: Tensor, guidance: float) -> Tensor:
    """l = l_∅ + g (l_c - l_∅): classifier-free guidance of a transformer, on the logits of the next token.

    Both are (B, V).  1 is no guidance, 0 ignores the condition.
    """
    return null + guidance * (conditional - null)


def choose(logits: Tensor, uniform: Tensor, *, temperature: float = 1.0, top_k: int | None = None) -> Tensor:
    """One token a row from softmax(l / temperature) over the `top_k` likeliest: (B, V) and (B,) in [0, 1) to (B,)."""
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1)
    # The last sum differs from 1 by rounding, and a token without probability must not be drawn for it.
    point = uniform.to(cumulative)[:, None] * cumulative[:, -1:]
    return (cumulative <= point).sum(-1).clamp(max=logits.shape[-1] - 1)


def next_token(
    logits: Tensor, uniform: Tensor, *, guidance: float = 1.0, temperature: float = 1.0, top_k: int | None = None
) -> Tensor:
    """`choose` from logits (B, V), or from `guided_logits` of (2 B, V), B with the condition and B without: (B,)."""
    if len(logits) > len(uniform):
        conditional, null = logits.chunk(2)
        logits = guided_logits(conditional, null, guidance)
    return choose(logits, uniform, temperature=temperature, top_k=top_k)


def check_sampling(*, temperature: float, top_k: int | None, guidance: float) -> None:
    """Refuse parameters of the sampling that are out of their range.

    Raises:
        UserError: a temperature that is not positive, a top_k below 1, or a negative guidance.
    """
    if not 0 < temperature < torch.inf:
        raise UserError(f"temperature is {temperature}: give a positive number; small ones choose the likeliest token")
    if top_k is not None and top_k < 1:
        raise UserError(f"top_k is {top_k}: give at least 1, or None for all tokens")
    if not 0 <= guidance < torch.inf:
        raise UserError(f"guidance is {guidance}: give a number from 0; 1 is no guidance")


def uniform_numbers(seeds: Sequence[int], count: int) -> Tensor:
    """A uniform number for every token of every sample, which depends on its own seed alone: (B, count)."""
    generators = [torch.Generator().manual_seed(zlib.crc32(f"tokens {s}".encode())) for s in checked_seeds(seeds)]
    return torch.stack([torch.rand(count, generator=g, dtype=torch.float64) for g in generators])


@torch.no_grad()
def sample_steps(
    network: CausalNetwork,
    prefix: Tensor,
    choices: Sequence[range],
    *,
    seeds: Sequence[int],
    null: Tensor | None = None,
    begin: Tensor | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    guidance: float = 1.0,
    cached: bool = True,
) -> Iterator[Tensor]:
    """Yield the tokens (B, k) after each new one; the last value holds all of them.

    p(tokens | prefix) = Π p(token_k | prefix, earlier tokens).  Ramesh et al. 2021, section 2.

    Args:
        prefix: (B, P, W), what precedes the tokens, as embeddings without positions.
        choices: the ids among which each token is chosen, a range for every token; a token is the number in its range.
        seeds: B, one a sample; a sample is the same alone and in any batch.
        null: (B, P, W), the prefix without its condition, which guidance other than 1 needs.
        begin: (B, S), the first tokens where they are given.
        temperature, top_k: of `choose`. guidance: of `guided_logits`.
        cached: keep the keys and values of earlier tokens; False computes the whole sequence for every token.

    Raises:
        UserError: parameters out of their range, or first tokens that are none of their choices.
    """
    check_sampling(temperature=temperature, top_k=top_k, guidance=guidance)
    tokens = _checked_begin(begin, choices, len(prefix))
    if guidance != 1 and null is None:
        raise ValueError(f"guidance is {guidance}: give the prefix without its condition as `null`")
    uniform = uniform_numbers(seeds, len(choices)).to(prefix.device)
    rows = prefix if guidance == 1 or null is None else torch.cat([prefix, null])
    embed = network.get_input_embeddings()
    starts = torch.tensor([choice.start for choice in choices], device=prefix.device)
    ahead, cache = rows, None  # what the network has not seen yet, and what it keeps of the rest
    if tokens.shape[1]:
        ahead = torch.cat([rows, _twice(embed(tokens + starts[: tokens.shape[1]]), rows)], 1)
        yield tokens
    for k in range(tokens.shape[1], len(choices)):
        output = network(inputs_embeds=ahead, past_key_values=cache, use_cache=cached, logits_to_keep=1)
        logits = output.logits[:, -1, choices[k].start : choices[k].stop].float()
        token = next_token(logits, uniform[:, k], guidance=guidance, temperature=temperature, top_k=top_k)[:, None]
        tokens = torch.cat([tokens, token], 1)
        following = _twice(embed(token + starts[k]), rows)
        cache = output.past_key_values
        ahead = following if cached else torch.cat([ahead, following], 1)
        yield tokens


def _twice(embeddings: Tensor, rows: Tensor) -> Tensor:
    """The same embeddings for both halves of the rows, where guidance has doubled them."""
    return embeddings.repeat(len(rows) // len(embeddings), 1, 1)


def _checked_begin(begin: Tensor | None, choices: Sequence[range], batch: int) -> Tensor:
    """The given first tokens, none by default: (B, S)."""
    if begin is None:
        return torch.zeros(batch, 0, dtype=torch.long)
    if begin.ndim != 2 or len(begin) != batch or begin.shape[1] > len(choices):
        raise UserError(
            f"the first tokens are {tuple(begin.shape)}: give ({batch}, S) with S up to the {len(choices)} tokens"
        )
    sizes = torch.tensor([len(choice) for choice in choices[: begin.shape[1]]], device=begin.device)
    wrong = (begin < 0) | (begin >= sizes)
    if wrong.any():
        row, k = wrong.nonzero()[0].tolist()
        raise UserError(f"token {k} is {int(begin[row, k])}, and there are {len(choices[k])}: give 0 to one less")
    return begin.long()
