"""The seconds that a picture takes, and how changes of the settings alter them, against the shipped defaults.

    python benchmarks/speed.py
    python benchmarks/speed.py --wait-policy  # instead, what OMP_WAIT_POLICY=PASSIVE changes

Seconds are the least of several interleaved tries, so that a busy moment of the machine falls on no variant alone.
The table has the quality too: how many of the model's things CLIP recognises in the pictures generated from their
names, and the PSNR to the default's pictures.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Annotated
from unittest import mock

import torch
import typer
from torch import Tensor

from latentlab import experiments, models
from latentlab.analysis import intervals
from latentlab.decoding import decode, pictures
from latentlab.io import images
from latentlab.latents import Latent
from latentlab.noise import draw_x_T
from latentlab.prior import sample

PROMPT = "a red apple on a blue background"
Lab = models.Lab


@contextmanager
def as_it_is(lab: Lab) -> Iterator[None]:
    yield


@contextmanager
def channels_last(lab: Lab) -> Iterator[None]:
    networks = [lab.decoder.autoencoder, lab.upsampler.network]
    for network in networks:
        network.to(memory_format=torch.channels_last)
    yield
    for network in networks:
        network.to(memory_format=torch.contiguous_format)


@contextmanager
def compiled(lab: Lab) -> Iterator[None]:
    """Compile the decoder's network, which takes most of the time; the warm-up is not in the seconds."""
    network = lab.decoder.network
    lab.decoder.network = torch.compile(network)
    yield
    lab.decoder.network = network


VARIANTS: dict[str, tuple[Callable, dict]] = {
    "as shipped: 25 steps, guidance 2": (as_it_is, {}),
    "15 steps": (as_it_is, {"steps": 15}),
    "10 steps": (as_it_is, {"steps": 10}),
    "guidance 1": (as_it_is, {"guidance": 1.0}),
    "one candidate of the prior": (as_it_is, {"candidates": 1}),
    "channels_last": (channels_last, {}),
    "torch.compile": (compiled, {}),
}


def one(lab: Lab, params: dict) -> float:
    start = time.perf_counter()
    experiments.generate(lab, PROMPT, seeds=[0], preview_every=0, **params)
    return time.perf_counter() - start


def eight(lab: Lab, inverted: experiments.InversionResult) -> float:
    start = time.perf_counter()
    experiments.vary(lab, inverted, etas=(1.0,), seeds=range(8), preview_every=0)
    return time.perf_counter() - start


def generate_pictures(lab: Lab, names: list[str], params: dict) -> Tensor:
    """A picture of each name, before the upsampler."""
    seeds = range(len(names))
    z_i = sample(lab.prior, names, seeds=seeds, candidates=params.get("candidates", 2))
    latent = Latent(z_i, draw_x_T(lab.decoder, seeds, device=lab.device))
    steps, guidance = params.get("steps", 25), params.get("guidance", 2.0)
    x_0 = decode(lab.decoder, latent, text=lab.decoder.encode_prompt(names), steps=steps, guidance=guidance)
    return pictures(lab.decoder, x_0)


def recognised(lab: Lab, pixels: Tensor, names: list[str]) -> dict:
    z_i = torch.nn.functional.normalize(lab.encoder.encode_image(pixels), dim=-1)
    z_t = torch.nn.functional.normalize(lab.encoder.encode_text(list(lab.things)), dim=-1)
    truth = torch.tensor([lab.things.index(name) for name in names], device=z_i.device)
    return intervals.proportion((z_i @ z_t.T).argmax(1) == truth)


def serve(connection: Connection, model: str) -> None:
    """Time one picture whenever the other end asks for it, until it sends False."""
    lab = models.load(model, device="cpu")
    while connection.recv():
        connection.send(one(lab, {}))


@contextmanager
def worker(model: str, policy: str | None) -> Iterator[Callable[[], float]]:
    """Start a process with that wait policy and the default threads; the function times one picture there.

    OpenMP reads the policy when torch is imported, so each policy needs a process of its own.
    """
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
    environment |= {"OMP_WAIT_POLICY": policy} if policy else {}
    context = multiprocessing.get_context("spawn")
    connection, far_end = context.Pipe()
    process = context.Process(target=serve, args=(far_end, model), daemon=True)
    with mock.patch.dict(os.environ, environment, clear=True):
        process.start()

    def measure() -> float:
        connection.send(True)
        return connection.recv()

    measure()  # warms up
    yield measure
    connection.send(False)
    process.join()


@contextmanager
def busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def compare_wait_policies(model: str, tries: int) -> list[dict]:
    """Median seconds of one picture without and with the policy, alone and beside one busy process, interleaved."""
    rows = []
    with ExitStack() as stack:
        workers = {name: stack.enter_context(worker(model, name or None)) for name in ("", "PASSIVE")}
        for place, neighbour in (("alone", as_it_is), ("beside a busy process", lambda _: busy_process())):
            seconds: dict[str, list[float]] = {name: [] for name in workers}
            with neighbour(None):
                for _ in range(tries):
                    for name, measure in workers.items():
                        seconds[name].append(measure())
            default, passive = (statistics.median(values) for values in seconds.values())
            rows.append({"place": place, "default": default, "PASSIVE": passive, "ratio": default / passive})
    return rows


def main(
    model: Annotated[str, typer.Option(help="A model with a list of things that it can draw.")] = "emoji",
    tries: Annotated[int, typer.Option(min=1, help="Tries of each variant, interleaved; the shortest counts.")] = 5,
    things: Annotated[int, typer.Option(min=2, help="Pictures for the quality of each variant.")] = 64,
    wait_policy: Annotated[
        bool, typer.Option("--wait-policy", help="Compare OpenMP's wait policies instead of the variants.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Seconds of one picture and of eight variations, and the quality, of each variant."""
    if wait_policy:
        print(json.dumps({"model": model, "rows": compare_wait_policies(model, tries)}))
        return
    lab = models.load(model, device="cpu")
    names = list(lab.things[:: max(1, len(lab.things) // things)][:things])
    picture = images.load(models.gallery(model)[0][0], lab.decoder.image_size)
    inverted = experiments.invert(lab, picture)
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    variations: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for attempt in range(tries + 1):  # the first warms up
        for name, (change, params) in VARIANTS.items():
            with change(lab), torch.no_grad():
                taken = one(lab, params), eight(lab, inverted)
            if attempt:
                seconds[name].append(taken[0])
                variations[name].append(taken[1])
    rows, default = [], None
    for name, (change, params) in VARIANTS.items():
        with change(lab), torch.no_grad():
            pixels = generate_pictures(lab, names, params)
        default = pixels if default is None else default
        row = {"variant": name, "seconds": min(seconds[name]), "eight variations": min(variations[name])}
        row["times faster"] = min(seconds[next(iter(VARIANTS))]) / row["seconds"]
        row["PSNR to the default"] = images.psnr(default, pixels).mean().item()  # 206 dB where nothing differs
        rows.append(
            {
                **{k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()},
                "top-1": recognised(lab, pixels, names),
            }
        )
    print(json.dumps({"model": model, "threads": torch.get_num_threads(), "rows": rows}) if as_json else table(rows))


def table(rows: list[dict]) -> str:
    heads = ["variant", "one picture, s", "times faster", "eight variations, s", "top-1", "PSNR to the default, dB"]
    lines = []
    for row in rows:
        seconds = (f"{row[key]:.2f}" for key in ("seconds", "times faster", "eight variations"))
        top, likeness = intervals.format_interval(row["top-1"], ".0%"), f"{row['PSNR to the default']:.1f}"
        lines.append([row["variant"], *seconds, top, likeness])
    return intervals.markdown(heads, lines)


if __name__ == "__main__":
    typer.run(main)
