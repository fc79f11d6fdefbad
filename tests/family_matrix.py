"""Which experiment works on which family, measured by the small run of each on tiny checkpoints."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import checkpoints
import small_runs
import torch
from conftest import toy_pictures

from latentlab import models
from latentlab.analysis.pca import Directions
from latentlab.errors import UserError
from latentlab.experiments import EXPERIMENTS, Result

FAMILIES = [row.name for row in models.REGISTRY.values() if row.sources]
ALONE = "any open_clip"  # a CLIP without a decoder


@functools.cache
def directions(lab: models.Lab) -> Directions:
    width = lab.encoder.encode_image(toy_pictures(1)).shape[1]
    return Directions.fit(torch.randn(100, width, generator=torch.Generator().manual_seed(0)), 12)


def run(experiment: str, lab: models.Lab, steps: int = 2) -> tuple[str, str, Result | None]:
    """Whether an experiment works on a lab ("yes", "in part" or "no"), the reason where it does not, and its result."""
    arguments = small_runs.arguments(experiment, directions(lab))
    for name in {"steps", "prior_steps"} & EXPERIMENTS[experiment].signature.parameters.keys():
        arguments[name] = steps
    with mock.patch("latentlab.typography.LEGIBLE", 0.1):  # tiny pictures have no room for letters
        try:
            result = EXPERIMENTS[experiment](lab, **arguments)
        except UserError as error:
            return "no", str(error), None
    missing = [note for note in result.notes if re.search(r"has no|reads no", note)]
    return ("in part" if missing else "yes"), "; ".join(missing), result


def table(cells: dict[tuple[str, str], tuple[str, str]]) -> str:
    """The matrix in Markdown, every reason a numbered line below it; cells by (experiment, family)."""
    names = list(dict.fromkeys(family for _, family in cells))
    reasons = list(dict.fromkeys(reason for _, reason in cells.values() if reason))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for experiment in small_runs.RUNS:
        row = [cells[experiment, name] for name in names]
        marks = [f"{word} ({reasons.index(reason) + 1})" if reason else word for word, reason in row]
        lines.append(f"| `{experiment}` | " + " | ".join(marks) + " |")
    return "\n".join([*lines, "", *(f"{k}. {reason}" for k, reason in enumerate(reasons, 1))])


def plain(reason: str) -> str:
    """A reason without the name of a tiny lab's folder."""
    return re.sub(r"\bopen_clip(?= (is a CLIP|has no))", "it", reason)


def labs(published: Path) -> dict[str, Callable[[], models.Lab]]:
    load = functools.partial(models.load, device="cpu")
    loaders = {name: functools.partial(load, published, family=name) for name in FAMILIES}
    return {**loaders, ALONE: functools.partial(load, published / "open_clip")}


def measured() -> str:
    """The matrix of all experiments and families, which takes half a minute."""
    with tempfile.TemporaryDirectory() as folder:
        cells = {}
        for name, load in labs(checkpoints.write_all(Path(folder))).items():
            lab = load()
            for experiment in small_runs.RUNS:
                word, reason, _ = run(experiment, lab)
                cells[experiment, name] = word, plain(reason)
    return table(cells)
