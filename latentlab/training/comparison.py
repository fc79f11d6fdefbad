"""The paper's table 2 in miniature: signals in place of the decoder's CLIP embedding, against held-out scenes."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from .. import experiments
from ..analysis.intervals import format_interval, markdown
from ..experiments import AblationResult
from ..models import Lab
from .drawings import Sprites
from .rendering import Renderer
from .scenes import Scene, held_out, single
from .things import things


def held_out_scenes(sprites: Sprites, count: int, *, seed: int = 0) -> list[Scene]:
    """Single things, large and centred, in combinations that training never uses, all with different captions."""
    rng, scenes = random.Random(f"comparison {seed}"), dict[str, Scene]()
    for k in range(20 * count):
        scene = single(rng, sprites, things()[k % len(things())].name, split="held-out", centred=True, full=True)
        if held_out(scene.name, scene.facts["colour"], scene.facts["place"]):  # some things have no held-out colour
            scenes.setdefault(scene.caption, scene)
        if len(scenes) == count:
            return list(scenes.values())
    raise RuntimeError(f"the world has no {count} captions that differ")


def compare(lab: Lab, sprites: Sprites, *, count: int = 512, seed: int = 0, **params: Any) -> AblationResult:
    """Decode the captions of held-out scenes with every signal in place of the decoder's CLIP embedding.

    Ramesh et al. 2022, table 2 and figure 8.

    Args:
        count: the number of scenes, and so of pictures for every signal.
        params: parameters of the decoder for `ablate`; guidance is 1.25 by default, the paper's best for the distance.
    """
    scenes = held_out_scenes(sprites, count, seed=seed)
    pictures = Renderer(sprites, lab.device)(scenes, lab.require_decoder().image_size)
    kinds = [scene.layers[0].key.partition("/")[0] for scene in scenes]
    captions = [scene.caption for scene in scenes]
    params = {"guidance": 1.25, "preview_every": 0} | params
    small = replace(lab, upsampler=None)  # CLIP measures the decoder's own pictures
    return experiments.ablate(small, captions, real=pictures, kinds=kinds, **params)


def table(ablation: AblationResult) -> str:
    """A Markdown table with a row for every signal and a column for every quantity and its interval."""
    kinds = [("quantity", q) for q in ("Fréchet distance", "CMMD", "CLIP score", "accuracy", "recall")]
    kinds += [("kind", k) for k in dict.fromkeys(row["kind"] for row in ablation.table if "kind" in row)]
    lines = []
    for signal in ablation.signals:
        rows = [row for row in ablation.table if row["signal"] == signal]
        cells = (next(row for row in rows if row.get(key) == name) for key, name in kinds)
        lines.append([signal, *map(format_interval, cells)])
    return markdown([f"n = {len(ablation.prompts)}", *(name for _, name in kinds)], lines)
