"""Each experiment as one call that returns a frozen result: pictures, a tidy table of numbers, and a figure.

Each is an `Experiment`: `generate(...)` runs to the end and returns the result, `generate.stream(...)` yields
`Progress` on the way and the result last, so that a page can draw and stop it.  `EXPERIMENTS` lists them by name.

    generate            caption -> picture; `.best(k)` by CLIP
    invert              picture -> (z_i, x_T), once; every other experiment takes what it returns
    reconstruct         (z_i, x_T) -> picture; what each latent holds                       section 3
    vary                the same two latents with η above 0                                 figure 3
    interpolate         from one picture to another                                         figure 4
    diff                a picture changed as its caption changes                            figure 5
    attack              words on pictures                                                   figure 6
    truncate            the first k principal components of z_i                             figure 7
    walk_components     along one component
    ablate              with and without the prior                                          figure 8
    guide               the prior's and the decoder's guidance, classifier-free or by CLIP  figure 9
    edit                a part painted anew, a canvas grown (GLIDE)
    bind, spell         colours at their things, words on signs                             figures 14-16
    classify, compare   CLIP itself: zero-shot labels, similarities, the modality gap
"""

from .ablation import Ablated, ablate
from .base import Experiment, Progress, Result
from .binding import Bound, bind
from .classification import Classified, classify
from .comparison import Compared, compare
from .component_walk import Walked, walk_components
from .edit import Edited, edit
from .generation import Generated, generate
from .guidance import GUIDANCES, Guided, guide
from .interpolation import Interpolated, interpolate
from .inversion import Inverted, invert
from .reconstruction import Reconstructed, reconstruct
from .spelling import Spelled, spell
from .text_diff import Diffed, diff
from .truncation import Truncated, truncate
from .typographic_attack import Attacked, attack
from .variation import Varied, vary

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        generate,
        invert,
        reconstruct,
        vary,
        interpolate,
        diff,
        attack,
        truncate,
        walk_components,
        ablate,
        guide,
        edit,
        bind,
        spell,
        classify,
        compare,
    )
}

__all__ = [
    "EXPERIMENTS",
    "GUIDANCES",
    "Ablated",
    "Attacked",
    "Bound",
    "Classified",
    "Compared",
    "Diffed",
    "Edited",
    "Experiment",
    "Generated",
    "Guided",
    "Interpolated",
    "Inverted",
    "Progress",
    "Reconstructed",
    "Result",
    "Spelled",
    "Truncated",
    "Varied",
    "Walked",
    "ablate",
    "attack",
    "bind",
    "classify",
    "compare",
    "diff",
    "edit",
    "generate",
    "guide",
    "interpolate",
    "invert",
    "reconstruct",
    "spell",
    "truncate",
    "vary",
    "walk_components",
]
