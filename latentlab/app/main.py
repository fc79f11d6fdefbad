"""The app: all pages in one Gradio Blocks. `latentlab.experiments` computes everything that a page shows."""

from __future__ import annotations

import html
import json
import os
import sys
from importlib.util import find_spec

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: its threads would spin beside other processes
if os.environ.get("SPACES_ZERO_GPU"):
    import spaces  # noqa: F401  (it has to come before torch)

import gradio as gr
from gradio.routes import App
from starlette.middleware import Middleware

import latentlab

from ..errors import UserError
from ..io import images
from . import layout, links, map_data, model_cache, picker, style
from .checked_blocks import CheckedBlocks
from .compression import Compression
from .events import QUIET
from .map import MapEvents
from .output_bar import OutputBar
from .pages import PAGES
from .request_limits import RequestLimits
from .settings_file import SettingsFile


def build(lab: latentlab.Lab) -> gr.Blocks:
    """Build the whole page, with a loaded lab as the first model."""
    model_cache.set_lab(lab)
    with CheckedBlocks(title="latentlab", delete_cache=(3600, 6 * 3600), analytics_enabled=False) as page:
        with gr.Row(equal_height=True, elem_classes="top"):
            gr.HTML(
                "<h1>latentlab</h1><p>Explore CLIP's latent space with an unCLIP pipeline.</p>",
                padding=False,
                scale=2,
                min_width=240,
            )
            with gr.Column(scale=1, min_width=260):
                model = _model_choice(page, lab.name)
        notice = gr.HTML(padding=False)
        examples = picker.load_examples()
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            built = [layout.build(definition, model, examples) for definition in PAGES]
        output_bar = OutputBar(built, tabs, model, notice, examples)
        SettingsFile(output_bar)
        MapEvents(next(page for page in built if page.page.key == "map"), output_bar)
        model.change(_model_notice, model, notice, **QUIET)
        page.load(
            output_bar.open_link, None, [tabs, model, notice, *output_bar.fields(), *output_bar.all_pickers()], **QUIET
        )
    return page


def _model_choice(page: gr.Blocks, name: str) -> gr.Dropdown:
    """Build the list of models, which shows those that run here, and a button that adds the others."""
    choices = model_cache.dropdown_choices()
    here = [choice for choice in choices if model_cache.runs_here(choice[1])]
    model = gr.Dropdown(choices, value=name, label="Model", elem_id="model", filterable=False)
    count = len(choices) - len(here)
    text = f"More models: {count} can't run on this machine yet"
    more = gr.Button(text, visible=bool(count), size="sm", elem_classes="more-models", elem_id="more-models")
    # The browser alone shortens the list, so that the server goes on to explain why a model can't run.
    page.load(None, None, model, js=_js_updates({"choices": here}), **QUIET)
    more.click(None, None, [model, more], js=_js_updates({"choices": choices}, {"visible": False}), **QUIET)
    return model


def _js_updates(*updates: dict[str, object]) -> str:
    """Return a browser's function that returns updates of its outputs."""
    values = [{"__type__": "update", **update} for update in updates]
    return f"() => {json.dumps(values)}"


def _model_notice(name: str) -> str:
    try:
        reason = model_cache.unavailable_reason(model_cache.validated_name(name))
    except UserError as error:
        reason = str(error)
    if reason:
        return f'<p class="bar wrong" role="alert">{html.escape(reason)}.</p>'
    state = "is loaded" if model_cache.loaded_lab(name) else "replaces the loaded model at the next Run"
    return f'<p class="note" role="status">{html.escape(name)} {state}.</p>'


def launch(
    page: gr.Blocks,
    *,
    inbrowser: bool = False,
    prevent_thread_lock: bool = False,
    quiet: bool = False,
    server_port: int | None = None,
) -> tuple[App, str, str | None]:
    """Serve the page without requests to other servers, to this machine alone unless GRADIO_SERVER_NAME is set.

    Where the package mcp is installed, every page is also a tool of an MCP server at /gradio_api/mcp/.

    Args:
        inbrowser, prevent_thread_lock, quiet, server_port: as in `gradio.Blocks.launch`.
    """
    gallery = model_cache.gallery(model_cache.DEFAULT_MODEL)
    return page.launch(
        share=False,
        ssr_mode=False,
        show_error=False,
        # Else gradio asks itself for the page, and ends the app if that takes more than three seconds.  No public
        # option turns it off; `gradio.mount_gradio_app` does not ask, but ZeroGPU starts its workers in `launch`.
        _frontend=False,
        max_file_size=images.MAX_BYTES,
        theme=style.theme(),
        css=style.CSS,
        js=style.SCRIPT,
        app_kwargs={"middleware": [Middleware(Compression), Middleware(RequestLimits), Middleware(links.PageQuery)]},
        allowed_paths=[str(gallery[0][0].parent)] * bool(gallery) + map_data.served_paths(),
        mcp_server=find_spec("mcp") is not None,
        inbrowser=inbrowser,
        prevent_thread_lock=prevent_thread_lock,
        quiet=quiet,
        server_port=server_port,
    )


def main() -> None:
    """Load the first model, build the page and serve it."""
    try:
        lab = model_cache.get(model_cache.DEFAULT_MODEL)
        model_cache.warm_up(lab)
        map_data.load()
    except UserError as error:
        sys.exit(f"error: {error}")
    page = build(lab)
    inbrowser = "SPACE_ID" not in os.environ and sys.stdout.isatty()
    _, address, _ = launch(page, inbrowser=inbrowser, prevent_thread_lock=True, quiet=True)
    print(f"latentlab is at {address}; Ctrl+C ends it", flush=True)
    page.block_thread()
