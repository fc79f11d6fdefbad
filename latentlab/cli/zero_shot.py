"""The commands about CLIP itself: which label, how alike, and the gap between its two kinds of embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Chosen, Fit, Json, Out, choosing, listed, note, opened, report, save_result, say, squared


@choosing
def classify(
    model: Chosen,
    pictures: Annotated[list[Path], typer.Argument(help="Images.")],
    labels: Annotated[str, typer.Option(help="The classes as captions, with commas; the model's own by default.")] = "",
    top: Annotated[int, typer.Option(min=1, help="How many labels to say.")] = 5,
    fit: Fit = "crop",
    as_json: Json = False,
) -> None:
    """Say what CLIP takes pictures for."""
    from .. import experiments

    given = opened(pictures, fit)
    lab = model.load(as_json)
    classes = listed(labels) or lab.things
    found = experiments.classify(lab.encoder, squared(given, lab, fit), classes)
    rows = [
        {"image": str(path), "labels": [{"label": x, "probability": round(p, 4)} for x, p in found.top(k, top)]}
        for k, path in enumerate(pictures)
    ]
    said = [", ".join(f"{label} {p:.0%}" for label, p in found.top(k, top)) for k in range(len(pictures))]
    lines = [f"{path}: {labels}" for path, labels in zip(pictures, said)]
    note(found.notes)
    say({"model": lab.name, "weights": lab.weights, "pictures": rows, "notes": list(found.notes)}, as_json, lines)


@choosing
def compare(
    model: Chosen,
    pictures: Annotated[list[Path], typer.Argument(help="Two images or more.")],
    captions: Annotated[
        str, typer.Option(help="Two captions or more, with commas; as many as images are taken for their own.")
    ],
    fit: Fit = "crop",
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Hold pictures against captions: cosines, and how far CLIP keeps the two kinds apart."""
    from .. import experiments
    from ..io import atomic

    given, folder = opened(pictures, fit), atomic.writable_folder(out)
    lab = model.load(as_json)
    found = experiments.compare(lab.encoder, squared(given, lab, fit), listed(captions))
    names, drawn = [path.name for path in pictures], {"gap": found.gap_figure()}
    about = {"model": lab.name, "weights": lab.weights, "images": names}
    paths = save_result(found, folder, "comparison", figures=drawn, fit=fit, **about)
    report(found, paths, as_json, **about, similarity=found.similarity.round(decimals=4).tolist())


COMMANDS = (classify, compare)
