"""DALL·E 1's speed: pictures with the cache of keys and values and without, and what guidance costs, in one run.

    python benchmarks/dalle.py                          # the shipped weights
    python benchmarks/dalle.py --random --threads 2     # random weights of the shipped size
    python benchmarks/dalle.py --threads 1 --processor  # beside other work

Seconds are of the wall clock, the least of several rounds; one picture is 64 tokens.  Beside other processes the
processor's own seconds say more: with one thread they are what the wall clock would show alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import torch
import typer

from latentlab import models
from latentlab.models import gpt2
from latentlab.models.dalle import Dalle
from latentlab.models.dvae import Dvae, LatentQuantizer

PROMPT = "a red apple on a blue background"


def random_dalle(lab: models.Lab, *, width: int = 192, layers: int = 4) -> Dalle:
    """DALL·E 1 of the shipped size with random weights, on the lab's first stage."""
    autoencoder = lab.require_decoder().autoencoder  # type: ignore[attr-defined]  # the embedded model's
    quantizer = LatentQuantizer().eval().requires_grad_(False)
    size, context = quantizer.codebook_size, lab.encoder.tokenizer.context_length
    words = len(lab.encoder.tokenizer.tokenizer)
    network = gpt2.build(vocabulary=words + size, positions=context + 64, width=width, layers=layers, heads=width // 32)
    return Dalle(network.eval().requires_grad_(False), Dvae(quantizer, autoencoder), lab.encoder)


def measured(
    dalle: Dalle, counts: list[int], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> Iterator[dict[str, float]]:
    """A row for every number of pictures and guidance, with the cache and without, in turns."""
    for count in counts:
        for guidance in (1.0, 3.0):
            seconds: dict[bool, list[float]] = {True: [], False: []}
            for k in range(rounds * 2):
                start = clock()
                dalle.generate([PROMPT], seeds=range(count), guidance=guidance, cached=k % 2 == 0)
                seconds[k % 2 == 0].append(clock() - start)
            with_cache, without = (round(min(seconds[cached]), 3) for cached in (True, False))
            gain = round(without / with_cache, 1)
            yield {"pictures": count, "guidance": guidance, "cache": with_cache, "no cache": without, "gain": gain}


def main(
    random: Annotated[bool, typer.Option(help="Use random weights of the shipped size.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="The number of threads.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="The rounds of each measurement.")] = 3,
    counts: Annotated[list[int] | None, typer.Option(help="A number of pictures; may be repeated.")] = None,
    processor: Annotated[bool, typer.Option(help="Measure the processor's seconds, not the wall clock's.")] = False,
) -> None:
    torch.set_num_threads(threads)
    lab = models.load("emoji", device="cpu")
    dalle = random_dalle(lab) if random else lab.require_dalle()
    dalle.generate([PROMPT], seeds=[0])  # the first one loads code
    clock = time.process_time if processor else time.perf_counter
    for row in measured(dalle, counts or [1, 4, 16], rounds, clock):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    typer.run(main)
