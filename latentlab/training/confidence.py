"""From which probability on CLIP's first label can be trusted, measured on artists that it was not trained on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import models
from ..clip import class_embeddings, probabilities
from ..io.atomic import atomic_write
from ..models.emoji_files import CONFIDENCE, clip_digest
from .drawings import Sprites
from .icon_sets import HELD_OUT_STYLES
from .rendering import Renderer
from .scenes import single
from .things import things

RIGHT = 0.9  # the share of the sure answers that are right


def least_sure(top: Tensor, right: Tensor, share: float = RIGHT) -> float:
    """The least p such that of the first labels with a probability of at least p this share is right.

    Args:
        top: (N,), the probability of each picture's first label.
        right: (N,), whether that label is right.

    Returns:
        1 if no such p exists.
    """
    best = top.argsort(descending=True, stable=True)
    shares = right[best].double().cumsum(0) / torch.arange(1, len(top) + 1)
    last = (shares >= share - 1e-9).nonzero().flatten()
    return float(top[best[last[-1]]]) if len(last) else 1.0


def measure(lab: models.Lab, sprites: Sprites, *, seed: int = 0, count: int | None = None) -> dict[str, Any]:
    """Classify every thing that the held-out artists drew among all things."""
    rng, names = random.Random(f"confidence {seed}"), [thing.name for thing in things()]
    drawn = [(style, name) for style in HELD_OUT_STYLES for name in names if sprites.drawings_of(style, name)][:count]
    scenes = [single(rng, sprites, name, style=style, split="held-out", centred=True) for style, name in drawn]
    classes = class_embeddings(lab.encoder, [thing.phrases[0] for thing in things()])
    top, label = probabilities(lab.encoder, lab.encoder.encode_image(Renderer(sprites)(scenes, 64)), classes).max(-1)
    right = label == torch.tensor([names.index(name) for _, name in drawn])
    sure_above = least_sure(top, right)
    sure = top >= sure_above
    return {
        "sure_above": round(sure_above, 4),
        "n": len(top),
        "sure": round(float(sure.float().mean()), 4),
        "right": round(float(right.float().mean()), 4),
        "right_where_sure": round(float(right[sure].float().mean()), 4) if sure.any() else None,
    }


def save(numbers: dict[str, Any], folder: Path) -> Path:
    """Write the numbers beside the weights, with the digest of the CLIP that they belong to."""
    path = folder / CONFIDENCE
    with atomic_write(path) as part:
        part.write_text(json.dumps({"clip": clip_digest(folder), **numbers}, indent=1) + "\n")
    return path
