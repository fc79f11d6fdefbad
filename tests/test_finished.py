"""Finished examples: what a page opens on, stored as its run showed it and only for the weights that computed it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("gradio")
import gradio as gr
from PIL import Image

from latentlab.app import finished, layout, model_cache, outputs, picker
from latentlab.app.outputs import OutputImage, RunOutput
from latentlab.app.pages import PAGES
from latentlab.app.results import RunView
from latentlab.io import images


@pytest.fixture
def view():
    pixels = torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
    shown = tuple(
        OutputImage(picture, f"picture {k}", "a cat", settings={"seed": k})
        for k, picture in enumerate(images.to_pil(pixels))
    )
    pair, animation = tuple(outputs.files([image.picture for image in shown])), outputs.folder() / "path.gif"
    animation.write_bytes(b"GIF89a")
    extras = {"bars": "<ol></ol>", "slider": pair, "animation": str(animation), "hidden": gr.update(visible=False)}
    return RunView("It ran.", ("a note",), "<table>", RunOutput("generate", shown, {"steps": 4}), extras, 5, 1)


def test_a_stored_run_comes_back_as_it_was_shown(view, tmp_path):
    finished.save(view, "weights", tmp_path)
    again = finished.load("generate", "weights", tmp_path)
    assert (again.sentence, again.notes, again.numbers) == (view.sentence, view.notes, view.numbers)
    assert (again.columns, again.unfolded, again.output.fields) == (5, 1, {"steps": 4})
    for image, other in zip(view.output.images, again.output.images):
        assert (image.title, image.caption, image.settings) == (other.title, other.caption, other.settings)
        assert images.psnr(images.to_tensor(image.picture), images.to_tensor(other.picture)) > 25
    assert again.extras["bars"] == "<ol></ol>" and "hidden" not in again.extras
    assert [Image.open(path).size for path in again.extras["slider"]] == [(32, 32)] * 2
    assert Path(again.extras["animation"]).read_bytes() == b"GIF89a"


def test_a_run_of_other_weights_is_not_shown(view, tmp_path):
    finished.save(view, "weights", tmp_path)
    assert finished.load("generate", "other weights", tmp_path) is None
    assert finished.load("variations", "weights", tmp_path) is None


@pytest.fixture(scope="module")
def built_pages(lab):
    model_cache.set_lab(lab)
    with gr.Blocks():
        model, examples = gr.Dropdown(["toy"]), picker.load_examples()
        return {page.key: layout.build(page, model, examples) for page in PAGES}


@pytest.mark.parametrize("path", sorted(finished.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_shipped_example_has_the_values_that_its_page_begins_with(built_pages, path):
    built = built_pages[path.stem]
    fields = json.loads(path.read_text("utf-8"))["fields"]
    begins = {name: control.value for name, control in built.controls.items()}
    names = ["picture"] if len(built.pickers) == 1 else [f"picture_{k + 1}" for k in range(len(built.pickers))]
    begins |= {name: picker.state.value.example for name, picker in zip(names, built.pickers)}
    assert fields == {name: begins[name] for name in fields}


def test_each_page_but_the_one_with_histories_of_its_own_has_a_finished_example():
    shipped, pages = {path.stem for path in finished.FOLDER.glob("*.json")}, {page.key for page in PAGES}
    assert shipped == pages - {"edit"}
