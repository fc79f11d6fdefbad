"""Sweeps in one batch, against the same work picture by picture with diffusers on the same weights.

    python benchmarks/sweep.py

The loop is what one writes with diffusers alone: its schedulers and its transformer, with the whole padded context.
Both sides invert naively over the same times, so that they make the same pictures; the largest difference in grey
levels is part of the table.  The runs of the two alternate, and the shortest of each counts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from torch import Tensor

import latentlab
from latentlab import models
from latentlab.analysis import intervals
from latentlab.decoding import decode, pictures
from latentlab.diffusion import CLEAN, Conditioning, abar_at, to_eps
from latentlab.edits import interpolate, text_diff
from latentlab.inversion import invert
from latentlab.io import images
from latentlab.latents import Latent
from latentlab.models.emoji import context, scaled
from latentlab.models.emoji_files import weights_folder

STEPS = 25


def schedulers(decoder):
    """diffusers' pair on the decoder's own noise levels, and the times that it visits."""
    from diffusers import DDIMInverseScheduler, DDIMScheduler

    abar = decoder.abar.double()
    betas = 1 - abar / torch.cat([torch.ones(1, dtype=abar.dtype), abar[:-1]])
    params = {
        "trained_betas": betas.numpy(),
        "clip_sample": False,
        "set_alpha_to_one": True,
        "timestep_spacing": "leading",
    }
    decode_scheduler, invert_scheduler = DDIMScheduler(**params), DDIMInverseScheduler(**params)
    decode_scheduler.set_timesteps(STEPS)
    invert_scheduler.set_timesteps(STEPS)
    return decode_scheduler, invert_scheduler, [*decode_scheduler.timesteps.tolist(), CLEAN]


class OneByOne:
    """A loop over diffusers' parts: one picture at a time, inverted again for every output or only once."""

    def __init__(self, lab, network, *, keep_inversions: bool):
        self.lab, self.network, self.keep, self.inversions = lab, network, keep_inversions, {}
        self.decode_scheduler, self.invert_scheduler, self.times = schedulers(lab.decoder)

    def eps(self, x: Tensor, t: int, cond: Conditioning) -> Tensor:
        z_i, time = scaled(cond.z_i), torch.full((1,), t)
        v = self.network(x, context(z_i, self.lab.decoder.empty), z_i, time).sample
        return to_eps(v, x, abar_at(self.lab.decoder.abar, t), "v")

    def invert(self, pixels: Tensor, row: int) -> Latent:
        if self.keep and row in self.inversions:
            return self.inversions[row]
        x = self.lab.decoder.to_x0(pixels)
        cond = Conditioning(self.lab.encoder.encode_image(pixels))
        for t in self.invert_scheduler.timesteps.tolist():
            left = max(t - 1000 // STEPS, 0)  # the level being left, where the network is evaluated
            x = self.invert_scheduler.step(self.eps(x, left, cond), t, x).prev_sample
        self.inversions[row] = Latent(cond.z_i, x)
        return self.inversions[row]

    def decode(self, latent: Latent) -> Tensor:
        x, cond = latent.x_T, Conditioning(latent.z_i)
        for t in self.decode_scheduler.timesteps.tolist():
            x = self.decode_scheduler.step(self.eps(x, t, cond), t, x).prev_sample
        return self.lab.decoder.to_pixels(x)

    def text_diff(self, pixels: Tensor, captions: list[tuple[str, list[str]]], thetas: list[float]) -> Tensor:
        decoded = []
        for row, (source, targets) in enumerate(captions):
            for target in targets:
                for theta in thetas:
                    latent = self.invert(pixels[row : row + 1], row)
                    z_t0, z_t = (self.lab.encoder.encode_text([c]) for c in (source, target))
                    decoded.append(self.decode(text_diff(latent, z_t0, z_t, [theta])))
        return torch.cat(decoded)

    def interpolate(self, pixels: Tensor, thetas: list[float]) -> Tensor:
        decoded = []
        for a in range(0, len(pixels), 2):
            for theta in thetas:
                ends = [self.invert(pixels[k : k + 1], k) for k in (a, a + 1)]
                decoded.append(self.decode(interpolate(*ends, [theta], noise="slerp")))
        return torch.cat(decoded)


class Batched:
    """The library: every picture inverted once, the whole sweep decoded as one batch."""

    def __init__(self, lab):
        self.lab, self.times = lab, schedulers(lab.decoder)[2]

    def invert(self, pixels: Tensor) -> Latent:
        cond = Conditioning(self.lab.encoder.encode_image(pixels))
        x_0 = self.lab.decoder.to_x0(pixels)
        return invert(self.lab.decoder, x_0, cond, steps=self.times, method="naive").latent

    def decode(self, latent: Latent) -> Tensor:
        return pictures(self.lab.decoder, decode(self.lab.decoder, latent, steps=self.times))

    def text_diff(self, pixels: Tensor, captions: list[tuple[str, list[str]]], thetas: list[float]) -> Tensor:
        latent = self.invert(pixels)
        turned = []
        for row, (source, targets) in enumerate(captions):
            z_t = self.lab.encoder.encode_text([source, *targets])
            turned += [text_diff(latent[row], z_t[:1], z_t[k : k + 1], thetas) for k in range(1, len(z_t))]
        return self.decode(Latent.stack(turned))

    def interpolate(self, pixels: Tensor, thetas: list[float]) -> Tensor:
        latent = self.invert(pixels)
        pairs = range(0, len(pixels), 2)
        return self.decode(Latent.stack(interpolate(latent[a], latent[a + 1], thetas, noise="slerp") for a in pairs))


def timed(functions: dict[str, Callable[[], Tensor]], repeat: int) -> dict[str, tuple[float, Tensor]]:
    """The shortest time of each function in seconds, and its pictures; runs alternate, so a busy moment slows all."""
    fastest = {name: (float("inf"), function()) for name, function in functions.items()}  # once unmeasured, to warm up
    for _ in range(repeat):
        for name, function in functions.items():
            start = time.perf_counter()
            pixels = function()
            fastest[name] = min(fastest[name][0], time.perf_counter() - start), pixels
    return fastest


@torch.no_grad()
def main(
    repeat: Annotated[int, typer.Option(help="Runs of each; the shortest counts.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    from diffusers import SD3Transformer2DModel

    lab = latentlab.load("emoji", device="cpu")
    network = SD3Transformer2DModel.from_pretrained(weights_folder() / "decoder").eval()
    listing = models.gallery("emoji")[:8]
    pixels = torch.cat([images.load(path, lab.decoder.image_size) for path, _ in listing])
    names = [caption.split(" on ")[0] for _, caption in listing]
    captions = [(names[k], [names[(k + 1) % 8]]) for k in range(4)]
    jobs = {
        "4 x 8 text diffs": lambda side: side.text_diff(pixels[:4], captions, torch.linspace(0, 0.5, 8).tolist()),
        "4 x 4 interpolations": lambda side: side.interpolate(pixels, torch.linspace(0, 1, 4).tolist()),
    }
    rows = []
    for name, job in jobs.items():
        functions = {"one batch": lambda job=job: job(Batched(lab))} | {
            loop: lambda job=job, loop=loop: job(OneByOne(lab, network, keep_inversions=loop == "once"))
            for loop in ("each time", "once")
        }
        (our_seconds, our_pixels), *loops = timed(functions, repeat).values()
        for loop, (seconds, their_pixels) in zip(("each time", "once"), loops):
            rows.append(
                {
                    "sweep": name,
                    "loop inverts": loop,
                    "seconds": round(seconds, 2),
                    "seconds, one batch": round(our_seconds, 2),
                    "times faster": round(seconds / our_seconds, 1),
                    "largest difference, grey levels": round(float((our_pixels - their_pixels).abs().max()) * 127.5, 3),
                }
            )
    if as_json:
        print(json.dumps({"model": lab.name, "weights": lab.weights, "threads": torch.get_num_threads(), "rows": rows}))
        return
    print(intervals.markdown([*rows[0]], (map(str, row.values()) for row in rows)))


if __name__ == "__main__":
    typer.run(main)
