"""Compute the finished example of every page anew: python docs/finished.py [PAGE …].

Each is a run of the page's defaults, so that pressing Run repeats it.  New weights need new examples.
"""

from __future__ import annotations

import sys
import time

import gradio as gr

import latentlab
from latentlab.app import finished, layout, model_cache, picker
from latentlab.app.layout import BuiltPage
from latentlab.app.page import run_fields
from latentlab.app.pages import PAGES
from latentlab.app.results import RunView, run_view
from latentlab.experiments.stages import run_to_end

LEFT_OUT = {"edit"}  # it opens on a history of its own


def default_run(built: BuiltPage) -> RunView:
    """Run a page with the values that its controls begin with."""
    pictures = [input_picker.state.value for input_picker in built.pickers]
    params = {name: control.value for name, control in built.controls.items()}
    page_result = run_to_end(built.page.run("emoji", *pictures, **params))
    return run_view(built.page, page_result, run_fields(params, pictures))


def main(names: list[str]) -> None:
    lab = latentlab.load("emoji")
    model_cache.set_lab(lab)
    with gr.Blocks():
        model, examples = gr.Dropdown(["emoji"]), picker.load_examples()
        wanted = [page for page in PAGES if (page.key in names if names else page.key not in LEFT_OUT)]
        built_pages = [layout.build(page, model, examples) for page in wanted]
    for built in built_pages:
        start = time.monotonic()
        path = finished.save(default_run(built), lab.weights)
        print(f"{path} {path.stat().st_size / 1000:.0f} kB, {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
