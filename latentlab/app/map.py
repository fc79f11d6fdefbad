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
    <label>Search <input type="search" data-part="search" placeholder="cat, red …" size="12"></label>
    <span data-part="count" role="status"></span>
    <label>Colour by <select data-part="colour"></select></label>
    <button type="button" data-part="line" aria-pressed="false">Draw a line</button>
    <button type="button" data-part="whole">Whole map</button>
  </div>
  <div data-part="results"></div>
  <div data-part="canvas"><div data-part="card" aria-hidden="true"><p>The map is loading …</p><div></div></div></div>
  <div data-part="legend"></div>
</div>
"""
# The script is loaded when the tab is opened, so that other pages don't wait for it; a click before it is there counts.
START = """
const root = element.querySelector('.map');
root.querySelector('[data-part=canvas]').addEventListener('click', event => {
  if (root.dataset.ready) return;
  root.early = [event.offsetX, event.offsetY];
  root.querySelector('[data-part=card] p').textContent = 'The map is loading; the place that you clicked comes next …';
});
const file = path => `${window.gradio_config.root || ''}/gradio_api/file=${path}`;
window.latentlab.map = import(file('%s')).then(module => module.createMap(root, trigger));
"""
# A click while a run is running is decoded after it; of several the last one.
RUN_WHEN_IDLE = """() => {
  const run = document.getElementById('run-map');
  clearTimeout(window.latentlab.waiting);
  const start = () => { run.disabled ? window.latentlab.waiting = setTimeout(start, 50) : run.click(); };
  start();
}"""
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
class OwnPictures:
    """The visitor's own pictures on the map, whose rows follow those of the map's pictures, and their places."""

    images: tuple[InputImage, ...] = ()
    places: tuple[tuple[float, float], ...] = ()

    @property
    def rows(self) -> int:
        """How many pictures can be chosen, the map's and one's own."""
        return len(map_data.load().captions) + len(self.images)

    def picture(self, row: int) -> InputImage:
        """The picture of a row, the map's or one's own."""
        data = map_data.load()
        if row >= len(data.captions):
            return self.images[row - len(data.captions)]
        return InputImage(data.captions[row], data.thumbnails[row], data.captions[row])

    def marks(self) -> list[dict[str, object]]:
        return [
            {"xy": xy, "url": markup.picture_url(image.picture), "caption": image.caption or image.name}
            for xy, image in zip(self.places, self.images)
        ]


def toggled(rows: tuple[int, ...], row: int) -> tuple[int, ...]:
    """Choose a picture's row, or give it up if it was chosen already; the last two count."""
    return tuple(r for r in rows if r != row) if row in rows else (*rows, row)[-2:]


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
    own: gr.HTML
    chosen: gr.HTML
    decoded: gr.HTML
    row: gr.Row


def canvas() -> Canvas:
    plane = gr.HTML(CANVAS, js_on_load=START % (map_data.STATIC / "map.js"), padding=False)
    return Canvas(
        plane,
        data=_receiver("setData"),
        own=_receiver("setOwn"),
        chosen=_receiver("setChosen"),
        decoded=_receiver("setDecoded"),
        row=gr.Row(elem_classes="send", equal_height=True),
    )


def _receiver(setter: str) -> gr.HTML:
    """Build a channel whose values the browser hands to this function of the map."""
    return gr.HTML(js_on_load=CHANNEL % setter, padding=False, elem_classes="channel")


def _channel(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f'<span data-json="{html.escape(text, quote=True)}"></span>'


class MapEvents:
    """The events of the map's page, which put pictures into other pages' pickers."""

    def __init__(self, built: BuiltPage, output_bar: OutputBar):
        self.output_bar, parts = output_bar, built.above
        assert isinstance(parts, Canvas)
        with parts.row:
            about, target, use, both = self._buttons()
        chosen, own = gr.State(()), gr.State(OwnPictures())
        inputs = [output_bar.model, output_bar.own_images, *(p.state for p, _ in output_bar.slots)]
        # Drawing the map takes seconds, in which pictures can be chosen: it must not answer for what is chosen.
        built.tab.select(_shipped_places, None, parts.data, **QUIET)
        built.tab.select(self._draw, inputs, [parts.data, parts.own, own, built.status], **run_options(built.status))
        parts.plane.select(self._choose, [chosen, own], [parts.chosen, chosen, about, use, both], **QUIET)
        place = parts.plane.submit(_places, None, built.controls["places"], **QUIET)
        place.then(None, None, None, js=RUN_WHEN_IDLE, **QUIET)
        for event in built.events:
            event.success(_decoded, built.run_output, parts.decoded, **QUIET)
        outputs = [output_bar.tabs, *output_bar.all_pickers()]
        both.click(self._interpolate, [chosen, own], outputs, **QUIET)
        use.click(self._use, [chosen, own, target], outputs, **QUIET)

    def _buttons(self) -> tuple[gr.HTML, gr.Dropdown, gr.Button, gr.Button]:
        """Build the line about the chosen pictures, and where they can go."""
        about = gr.HTML(markup.note("No picture is chosen yet."), padding=False, scale=2)
        target = self.output_bar.target_dropdown("Use the last one on", scale=1, min_width=200)
        use = gr.Button("Use as input there", interactive=False, size="sm", scale=0, min_width=150)
        both = gr.Button("Interpolate between the two", interactive=False, size="sm", scale=0, min_width=200)
        return about, target, use, both

    def _draw(self, model: str, own_images: list[InputImage], *inputs: InputImage | None) -> Iterator[list[object]]:
        """Yield the progress of encoding, then the map, with the visitor's own pictures among the others."""
        skipped, data = [gr.skip()] * 3, map_data.load()
        candidates = dict.fromkeys([*own_images, *(image for image in inputs if image)])
        images = tuple(image for image in candidates if not image.example)
        if data.xy is not None and not images:  # the map is there already, and nothing has to be placed on it
            yield [gr.skip(), _channel([]), OwnPictures(), gr.skip()]
            return
        try:
            stream = map_data.layout(model, data)
            while True:
                try:
                    progress = next(stream)
                except StopIteration as end:
                    layout = end.value
                    break
                yield [*skipped, markup.progress_bar(progress.stage, progress.step, progress.steps)]
            places: list[list[float]] = []
            if images:
                lab = map_data.model_cache.get(model)
                z_i = running.encode_images(model, torch.cat([image.pixels(lab) for image in images]))
                places = layout.place(z_i).tolist()
        except UserError as error:
            yield [*skipped, markup.message(markup.error_sentence(error), "wrong")]
            return
        own = OwnPictures(images, tuple((x, y) for x, y in places))
        text = "Click an empty place to decode it." + (" Orange frames are your own pictures." if images else "")
        notes = [data.note] if data.note else []
        atlas = gr.skip() if data.xy is not None else _channel(data.for_browser(layout.xy, str(data.atlas)))
        yield [atlas, _channel(own.marks()), own, markup.message(text, notes=notes)]

    def _choose(self, chosen: tuple[int, ...], own: OwnPictures, event: gr.EventData) -> list[object]:
        row, count = event._data.get("row") if isinstance(event._data, dict) else None, own.rows
        if not isinstance(row, int) or not 0 <= row < count:
            return [gr.skip()] * 5
        chosen = toggled(tuple(r for r in chosen if r < count), row)
        pictures = [own.picture(r) for r in chosen]
        names = " and ".join(f"<b>{html.escape(p.caption or p.name)}</b>" for p in pictures)
        text = f"Chosen: {names}." if names else "No picture is chosen."
        enabled = [gr.update(interactive=len(pictures) > n) for n in (0, 1)]
        return [_channel(chosen), chosen, f'<p class="note" role="status">{text}</p>', *enabled]

    def _interpolate(self, chosen: tuple[int, ...], own: OwnPictures) -> list[object]:
        first, second = (k for k, (picker, _) in enumerate(self.output_bar.slots) if picker.page == "interpolate")
        if len(chosen) < 2 or max(chosen) >= own.rows:
            return [gr.skip()] * (1 + len(self.output_bar.all_pickers()))
        return self.output_bar.put_into({first: own.picture(chosen[0]), second: own.picture(chosen[1])})

    def _use(self, chosen: tuple[int, ...], own: OwnPictures, target: int | None) -> list[object]:
        known = bool(chosen) and chosen[-1] < own.rows
        if not known or not isinstance(target, int) or not 0 <= target < len(self.output_bar.slots):
            return [gr.skip()] * (1 + len(self.output_bar.all_pickers()))
        return self.output_bar.put_into({target: own.picture(chosen[-1])})


def _shipped_places() -> Update | str:
    """Return a map whose places ship with it, which is shown before the model has encoded its pictures."""
    data = map_data.load()
    return gr.skip() if data.xy is None else _channel(data.for_browser(data.xy, str(data.atlas)))


def _decoded(run_output: RunOutput) -> Update | str:
    """Return a run's pictures as marks at their places."""
    if not run_output.images:
        return gr.skip()
    xy = parsed_places(run_output.fields["places"], int(run_output.fields["frames"])).tolist()
    return _channel(
        [
            {"xy": place, "url": markup.picture_url(image.picture), "caption": image.title}
            for place, image in zip(xy, run_output.images)
        ]
    )


def _places(event: gr.EventData) -> Update | str:
    """Return a click or the ends of a line as the text of the box of places."""
    places = event._data.get("places") if isinstance(event._data, dict) else None
    try:
        return " ".join(f"{float(x):.3f},{float(y):.3f}" for x, y in (places or [])[:2]) or gr.skip()
    except (TypeError, ValueError):
        return gr.skip()
