"""The commands about CLIP alone: zero-shot classification, and the similarity of pictures and captions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .inputs import Inputs, load_pixels, parse_list
from .options import PICTURE_OR_LATENTS, ClipFit, Json, ModelChoice, Out, with_model_options
from .output import print_notes, print_output, report, save_result


@with_model_options
def classify(
    model: ModelChoice,
    pictures: Annotated[list[Path], typer.Argument(help=f"One {PICTURE_OR_LATENTS}; or several, or folders.")],
    labels: Annotated[
        str, typer.Option(help="Classes as captions, separated by commas; the model's own by default.")
    ] = "",
    top: Annotated[int, typer.Option(min=1, help="Number of labels to print.")] = 5,
    fit: ClipFit = "model",
    as_json: Json = False,
) -> None:
    """Classify pictures with CLIP, zero-shot."""
    from .. import experiments
    from ..clip import FITS

    inputs = Inputs(pictures, fit, FITS)
    lab = model.load(as_json)
    classes = parse_list(labels) or lab.things
    names, pixels = load_pixels(inputs, lab, fit, as_json)
    classification = experiments.classify(lab, pixels, classes)
    rows = [
        {
            "image": name,
            "labels": [{"label": x, "probability": round(p, 4)} for x, p in classification.top(k, top)],
        }
        for k, name in enumerate(names)
    ]
    ranked = [", ".join(f"{label} {p:.0%}" for label, p in classification.top(k, top)) for k in range(len(names))]
    lines = [f"{name}: {labels}" for name, labels in zip(names, ranked)]
    print_notes(classification.notes)
    print_output(
        {"model": lab.name, "weights": lab.weights, "pictures": rows, "notes": list(classification.notes)},
        as_json,
        lines,
    )


@with_model_options
def compare(
    model: ModelChoice,
    pictures: Annotated[list[Path], typer.Argument(help="Two images or more, or folders; latents are decoded.")],
    captions: Annotated[
        str,
        typer.Option(
            help="Two captions or more, separated by commas; as many captions as images belong to them in order."
        ),
    ],
    fit: ClipFit = "model",
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Compare pictures with captions by cosine.

    A second figure shows the gap between the two kinds of embedding.
    """
    from .. import experiments
    from ..clip import FITS
    from ..io import atomic

    inputs, folder = Inputs(pictures, fit, FITS), atomic.writable_folder(out)
    lab = model.load(as_json)
    names, pixels = load_pixels(inputs, lab, fit, as_json)
    comparison = experiments.compare(lab, pixels, parse_list(captions))
    figures = {"gap": comparison.gap_figure()}
    paths = save_result(comparison, folder, "comparison", figures=figures, fit=fit, images=names)
    report(comparison, paths, as_json, images=names, similarity=comparison.similarity.round(decimals=4).tolist())


COMMANDS = (classify, compare)
