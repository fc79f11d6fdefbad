"""Time that the prior saves by computing a caption once: diffusers' PriorTransformer against ours, on the same weights.

    python benchmarks/prior.py           # the embedded prior
    python benchmarks/prior.py --karlo   # and one of Karlo's size with random weights, which needs 6 GB

Seconds are the shortest of several interleaved tries of the whole sampler, with two candidates a picture.  Each try has
a caption of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated
from unittest import mock

import torch
import typer
from diffusers import PriorTransformer

import latentlab
from latentlab.models.causal_prior import CaptionCache, CausalPrior
from latentlab.models.emoji import EmojiPrior
from latentlab.prior import sample

GROUNDS = ("blue", "green", "orange", "purple", "yellow", "gray")


def stock_forward(network: CausalPrior, *inputs: object, cache: object = None, **options: object) -> object:
    """diffusers' own forward, which keeps nothing from one step to the next."""
    return PriorTransformer.forward(network, *inputs, **options)


FORWARD = {PriorTransformer: stock_forward, CausalPrior: CausalPrior.forward}


@torch.no_grad()
def compared(label: str, run: Callable[[CausalPrior, int], torch.Tensor], network: CausalPrior, tries: int) -> None:
    """Print one line: the times of the same network with diffusers' forward and with ours."""
    seconds, outputs = {kind: [] for kind in FORWARD}, {}
    for attempt in range(tries):
        for kind, forward in FORWARD.items():
            with mock.patch.object(CausalPrior, "forward", forward):
                start = time.perf_counter()
                outputs[kind] = run(network, attempt)
                seconds[kind].append(time.perf_counter() - start)
    stock, ours = map(min, seconds.values())
    difference = (outputs[PriorTransformer] - outputs[CausalPrior]).abs().max() / outputs[PriorTransformer].abs().max()
    typer.echo(f"{label:<28} {stock:7.2f} s {ours:7.2f} s   {stock / ours:4.1f} times faster, {difference:.0e} apart")


def main(karlo: Annotated[bool, typer.Option(help="Measure a prior of Karlo's size, too.")] = False) -> None:
    lab = latentlab.load("emoji", device="cpu")

    def drawn(count: int, network: CausalPrior, attempt: int) -> torch.Tensor:
        caption = f"a red apple on a {GROUNDS[attempt]} background"
        return sample(EmojiPrior(network, lab.encoder), [caption], seeds=range(count))

    for count in (1, 4, 16):
        compared(f"emoji, pictures: {count}", partial(drawn, count), lab.prior.network, len(GROUNDS))
    if not karlo:
        return

    def steps(network: CausalPrior, attempt: int) -> torch.Tensor:
        """Four of the sampler's steps for two candidates, with guidance: z_t, states and a mask of four rows."""
        generator = torch.Generator().manual_seed(attempt)
        z_t = torch.randn(1, 768, generator=generator) * torch.tensor([1.0, 1, 0, 0])[:, None]
        states = torch.randn(1, 77, 768, generator=generator).expand(4, -1, -1)
        mask = (torch.arange(77) < 9).expand(4, -1)
        cache = CaptionCache()
        for t in (900, 600, 300, 0):
            x = network(
                torch.randn(4, 768, generator=generator), t, z_t, states, mask, cache=cache
            ).predicted_image_embedding
        return x

    compared("Karlo's size, four steps", steps, CausalPrior().eval(), 2)


if __name__ == "__main__":
    typer.run(main)
