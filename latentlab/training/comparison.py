"""The paper's comparison in miniature: what fills the CLIP slot, measured against held-out scenes."""

from __future__ import annotations

import random
from dataclasses import replace

from .. import experiments
from ..analysis.intervals import format_interval, markdown
from ..experiments import Ablated
from ..models import Lab
from .drawings import Sprites, things
from .rendering import Renderer
from .scenes import Scene, held_out, single


def held_out_scenes(sprites: Sprites, count: int, *, seed: int = 0) -> list[Scene]:
    """Single things, large and centred, in combinations never trained on; each with a caption of its own."""
    rng, found = random.Random(f"comparison {seed}"), {}
    for k in range(20 * count):
        scene = single(rng, sprites, things()[k % len(things())].name, split="held-out", centred=True, full=True)
        if held_out(scene.thing, scene.facts["colour"], scene.facts["place"]):  # not every thing has a colour left
            found.setdefault(scene.caption, scene)
        if len(found) == count:
            return list(found.values())
    raise RuntimeError(f"the world has no {count} captions that differ")


def compare(lab: Lab, sprites: Sprites, *, count: int = 512, seed: int = 0, **knobs) -> Ablated:
    """Captions of held-out scenes, decoded with each signal in the CLIP slot.

    Ramesh et al. 2022, table 2 and figure 8.

    Args:
        count: scenes, and so pictures for each signal.
        knobs: the decoder's, as `ablate` takes them; guidance is 1.25, the paper's best for the distance, by default.
    """
    scenes = held_out_scenes(sprites, count, seed=seed)
    pictures = Renderer(sprites, lab.device)(scenes, lab.decoder.image_size)
    kinds = [scene.layers[0].key.partition("/")[0] for scene in scenes]
    captions = [scene.caption for scene in scenes]
    knobs = {"guidance": 1.25, "preview_every": 0} | knobs
    small = replace(lab, upsampler=None)  # CLIP measures what the decoder draws
    return experiments.ablate(small, captions, pictures=pictures, kinds=kinds, **knobs)


def table(found: Ablated) -> str:
    """A row for each signal, a column for each quantity, with its interval; Markdown."""
    kinds = [("quantity", q) for q in ("Fréchet distance", "CMMD", "CLIP score", "accuracy", "recall")]
    kinds += [("kind", k) for k in dict.fromkeys(row["kind"] for row in found.table if "kind" in row)]
    lines = []
    for signal in found.signals:
        rows = [row for row in found.table if row["signal"] == signal]
        cells = (next(row for row in rows if row.get(key) == name) for key, name in kinds)
        lines.append([signal, *map(format_interval, cells)])
    return markdown([f"n = {len(found.captions)}", *(name for _, name in kinds)], lines)
