"""Draw the diagrams of the docs: each whole, and the pipeline with the part of each notebook highlighted.

python docs/diagrams.py      after a diagram changed; the notebooks draw theirs themselves
"""

from __future__ import annotations

from pathlib import Path

from latentlab.diagrams import DIAGRAMS

FOLDER = Path(__file__).resolve().parent / "diagrams"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, diagram in DIAGRAMS.items():
        diagram.save(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()
