"""The map: pictures where CLIP sees them, in the plane of their first two principal components."""

from __future__ import annotations

import base64
import html
import io

import gradio as gr
import torch

from ..analysis.pca import Directions
from ..errors import UserError
from ..slerp import normalize
from . import labs, markup, running
from .buttons import QUIET
from .endpoints import HEAVY
from .output_bar import Bench
from .outputs import Chosen

KEY, MARGIN = "map", 7  # of the width, in per cent
LOOK = (
    "Every picture where CLIP sees it: z_i on the plane of the examples' first two principal components. Look for "
    "what lies together. Click one picture to use it, or two to go from one to the other."
)
CLICKS = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-row]');
  if (button) trigger('click', {row: Number(button.dataset.row)});
});
"""


def places(model: str, found: list[Chosen], count: int) -> list[tuple[float, float]]:
    """Where each picture stands, in per cent from the left and the top; the plane is fitted on the first `count`."""
    lab = labs.get(model)
    z_i = normalize(running.z_i(model, torch.cat([c.pixels(lab) for c in found])))
    xy = Directions.fit(z_i[:count], 2).project(z_i)
    low, high = xy.min(0).values, xy.max(0).values
    return (MARGIN + (xy - low) / (high - low).clamp_min(1e-9) * (100 - 2 * MARGIN)).tolist()


def thumbnail(chosen: Chosen) -> str:
    picture = chosen.picture.copy()
    picture.thumbnail((64, 64))
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def drawn(found: list[Chosen], at: list[tuple[float, float]], own: int, marked: list[int]) -> str:
    """The map as HTML: a button a picture, its name on hover and for screen readers."""
    buttons = []
    for row, (chosen, (x, y)) in enumerate(zip(found, at)):
        name = html.escape(chosen.caption or chosen.name)
        kinds = " ".join(["own"] * (row >= own) + ["chosen"] * (row in marked))
        buttons.append(
            f'<button type="button" data-row="{row}" class="{kinds}" style="left:{x:.1f}%;top:{100 - y:.1f}%" '
            f'aria-pressed="{str(row in marked).lower()}"><img src="{thumbnail(chosen)}" alt="{name}">'
            f'<span aria-hidden="true">{name}</span></button>'
        )
    note = '<p class="note">Orange frames: your own pictures.</p>' if len(found) > own else ""
    return f'<div class="map" role="group" aria-label="Map of the pictures">{"".join(buttons)}</div>{note}'


class Map:
    """The map's tab. `points` holds (pictures, places, how many are examples); `marked` up to two rows."""

    def __init__(self, examples: list[Chosen], slots: list[str]):
        self.examples = examples
        with gr.Tab("Map", id=KEY) as self.tab:
            self.points, self.marked = gr.State(), gr.State([])
            gr.HTML(f"<h2>Map</h2><p>{LOOK}</p>", padding=False, elem_classes="look")
            self.says = gr.HTML(markup.sentence("Nothing is chosen yet."), padding=False)
            with gr.Row(elem_classes="send"):
                self.between = gr.Button(
                    "Interpolate between the two", interactive=False, variant="primary", scale=1, size="md"
                )
                self.target = gr.Dropdown(
                    [(title, k) for k, title in enumerate(slots)], value=0, label="Use the last one on", scale=1,
                    min_width=140,
                )  # fmt: skip
                self.use = gr.Button("Use as input there", interactive=False, scale=1, size="md")
            self.plane = gr.HTML(padding=False, js_on_load=CLICKS)
        self.told = [self.plane, self.points, self.marked, self.says, self.between, self.use]

    def wire(self, bench: Bench) -> None:
        options = {**HEAVY, "show_progress": "minimal", "show_progress_on": self.says, "api_visibility": "private"}
        bench.others.append(KEY)
        theirs = [bench.model, bench.shelf, *(picker.state for picker, _ in bench.slots)]
        self.tab.select(self._draw, theirs, self.told, **options)
        chosen = [self.plane, self.marked, self.says, self.between, self.use]
        self.plane.click(self._click, [self.points, self.marked], chosen, **QUIET)
        first, second = (k for k, (p, _) in enumerate(bench.slots) if p.page == "interpolate")
        marked, outputs = [self.points, self.marked], [bench.tabs, *bench.all_pickers()]

        def between(points, marked):
            return bench.into({first: points[0][marked[0]], second: points[0][marked[1]]})

        def use(points, marked, target):
            return bench.into({target: points[0][marked[-1]]})

        self.between.click(between, marked, outputs, **QUIET)
        self.use.click(use, [*marked, self.target], outputs, **QUIET)

    def _draw(self, model: str, shelf: list[Chosen], *inputs: Chosen | None):
        off = gr.update(interactive=False)
        own = dict.fromkeys([*shelf, *(c for c in inputs if c)])  # what was made here, and what was given
        found = [*self.examples, *(c for c in own if not c.example)]
        try:
            for now in labs.obtain(labs.checked(model)):
                said = markup.bar(*now[:3])
                yield [said if c is self.says else gr.skip() for c in self.told]
            at = places(model, found, len(self.examples))
        except UserError as error:
            yield gr.skip(), None, [], markup.sentence(markup.whole(error), "wrong"), off, off
            return
        points = (found, at, len(self.examples))
        said = markup.sentence("Click a picture to choose it, and another one to go there.")
        yield drawn(found, at, len(self.examples), []), points, [], said, off, off

    def _click(self, points, marked: list[int], click: gr.EventData):
        row = click._data.get("row") if isinstance(click._data, dict) else None
        if points is None or not isinstance(row, int) or not 0 <= row < len(points[0]):
            return [gr.skip()] * 5
        marked = [m for m in marked if m != row] if row in marked else [*marked, row][-2:]
        names = [points[0][m].caption or points[0][m].name for m in marked]
        said = " and ".join(f"“{name}”" for name in names) or "Nothing"
        return (
            drawn(*points, marked), marked, markup.sentence(f"{said} chosen."),
            gr.update(interactive=len(marked) == 2), gr.update(interactive=bool(marked)),
        )  # fmt: skip
