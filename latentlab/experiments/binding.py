"""Binding: prompts of two coloured things, and which colour is where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..analysis.intervals import proportion
from ..captions import caption_warnings
from ..errors import UserError
from ..grammar import Arrangement, colour_at, parse
from ..latents import Latent
from ..noise import checked_seeds
from ..slerp import normalize
from .base import Progress, Result, experiment, size
from .stages import draw_prompts, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class BindingResult(Result):
    """Prompts of two coloured solids, drawn and checked.

    Args:
        pixels: (P, N, 3, H, W), upsampled where the lab can.
        latent: P * N, what the pictures are decoded from, with their prompts.
        arrangements: P, what was asked for. seeds: N.
        read_as: for each prompt and seed, which reading of its words (`Arrangement.swaps`) CLIP finds nearest.
        colours: for each prompt and seed the colours seen at the first and at the second place.
    """

    pixels: Tensor
    latent: Latent
    arrangements: tuple[Arrangement, ...]
    seeds: tuple[int, ...]
    read_as: tuple[tuple[Arrangement, ...], ...]
    colours: tuple[tuple[tuple[str, str], ...], ...]

    def figure(self, rows: int = 6) -> Figure:
        from ..plotting import rows as draw

        named = {a.caption: p for a, p in zip(self.arrangements[:rows], self.pixels)}
        return draw(named, titles=[f"seed {s}" for s in self.seeds], wide_labels=True)

    def summary(self) -> str:
        count = len(self.arrangements) * len(self.seeds)
        both = round(self.value("both colours at their place") * count)
        right = round(self.value("CLIP reads it as asked") * count)
        others = {len(a.swaps()) - 1 for a in self.arrangements}
        number = f"{others.pop()} " if len(others) == 1 else ""
        chance = sum(1 / len(a.swaps()) for a in self.arrangements) / len(self.arrangements)
        return (
            f"Both colours stand where the prompt puts them in {both} of {count} picture{'s' * (count > 1)}, and CLIP "
            f"prefers the prompt to its {number}rearrangement{'s' * (number != '1 ')} in {right} of {count} (chance: "
            f"{chance:.0%})."
        )


def _arrangement(prompt: str | Arrangement) -> Arrangement:
    arrangement = parse(prompt) if isinstance(prompt, str) else prompt
    if arrangement is None:
        raise UserError(f"“{prompt}” relates no two solids: write it like “a red cube on top of a blue ball”")
    if len(arrangement.swaps()) < 2:
        raise UserError(f"“{arrangement.caption}” can be read in one way only: give two solids that differ")
    return arrangement


def at_place(a: Arrangement, colours: tuple[str, str]) -> tuple[bool, bool]:
    """Which of the two places shows its colour; beside leaves open which is which, so the order that fits better."""
    wanted = (a.first.colour, a.second.colour)
    orders = (wanted, wanted[::-1]) if a.relation == "beside" else (wanted,)
    return max(((colours[0] == first, colours[1] == second) for first, second in orders), key=sum)


def _exchanged(a: Arrangement, colours: tuple[str, str]) -> bool:
    return a.relation != "beside" and colours == (a.second.colour, a.first.colour)


@experiment(
    BindingResult,
    page="binding",
    task="bind",
    command="bind",
    figures=("14",),
    stages=("prior", "decoder", "upsampler"),
    images=lambda a: (1 if isinstance(a["prompts"], str | Arrangement) else len(a["prompts"])) * size(a["seeds"]),
)
def bind(
    lab: Lab,
    prompts: str | Arrangement | Sequence[str | Arrangement],
    *,
    seeds: Sequence[int] = (0, 1, 2, 3),
    steps: int = 25,
    guidance: float = 2.0,
    preview_every: int = 5,
) -> Iterator[Progress | BindingResult]:
    """Draw prompts like “a red cube on top of a blue ball”, and see which colour is where.

    Ramesh et al. 2022, section 7, figure 14.  Each picture is checked twice: by CLIP, against the prompt with its
    colours, its shapes, or both exchanged; and by its own pixels, against the colours' places.

    Args:
        prompts: one or several about two coloured solids, or `grammar.arrangements(count, seed=…)`.
        seeds: of every prompt's pictures.

    Raises:
        UserError: no prompt, or one that is not of two coloured solids that differ.
    """
    prompts = [prompts] if isinstance(prompts, str | Arrangement) else list(prompts)
    if not prompts:
        raise UserError("prompts is empty: give at least one, like “a red cube on top of a blue ball”")
    asked = tuple(_arrangement(p) for p in prompts)
    seeds = checked_seeds(seeds)
    captions = [a.caption for a in asked]
    notes = tuple(caption_warnings(lab.encoder.check_caption(c) for c in captions))
    params: dict[str, Any] = {"steps": steps, "guidance": guidance, "preview_every": preview_every}
    latent, pixels = yield from draw_prompts(lab, captions, seeds=seeds, **params)
    grid = (len(asked), len(seeds))
    read_as, colours, table = observed(lab, asked, pixels.unflatten(0, grid))
    pixels = yield from upsample_images(lab, pixels, list(seeds) * len(asked))
    yield BindingResult(
        pixels=pixels.unflatten(0, grid),
        latent=latent,
        arrangements=asked,
        seeds=seeds,
        read_as=read_as,
        colours=colours,
        table=table,
        notes=notes,
    )


Readings = tuple[tuple[Arrangement, ...], ...]
Colours = tuple[tuple[tuple[str, str], ...], ...]


def observed(lab: Lab, asked: Sequence[Arrangement], pixels: Tensor) -> tuple[Readings, Colours, tuple[dict, ...]]:
    """What pictures (P, N, 3, H, W) show: CLIP's nearest reading, the colours at both places, and the table of both."""
    read_as = _readings(lab, asked, pixels)
    colours = tuple(
        tuple(zip(*([name for name, _ in colour_at(row, box)] for box in a.boxes))) for a, row in zip(asked, pixels)
    )
    return read_as, colours, _table(asked, read_as, colours)


def _readings(lab: Lab, asked: Sequence[Arrangement], pixels: Tensor) -> Readings:
    """Which reading of its words CLIP finds nearest to each picture; pixels (P, N, 3, H, W)."""

    def nearest(swaps: Sequence[Arrangement], row: Tensor) -> Iterator[Arrangement]:
        z, z_t = lab.encoder.encode_image(row), lab.encoder.encode_text([swap.caption for swap in swaps])
        yield from (swaps[k] for k in (normalize(z) @ normalize(z_t).T).argmax(-1))

    return tuple(tuple(nearest(list(a.swaps().values()), row)) for a, row in zip(asked, pixels))


def _table(
    asked: Sequence[Arrangement],
    read_as: Sequence[Sequence[Arrangement]],
    colours: Sequence[Sequence[tuple[str, str]]],
) -> tuple[dict, ...]:
    places = torch.tensor([[at_place(a, pair) for pair in row] for a, row in zip(asked, colours)])  # (P, N, 2)
    swapped = torch.tensor([[_exchanged(a, pair) for pair in row] for a, row in zip(asked, colours)])
    as_asked = torch.tensor([[reading == a for reading in row] for a, row in zip(asked, read_as)])
    return (
        proportion(as_asked.flatten(), quantity="CLIP reads it as asked"),
        proportion(places.all(-1).flatten(), quantity="both colours at their place"),
        proportion(places.flatten(), quantity="a colour at its place"),
        proportion(swapped.flatten(), quantity="the two colours exchanged"),
    )
