"""The map: pictures at their image embeddings, in the plane of the first two principal components."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import gradio as gr
import torch
from gradio.components import Component

from ..analysis.pca import Directions
from ..errors import UserError
from ..slerp import normalize
from . import markup, model_cache, running
from .events import QUIET, run_options
from .output_bar import OutputBar
from .outputs import InputImage

KEY = "map"
MARGIN = 7  # per cent of the width
DESCRIPTION = (
    "Each picture stands at its image embedding z_i, in the plane of the examples' first two principal components. "
    "Look for pictures that lie close together. Click one picture to use it, or two to interpolate between them."
)
CLICKS = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-row]');
  if (button) trigger('click', {row: Number(button.dataset.row)});
});
"""


@dataclass(frozen=True, eq=False)
class Points:
    """The pictures of a map, their positions in per cent from the left and the bottom, and the number of examples."""

    images: list[InputImage]
    positions: list[tuple[float, float]]
    examples: int

    def name(self, row: int) -> str:
        return self.images[row].caption or self.images[row].name


def positions(model: str, input_images: list[InputImage], count: int) -> list[tuple[float, float]]:
    """Return the pictures' positions in per cent; the plane is fitted on the first `count` pictures."""
    lab = model_cache.get(model)
    z_i = normalize(running.encode_images(model, torch.cat([image.pixels(lab) for image in input_images])))
    xy = Directions.fit(z_i[:count], 2).project(z_i)
    low, high = xy.min(0).values, xy.max(0).values
    per_cent = MARGIN + (xy - low) / (high - low).clamp_min(1e-9) * (100 - 2 * MARGIN)
    return [(x, y) for x, y in per_cent.tolist()]


def thumbnail_url(image: InputImage) -> str:
    picture = image.picture.copy()
    picture.thumbnail((64, 64))
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def map_html(points: Points, marked: Sequence[int]) -> str:
    """Draw the map as HTML: each picture is a button, whose name appears on hover and for screen readers."""
    buttons = []
    for row, (image, (x, y)) in enumerate(zip(points.images, points.positions)):
        name = html.escape(points.name(row))
        classes = " ".join(["own"] * (row >= points.examples) + ["chosen"] * (row in marked))
        buttons.append(
            f'<button type="button" data-row="{row}" class="{classes}" style="left:{x:.1f}%;top:{100 - y:.1f}%" '
            f'aria-pressed="{str(row in marked).lower()}"><img src="{thumbnail_url(image)}" alt="{name}">'
            f'<span aria-hidden="true">{name}</span></button>'
        )
    has_own = len(points.images) > points.examples
    note = '<p class="note">Your own pictures have orange frames.</p>' if has_own else ""
    return f'<div class="map" role="group" aria-label="Map of the pictures">{"".join(buttons)}</div>{note}'


class Map:
    """The map's tab. The state `points` holds Points; `marked` holds the rows of up to two chosen pictures."""

    def __init__(self, examples: list[InputImage], slots: list[str]):
        self.examples = examples
        with gr.Tab("Map", id=KEY) as self.tab:
            self.points, self.marked = gr.State(), gr.State([])
            gr.HTML(f"<h2>Map</h2><p>{DESCRIPTION}</p>", padding=False, elem_classes="description")
            self.status = gr.HTML(markup.message("No picture is chosen yet."), padding=False)
            with gr.Row(elem_classes="send"):
                self.interpolate = gr.Button(
                    "Interpolate between the two", interactive=False, variant="primary", scale=1, size="md"
                )
                self.target = gr.Dropdown(
                    [(title, k) for k, title in enumerate(slots)],
                    value=0,
                    label="Use the last one on",
                    scale=1,
                    min_width=140,
                )
                self.use = gr.Button("Use as input there", interactive=False, scale=1, size="md")
            self.plane = gr.HTML(padding=False, js_on_load=CLICKS)
        self.outputs: list[Component] = [
            self.plane,
            self.points,
            self.marked,
            self.status,
            self.interpolate,
            self.use,
        ]

    def connect(self, output_bar: OutputBar) -> None:
        """Add the tab's events, which put pictures into the pages' pickers."""
        output_bar.other_tabs.append(KEY)
        inputs = [output_bar.model, output_bar.own_images, *(picker.state for picker, _ in output_bar.slots)]
        self.tab.select(self._draw, inputs, self.outputs, **run_options(self.status))
        marking = [self.plane, self.marked, self.status, self.interpolate, self.use]
        self.plane.click(self._click, [self.points, self.marked], marking, **QUIET)
        first, second = (k for k, (picker, _) in enumerate(output_bar.slots) if picker.page == "interpolate")
        outputs = [output_bar.tabs, *output_bar.all_pickers()]

        def interpolate(points: Points, marked: list[int]) -> list[object]:
            return output_bar.put_into({first: points.images[marked[0]], second: points.images[marked[1]]})

        def use(points: Points, marked: list[int], target: int) -> list[object]:
            return output_bar.put_into({target: points.images[marked[-1]]})

        self.interpolate.click(interpolate, [self.points, self.marked], outputs, **QUIET)
        self.use.click(use, [self.points, self.marked, self.target], outputs, **QUIET)

    def _draw(self, model: str, own_images: list[InputImage], *inputs: InputImage | None) -> Iterator[list[object]]:
        """Yield the progress of loading the model, then the map; its pictures are examples, outputs and inputs."""
        disabled = gr.update(interactive=False)
        candidates = dict.fromkeys([*own_images, *(image for image in inputs if image)])
        input_images = [*self.examples, *(image for image in candidates if not image.example)]
        try:
            for progress in model_cache.load_with_progress(model_cache.validated_name(model)):
                bar = markup.progress_bar(progress.stage, progress.step, progress.steps)
                yield [bar if component is self.status else gr.skip() for component in self.outputs]
            points = Points(input_images, positions(model, input_images, len(self.examples)), len(self.examples))
        except UserError as error:
            yield [gr.skip(), None, [], markup.message(markup.error_sentence(error), "wrong"), disabled, disabled]
            return
        text = markup.message("Click a picture to choose it, and a second one to interpolate between them.")
        yield [map_html(points, []), points, [], text, disabled, disabled]

    def _click(self, points: Points | None, marked: list[int], click: gr.EventData) -> list[object]:
        """Choose the clicked picture, or give it up if it was chosen already; the last two clicks count."""
        row = click._data.get("row") if isinstance(click._data, dict) else None
        if points is None or not isinstance(row, int) or not 0 <= row < len(points.images):
            return [gr.skip()] * 5
        marked = [m for m in marked if m != row] if row in marked else [*marked, row][-2:]
        names = " and ".join(f"“{points.name(m)}”" for m in marked)
        verb = "are" if len(marked) == 2 else "is"
        text = f"{names} {verb} chosen." if marked else "No picture is chosen."
        return [
            map_html(points, marked),
            marked,
            markup.message(text),
            gr.update(interactive=len(marked) == 2),
            gr.update(interactive=bool(marked)),
        ]
