"""Draw: CLIP draws a prompt by itself, and a visitor's strokes join in."""

from __future__ import annotations

import gradio as gr

from ... import experiments
from .. import controls, markup, sentences
from ..events import QUIET, Controls
from ..outputs import output_images
from ..page import Page, PageResult, PageRun
from ..pen import POINTER, blank_sheet, parsed_sheet, sheet_of
from ..running import run_experiment

CANVASES = [
    ("Bézier strokes", "strokes"),
    ("pixels", "pixels"),
    ("Fourier coefficients", "fourier"),
    ("latents of the first stage", "latents"),
    ("z_i, decoded", "z_i"),
    ("x_T, decoded", "x_T"),
]
STYLES = [("closed shapes", "shapes"), ("strokes", "strokes"), ("one line", "line")]
PROMPTS = ("a red apple", "a pizza", "a penguin", "a bus", "a snail", "a castle")
HINT = "Draw on the sheet; then press Run."
KEPT = "{count} strokes stay on the sheet: press Run, and CLIP goes on from them."


def inputs() -> Controls:
    prompt = gr.Textbox(PROMPTS[0], label="Prompt", max_length=300, info="What CLIP draws, without any generator.")
    gr.Examples([[prompt] for prompt in PROMPTS], prompt, label="Prompts to try", example_labels=list(PROMPTS))
    canvas = gr.Radio(CANVASES, value="strokes", label="Canvas", info="What the gradient may change.")
    style = gr.Radio(STYLES, value="shapes", label="Style", info="Of Bézier strokes; those of your pen stay strokes.")
    strokes = gr.Slider(4, 256, 12, step=1, label="Shapes or strokes", info="Fewer are more abstract.")
    views = gr.Slider(
        0,
        16,
        4,
        step=1,
        label="Random views at each step",
        info="0 shows CLIP the picture itself.",
    )
    return {"prompt": prompt, "canvas": canvas, "style": style, "strokes": strokes, "views": views}


def advanced() -> Controls:
    return {
        "palette": gr.Textbox(
            "", label="Colours of the strokes, with commas", max_length=200, placeholder="any, or: black, #e4003a, gold"
        ),
        "negative_prompt": gr.Textbox("", label="What it should not look like, with commas", max_length=300),
        "steps": gr.Slider(
            10, 400, 100, step=10, label="Steps", info="More steps are slower, and fit the prompt better."
        ),
        "seed": controls.seed(),
        "sheet": gr.Textbox("", label="Strokes on the sheet", max_length=80_000, visible=False),
    }


def extras() -> Controls:
    with gr.Accordion("A sheet for your own strokes", open=False):
        return {
            "pad": gr.HTML(blank_sheet(), padding=False, js_on_load=POINTER, elem_id="pen"),
            "pen_status": gr.HTML(markup.message(HINT), padding=False),
        }


def connect_results(controls_by_name: Controls, extra_outputs: Controls) -> None:
    """Keep on the sheet what the visitor draws, until it is emptied."""

    def drawn(event: gr.EventData) -> list[object]:
        text = str(getattr(event, "sheet", "") or "")
        if text == "clear":
            return ["", gr.update(value=blank_sheet()), markup.message(HINT)]
        paths = parsed_sheet(text[:80_000])
        kept = HINT if paths is None else KEPT.format(count=paths.widths.shape[1])
        return [text, gr.skip(), markup.message(kept)]

    outputs = [controls_by_name["sheet"], extra_outputs["pad"], extra_outputs["pen_status"]]
    extra_outputs["pad"].click(drawn, None, outputs, **QUIET)  # type: ignore[attr-defined]


def run(
    model: str,
    prompt: str,
    canvas: str,
    style: str,
    strokes: float,
    views: float,
    palette: str,
    negative_prompt: str,
    steps: float,
    seed: int,
    sheet: str = "",
) -> PageRun:
    paths = parsed_sheet(sheet) if canvas == "strokes" else None
    result = yield from run_experiment(
        model,
        experiments.draw,
        prompt,
        canvas=canvas,
        strokes=int(strokes),
        style=style if paths is None else "strokes",
        palette=_names(palette),
        negative_prompt=_names(negative_prompt),
        start="noise" if paths is None else paths,
        steps=int(steps),
        views=int(views),
        seeds=[seed],
        preview_every=2,
    )
    pictures = output_images(result.pixels, [prompt or "drawing"], captions=[prompt])
    curve, extra = markup.figure_html(result.curve(), "The cosine over views at each step"), {}
    if result.paths is not None and result.paths.curves.shape[2] == 1 and not result.paths.closed:
        extra = {"pad": sheet_of(result.paths), "pen_status": markup.message(HINT)}
    shares = {row["encoder"]: row["value"] for row in result.table if row["quantity"] == "top-1 over views"}
    return PageResult(result, pictures, extra, figures=curve, summary=sentences.drawn(prompt, shares))


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


PAGE = Page(
    "draw",
    "Draw",
    "CLIP draws by itself, and no generator runs: step by step the strokes move to where the drawing looks more like "
    "the prompt to CLIP. Look for what you recognise, and what only CLIP does. Draw on the sheet below, and CLIP goes "
    "on from your strokes.",
    inputs,
    run,
    advanced,
    extras,
    connect_results=connect_results,
    columns=1,
    not_in_api=("sheet",),
    order=105,
)
