"""Edits by RePaint and by a decoder trained to inpaint, at equal evaluations: python benchmarks/edits.py.

In every picture a thing is replaced by another one through a centred square mask of three sizes.  Measured: whether the
thing inside the mask is the one that was asked for, by the judge, which no part was trained with, and by CLIP; the
CLIP score; the PSNR outside the mask; and the change between neighbours across its border and beside it, which is the
picture's own; means with 95% intervals.
"""

from __future__ import annotations

import dataclasses
import json
import time
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
from latentlab.errors import UserError
from latentlab.experiments.painting import Brush, inside, paint_windows
from latentlab.experiments.stages import cosine, run_to_end
from latentlab.io import images
from latentlab.models import inpainter
from latentlab.models.judge import Judge

SIDES = (0.4, 0.6, 0.8)  # of the mask, as shares of the picture's
JUDGED, RECOGNISED = "accuracy inside by the judge", "accuracy inside by CLIP"
QUANTITIES = (
    JUDGED,
    RECOGNISED,
    "CLIP score",
    "PSNR outside",
    "change across the border",
    "change beside the border",
)
REPAINT, TRAJECTORY, FINE_TUNED = "RePaint", "RePaint, known trajectory", "fine-tuned"
ONCE = "known trajectory, once"


def methods(budget: int) -> dict[str, dict]:
    """How to paint with so many evaluations of the decoder, the inversion's included, one for three of its steps."""
    return {
        REPAINT: {"known": "noised", "resamplings": 2, "eta": 1.0, "steps": budget // 2},
        TRAJECTORY: {"known": "trajectory", "resamplings": 2, "eta": 1.0, "steps": 3 * budget // 7},
        ONCE: {"known": "trajectory", "steps": 3 * budget // 4},
        "noised, once": {"known": "noised", "steps": budget},
        FINE_TUNED: {"known": "noised", "steps": budget, "decoder": "fine-tuned"},
    }


def with_fine_tuned(lab: latentlab.Lab) -> latentlab.Lab:
    """The lab with the fine-tuned decoder that this machine trained, where it fits the lab's and none ships."""
    from latentlab.training.exports import run_folder

    folder = run_folder("inpainting") / "export"
    if lab.load_inpainting or not (folder / inpainter.FILE).is_file():
        return lab
    try:
        decoder = inpainter.load(folder, lab.decoder)  # type: ignore[arg-type]  # the miniature's
    except UserError as error:
        typer.echo(f"{folder}: {error}", err=True)
        return lab
    return dataclasses.replace(lab, load_inpainting=lambda: decoder)


def centred(side: int, share: float) -> Tensor:
    first = round(side * (1 - share) / 2)
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[first : side - first, first : side - first] = True
    return mask


def asked(lab: latentlab.Lab, rows: list[int]) -> Conditioning:
    """What the pictures should show: the things in these rows of `lab.things`."""
    captions = [lab.things[k] for k in rows]
    text = lab.require_decoder().encode_prompt(captions)
    return Conditioning(prior.sample(lab.prior, captions, seeds=range(len(rows))), text)


def paint(
    lab: latentlab.Lab,
    pictures: Tensor,
    mask: Tensor,
    wanted: Conditioning,
    *,
    known: str,
    steps: int,
    decoder: str = "plain",
    **params: Any,
) -> Tensor:
    """All pictures (N, 3, H, W) edited as one batch through one mask (H, W), each with its own caption and seed."""
    lab = dataclasses.replace(lab, decoder=lab.require_inpainting()) if decoder == "fine-tuned" else lab
    seeds = tuple(range(len(pictures)))
    of_decoder = {"guidance": 2.0, "resamplings": 1, "eta": 0.0, "clip": None, **params}
    brush = Brush(pictures.shape[-1], seeds, 1.0, steps, known, of_decoder, None, 0)
    return run_to_end(paint_windows(lab, pictures, mask[None, None], [(0, 0)], wanted, brush))


def measure(
    lab: latentlab.Lab,
    judge: Judge,
    pictures: Tensor,
    share: float,
    rows: list[int],
    wanted: Conditioning,
    params: dict,
) -> tuple[dict[str, dict], Tensor]:
    """Every quantity's row over the pictures, and the edits."""
    from latentlab.training.things import things

    mask = centred(pictures.shape[-1], share)
    edits = paint(lab, pictures, mask, wanted, **params)
    painted = mask[None, None]
    wider, shown = F.max_pool2d(painted.float(), 3, 1, 1) > 0, inside(edits, painted)
    labels = lab.encoder.zero_shot(shown, lab.things).argmax(1).cpu()
    names = {thing.phrases[0]: thing.name for thing in things()}
    z_i, z_t = lab.encoder.encode_image(edits), lab.encoder.encode_text([lab.things[k] for k in rows])
    measured = {
        JUDGED: intervals.proportion(judge.ranks(shown, [names[lab.things[k]] for k in rows]) == 0),
        RECOGNISED: intervals.proportion(labels == torch.tensor(rows)),
        "CLIP score": intervals.mean(cosine(z_i, z_t)),
        "PSNR outside": intervals.mean(images.psnr(edits[..., ~mask][..., None], pictures[..., ~mask][..., None])),
        "change across the border": intervals.mean(inpainting.seam(edits, painted)),
        "change beside the border": intervals.mean(inpainting.seam(edits, wider)),
    }
    return measured, edits


def sentence(rows: list[dict], method: str, reference: str = TRAJECTORY) -> str:
    """Where the intervals of two methods, over all masks, say that one is better inside the mask or at its border."""
    found = []
    by_side = {(row["method"], row["side"]): row for row in rows}
    for quantity, better in ((JUDGED, 1), (RECOGNISED, 1), ("CLIP score", 1), ("change across the border", -1)):
        for side in SIDES:
            a, b = (by_side[name, side][quantity] for name in (method, reference))
            apart = (a["low"] > b["high"]) - (a["high"] < b["low"])
            if apart:
                found.append(f"{'better' if apart == better else 'worse'} in {quantity} at {side:g}")
    return f"{method} against {reference}: " + ("; ".join(found) or "no difference can be told") + "."


def seconds(lab: latentlab.Lab, picture: Tensor, rounds: int, steps: int = 25) -> dict[str, Any]:
    """The processor's time of an edit over that of a decode of as many steps from the same prompt, round by round."""
    mask, prompt = centred(picture.shape[-1], 0.6), lab.things[0]
    like_edit: dict[str, Any] = {"solver": "ddim", "guidance": 2.0, "preview_every": 0}
    spent: dict[str, list[float]] = {"edit": [], "decode": []}
    for number in range(rounds + 1):
        for name in spent:
            start = time.process_time()
            if name == "edit":
                latentlab.edit(lab, picture, mask, prompt, steps=steps, preview_every=0)
            else:
                latentlab.generate(lab, prompt, steps=steps, candidates=2, prior_guidance=1.0, **like_edit)
            if number:  # the first round loads what it needs
                spent[name].append(time.process_time() - start)
    ratios = torch.tensor(spent["edit"]) / torch.tensor(spent["decode"])
    return intervals.mean(ratios, quantity="edit over decode")


def main(
    count: Annotated[int, typer.Option("--scenes", min=2, max=187, help="Number of pictures.")] = 64,
    budget: Annotated[int, typer.Option(min=5, help="Evaluations of the decoder for each edit.")] = 20,
    rounds: Annotated[int, typer.Option(min=0, help="Rounds in which an edit and a decode are timed.")] = 8,
    only: Annotated[str, typer.Option(help="One of the methods, by its name; all of them by default.")] = "",
    sheet: Annotated[Path | None, typer.Option(help="Where to draw a contact sheet of the first pictures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Compare edits on the embedded decoder."""
    lab, judge = with_fine_tuned(latentlab.load("emoji")), Judge.load()
    kind, pictures = scenes(lab, count)
    things = [(37 * k + 11) % len(lab.things) for k in range(len(pictures))]
    wanted = asked(lab, things)
    rows, shown = [], {"original": pictures[:8]}
    for name, params in methods(budget).items():
        if (only and name != only) or (name == FINE_TUNED and lab.load_inpainting is None):
            continue
        for share in SIDES:
            measured, edits = measure(lab, judge, pictures, share, things, wanted, params)
            rows.append({"method": name, "side": share, **measured})
            shown[f"{name}, {share:g}"] = edits[:8]
            line = ", ".join(intervals.format_interval(measured[q]) for q in QUANTITIES[:3])
            typer.echo(f"{name}, {share:g}: {line}", err=True)
        if sheet:
            plotting.rows(shown, titles=[lab.things[k] for k in things[:8]]).savefig(sheet, dpi=80)
    lines = [
        [row["method"], f"{row['side']:g}", *(intervals.format_interval(row[name]) for name in QUANTITIES)]
        for row in rows
    ]
    table = intervals.markdown(["method", "mask's side", *QUANTITIES], lines)
    heading = f"{len(pictures)} {kind}, {budget} evaluations an edit, weights {lab.weights}; mean and 95% interval.\n"
    compared = [name for name in dict.fromkeys(row["method"] for row in rows) if name != TRAJECTORY and not only]
    sentences = [sentence(rows, name) for name in compared]
    about = {"pictures": kind, "n": len(pictures), "budget": budget, "weights": lab.weights, "rows": rows}
    if rounds:
        about["seconds"] = seconds(lab, images.resize(pictures[:1], lab.output_size), rounds)
        ratio = intervals.format_interval(about["seconds"])
        sentences.append(f"An edit of 25 steps takes {ratio} times a plain decode of as many (n = {rounds}).")
    text = "\n".join([heading, table, "", *sentences])
    print(json.dumps({**about, "sentences": sentences}) if as_json else text)


if __name__ == "__main__":
    typer.run(main)
