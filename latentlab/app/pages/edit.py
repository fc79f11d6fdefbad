"""Edit: paint a mask on the picture, write what should be there, and see it sharpen in place."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
from torch import Tensor

from ... import experiments
from ...errors import UserError
from ...experiments.history import History
from ...io import images
from ...outpainting import SIDES
from .. import controls, edit_canvas, model_cache, outputs, sentences
from ..buttons import RunButtons
from ..events import QUIET, Controls
from ..outputs import InputImage, output_images
from ..page import Page, PageResult, PageRun
from ..picker import Picker
from ..running import PREVIEW_EVERY, run_experiment

EXAMPLES = Path(__file__).parents[1] / "edits"
SHOWN = ("canvas", "undo", "redo", "json_file", "animation", "strip", "history")  # the outputs that show a history
GROW = [("no", ""), *((side, side) for side in SIDES)]


@cache
def example_histories() -> dict[str, History]:
    """The finished examples, by the name that a link gives them."""
    return {f"edit-{path.stem}": History.load(path) for path in sorted(EXAMPLES.glob("*.json"))}


def examples() -> list[InputImage]:
    """The examples' last pictures; choosing one shows its whole history."""
    return [
        InputImage(name.split("-", 2)[2].replace("-", " "), images.to_pil(history.pixels)[0], example=name)
        for name, history in example_histories().items()
    ]


def inputs() -> Controls:
    return {
        "prompt": gr.Textbox(
            "",
            label="What the whole picture should show",
            max_length=300,
            info="Name the background, too. Leave it empty to erase what you have painted over. The model draws one "
            "colour behind a thing: for another one paint over the whole background.",
            placeholder="a penguin on a yellow background",
        ),
        "grow": gr.Radio(GROW, value="", label="Grow the canvas", info="Adds half a picture on this side."),
        "strength": gr.Slider(
            0.1,
            1,
            1,
            step=0.05,
            label="Strength",
            info="At 1 the painted part is new; below 1 it keeps something of what was there. Without a mask it "
            "changes the whole picture.",
        ),
    }


def advanced() -> Controls:
    return {
        "count": controls.count(1, 4),
        "seed": controls.seed("Seed of the first picture"),
        "steps": controls.steps(),
        "guidance": controls.guidance(),
    }


def extras() -> Controls:
    """The canvas, the previews that cover it during a run, undo and redo, the history and its downloads."""
    start = next(iter(example_histories().values()), None)
    shown = shown_history(start)
    with gr.Column(elem_classes="stage"):
        canvas, live = edit_canvas.editor(shown["canvas"]), edit_canvas.live(shown["canvas"])
    with gr.Row(elem_classes="history-actions"):
        undo = gr.Button("Undo edit", size="md", min_width=110, **shown["undo"])
        redo = gr.Button("Redo edit", size="md", min_width=110, **shown["redo"])
        json_file = gr.DownloadButton("History (JSON)", size="md", min_width=120, **shown["json_file"])
        animation = gr.DownloadButton("Animation (GIF)", size="md", min_width=120, **shown["animation"])
    gr.HTML('<p class="note strip-label">History: press a picture to go back to it.</p>', padding=False)
    return {
        "canvas": canvas,
        "live": live,
        "undo": undo,
        "redo": redo,
        "json_file": json_file,
        "animation": animation,
        "strip": edit_canvas.strip(shown["strip"]),
        "history": gr.State(start),
    }


def shown_history(history: History | None, picture: InputImage | None = None) -> dict[str, Any]:
    """The values of the extra outputs that show a history; without one, those that show a picture."""
    if history is None:
        square = images.square(picture.picture, edit_canvas.SIDE) if picture else None
        nothing = {"value": None, "interactive": False}
        off = {"interactive": False}
        return {
            "canvas": edit_canvas.with_background(square),
            "undo": off,
            "redo": off,
            "json_file": nothing,
            "animation": nothing,
            "strip": {"value": [], "selected_index": None},
            "history": None,
        }
    folder = outputs.folder()
    files = outputs.files([images.to_pil(state.pixels)[0] for state in history.states])
    titles = [f"{'▸ ' * (k == history.position)}{k}. {state.title}" for k, state in enumerate(history.states)]
    return {
        "canvas": edit_canvas.with_background(edit_canvas.enlarged(images.to_pil(history.pixels)[0])),
        "undo": {"interactive": history.undo() is not history},
        "redo": {"interactive": history.redo() is not history},
        "json_file": {"value": str(history.save(folder / "history.json")), "interactive": True},
        "animation": {"value": str(history.save_animation(folder / "history.gif")), "interactive": True},
        "strip": {"value": list(zip(files, titles)), "selected_index": history.position},
        "history": history,
    }


def _updates(history: History | None, picture: InputImage | None = None) -> dict[str, Any]:
    """`shown_history` as updates of the extra outputs, by name."""
    values = shown_history(history, picture)
    plain = ("canvas", "history")
    return {name: gr.update(value=values[name]) if name in plain else gr.update(**values[name]) for name in SHOWN}


def follow(picture: InputImage) -> dict[str, Any]:
    """The chosen picture on the canvas, and an example with its whole history."""
    return _updates(example_histories().get(picture.example), picture)


def connect(picker: Picker, components: Controls, buttons: RunButtons) -> None:
    """Move along the history."""
    shown = [components[name] for name in SHOWN]

    def show(before: History | None, after: History | None) -> list[object]:
        return [gr.skip()] * len(SHOWN) if after is before else [*_updates(after).values()]

    def undo(history: History | None) -> list[object]:
        return show(history, history and history.undo())

    def redo(history: History | None) -> list[object]:
        return show(history, history and history.redo())

    def go_to(history: History | None, selection: gr.SelectData) -> list[object]:
        valid = history is not None and isinstance(selection.index, int) and 0 <= selection.index < len(history.states)
        # The frame moves with undo and redo as well, and that triggers this event.
        moved = history is not None and valid and selection.index != history.position
        return show(history, history.at(selection.index) if history and moved else history)

    # A canvas that has grown would grow once more at the next edit.
    components["history"].change(None, None, components["grow"], js="() => ''", **QUIET)  # type: ignore[attr-defined]
    undo_button, redo_button, strip = (components[name] for name in ("undo", "redo", "strip"))
    assert isinstance(undo_button, gr.Button) and isinstance(redo_button, gr.Button) and isinstance(strip, gr.Gallery)
    for listener, handler in ((undo_button.click, undo), (redo_button.click, redo), (strip.select, go_to)):
        buttons.block_run_while(listener, handler, [components["history"]], shown)


def run(
    model: str,
    picture: InputImage,
    prompt: str,
    grow: str,
    strength: float,
    count: float,
    seed: int,
    steps: float,
    guidance: float,
    canvas: dict[str, Any] | None = None,
    history: History | None = None,
) -> PageRun:
    lab = yield from model_cache.load_with_progress(model)
    side = max(lab.image_size, lab.output_size)
    source = history or images.to_tensor(images.square(picture.picture, side))
    height, width = (source if isinstance(source, Tensor) else source.pixels).shape[-2:]
    mask = edit_canvas.painted(canvas, (height, width))
    if mask is None and not grow and strength == 1:
        raise UserError("nothing is painted yet: paint over what should change, or grow the canvas, or lower Strength")
    if mask is not None and grow:
        raise UserError("a canvas grows without a mask: remove what you have painted, or choose “no” for Grow")
    result = yield from run_experiment(
        model,
        experiments.edit,
        source,
        mask,
        prompt.strip(),
        grow=grow,
        strength=strength,
        seeds=controls.seeds(seed, count),
        steps=int(steps),
        guidance=guidance,
        preview_every=PREVIEW_EVERY,
    )
    titles = [f"{prompt.strip() or 'edited'} · seed {k}" for k in result.seeds]
    pictures = output_images(result.pixels, titles, captions=[prompt.strip()] * len(titles))
    recognised = {row["quantity"]: row["value"] for row in result.table}.get("accuracy inside the mask")
    masked = mask is not None
    summary = sentences.edited(prompt.strip(), len(titles), recognised, masked=masked, kept=masked or bool(grow))
    return PageResult(result, pictures, {**_updates(result.history), "live": None}, summary=summary)


PAGE = Page(
    "edit",
    "Edit",
    "Paint over a part of the picture and write what the picture should show. The painted part is generated anew, and "
    "the rest stays exactly as it is. Each edit starts from the last one, and you can go back to every picture below.",
    inputs,
    run,
    advanced,
    extras,
    pictures=("Picture",),
    connect=connect,
    following=SHOWN,
    follow=follow,
    examples=examples,
    both=("canvas", "history"),
    live="live",
    ready="Paint over a part of the picture, write what it should show, and press Run.",
    gallery=False,
    order=55,
)
