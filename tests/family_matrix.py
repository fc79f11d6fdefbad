"""Which experiment works on which family, measured by running each of them on tiny checkpoints.

python tests/family_matrix.py      writes the table into docs/checkpoints.md
"""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import checkpoints
import torch

from latentlab import experiments, models
from latentlab.analysis.pca import Directions
from latentlab.errors import UserError

PAGE = Path(__file__).parent.parent / "docs" / "checkpoints.md"
BEGINS, ENDS = "<!-- python tests/family_matrix.py -->", "<!-- the table ends here -->"
FAMILIES = [row.name for row in models.REGISTRY.values() if row.sources]
ALONE = "any open_clip"  # a CLIP without a decoder


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 24, 20, generator=torch.Generator().manual_seed(7)) * 2 - 1


def left_half(height: int, width: int) -> torch.Tensor:
    return (torch.arange(width) < width // 2).expand(height, width)


@functools.cache
def directions(lab: models.Lab) -> Directions:
    width = lab.encoder.encode_image(pictures(1)).shape[1]
    return Directions.fit(torch.randn(100, width, generator=torch.Generator().manual_seed(0)), 8)


# Each takes a lab and a number of steps.
EXPERIMENTS = {
    "generate": lambda lab, n: experiments.generate(lab, "a red cat", steps=n, prior_steps=n),
    "reconstruct": lambda lab, n: experiments.reconstruct(lab, pictures(2), steps=n),
    "vary": lambda lab, n: experiments.vary(lab, pictures(1), steps=n, seeds=[0, 1]),
    "interpolate": lambda lab, n: experiments.interpolate(lab, pictures(2), thetas=3, steps=n),
    "diff": lambda lab, n: experiments.diff(lab, pictures(1), "a dog", thetas=2, steps=n),
    "attack": lambda lab, n: experiments.attack(lab, pictures(1), "a", "apple", variations=1, steps=n),
    "truncate": lambda lab, n: experiments.truncate(lab, pictures(1), directions(lab), dims=[1, 4], steps=n),
    "walk_components": lambda lab, n: experiments.walk_components(
        lab, pictures(1), directions(lab), components=[0], sigmas=[-1, 1], steps=n
    ),
    "ablate": lambda lab, n: experiments.ablate(lab, "a red cat", steps=n),
    "guide": lambda lab, n: experiments.guide(lab, "a cat", guidances=[1, 2], steps=n),
    "edit": lambda lab, n: experiments.edit(lab, pictures(1), left_half(24, 20), steps=n),
    "bind": lambda lab, n: experiments.bind(lab, "a red cube on top of a blue ball", seeds=[0], steps=n),
    "spell": lambda lab, n: experiments.spell(lab, "deep", alternatives=["learning"], seeds=[0], steps=n),
    "classify": lambda lab, _: experiments.classify(lab, pictures(2), ["cat", "dog"]),
    "compare": lambda lab, _: experiments.compare(lab, pictures(2), ["a cat", "a dog"]),
}


def run(experiment: str, lab: models.Lab, steps: int = 2) -> tuple[str, str, experiments.Result | None]:
    """Whether an experiment works on a lab ("yes", "in part" or "no"), the reason where it does not, and its result."""
    with mock.patch("latentlab.typography.LEGIBLE", 0.1):  # tiny pictures have no room for letters
        try:
            result = EXPERIMENTS[experiment](lab, steps)
        except UserError as error:
            return "no", str(error), None
    missing = [note for note in result.notes if re.search(r"has no|reads no", note)]
    return ("in part" if missing else "yes"), "; ".join(missing), result


def table(cells: dict[tuple[str, str], tuple[str, str]]) -> str:
    """The matrix in Markdown, every reason a numbered line below it; cells by (experiment, family)."""
    names = list(dict.fromkeys(family for _, family in cells))
    reasons = list(dict.fromkeys(reason for _, reason in cells.values() if reason))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for experiment in EXPERIMENTS:
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


def page(text: str, matrix: str) -> str:
    """The page with another table in it."""
    before, _, rest = text.partition(BEGINS)
    return f"{before}{BEGINS}\n\n{matrix}\n\n{ENDS}{rest.partition(ENDS)[2]}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cells = {}
        for name, load in labs(checkpoints.write_all(Path(folder))).items():
            lab = load()
            for experiment in EXPERIMENTS:
                word, reason, _ = run(experiment, lab)
                cells[experiment, name] = word, plain(reason)
    PAGE.write_text(page(PAGE.read_text("utf-8"), table(cells)), "utf-8")


if __name__ == "__main__":
    main()
