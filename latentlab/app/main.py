"""The page: a walk through CLIP's latent space. Everything it shows is computed in `latentlab.experiments`."""

from __future__ import annotations

import html
import os
import sys

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: its threads would spin beside other processes
if os.environ.get("SPACES_ZERO_GPU"):
    import spaces  # noqa: F401  (it has to come before torch)

import gradio as gr
from starlette.middleware import Middleware

import latentlab

from ..errors import UserError
from ..io import images
from . import labs, layout, links, picker, style
from .buttons import QUIET
from .map import Map
from .output_bar import Bench, slots
from .pages import PAGES
from .request_limits import Door


def build(lab: latentlab.Lab) -> gr.Blocks:
    """The whole page, with a loaded lab as the first model."""
    labs.keep(lab)
    with gr.Blocks(title="latentlab", delete_cache=(3600, 6 * 3600), analytics_enabled=False) as page:
        with gr.Row(equal_height=True, elem_classes="top"):
            gr.HTML(
                "<h1>latentlab</h1><p>A walk through CLIP's latent space.</p>", padding=False, scale=2, min_width=240
            )
            model = gr.Dropdown(
                labs.choices(), value=lab.name, label="Model", elem_id="model", filterable=False, scale=1,
                min_width=260,
            )  # fmt: skip
        news = gr.HTML(padding=False)
        examples = picker.examples()
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            built = [layout.build(each, model, examples) for each in PAGES]
            chart = Map(examples, [title for _, title in slots(built)]) if len(examples) > 2 else None
        bench = Bench(built, tabs, model, news, examples)
        if chart:
            chart.wire(bench)
        model.change(_model_news, model, news, **QUIET)
        page.load(bench.open_link, None, [tabs, model, news, *bench.fields(), *bench.all_pickers()], **QUIET)
    return page


def _model_news(name: str) -> str:
    try:
        reason = labs.why_not(labs.checked(name))
    except UserError as error:
        reason = str(error)
    if reason:
        return f'<p class="bar wrong" role="alert">{html.escape(reason)}.</p>'
    ready = "is loaded" if labs.loaded(name) else "will be loaded with the next Run, and the other one let go"
    return f'<p class="note" role="status">{html.escape(name)} {ready}.</p>'


def launch(page: gr.Blocks, **options) -> tuple:
    """Serve the page, to this machine alone unless the environment says otherwise; nothing comes from elsewhere."""
    found = labs.gallery(labs.DEFAULT)
    return page.launch(
        share=False, ssr_mode=False, show_error=False, max_file_size=images.MAX_BYTES, theme=style.theme(),
        css=style.CSS, js=style.KEYS,
        app_kwargs={"middleware": [Middleware(Door, waiting=lambda: len(page._queue)), Middleware(links.OwnPages)]},
        allowed_paths=[str(found[0][0].parent)] if found else [], **options,
    )  # fmt: skip


def main() -> None:
    """Load the first model, build the page and serve it."""
    try:
        lab = labs.get(labs.DEFAULT)
        labs.warm(lab)
    except UserError as error:
        sys.exit(f"error: {error}")
    at_home = "SPACE_ID" not in os.environ and sys.stdout.isatty()
    launch(build(lab), inbrowser=at_home)
