"""One small run of every experiment on the toy lab, for the tests that hold for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from conftest import toy_pictures

from latentlab.analysis.pca import Directions
from latentlab.experiments import EXPERIMENTS
from latentlab.typography import Label

# By experiment: the arguments that a result can record, and how many pictures the others hold.
RUNS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "generate": ({"prompt": "a cat", "seeds": range(3), "steps": 3}, {}),
    "reconstruct": ({"steps": 3, "method": "naive", "seed": 4}, {"pixels": 2}),
    "vary": ({"etas": (0, 0.7), "seeds": np.arange(3), "steps": 2}, {"picture": 1}),
    "interpolate": ({"thetas": torch.linspace(0, 1, 4), "seeds": (5, 6), "steps": 2}, {"pictures": 2}),
    "diff": ({"targets": ["a cat", "a dog"], "thetas": 3, "steps": 2}, {"picture": 1}),
    "attack": (
        {"words": ["pizza"], "truth": "a cat", "variations": 2, "label": Label("word"), "steps": 2}, {"pixels": 2},
    ),
    "truncate": ({"dims": (0, 1, 12), "steps": 3}, {"pixels": 2}),
    "walk_components": (
        {"components": [0, 2], "sigmas": [-1, 0, 1], "captions": ["a cat", "a dog", "a fox"], "steps": 2},
        {"picture": 1},
    ),
    "ablate": ({"captions": ["a cat", "a dog"], "kinds": ["drawn", "painted"], "seeds": [0, 1]}, {"pictures": 2}),
    "guide": ({"captions": "a cat", "guidances": (1, 2), "prior_guidances": (1.0,), "seeds": range(3), "steps": 3}, {}),
    "edit": ({"caption": "a cat", "grow": ("right", "top"), "seeds": [0, 1], "steps": 2}, {"picture": 1}),
    "bind": ({"prompts": "a red cube on top of a blue ball", "seeds": [0, 1], "steps": 3}, {}),
    "spell": ({"words": ["stop", "go"], "alternatives": ["yes"], "seeds": [0, 1], "steps": 3}, {}),
    "classify": ({"labels": ["a cat", "a dog"], "templates": ["{}"]}, {"pixels": 2}),
    "compare": ({"captions": ["a cat", "a dog"]}, {"pixels": 2}),
}  # fmt: skip


def pictures(name: str) -> dict[str, torch.Tensor]:
    """The pictures that a run takes, by parameter."""
    return {parameter: toy_pictures(count) for parameter, count in RUNS[name][1].items()}


def arguments(name: str, directions: Directions) -> dict[str, Any]:
    """All arguments of a run but the lab."""
    components = {"directions": directions} if "directions" in EXPERIMENTS[name].signature.parameters else {}
    return {**RUNS[name][0], **pictures(name), **components}
