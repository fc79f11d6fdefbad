"""Best of n by CLIP: how much choosing among more samples improves pictures, for DALL·E 1 and for unCLIP."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..analysis.intervals import format_interval, mean, share, side
from ..captions import caption_warnings, check_captions
from ..clip import class_embeddings
from ..errors import UserError
from ..io import images
from ..slerp import normalize
from .base import Progress, Result, experiment
from .dalle import sampled_tokens
from .stages import cosine, draw_prompts

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure

SYSTEMS = {"dalle": "DALL·E 1", "unclip": "unCLIP"}
COUNTS = (1, 2, 4, 8, 16, 32, 64)
SCORE, DISTANCE = "CLIP score", "distance among the best"


@dataclass(frozen=True, repr=False, kw_only=True)
class RerankingResult(Result):
    """Prompts drawn many times, and what the best of n of the pictures is like.

    Args:
        pixels: (S, P, C, 3, H, W), the picture that CLIP ranks first among the first n, for each of the C counts.
        systems: S, keys of `SYSTEMS`. prompts: P. counts: C, in rising order.
    """

    pixels: Tensor
    systems: tuple[str, ...]
    prompts: tuple[str, ...]
    counts: tuple[int, ...]

    def figure(self) -> Figure:
        """Every quantity against n, a line for each system."""
        from ..plotting import panels

        named: dict[str, dict[str, list[dict]]] = {}
        for row in self.table:
            if "n_best" in row:
                named.setdefault(row["quantity"], {}).setdefault(SYSTEMS[row["system"]], []).append(row)
        return panels(named, x="n_best", xlabel="n, of which CLIP keeps the best")

    def pictures(self) -> Figure:
        """The best picture of each n, a row for each system and prompt."""
        from ..plotting import rows

        named = {
            f"{SYSTEMS[system]}: {prompt}": row
            for system, pixels in zip(self.systems, self.pixels)
            for prompt, row in zip(self.prompts[:4], pixels)
        }
        return rows(named, titles=[f"best of {n}" for n in self.counts], wide_labels=True)

    def summary(self) -> str:
        sentences = []
        for system in self.systems:
            gains = [row for row in self.table if row.get("system") == system and "gain" in row]
            told = [_gain(row) for row in gains]
            first, last = self.counts[0], self.counts[-1]
            sentences.append(f"{SYSTEMS[system]}, best of {last} against {first}: {', '.join(told)}.")
        return " ".join(sentences)


def _gain(row: Mapping[str, Any]) -> str:
    if not side(row):
        return f"no difference in {row['gain']} can be told from n = {row['n']}"
    low, high = sorted(abs(row[end]) for end in ("low", "high"))
    by = format_interval({"value": abs(row["value"]), "low": low, "high": high})
    return f"{row['gain']} {'rises' if row['value'] > 0 else 'falls'} by {by}"


@experiment(
    RerankingResult,
    page="dalle",
    task="rerank",
    command="rerank",
    figures=("rerank",),
    stages=("tokens", "prior", "decoder"),
    images=lambda a: len(a["prompts"]) * max(a["counts"]) * ("unclip" in a["systems"]),
)
def rerank(
    lab: Lab,
    prompts: Sequence[str],
    *,
    systems: Sequence[str] = ("dalle", "unclip"),
    counts: Sequence[int] = COUNTS,
    labels: Sequence[str] = (),
    seed: int = 0,
    steps: int = 25,
    guidance: float = 2.0,
) -> Iterator[Progress | RerankingResult]:
    """Draw prompts many times, and keep the best of n by CLIP.  Ramesh et al. 2021, section 2.6, figure 6.

    From N samples of a prompt the expectation of any number over the best of n is exact: the sample of rank r is the
    best of n with the probability C(N - r, n - 1) / C(N, n), and no choice of groups adds noise.

    Args:
        prompts: of single things.
        systems: keys of `SYSTEMS`.
        counts: the numbers n; the largest is N.
        labels: the prompts among which CLIP, and the judge that comes with the lab, choose; each prompt is one of
            them.  By default the things that the lab knows, or the prompts themselves.
        seed: the first of the N seeds.
        steps, guidance: of unCLIP's decoder; DALL·E 1 has the model's own parameters.

    Raises:
        UserError: a lab without one of the systems, a prompt that is not among the labels, or counts below 1.
    """
    prompts, systems, counts = list(prompts), list(dict.fromkeys(systems)), tuple(sorted(set(counts)))
    classes = list(labels or lab.things or dict.fromkeys(prompts))
    _check(lab, prompts, systems, counts, classes)
    notes = tuple(caption_warnings(check_captions(lab.encoder, prompts)))
    seeds, best, table = range(seed, seed + counts[-1]), [], []
    for system in systems:
        drawn = yield from _drawn(lab, system, prompts, seeds, steps=steps, guidance=guidance)
        measured = _Measured.of(lab, drawn, prompts, classes)
        best.append(images.resize(measured.best(drawn, counts).flatten(0, 1), lab.image_size))
        table += measured.rows(system, counts)
    yield RerankingResult(
        pixels=torch.stack(best).unflatten(1, (len(prompts), len(counts))),
        systems=tuple(systems),
        prompts=tuple(prompts),
        counts=counts,
        table=tuple(table),
        notes=notes,
    )


def _check(
    lab: Lab, prompts: Sequence[str], systems: Sequence[str], counts: Sequence[int], classes: Sequence[str]
) -> None:
    """Refuse what can't be drawn or measured, before anything is drawn."""
    if not prompts or not systems or any(system not in SYSTEMS for system in systems):
        raise UserError(f"{len(prompts)} prompts and the systems {systems}: give prompts, and some of {[*SYSTEMS]}")
    if not counts or counts[0] < 1:
        raise UserError(f"the counts are {list(counts)}: give numbers from 1, like 1, 4, 16")
    strange = [prompt for prompt in prompts if prompt not in classes]
    if strange:
        raise UserError(f"“{strange[0]}” is none of the {len(classes)} labels: give the labels that CLIP chooses among")
    if "dalle" in systems:
        lab.require_dalle()
    if "unclip" in systems:
        lab.require_decoder()


def _drawn(
    lab: Lab, system: str, prompts: Sequence[str], seeds: Sequence[int], *, steps: int, guidance: float
) -> Generator[Progress, None, Tensor]:
    """`yield from` this: pictures (P, N, 3, H, W) of every prompt from every seed, a prompt at a time."""
    rows = []
    for prompt in prompts:
        if system == "dalle":
            dalle = lab.require_dalle()
            tokens = yield from sampled_tokens(dalle, [prompt], seeds)
            rows.append(torch.cat([dalle.dvae.to_pixels(some) for some in tokens.split(dalle.max_batch_size)]))
        else:
            _, pixels = yield from draw_prompts(lab, [prompt], seeds=seeds, steps=steps, guidance=guidance)
            rows.append(pixels)
    return torch.stack(rows)


@dataclass(frozen=True, eq=False)
class _Measured:
    """Numbers of P prompts' N pictures: CLIP's score (P, N), hits (P, N) of each classifier, distances (P, N, N)."""

    score: Tensor
    hits: Mapping[str, Tensor]
    distances: Tensor

    @staticmethod
    def of(lab: Lab, pixels: Tensor, prompts: Sequence[str], classes: Sequence[str]) -> _Measured:
        from ..models.judge import judge_of

        z_i = lab.encoder.encode_image(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        z_t = lab.encoder.encode_text(prompts)
        wanted = torch.tensor([classes.index(prompt) for prompt in prompts], device=z_i.device)[:, None]
        hits = {"CLIP's accuracy": (normalize(z_i) @ class_embeddings(lab.encoder, classes).T).argmax(-1) == wanted}
        judge = judge_of(lab)
        if judge is not None:
            named = judge.zero_shot(pixels.flatten(0, 1), classes).argmax(-1).unflatten(0, pixels.shape[:2])
            hits["the judge's accuracy"] = named == wanted
        directions = normalize(z_i)
        return _Measured(cosine(z_i, z_t[:, None]), hits, 1 - directions @ directions.mT)

    def best(self, pixels: Tensor, counts: Sequence[int]) -> Tensor:
        """The picture that scores highest among the first n: (P, C, 3, H, W)."""
        rows = torch.arange(len(pixels), device=pixels.device)
        return torch.stack([pixels[rows, self.score[:, :n].argmax(1)] for n in counts], 1)

    def rows(self, system: str, counts: Sequence[int]) -> list[dict]:
        """A row for each n and quantity, the mean over prompts, and the gains of the last n on the first."""
        per_prompt: dict[str, dict[int, Tensor]] = {}
        for n in counts:
            weights = best_of_n(self.score, n)
            per_prompt.setdefault(SCORE, {})[n] = (weights * self.score).sum(1)
            for name, hits in self.hits.items():
                per_prompt.setdefault(name, {})[n] = (weights * hits).sum(1).clamp(max=1)  # rounding
            if n < self.score.shape[1]:
                per_prompt.setdefault(DISTANCE, {})[n] = distance_among(weights, self.distances)
        table = []
        for quantity, values in per_prompt.items():
            of_all = share if quantity in self.hits else partial(mean, within=(-1, 1) if quantity == SCORE else (0, 2))
            table += [of_all(v, system=system, quantity=quantity, n_best=n) for n, v in values.items()]
            first, last = values[min(values)], values[max(values)]
            if len(values) > 1:
                table.append(mean(last - first, system=system, quantity=f"gain: {quantity}", gain=quantity))
        return table


def best_of_n(score: Tensor, n: int) -> Tensor:
    """The probability that a sample is the best of n of the N: C(N - r, n - 1) / C(N, n) at rank r = 1 … N.

    Args:
        score: (P, N); of equal scores the earlier sample ranks first.

    Returns:
        (P, N), each row's sum being 1.
    """
    total = score.shape[1]
    by_rank = [math.comb(total - rank, n - 1) / math.comb(total, n) for rank in range(1, total + 1)]
    order = score.argsort(dim=1, descending=True, stable=True)
    weights = torch.tensor(by_rank, dtype=score.dtype, device=score.device).expand_as(score)
    return torch.zeros_like(score).scatter(1, order, weights)


def distance_among(weights: Tensor, distances: Tensor) -> Tensor:
    """The distance of two different winners, Σ_{i≠j} w_i w_j d_ij / Σ_{i≠j} w_i w_j: (P, N), (P, N, N) to (P,)."""
    pairs = weights[:, :, None] * weights[:, None, :]
    pairs = pairs - torch.diag_embed(pairs.diagonal(dim1=1, dim2=2))
    return (pairs * distances).sum((1, 2)) / pairs.sum((1, 2))
