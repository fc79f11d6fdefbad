"""What the picture's own trajectory gains over RePaint at equal evaluations: python benchmarks/edits.py.

In every picture a thing is replaced by another one through a centred square mask of three sizes.  Measured: the PSNR
outside the mask, the change between neighbours across its border and beside it, whether CLIP's zero-shot label inside
the mask is the thing that was asked for, and the CLIP score; means with 95% intervals.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from inversion import scenes
from torch import Tensor

import latentlab
from latentlab import inpainting, plotting, prior
from latentlab.analysis import intervals
from latentlab.diffusion import Conditioning
from latentlab.experiments.painting import Brush, inside, paint_window
from latentlab.experiments.stages import cosine, run_to_end
from latentlab.io import images

SIDES = (0.4, 0.6, 0.8)  # of the mask, as shares of the picture's
QUANTITIES = (
    "PSNR outside",
    "change across the border",
    "change beside the border",
    "accuracy inside the mask",
    "CLIP score",
)


def methods(budget: int) -> dict[str, dict]:
    """Parameters of `edit` that spend so many evaluations of the decoder, the inversion's included."""
    return {
        "RePaint, 2 resamplings": {"known": "noised", "resamplings": 2, "eta": 1.0, "steps": budget // 2},
        "noised, once": {"known": "noised", "resamplings": 1, "steps": budget},
        "trajectory, once": {"known": "trajectory", "resamplings": 1, "steps": budget // 2},
        "trajectory, 2 resamplings": {"known": "trajectory", "resamplings": 2, "eta": 1.0, "steps": budget // 3},
    }


def centred(side: int, share: float) -> Tensor:
    first = round(side * (1 - share) / 2)
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[first : side - first, first : side - first] = True
    return mask


def paint(
    lab: latentlab.Lab, pictures: Tensor, mask: Tensor, captions: list[str], *, known: str, steps: int, **params: Any
) -> Tensor:
    """All pictures (N, 3, H, W) edited as one batch through one mask (H, W), each with its own caption and seed."""
    seeds = tuple(range(len(pictures)))
    text = lab.require_decoder().encode_prompt(captions)
    wanted = Conditioning(prior.sample(lab.prior, captions, seeds=seeds), text)
    decoder = {"guidance": 2.0, "resamplings": 1, "eta": 0.0, "clip": None, **params}
    brush = Brush(pictures.shape[-1], seeds, 1.0, steps, known, decoder, None, 0)
    return run_to_end(paint_window(lab, pictures, mask[None, None], (0, 0), wanted, brush))


def measure(lab: latentlab.Lab, pictures: Tensor, share: float, params: dict) -> tuple[dict[str, dict], Tensor]:
    """Every quantity's row over the pictures, and the edits."""
    mask = centred(pictures.shape[-1], share)
    rows = [(37 * k + 11) % len(lab.things) for k in range(len(pictures))]
    captions = [lab.things[k] for k in rows]
    edits = paint(lab, pictures, mask, captions, **params)
    painted = mask[None, None]
    wider = F.max_pool2d(painted.float(), 3, 1, 1) > 0
    labels = lab.encoder.zero_shot(inside(edits, painted), lab.things).argmax(1).cpu()
    z_i, z_t = lab.encoder.encode_image(edits), lab.encoder.encode_text(captions)
    measured = {
        "PSNR outside": intervals.mean(images.psnr(edits[..., ~mask][..., None], pictures[..., ~mask][..., None])),
        "change across the border": intervals.mean(inpainting.seam(edits, painted)),
        "change beside the border": intervals.mean(inpainting.seam(edits, wider)),
        "accuracy inside the mask": intervals.proportion(labels == torch.tensor(rows)),
        "CLIP score": intervals.mean(cosine(z_i, z_t)),
    }
    return measured, edits


def main(
    count: Annotated[int, typer.Option("--scenes", min=2, max=187, help="Number of pictures.")] = 64,
    budget: Annotated[int, typer.Option(min=6, help="Evaluations of the decoder for each edit.")] = 48,
    only: Annotated[str, typer.Option(help="One of the methods, by its name; all of them by default.")] = "",
    sheet: Annotated[Path | None, typer.Option(help="Where to draw a contact sheet of the first pictures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Compare edits on the embedded decoder."""
    lab = latentlab.load("emoji")
    kind, pictures = scenes(lab, count)
    rows, shown = [], {"original": pictures[:8]}
    for name, params in methods(budget).items():
        if only and name != only:
            continue
        for share in SIDES:
            measured, edits = measure(lab, pictures, share, params)
            rows.append({"method": name, "side": share, **measured})
            shown[f"{name}, {share:g}"] = edits[:8]
            typer.echo(f"{name}, {share:g}: {intervals.format_interval(measured['CLIP score'])}", err=True)
    if sheet:
        plotting.rows(shown).savefig(sheet, dpi=80)
    lines = [
        [row["method"], f"{row['side']:g}", *(intervals.format_interval(row[name]) for name in QUANTITIES)]
        for row in rows
    ]
    table = intervals.markdown(["method", "mask's side", *QUANTITIES], lines)
    heading = f"{len(pictures)} {kind}, {budget} evaluations an edit, weights {lab.weights}; mean and 95% interval.\n"
    about = {"pictures": kind, "n": len(pictures), "budget": budget, "weights": lab.weights, "rows": rows}
    print(json.dumps(about) if as_json else f"{heading}\n{table}")


if __name__ == "__main__":
    typer.run(main)
