"""What unCLIP can't do: bind colours to things, and spell."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import prior
from ..analysis.intervals import proportion
from ..clip import caption_warnings
from ..diffusion import checked_seeds, noise
from ..errors import UserError
from ..grammar import Arrangement, colour_at, parse
from ..latents import Latent
from ..slerp import normalize
from .base import Progress, Result, experiment, settings_of, size
from .stages import decode_latents, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class Bound(Result):
    """Prompts of two coloured solids, drawn and checked.

    Args:
        pixels: (P, N, 3, H, W), upsampled where the lab can.
        latent: P * N, what the pictures are decoded from, with their captions.
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
        right, both = self.value("CLIP reads it as asked"), self.value("both colours at their place")
        count = len(self.arrangements) * len(self.seeds)
        chance = sum(1 / len(a.swaps()) for a in self.arrangements) / len(self.arrangements)
        return (
            f"Both colours stand where the caption puts them in {both:.0%} of {count} pictures, and CLIP prefers the "
            f"caption to what its words say when they are bound otherwise in {right:.0%} (chance: {chance:.0%})."
        )


def _arrangement(prompt: str | Arrangement) -> Arrangement:
    arrangement = parse(prompt) if isinstance(prompt, str) else prompt
    if arrangement is None:
        raise UserError(f"“{prompt}” relates no two solids: write it like “a red cube on top of a blue ball”")
    if len(arrangement.swaps()) < 2:
        raise UserError(f"“{arrangement.caption}” can be read in one way only: give two solids that differ")
    return arrangement


def _at_place(a: Arrangement, colours: tuple[str, str]) -> tuple[bool, bool]:
    """Which of the two places shows its colour; beside leaves open which is which, so the order that fits better."""
    wanted = (a.first.colour, a.second.colour)
    orders = (wanted, wanted[::-1]) if a.relation == "beside" else (wanted,)
    return max(((colours[0] == first, colours[1] == second) for first, second in orders), key=sum)


def _exchanged(a: Arrangement, colours: tuple[str, str]) -> bool:
    return a.relation != "beside" and colours == (a.second.colour, a.first.colour)


def _drawn(
    lab: Lab, captions: Sequence[str], seeds: Sequence[int], steps: int, guidance: float, preview_every: int
) -> Generator[Progress, None, tuple[Latent, Tensor]]:
    """`yield from` this: every caption from every seed through prior and decoder; latents and pictures."""
    columns, own = [c for c in captions for _ in seeds], list(seeds) * len(captions)
    yield Progress("prior", 0, 1)
    z_i = prior.sample(lab.prior, columns, seeds=own)
    latent = Latent(z_i, noise(lab.require_decoder(), own, device=lab.device))
    params: dict[str, Any] = {"steps": steps, "guidance": guidance, "preview_every": preview_every}
    return latent, (yield from decode_latents(lab, latent, text=lab.require_decoder().encode_prompt(columns), **params))


@experiment(
    Bound,
    page="binding",
    task="bind",
    command="bind",
    figure="14",
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
) -> Iterator[Progress | Bound]:
    """Draw prompts like “a red cube on top of a blue ball”, and see which colour is where.

    Ramesh et al. 2022, section 7, figure 14.  Each picture is checked twice: by CLIP, against the caption with its
    colours, its shapes, or both exchanged; and by its own pixels, against the colours' places.

    Args:
        prompts: captions of two coloured solids, or `grammar.arrangements(count, seed=…)`.
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
    latent, pixels = yield from _drawn(lab, captions, seeds, steps, guidance, preview_every)
    grid = (len(asked), len(seeds))
    z = normalize(lab.encoder.encode_image(pixels)).unflatten(0, grid)  # (P, N, D)
    readings = [tuple(a.swaps().values()) for a in asked]
    read_as = tuple(
        tuple(swaps[k] for k in (row @ normalize(lab.encoder.encode_text([s.caption for s in swaps])).T).argmax(-1))
        for swaps, row in zip(readings, z)
    )
    colours = tuple(
        tuple(zip(*([name for name, _ in colour_at(row, box)] for box in a.boxes)))
        for a, row in zip(asked, pixels.unflatten(0, grid))
    )
    places = torch.tensor([[_at_place(a, pair) for pair in row] for a, row in zip(asked, colours)])
    swapped = torch.tensor([[_exchanged(a, pair) for pair in row] for a, row in zip(asked, colours)])
    as_asked = torch.tensor([[reading == a for reading in row] for a, row in zip(asked, read_as)])
    table = (
        proportion(as_asked.flatten(), quantity="CLIP reads it as asked"),
        proportion(places.all(-1).flatten(), quantity="both colours at their place"),
        proportion(places.flatten(), quantity="a colour at its place"),
        proportion(swapped.flatten(), quantity="the two colours exchanged"),
    )
    pixels = yield from upsample_images(lab, pixels, list(seeds) * len(asked))
    yield Bound(
        pixels=pixels.unflatten(0, grid), latent=latent, arrangements=asked, seeds=seeds, read_as=read_as,
        colours=colours, table=table, notes=notes,
        settings=settings_of(lab, "bind", prompts=tuple(captions), seeds=seeds, steps=steps, guidance=guidance),
    )  # fmt: skip


@dataclass(frozen=True, repr=False, kw_only=True)
class Spelled(Result):
    """Signs with words on them, read back by CLIP.

    Args:
        pixels: (W, N, 3, H, W), upsampled where the lab can.
        latent: W * N, what the pictures are decoded from, with their captions.
        words: W, what was to be written. seeds: N.
        read: for each word and seed what CLIP reads.
    """

    pixels: Tensor
    latent: Latent
    words: tuple[str, ...]
    seeds: tuple[int, ...]
    read: tuple[tuple[str, ...], ...]

    def figure(self) -> Figure:
        from ..plotting import rows

        named = {
            f"“{w}”\nread: {', '.join(dict.fromkeys(r))}": p for w, r, p in zip(self.words, self.read, self.pixels)
        }
        return rows(named, titles=[f"seed {s}" for s in self.seeds])

    def summary(self) -> str:
        right = self.value("read back as written")
        chance = 1 / self.settings["alternatives"]
        return (
            f"CLIP reads {right:.0%} of {len(self.words) * len(self.seeds)} signs as they were asked for "
            f"(chance: {chance:.1%}); look whether a person could."
        )


@experiment(
    Spelled,
    page="binding",
    task="spell",
    command="spell",
    figure="16",
    stages=("prior", "decoder", "upsampler"),
    images=lambda a: size(a["words"]) * size(a["seeds"]),
)
def spell(
    lab: Lab,
    words: str | Sequence[str],
    *,
    alternatives: Sequence[str] = (),
    template: str = "a sign that says {}",
    seeds: Sequence[int] = (0, 1, 2, 3),
    steps: int = 25,
    guidance: float = 2.0,
    preview_every: int = 5,
) -> Iterator[Progress | Spelled]:
    """Draw signs with words, and read them back with CLIP.  Ramesh et al. 2022, section 7, figure 16.

    Args:
        words: what to write, one or several.
        alternatives: further words that the reader may choose from; with few of them reading is easy.
        template: a caption with {} where the word goes.

    Raises:
        UserError: no word or an empty one, nothing else that it could be read as, or a template without {}.
    """
    words = (words,) if isinstance(words, str) else tuple(words)
    choices = tuple(dict.fromkeys([*words, *alternatives]))
    if not words or len(choices) < 2:
        raise UserError(f"words are {list(words)} of {len(choices)} alternatives: give one or more words, and others")
    if not all(w.strip() for w in choices) or "{}" not in template:
        raise UserError(f"words are {list(words)} in “{template}”: give words to write, and {{}} where they go")
    seeds = checked_seeds(seeds)
    captions = [template.format(w) for w in words]
    notes = tuple(caption_warnings(lab.encoder.check_caption(c) for c in captions))
    latent, pixels = yield from _drawn(lab, captions, seeds, steps, guidance, preview_every)
    z_t = normalize(lab.encoder.encode_text([template.format(w) for w in choices]))
    best = (normalize(lab.encoder.encode_image(pixels)) @ z_t.T).argmax(-1).tolist()
    read = tuple(tuple(choices[k] for k in best[i : i + len(seeds)]) for i in range(0, len(best), len(seeds)))
    right = torch.tensor([r == w for w, row in zip(words, read) for r in row])
    pixels = yield from upsample_images(lab, pixels, list(seeds) * len(words))
    yield Spelled(
        pixels=pixels.unflatten(0, (len(words), len(seeds))), latent=latent, words=words, seeds=seeds, read=read,
        notes=notes, table=(proportion(right, quantity="read back as written"),),
        settings=settings_of(
            lab, "spell", words=words, alternatives=len(choices), template=template, seeds=seeds, steps=steps,
            guidance=guidance,
        ),
    )  # fmt: skip
