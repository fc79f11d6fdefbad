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
from . import markup, model_cache, running
from .buttons import QUIET
from .endpoints import MODEL_QUEUE
from .output_bar import OutputBar
from .outputs import InputImage

KEY, MARGIN = "map", 7  # of the width, in per cent
DESCRIPTION = (
    "Every picture where CLIP sees it: z_i on the plane of the examples' first two principal components. Look for "
    "what lies together. Click one picture to use it, or two to go from one to the other."
)
CLICKS = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-row]');
  if (button) trigger('click', {row: Number(button.dataset.row)});
});
"""


def positions(model: str, input_images: list[InputImage], count: int) -> list[tuple[float, float]]:
    """Where each picture stands, in per cent from the left and the top; the plane is fitted on the first `count`."""
    lab = model_cache.get(model)
    z_i = normalize(running.encode_images(model, torch.cat([c.pixels(lab) for c in input_images])))
    xy = Directions.fit(z_i[:count], 2).project(z_i)
    low, high = xy.min(0).values, xy.max(0).values
    return (MARGIN + (xy - low) / (high - low).clamp_min(1e-9) * (100 - 2 * MARGIN)).tolist()


def thumbnail_url(image: InputImage) -> str:
    picture = image.picture.copy()
    picture.thumbnail((64, 64))
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def map_html(input_images: list[InputImage], at: list[tuple[float, float]], own: int, marked: list[int]) -> str:
    """The map as HTML: a button a picture, its name on hover and for screen readers."""
    buttons = []
    for row, (chosen, (x, y)) in enumerate(zip(input_images, at)):
        name = html.escape(chosen.caption or chosen.name)
        kinds = " ".join(["own"] * (row >= own) + ["chosen"] * (row in marked))
        buttons.append(
            f'<button type="button" data-row="{row}" class="{kinds}" style="left:{x:.1f}%;top:{100 - y:.1f}%" '
            f'aria-pressed="{str(row in marked).lower()}"><img src="{thumbnail_url(chosen)}" alt="{name}">'
            f'<span aria-hidden="true">{name}</span></button>'
        )
    note = '<p class="note">Orange frames: your own pictures.</p>' if len(input_images) > own else ""
    return f'<div class="map" role="group" aria-label="Map of the pictures">{"".join(buttons)}</div>{note}'


class Map:
    """The map's tab. `points` holds (pictures, places, how many are examples); `marked` up to two rows."""

    def __init__(self, examples: list[InputImage], slots: list[str]):
        self.examples = examples
        with gr.Tab("Map", id=KEY) as self.tab:
            self.points, self.marked = gr.State(), gr.State([])
            gr.HTML(f"<h2>Map</h2><p>{DESCRIPTION}</p>", padding=False, elem_classes="description")
            self.status = gr.HTML(markup.message("Nothing is chosen yet."), padding=False)
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
        self.outputs = [self.plane, self.points, self.marked, self.status, self.between, self.use]

    def connect(self, output_bar: OutputBar) -> None:
        options = {
            **MODEL_QUEUE,
            "show_progress": "minimal",
            "show_progress_on": self.status,
            "api_visibility": "private",
        }
        output_bar.other_tabs.append(KEY)
        theirs = [output_bar.model, output_bar.own_images, *(picker.state for picker, _ in output_bar.slots)]
        self.tab.select(self._draw, theirs, self.outputs, **options)
        chosen = [self.plane, self.marked, self.status, self.between, self.use]
        self.plane.click(self._click, [self.points, self.marked], chosen, **QUIET)
        first, second = (k for k, (p, _) in enumerate(output_bar.slots) if p.page == "interpolate")
        marked, outputs = [self.points, self.marked], [output_bar.tabs, *output_bar.all_pickers()]

        def between(points, marked):
            return output_bar.into({first: points[0][marked[0]], second: points[0][marked[1]]})

        def use(points, marked, target):
            return output_bar.into({target: points[0][marked[-1]]})

        self.between.click(between, marked, outputs, **QUIET)
        self.use.click(use, [*marked, self.target], outputs, **QUIET)

    def _draw(self, model: str, own_images: list[InputImage], *inputs: InputImage | None):
        off = gr.update(interactive=False)
        own = dict.fromkeys([*own_images, *(c for c in inputs if c)])  # what was made here, and what was given
        input_images = [*self.examples, *(c for c in own if not c.example)]
        try:
            for now in model_cache.load_with_progress(model_cache.validated_name(model)):
                text = markup.progress_bar(*now[:3])
                yield [text if c is self.status else gr.skip() for c in self.outputs]
            at = positions(model, input_images, len(self.examples))
        except UserError as error:
            yield gr.skip(), None, [], markup.message(markup.error_sentence(error), "wrong"), off, off
            return
        points = (input_images, at, len(self.examples))
        text = markup.message("Click a picture to choose it, and another one to go there.")
        yield map_html(input_images, at, len(self.examples), []), points, [], text, off, off

    def _click(self, points, marked: list[int], click: gr.EventData):
        row = click._data.get("row") if isinstance(click._data, dict) else None
        if points is None or not isinstance(row, int) or not 0 <= row < len(points[0]):
            return [gr.skip()] * 5
        marked = [m for m in marked if m != row] if row in marked else [*marked, row][-2:]
        names = [points[0][m].caption or points[0][m].name for m in marked]
        text = " and ".join(f"“{name}”" for name in names) or "Nothing"
        return (
            map_html(*points, marked), marked, markup.message(f"{text} chosen."),
            gr.update(interactive=len(marked) == 2), gr.update(interactive=bool(marked)),
        )  # fmt: skip
