"""The road: the same prompts by every system, from DALL·E 1 to unCLIP."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..analysis.intervals import mean, proportion
from ..captions import caption_warnings, check_captions
from ..errors import UserError
from ..io import images
from ..noise import checked_seeds
from ..slerp import normalize
from .base import Progress, Result, experiment, size
from .drawing_stages import LARGE
from .road_systems import SYSTEMS, Params, System, chosen
from .stages import cosine, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure

PREVIEW = 64  # side of the pictures on the way


@dataclass(frozen=True, repr=False, kw_only=True)
class RoadResult(Result):
    """The same prompts by every system that the lab has.

    Args:
        pixels: (S, N, 3, H, W), a row for each system, a column for each prompt and seed; upsampled where the lab can.
        systems: S titles, in order of time.
        prompts: N, one a column. seeds: N.
    """

    pixels: Tensor
    systems: tuple[str, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]

    def cost(self, system: str) -> str:
        """A system's seconds for a prompt, its evaluations and its parameters, in words."""
        seconds, evaluations, parameters = (
            self.value(name, system=system) for name in ("seconds", "evaluations", "parameters")
        )
        return f"{seconds:.1f} s, {evaluations:.0f} evaluations, {parameters / 1e6:.1f} M parameters"

    def figure(self, columns: int = 6) -> Figure:
        from ..plotting import rows

        labels = {f"{name}\n{self.cost(name)}": row[:columns] for name, row in zip(self.systems, self.pixels)}
        return rows(labels, titles=self.prompts[:columns], wide_labels=True)

    def summary(self) -> str:
        scores = ", ".join(f"{name} {self.value('CLIP score', system=name):.2f}" for name in self.systems)
        return f"Cosine of picture and prompt, higher is nearer: {scores}."


def _decoding_systems(names: Sequence[str]) -> int:
    return sum(SYSTEMS[name].decodes for name in names if name in SYSTEMS)


@experiment(
    RoadResult,
    page="road",
    command="road",
    figures=("road",),
    stages=("canvas", "prior", "decoder", "upsampler"),
    images=lambda a: _decoding_systems(a["systems"]) * size(a["prompts"]) * size(a["seeds"]),
)
def road(
    lab: Lab,
    prompts: str | Sequence[str],
    *,
    systems: Sequence[str] = tuple(SYSTEMS),
    seeds: Sequence[int] = (0,),
    steps: int = 25,
    guidance: float = 2.0,
    glide_guidance: float = 3.0,
    climb_steps: int = 40,
    views: int = 4,
    samples: int = 4,
) -> Iterator[Progress | RoadResult]:
    """Draw prompts by every system that led to unCLIP.  Ramesh et al. 2022, figure 13 and table 1.

    Each system draws all prompts before the next one begins, and `.stream` shows its pictures as soon as it is done.

    Args:
        prompts: one, or several.
        systems: keys of `road_systems.SYSTEMS`; those that the lab lacks are left out with a note.
        seeds: of each prompt's pictures, the same for all systems.
        steps, guidance: of the decoder under a prior.
        glide_guidance: classifier-free guidance scale of the decoder without a prior.
        climb_steps, views: of CLIP's own drawing.
        samples: of DALL·E 1 for each picture; CLIP keeps the best.

    The table holds, for each system, its seconds for a prompt, its networks' evaluations for a picture, their
    parameters, the CLIP score and, when there are several prompts, how often a picture's own prompt is the nearest.

    Raises:
        UserError: no prompt, an empty one, the same twice, no seeds, an unknown system, or none that the lab has.
    """
    prompts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    if not prompts or len(set(prompts)) < len(prompts):
        raise UserError(f"prompts are {list(prompts)}: give one, or several that differ")
    seeds = checked_seeds(seeds)
    checks = check_captions(lab.encoder, prompts)
    present, notes = chosen(lab, systems)
    params = Params(steps, guidance, glide_guidance, climb_steps, views, samples)
    columns, own = [c for c in prompts for _ in seeds], list(seeds) * len(prompts)
    drawn: list[Tensor] = []
    table: list[dict[str, Any]] = []
    for number, system in enumerate(present.values()):
        start = time.perf_counter()
        small = yield from system.draw(lab, columns, own, params)
        pixels = yield from _enlarged(lab, small, own)
        seconds = (time.perf_counter() - start) / len(prompts)
        drawn.append(pixels)
        table += _rows(lab, system, params, small, prompts, seconds)
        yield Progress(system.title, number + 1, len(present), images.resize(torch.cat(drawn), PREVIEW))
    yield RoadResult(
        pixels=torch.stack(drawn),
        systems=tuple(system.title for system in present.values()),
        prompts=tuple(columns),
        seeds=tuple(own),
        table=tuple(table),
        notes=(*notes, *caption_warnings(checks)),
    )


def _enlarged(lab: Lab, small: Tensor, seeds: Sequence[int]) -> Generator[Progress, None, Tensor]:
    """`yield from` this: the pictures at the lab's output size, by its upsampler where they are small."""
    side = lab.output_size or LARGE
    if small.shape[-1] < side:
        small = yield from upsample_images(lab, small, seeds)
    return images.resize(small, side).cpu()


def _rows(
    lab: Lab, system: System, params: Params, pixels: Tensor, prompts: Sequence[str], seconds: float
) -> list[dict[str, Any]]:
    """What a system's pictures (N, 3, h, w) cost, and how near they are to their prompts."""
    costs = {
        "seconds": round(seconds, 3),
        "evaluations": system.evaluations(lab, params),
        "parameters": system.parameters(lab),
    }
    rows: list[dict[str, Any]] = [
        {"system": system.title, "quantity": name, "value": value, "n": len(prompts), "low": None, "high": None}
        for name, value in costs.items()
    ]
    z = lab.encoder.encode_image(images.resize(pixels, lab.encoder.image_size))
    z_t = lab.encoder.encode_text(prompts)
    own = torch.arange(len(prompts), device=z.device).repeat_interleave(len(z) // len(prompts))
    rows.append(mean(cosine(z, z_t[own]), quantity="CLIP score", system=system.title))
    if len(prompts) > 1:
        nearest = (normalize(z) @ normalize(z_t).T).argmax(1)
        rows.append(proportion(nearest == own, quantity="accuracy", system=system.title))
    return rows
