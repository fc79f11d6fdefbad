"""Directions of z_i scored against the truth: Emoji World knows thing, colour, place, style and artist of a scene."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from ..analysis import sparse_autoencoder
from ..analysis.intervals import format_interval, markdown, mean
from ..analysis.pca import Directions
from ..analysis.probing import Scores, auroc_row, best_directions, best_facts
from ..models import Lab
from ..slerp import normalize
from .drawings import Sprites
from .icon_sets import STYLES
from .rendering import Renderer
from .scenes import Scene, single
from .things import phrases_of, things

Fact = tuple[str, str]  # a factor and its value, like ("colour", "red")
LEAST = 8  # pictures with a fact in each half; rarer facts are left out
FACTORS = ("thing", "colour", "place", "style", "artist")


def facts_of(scene: Scene) -> dict[str, str]:
    """The true value of every factor."""
    artist = scene.facts["style"]
    style = "one ink" if STYLES[artist].monochrome else "colours"
    place = scene.facts["place"] or "middle"
    return {"thing": scene.name, "colour": scene.facts["colour"], "place": place, "style": style, "artist": artist}


def caption(fact: Fact) -> str:
    """What a text direction says of a fact."""
    factor, value = fact
    if factor == "thing":
        return phrases_of(value)[0]
    if factor == "colour":
        return f"a {value} background"
    if factor == "place":
        return {"middle": "in the middle", "left": "on the left", "right": "on the right"}.get(value, f"at the {value}")
    return {"one ink": "a silhouette"}.get(value) or f"a {STYLES[value].adjective if value in STYLES else ''} drawing"


def measure(lab: Lab, sprites: Sprites, *, count: int = 4096, features: int = 512, seed: int = 0) -> dict[str, Any]:
    """Find the best direction of each kind for every fact on one half of the scenes, and score it on the other.

    Args:
        count: of the scenes; components and features are fitted on the first half alone.
        features: of the dictionary.

    Returns:
        `table`, a row for each kind and factor: the mean AUROC over the factor's values; and `directions`, a row for
        every direction with the fact that it tells best.
    """
    rng = random.Random(f"factors {seed}")
    names = [thing.name for thing in things()]
    scenes = [single(rng, sprites, names[k % len(names)]) for k in range(count)]
    rng.shuffle(scenes)
    render = Renderer(sprites, lab.device)
    batches = [scenes[k : k + 256] for k in range(0, count, 256)]
    z_i = torch.cat([lab.encoder.encode_image(render(some, lab.image_size)).float().cpu() for some in batches])
    truth = [facts_of(scene) for scene in scenes]
    half = count // 2
    facts = common_facts(truth[:half], truth[half:])
    labels = torch.tensor([[row[factor] == value for factor, value in facts] for row in truth])
    scores = all_scores(lab, z_i[:half], z_i[half:], facts, features=min(features, half), seed=seed)
    table = factor_table(best_directions(scores, labels[:half], labels[half:]), facts, labels[half:])
    return {"n": count, "seed": seed, "table": table, "directions": direction_rows(scores, labels, facts)}


def common_facts(first: list[dict[str, str]], second: list[dict[str, str]]) -> list[Fact]:
    """The facts that hold for enough pictures of both halves, and do not hold for enough; of two values only one."""
    halves = [Counter((factor, row[factor]) for row in rows for factor in FACTORS) for rows in (first, second)]
    least = min(len(first), len(second))
    facts = sorted(f for f in halves[0] if all(LEAST <= half[f] <= least - LEAST for half in halves))
    values = Counter(factor for factor, _ in {*halves[0], *halves[1]})
    other = {
        factor: max(value for name, value in facts if name == factor) for factor, _ in facts if values[factor] == 2
    }
    return [(factor, value) for factor, value in facts if other.get(factor) != value]


def all_scores(
    lab: Lab, first: Tensor, second: Tensor, facts: list[Fact], *, features: int, seed: int
) -> dict[str, Scores]:
    """The scores of both halves along features, components, coordinates and texts; the first half fits the former."""
    components = Directions.fit(first)
    learned = sparse_autoencoder.fit(first, features, min(8, features), seed=seed)
    texts = normalize(lab.encoder.encode_text([caption(fact) for fact in facts]).float().cpu())
    return {
        "features": Scores(learned.encode(first), learned.encode(second)),
        "components": Scores(components.project(first), components.project(second)),
        "coordinates": Scores(first, second),
        "texts": Scores(normalize(first) @ texts.T, normalize(second) @ texts.T),
    }


def factor_table(values: dict[str, Tensor], facts: list[Fact], labels: Tensor) -> list[dict]:
    """A row for each kind of direction and factor: the mean over the factor's values, with its interval.

    Args:
        values: for each kind, the AUROC (V,). labels: (N, V), the facts of the pictures that they were measured on.
    """
    table = []
    for kind, value in values.items():
        for factor in FACTORS:
            own = [k for k, fact in enumerate(facts) if fact[0] == factor]
            where: dict[str, Any] = {"kind": kind, "factor": factor, "values": len(own), "quantity": "held-out AUROC"}
            if len(own) > 1:
                table.append(mean(value[own], within=(0, 1), **where))
            elif own:
                with_fact = int(labels[:, own[0]].sum())
                table.append(auroc_row(value[own[0]].item(), with_fact, len(labels) - with_fact, **where))
    return table


def direction_rows(scores: dict[str, Scores], labels: Tensor, facts: list[Fact]) -> list[dict]:
    """A row for every direction: the fact that it tells best, and its held-out AUROC with an interval."""
    half, rows = len(labels) // 2, []
    for kind, score in scores.items():
        best, value = best_facts(score, labels[:half], labels[half:])
        for k, (fact, area) in enumerate(zip(best.tolist(), value.tolist())):
            n1 = int(labels[half:, fact].sum())
            factor, name = facts[fact]
            row = {"kind": kind, "direction": k, "factor": factor, "fact": name}
            rows.append(auroc_row(area, n1, len(labels) - half - n1, **row))
    return rows


def table(measured: dict[str, Any]) -> str:
    """A Markdown table with a row for each kind of direction and a column for each factor."""
    rows = measured["table"]
    factors = list(dict.fromkeys(row["factor"] for row in rows))
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        cells = (next(r for r in rows if (r["kind"], r["factor"]) == (kind, factor)) for factor in factors)
        lines.append([kind, *(format_interval(cell, ".3f") for cell in cells)])
    counts = {factor: next(row["values"] for row in rows if row["factor"] == factor) for factor in factors}
    return markdown([f"{measured['n']} scenes", *(f"{f} ({counts[f]} values)" for f in factors)], lines)
