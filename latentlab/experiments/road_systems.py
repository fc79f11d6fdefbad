"""The systems of the road in order of time: what each needs of a lab, how it draws prompts, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .. import prior
from ..ascent import Objective
from ..errors import UserError
from ..io import images
from ..latents import Latent
from ..noise import draw_x_T
from .base import Progress
from .drawing_stages import climb, new_canvas
from .stages import cosine, sample_images

if TYPE_CHECKING:
    from ..models import Lab

Drawing = Generator[Progress, None, Tensor]
TOGETHER = 16  # drawings that climb in one batch


@dataclass(frozen=True)
class Params:
    """What the road lets a caller choose.

    Args:
        steps, guidance: of the decoder under a prior.
        glide_guidance: classifier-free, of the decoder without a prior.
        climb_steps, views: of CLIP's own drawing.
        samples: of DALL·E 1 for each picture, of which CLIP keeps the nearest to the prompt.
    """

    steps: int = 25
    guidance: float = 2.0
    glide_guidance: float = 3.0
    climb_steps: int = 40
    views: int = 4
    samples: int = 4


@dataclass(frozen=True)
class System:
    """One system of the road.

    Args:
        title: its name with its year. paper: where it is from.
        missing: a sentence why a lab does not have it; empty where it has.
        draw: prompts and seeds, N of each, to pictures (N, 3, h, w), as the system itself makes them.
        evaluations: of its networks for one picture.
        parts: of a lab, whose networks it uses.
        decodes: whether it draws by the lab's decoder.
    """

    title: str
    paper: str
    missing: Callable[[Lab], str]
    draw: Callable[[Lab, Sequence[str], Sequence[int], Params], Drawing]
    evaluations: Callable[[Lab, Params], int]
    parts: Callable[[Lab], Sequence[Any]]
    decodes: bool = True

    def parameters(self, lab: Lab) -> int:
        """The number of parameters of all networks that it uses."""
        networks = {
            id(value): value
            for part in self.parts(lab)
            for value in getattr(part, "__dict__", {}).values()
            if isinstance(value, nn.Module)
        }
        return sum(p.numel() for network in networks.values() for p in network.parameters())


def _by_dalle(lab: Lab, prompts: Sequence[str], seeds: Sequence[int], params: Params) -> Drawing:
    """The best of several token sequences by CLIP.  Ramesh et al. 2021, section 2.6."""
    yield Progress("tokens", 0, 1)
    columns = [prompt for prompt in prompts for _ in range(params.samples)]
    own = [seed * params.samples + k for seed in seeds for k in range(params.samples)]
    pixels = lab.require_dalle().generate(columns, seeds=own)
    z = lab.encoder.encode_image(images.resize(pixels, lab.encoder.image_size))
    scores = cosine(z, lab.encoder.encode_text(columns)).view(len(prompts), -1)
    best = scores.argmax(1) + params.samples * torch.arange(len(prompts), device=scores.device)
    return pixels[best]


def _by_clip(lab: Lab, prompts: Sequence[str], seeds: Sequence[int], params: Params) -> Drawing:
    """Strokes that climb CLIP's cosine, `TOGETHER` pictures in a batch, which bounds memory."""
    drawn = []
    for first in range(0, len(prompts), TOGETHER):
        some = slice(first, first + TOGETHER)
        sheet = new_canvas(lab, "strokes", start="noise", seeds=seeds[some])
        objective = Objective(lab.encoder.encode_text(prompts[some])[:, None], [1.0])
        steps, views = params.climb_steps, params.views
        climbed = yield from climb(lab, sheet, objective, steps=steps, views=views, preview_every=0)
        drawn.append(climbed.pixels)
    return torch.cat(drawn)


def _decoded(lab: Lab, z_i: Tensor, prompts: Sequence[str], seeds: Sequence[int], **params: Any) -> Drawing:
    decoder = lab.require_decoder()
    latent = Latent(z_i, draw_x_T(decoder, seeds, device=lab.device, dtype=z_i.dtype))
    return (yield from sample_images(lab, latent, text=decoder.encode_prompt(prompts), **params))


def _by_glide(lab: Lab, prompts: Sequence[str], seeds: Sequence[int], params: Params) -> Drawing:
    """The decoder guided by the prompt alone, with the null embedding in place of z_i."""
    z_i = torch.zeros_like(lab.encoder.encode_text(prompts))
    return (yield from _decoded(lab, z_i, prompts, seeds, steps=params.steps, guidance=params.glide_guidance))


def _by_prior(kind: str) -> Callable[[Lab, Sequence[str], Sequence[int], Params], Drawing]:
    def draw(lab: Lab, prompts: Sequence[str], seeds: Sequence[int], params: Params) -> Drawing:
        yield Progress("prior", 0, 1)
        z_i = prior.sample(lab.prior_of(kind), prompts, seeds=seeds)
        return (yield from _decoded(lab, z_i, prompts, seeds, steps=params.steps, guidance=params.guidance))

    return draw


def _no_dalle(lab: Lab) -> str:
    try:
        lab.require_dalle()
    except UserError as error:
        return str(error)
    return ""


def _no_glide(lab: Lab) -> str:
    if not lab.has_decoder:
        return f"{lab.name} is a CLIP alone, without a decoder"
    silent = lab.require_decoder().encode_prompt(["a"]) is None
    return f"the decoder of {lab.name} reads no text" if silent else ""


def _no_prior(kind: str) -> Callable[[Lab], str]:
    def missing(lab: Lab) -> str:
        if not lab.has_decoder:
            return f"{lab.name} is a CLIP alone, without a decoder"
        try:
            return "" if lab.prior_of(kind) else f"{lab.name} has no prior"
        except UserError as error:
            return str(error)

    return missing


def _decoder_evaluations(params: Params, guidance: float) -> int:
    return params.steps * (1 if guidance == 1 else 2)


def _with_prior(kind: str, paper: str) -> System:
    """unCLIP with one of its priors; two z_i are drawn for each picture."""

    def evaluations(lab: Lab, params: Params) -> int:
        network = lab.prior_of(kind)
        each = network.noise_width if isinstance(network, prior.CodePrior) else 16
        return 2 * each + _decoder_evaluations(params, params.guidance)

    return System(
        f"unCLIP, {kind} prior (2022)",
        paper,
        _no_prior(kind),
        _by_prior(kind),
        evaluations,
        lambda lab: (lab.encoder, lab.prior_of(kind), lab.decoder),
    )


SYSTEMS: dict[str, System] = {
    "dalle": System(
        "DALL·E 1 (2021)",
        "Ramesh et al. 2021",
        _no_dalle,
        _by_dalle,
        lambda lab, params: 2 * params.samples * lab.require_dalle().dvae.length,  # each with and without the prompt
        lambda lab: (lab.encoder, lab.require_dalle(), lab.require_dalle().dvae),
        decodes=False,
    ),
    "draw": System(
        "CLIP draws (2021)",
        "Frans et al. 2021, CLIPDraw",
        lambda lab: "",
        _by_clip,
        lambda lab, params: params.climb_steps * max(1, params.views),
        lambda lab: (lab.encoder,),
        decodes=False,
    ),
    "glide": System(
        "GLIDE (2021)",
        "Nichol et al. 2021",
        _no_glide,
        _by_glide,
        lambda lab, params: _decoder_evaluations(params, params.glide_guidance),
        lambda lab: (lab.encoder, lab.decoder),
    ),
    "unclip-autoregressive": _with_prior("autoregressive", "Ramesh et al. 2022, section 2.2"),
    "unclip": _with_prior("diffusion", "Ramesh et al. 2022"),
}


def chosen(lab: Lab, names: Sequence[str]) -> tuple[dict[str, System], list[str]]:
    """The systems of these names that the lab has, in order of time, and a sentence for each other one.

    Raises:
        UserError: an unknown name, or none that the lab has.
    """
    unknown = [name for name in names if name not in SYSTEMS]
    if unknown or not names:
        raise UserError(f"systems are {list(names)}: give some of {', '.join(SYSTEMS)}")
    present, notes = dict[str, System](), []
    for name, system in SYSTEMS.items():
        if name in names:
            reason = system.missing(lab)
            if reason:
                notes.append(f"{system.title} is left out: {reason}")
            else:
                present[name] = system
    if not present:
        raise UserError("; ".join(notes))
    return present, notes
