"""Both priors on the same captions: python benchmarks/priors.py.

Each prior draws z_i of held-out scenes' captions, and the decoder draws a picture of each from the same noise. Measured
are accuracy (is a picture's own caption the nearest of all), CLIP score, Fréchet distance in CLIP's space, CMMD and
recall against the real scenes, the cosine of the drawn z_i to the real one, seconds for a caption, parameters, and
hours of training.
Ramesh et al. 2022, section 5.1 and table 1, where the diffusion prior is better at less compute.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

import latentlab
from latentlab.analysis import distances, intervals
from latentlab.experiments.stages import cosine, run_to_end, sample_images
from latentlab.latents import Latent
from latentlab.models.emoji_files import weights_folder
from latentlab.models.lab import PRIORS
from latentlab.noise import draw_x_T
from latentlab.prior import sample
from latentlab.slerp import normalize
from latentlab.training.comparison import held_out_scenes
from latentlab.training.drawings import load_sprites
from latentlab.training.rendering import Renderer

TRAINED_AS = {"diffusion": "prior", "autoregressive": "autoregressive-prior"}
HIGHER_IS_BETTER = {
    "accuracy": True,
    "CLIP score": True,
    "Fréchet distance": False,
    "CMMD": False,
    "recall": True,
    "cosine to the real z_i": True,
}


def drawn(lab: latentlab.Lab, kind: str, captions: list[str], tries: int) -> tuple[Tensor, float]:
    """z_i of every caption, and the shortest time for one caption alone."""
    prior, seconds = lab.prior_of(kind), []
    for k in range(tries):
        start = time.perf_counter()
        sample(prior, captions[k : k + 1], seeds=[k])
        seconds.append(time.perf_counter() - start)
    return sample(prior, captions, seeds=range(len(captions))), min(seconds)


def measure(lab: latentlab.Lab, z_i: Tensor, captions: list[str], real: Tensor, steps: int) -> dict[str, dict]:
    """Every quantity of z_i and of the pictures decoded from it."""
    decoder = lab.require_decoder()
    latent = Latent(z_i, draw_x_T(decoder, range(len(z_i)), device=lab.device))
    text, z_t = decoder.encode_prompt(captions), lab.encoder.encode_text(captions)
    pixels = run_to_end(sample_images(lab, latent, text=text, steps=steps, guidance=1.25))
    z = lab.encoder.encode_image(pixels)
    own = (normalize(z) @ normalize(z_t).T).argmax(1).cpu() == torch.arange(len(captions))
    return {
        "accuracy": intervals.proportion(own),
        "CLIP score": intervals.mean(cosine(z, z_t)),
        **{row["quantity"]: row for row in distances.compared(real, z)},
        "cosine to the real z_i": intervals.mean(cosine(z_i, real)),
    }


def cost(lab: latentlab.Lab, kind: str) -> dict[str, float]:
    """Parameters of a prior's network, and the hours that its training took, by the manifest."""
    trained = json.loads((weights_folder() / "MANIFEST.json").read_text())["trained"]
    count = sum(p.numel() for p in lab.prior_of(kind).network.parameters())
    return {"parameters": count, "hours of training": trained.get(TRAINED_AS[kind], {}).get("hours", float("nan"))}


def sentence(rows: dict[str, dict[str, Any]]) -> str:
    """What the intervals allow to be said of the two priors."""
    a, b = PRIORS
    better: dict[str, list[str]] = {a: [], b: [], "": []}
    for quantity, higher in HIGHER_IS_BETTER.items():
        first, second = rows[a][quantity], rows[b][quantity]
        apart = first["low"] > second["high"] or first["high"] < second["low"]
        winner = "" if not apart else a if (first["value"] > second["value"]) == higher else b
        better[winner].append(quantity)
    parts = [f"the {name} prior is better in {', '.join(q)}" for name, q in better.items() if name and q]
    if better[""]:
        parts.append(f"no difference can be told in {', '.join(better[''])}")
    hours = [rows[name]["hours of training"] for name in PRIORS]
    trained = f"They were trained for {hours[0]:.2f} and {hours[1]:.2f} hours."
    return f"By the 95% intervals {'; '.join(parts)}. {trained}"


def main(
    count: Annotated[int, typer.Option("--captions", min=40, help="Number of held-out captions.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the decoder.")] = 25,
    tries: Annotated[int, typer.Option(min=1, help="Timed runs of each prior.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Compare the priors of the embedded model."""
    lab, sprites = replace(latentlab.load("emoji"), upsampler=None), load_sprites()
    scenes = held_out_scenes(sprites, count)
    captions = [scene.caption for scene in scenes]
    real = lab.encoder.encode_image(Renderer(sprites, lab.device)(scenes, lab.require_decoder().image_size))
    rows: dict[str, dict[str, Any]] = {}
    for kind in PRIORS:
        z_i, seconds = drawn(lab, kind, captions, tries)
        rows[kind] = {**measure(lab, z_i, captions, real, steps), "seconds": seconds, **cost(lab, kind)}
        typer.echo(f"{kind}: {intervals.format_interval(rows[kind]['accuracy'], '.1%')}", err=True)
    if as_json:
        print(json.dumps({"captions": count, "weights": lab.weights, "rows": rows, "sentence": sentence(rows)}))
        return
    numbers = [name for name in rows[PRIORS[0]] if name not in HIGHER_IS_BETTER]
    heads = [f"prior, n = {count}", *HIGHER_IS_BETTER, *numbers]
    lines = [
        [kind, *(intervals.format_interval(row[q]) for q in HIGHER_IS_BETTER), *(f"{row[n]:,.3g}" for n in numbers)]
        for kind, row in rows.items()
    ]
    print(f"{intervals.markdown(heads, lines)}\n\n{sentence(rows)}")


if __name__ == "__main__":
    typer.run(main)
