"""What reading a caption once saves the prior: diffusers' PriorTransformer against ours, the same weights, in one run.

    python benchmarks/prior.py           # the embedded prior
    python benchmarks/prior.py --karlo   # and one of Karlo's size with random weights, which wants 6 GB

Seconds are the least of several interleaved tries of the whole sampler, two candidates a picture.
"""

from __future__ import annotations

import time
from typing import Annotated

import torch
import typer
from diffusers import PriorTransformer

import latentlab
from latentlab.models.causal_prior import CausalPrior
from latentlab.models.emoji import EmojiPrior
from latentlab.prior import sample

CAPTION = "a red apple on a blue background"


def pair(network: PriorTransformer) -> dict[str, PriorTransformer]:
    """The same weights, in memory once."""
    with torch.device("meta"):
        stock, ours = (kind.from_config(network.config) for kind in (PriorTransformer, CausalPrior))
    for each in (stock, ours):
        each.load_state_dict(network.state_dict(), assign=True)
        each.causal_attention_mask = network.causal_attention_mask
        each.eval().requires_grad_(False)
    return {"stock": stock, "ours": ours}


@torch.no_grad()
def compared(label: str, run, networks: dict[str, PriorTransformer], tries: int) -> None:
    seconds, found = {name: [] for name in networks}, {}
    for _ in range(tries):
        for name, network in networks.items():
            begun = time.perf_counter()
            found[name] = run(network)
            seconds[name].append(time.perf_counter() - begun)
    stock, ours = (min(seconds[name]) for name in networks)
    apart = (found["stock"] - found["ours"]).abs().max() / found["stock"].abs().max()
    typer.echo(f"{label:<28} {stock:7.2f} s {ours:7.2f} s   {stock / ours:4.1f} times faster, {apart:.0e} apart")


def main(karlo: Annotated[bool, typer.Option(help="Also at Karlo's size.")] = False) -> None:
    lab = latentlab.load("emoji", device="cpu")
    networks = pair(lab.prior.network)

    def drawn(network: PriorTransformer, seeds: range) -> torch.Tensor:
        return sample(EmojiPrior(network, lab.encoder), [CAPTION], seeds=seeds)

    for count in (1, 4, 16):
        compared(f"emoji, pictures: {count}", lambda network: drawn(network, range(count)), networks, 6)  # noqa: B023
    if not karlo:
        return
    text = torch.randn(1, 77, 768), torch.arange(77)[None] < 9

    def steps(network: PriorTransformer) -> torch.Tensor:
        """Four of the sampler's steps for two candidates, with guidance: z_t, states and a mask of four rows."""
        generator, z_t = torch.Generator().manual_seed(0), torch.ones(4, 768) * torch.tensor([1.0, 1, 0, 0])[:, None]
        states, mask = (part.expand(4, *part.shape[1:]) for part in text)
        for t in (900, 600, 300, 0):
            x = network(torch.randn(4, 768, generator=generator), t, z_t, states, mask).predicted_image_embedding
        return x

    compared("Karlo's size, four steps", steps, pair(PriorTransformer().eval()), 2)


if __name__ == "__main__":
    typer.run(main)
