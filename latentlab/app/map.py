"""The map's canvas and its events: pictures are chosen, used on other pages, and places of the map are decoded."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr
import torch

from ..errors import UserError
from . import map_data, markup, running
from .events import QUIET, Update, run_options
from .layout import BuiltPage
from .output_bar import OutputBar
from .outputs import InputImage, RunOutput

MOST = 12  # places of one run
CANVAS = """
<div class="map" role="group" aria-label="Map of the pictures">
  <div class="map-tools">
    <label>Search <input type="search" data-part="search" placeholder="cat, red …"></label>
    <span data-part="count" role="status"></span>
    <label>Colour by <select data-part="colour"></select></label>
    <button type="button" data-part="line" aria-pressed="false">Draw a line</button>
    <button type="button" data-part="whole">Whole map</button>
  </div>
  <div data-part="results"></div>
  <div data-part="canvas"></div>
  <div data-part="legend"></div>
</div>
"""
# The script is loaded when the tab is opened, so that other pages don't wait for it.
START = """
const root = element.querySelector('.map');
const file = path => `${window.gradio_config.root || ''}/gradio_api/file=${path}`;
window.latentlab.map = import(file('%s')).then(module => module.createMap(root, trigger));
"""
CHANNEL = """
const send = () => {
  const text = element.querySelector('[data-json]')?.dataset.json;
  if (!text) return;
  const value = JSON.parse(text);
  if (value.atlas) value.atlas = `${window.gradio_config.root || ''}/gradio_api/file=${value.atlas}`;
  window.latentlab.map.then(map => map.%s(value));
};
watch('value', send); send();
"""


@dataclass(frozen=True, eq=False)
class Chosen:
    """The rows of up to two chosen pictures; rows from `count` on are the visitor's own pictures."""

    rows: tuple[int, ...] = ()
    own: tuple[InputImage, ...] = ()
    own_places: tuple[tuple[float, float], ...] = ()

    def picture(self, row: int) -> InputImage:
        data = map_data.load()
        if row >= len(data.captions):
            return self.own[row - len(data.captions)]
        return InputImage(data.captions[row], data.thumbnails[row], data.captions[row])

    def toggle(self, row: int) -> Chosen:
        """Choose a picture, or give it up if it was chosen already; the last two count."""
        rows = tuple(r for r in self.rows if r != row) if row in self.rows else (*self.rows, row)[-2:]
        return Chosen(rows, self.own, self.own_places)

    def as_json(self, decoded: RunOutput | None = None) -> str:
        """Return the marks of the map: own and chosen pictures, and those of a run."""
        own = [
            {"xy": xy, "url": markup.picture_url(image.picture), "caption": image.caption or image.name}
            for xy, image in zip(self.own_places, self.own)
        ]
        marks: dict[str, object] = {"own": own, "chosen": self.rows}
        if decoded:
            xy = parsed_places(decoded.fields["places"], int(decoded.fields["frames"])).tolist()
            marks["decoded"] = [
                {"xy": place, "url": markup.picture_url(image.picture), "caption": image.title}
                for place, image in zip(xy, decoded.images)
            ]
        return json.dumps(marks)


def parsed_places(text: str, frames: int) -> torch.Tensor:
    """Return places (N, 2) in [0, 1] from "x,y x,y"; two places are the ends of a line of `frames` places.

    Raises:
        UserError: the text has no places, too many, or one outside of the map.
    """
    pairs = re.findall(r"(-?[\d.]+)\s*,\s*(-?[\d.]+)", text)
    try:
        xy = torch.tensor([[float(x), float(y)] for x, y in pairs])
    except ValueError:
        xy = torch.empty(0)
    if not 1 <= len(xy) <= MOST or xy.min() < 0 or xy.max() > 1:
        raise UserError(f"places are “{text}”: write 1 to {MOST} pairs x,y between 0 and 1, like “0.2,0.7 0.8,0.3”")
    if len(xy) == 2:
        share = torch.linspace(0, 1, frames)[:, None]
        xy = (1 - share) * xy[:1] + share * xy[1:]
    return xy


@dataclass(frozen=True, eq=False)
class Canvas:
    """The map, the channels through which its data reach the browser, and a row for the buttons below it."""

    plane: gr.HTML
    data: gr.HTML
    marks: gr.HTML
    row: gr.Row


def canvas() -> Canvas:
    plane = gr.HTML(CANVAS, js_on_load=START % (map_data.STATIC / "map.js"), padding=False)
    data = gr.HTML(js_on_load=CHANNEL % "setData", padding=False, elem_classes="channel")
    marks = gr.HTML(js_on_load=CHANNEL % "setMarks", padding=False, elem_classes="channel")
    return Canvas(plane, data, marks, gr.Row(elem_classes="send", equal_height=True))


def _channel(text: str) -> str:
    return f'<span data-json="{html.escape(text, quote=True)}"></span>'


class MapEvents:
    """The events of the map's page, which put pictures into other pages' pickers."""

    def __init__(self, built: BuiltPage, output_bar: OutputBar):
        self.output_bar, parts = output_bar, built.above
        assert isinstance(parts, Canvas)
        with parts.row:
            about, target, use, both = self._buttons()
        chosen = gr.State(Chosen())
        inputs = [output_bar.model, chosen, output_bar.own_images, *(p.state for p, _ in output_bar.slots)]
        shown = [parts.data, parts.marks, chosen, built.status]
        built.tab.select(_shipped_places, None, parts.data, **QUIET)
        built.tab.select(self._draw, inputs, shown, **run_options(built.status))
        parts.plane.select(self._choose, chosen, [parts.marks, chosen, about, use, both], **QUIET)
        place = parts.plane.submit(_places, None, built.controls["places"], **QUIET)
        place.then(None, None, None, js="() => document.getElementById('run-map').click()", **QUIET)
        for event in built.events:
            event.success(_decoded, [built.run_output, chosen], parts.marks, **QUIET)
        outputs = [output_bar.tabs, *output_bar.all_pickers()]
        both.click(self._interpolate, chosen, outputs, **QUIET)
        use.click(self._use, [chosen, target], outputs, **QUIET)

    def _buttons(self) -> tuple[gr.HTML, gr.Dropdown, gr.Button, gr.Button]:
        """Build the line about the chosen pictures, and where they can go."""
        about = gr.HTML('<p class="note">No picture is chosen yet.</p>', padding=False, scale=2)
        target = gr.Dropdown(
            [(f"Use it on {title}", k) for k, (_, title) in enumerate(self.output_bar.slots)],
            value=0,
            label="Use the last one on",
            show_label=False,
            container=False,
            scale=1,
            min_width=200,
        )
        use = gr.Button("Use as input there", interactive=False, size="sm", scale=0, min_width=150)
        both = gr.Button("Interpolate between the two", interactive=False, size="sm", scale=0, min_width=200)
        return about, target, use, both

    def _draw(
        self, model: str, chosen: Chosen, own_images: list[InputImage], *inputs: InputImage | None
    ) -> Iterator[list[object]]:
        """Yield the progress of encoding, then the map, with the visitor's own pictures among the others."""
        skipped = [gr.skip()] * 3
        try:
            data, stream = map_data.load(), map_data.layout(model, map_data.load())
            while True:
                try:
                    progress = next(stream)
                except StopIteration as end:
                    layout = end.value
                    break
                yield [*skipped, markup.progress_bar(progress.stage, progress.step, progress.steps)]
            candidates = dict.fromkeys([*own_images, *(image for image in inputs if image)])
            own = tuple(image for image in candidates if not image.example)
            places: list[list[float]] = []
            if own:
                lab = map_data.model_cache.get(model)
                z_i = running.encode_images(model, torch.cat([image.pixels(lab) for image in own]))
                places = layout.place(z_i).tolist()
        except UserError as error:
            yield [*skipped, markup.message(markup.error_sentence(error), "wrong")]
            return
        chosen = Chosen(tuple(r for r in chosen.rows if r < len(data.captions)), own, tuple((x, y) for x, y in places))
        text = "Click an empty place to decode it." + (" Orange frames are your own pictures." if own else "")
        notes = [data.note] if data.note else []
        atlas = gr.skip() if data.xy is not None else _channel(data.as_json(layout.xy, str(data.atlas)))
        yield [atlas, _channel(chosen.as_json()), chosen, markup.message(text, notes=notes)]

    def _choose(self, chosen: Chosen, event: gr.EventData) -> list[object]:
        row = event._data.get("row") if isinstance(event._data, dict) else None
        if not isinstance(row, int) or not 0 <= row < len(map_data.load().captions) + len(chosen.own):
            return [gr.skip()] * 5
        chosen = chosen.toggle(row)
        pictures = [chosen.picture(r) for r in chosen.rows]
        names = " and ".join(f"<b>{html.escape(p.caption or p.name)}</b>" for p in pictures)
        text = f"Chosen: {names}." if names else "No picture is chosen."
        enabled = [gr.update(interactive=len(pictures) > n) for n in (0, 1)]
        return [_channel(chosen.as_json()), chosen, f'<p class="note" role="status">{text}</p>', *enabled]

    def _interpolate(self, chosen: Chosen) -> list[object]:
        first, second = (k for k, (picker, _) in enumerate(self.output_bar.slots) if picker.page == "interpolate")
        if len(chosen.rows) < 2:
            return [gr.skip()] * (1 + len(self.output_bar.all_pickers()))
        return self.output_bar.put_into({first: chosen.picture(chosen.rows[0]), second: chosen.picture(chosen.rows[1])})

    def _use(self, chosen: Chosen, target: int | None) -> list[object]:
        if not chosen.rows or not isinstance(target, int) or not 0 <= target < len(self.output_bar.slots):
            return [gr.skip()] * (1 + len(self.output_bar.all_pickers()))
        return self.output_bar.put_into({target: chosen.picture(chosen.rows[-1])})


def _shipped_places() -> Update | str:
    """Return a map whose places ship with it, which is shown before the model has encoded its pictures."""
    data = map_data.load()
    return gr.skip() if data.xy is None else _channel(data.as_json(data.xy, str(data.atlas)))


def _decoded(run_output: RunOutput, chosen: Chosen) -> Update | str:
    return _channel(chosen.as_json(run_output)) if run_output.images else gr.skip()


def _places(event: gr.EventData) -> Update | str:
    """Return a click or the ends of a line as the text of the box of places."""
    places = event._data.get("places") if isinstance(event._data, dict) else None
    try:
        return " ".join(f"{float(x):.3f},{float(y):.3f}" for x, y in (places or [])[:2]) or gr.skip()
    except (TypeError, ValueError):
        return gr.skip()
