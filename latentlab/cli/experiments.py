"""The commands for typographic attacks, ablations, guidance, binding and written words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from .inputs import Inputs, load_pixels, numbers, parse_list
from .options import (
    PICTURE_OR_LATENTS,
    ClipFit,
    Count,
    Guidance,
    Json,
    ModelChoice,
    Out,
    Seed,
    Steps,
    with_model_options,
)
from .output import report, run_with_progress_bar, save_result, slug

if TYPE_CHECKING:
    from ..typography import Label


@dataclass(frozen=True)
class LabelOptions:
    """The paper label that is put on pictures."""

    at: Annotated[
        str, typer.Option(help="Centre and width of the label as x,y,width, in fractions of the picture.")
    ] = ""
    colour: Annotated[str, typer.Option(help="Colour of the letters: a name as in CSS, or #rrggbb.")] = "#0f0f14"
    paper: Annotated[str, typer.Option(help="Colour of the label: a name as in CSS, or #rrggbb.")] = "#fdfaee"
    font: Annotated[Path | None, typer.Option(help="Font, a .ttf or .otf file; a plain one by default.")] = None

    def label(self) -> Label:
        """The label with a word that is to be replaced.

        Raises:
            UserError: its place is not three numbers, or what `typography.Label` refuses.
        """
        from .. import typography

        place = numbers(self.at, "--at") if self.at else []
        if place and len(place) != 3:
            raise UserError(f"--at is {self.at!r}: give three numbers, x,y,width, like 0.5,0.65,0.7")
        placement = dict(zip(("x", "y", "size"), place))
        return typography.Label("word", **placement, colour=self.colour, paper=self.paper, font=self.font)


@with_model_options
def attack(
    model: ModelChoice,
    pictures: Annotated[list[Path], typer.Argument(help=f"One {PICTURE_OR_LATENTS}; or several, or folders.")],
    text: Annotated[str, typer.Option(help="Text to write on the picture; several are separated by commas.")],
    truth: Annotated[
        list[str],
        typer.Option(
            help="Caption of the picture, like “a red apple”; for several pictures, one for all or one for each."
        ),
    ],
    paper_label: LabelOptions,
    labels: Annotated[str, typer.Option(help="Further classes, separated by commas.")] = "",
    count: Annotated[int, typer.Option(min=0, max=64, help="Number of decoded variations of each picture.")] = 3,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="Another CLIP to compare with the model's, as open_clip's NAME:TAG; may be repeated."),
    ] = None,
    seed: Seed = 0,
    fit: ClipFit = "model",
    steps: Steps = 25,
    guidance: Guidance = 1.5,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Write words on pictures, and classify them.

    CLIP classifies each picture before and after, and the attacked z_i are decoded.
    """
    from .. import experiments
    from ..clip import FITS
    from ..io import atomic
    from ..models.clip_only import encoder as clip

    inputs, folder, label = Inputs(pictures, fit, FITS), atomic.writable_folder(out), paper_label.label()
    lab = model.load(as_json)
    names, pixels = load_pixels(inputs, lab, fit, as_json)
    encoders = {name: clip(name, device=lab.device) for name in encoder or ()}
    stream = experiments.attack.stream(
        lab,
        pixels,
        parse_list(text),
        truth[0] if len(truth) == 1 else truth,
        label=label,
        labels=parse_list(labels),
        variations=count,
        encoders=encoders,
        seed=seed,
        steps=steps,
        guidance=guidance,
        preview_every=0,
    )
    result = run_with_progress_bar(stream, as_json)
    figures = {f"picture-{k + 1}": result.figure(k) for k in range(1, len(names))}
    figures |= {"heat-map": result.heat_map()} if len(names) * len(result.words) > 1 else {}
    paths = save_result(result, folder, f"{slug(Path(names[0]).stem)}-attacked", figures=figures, images=names, fit=fit)
    report(result, paths, as_json, images=names)


@with_model_options
def ablate(
    model: ModelChoice,
    prompts: Annotated[list[str], typer.Argument(help="One prompt, or several.")],
    count: Count = 4,
    seed: Seed = 0,
    steps: Steps = 25,
    guidance: Guidance = 2.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Generate pictures without the prior, and with it.

    The decoder gets the prompt alone, z_t, or the prior's z_i as its CLIP embedding.
    """
    from .. import experiments
    from ..io import atomic

    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    stream = experiments.ablate.stream(
        lab, prompts, seeds=range(seed, seed + count), steps=steps, guidance=guidance, preview_every=0
    )
    result = run_with_progress_bar(stream, as_json)
    report(result, save_result(result, folder, f"{slug(prompts[0])}-ablation"), as_json)


@with_model_options
def guide(
    model: ModelChoice,
    prompts: Annotated[list[str], typer.Argument(help="One prompt, or several.")],
    by: Annotated[
        str,
        typer.Option(
            help="How to guide the decoder: classifier-free; clip, by the gradient of CLIP's score; or noised-clip."
        ),
    ] = "classifier-free",
    decoder: Annotated[
        str,
        typer.Option(
            help="Guidance scales of the decoder, separated by commas; by default 1,1.5,2,3,4, or 0,0.5,1,2,5 by CLIP."
        ),
    ] = "",
    prior: Annotated[str, typer.Option(help="Guidance scales of the prior, separated by commas.")] = "1,2",
    count: Count = 4,
    seed: Seed = 0,
    steps: Steps = 25,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Generate over a grid of guidance scales.

    The grid has the prior's scales and the decoder's.
    """
    from .. import experiments
    from ..experiments.guidance import GUIDANCES
    from ..io import atomic

    folder = atomic.writable_folder(out)
    if by not in GUIDANCES:
        raise UserError(f"--by is {by!r}: give one of {', '.join(GUIDANCES)}")
    guidances, prior_guidances = numbers(decoder, "--decoder") if decoder else None, numbers(prior, "--prior")
    lab = model.load(as_json)
    stream = experiments.guide.stream(
        lab,
        prompts,
        by=by,
        guidances=guidances,
        prior_guidances=prior_guidances,
        seeds=range(seed, seed + count),
        steps=steps,
    )
    result = run_with_progress_bar(stream, as_json)
    report(result, save_result(result, folder, f"{slug(prompts[0])}-guidance"), as_json)


@with_model_options
def bind(
    model: ModelChoice,
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Captions like “a red cube on top of a blue ball”; without any, --sample of them are drawn at random."
        ),
    ] = None,
    sample: Annotated[int, typer.Option(min=1, max=256, help="Number of random prompts where none is given.")] = 16,
    count: Count = 4,
    seed: Seed = 0,
    steps: Steps = 25,
    guidance: Guidance = 2.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Generate solids, and check their colours.

    Each prompt has two coloured solids; the pixels show whether each colour is at its place, and CLIP whether the
    picture is nearer to the prompt than to its rearrangements.
    """
    from .. import experiments, grammar
    from ..io import atomic

    folder = atomic.writable_folder(out)
    arrangements = prompts or grammar.arrangements(sample, seed=seed)
    lab = model.load(as_json)
    stream = experiments.bind.stream(
        lab, arrangements, seeds=range(seed, seed + count), steps=steps, guidance=guidance, preview_every=0
    )
    result = run_with_progress_bar(stream, as_json)
    report(result, save_result(result, folder, f"{slug(result.arrangements[0].caption)}-binding"), as_json)


@with_model_options
def spell(
    model: ModelChoice,
    words: Annotated[list[str], typer.Argument(help="Words to write on the signs.")],
    alternatives: Annotated[
        str, typer.Option(help="Words to choose from, separated by commas; the model's own by default.")
    ] = "",
    count: Count = 4,
    seed: Seed = 0,
    steps: Steps = 25,
    guidance: Guidance = 2.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Generate signs, and check what CLIP reads.

    The words of each sign are compared with other words.
    """
    from .. import experiments
    from ..io import atomic

    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    stream = experiments.spell.stream(
        lab,
        words,
        alternatives=parse_list(alternatives) or lab.words,
        seeds=range(seed, seed + count),
        steps=steps,
        guidance=guidance,
        preview_every=0,
    )
    result = run_with_progress_bar(stream, as_json)
    report(result, save_result(result, folder, f"sign-{slug(words[0])}"), as_json)


COMMANDS = (attack, ablate, guide, bind, spell)
