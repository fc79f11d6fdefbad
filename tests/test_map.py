"""The map's pictures: Emoji World's, and those of a file of `latentlab embed`."""

from __future__ import annotations

import html

import pytest
import torch
from PIL import Image, ImageChops

pytest.importorskip("gradio")
from latentlab import UserError, diagrams
from latentlab.app import diagram, glossary, map_data, model_cache
from latentlab.app.map import OwnPictures, _shipped_places, parsed_places, toggled
from latentlab.app.outputs import InputImage
from latentlab.app.pages import PAGES, map
from latentlab.experiments import EXPERIMENTS
from latentlab.experiments.stages import run_to_end
from latentlab.io import embeddings
from latentlab.io.embeddings import Embeddings
from latentlab.io.thumbnails import SIDE, Thumbnails

COLOURS = [(20 * k, 255 - 20 * k, 100) for k in range(7)]


@pytest.fixture
def photos(lab, tmp_path):
    """A file of embeddings of seven pictures in two folders, one of which was removed since."""
    model_cache.set_lab(lab)
    pictures = [Image.new("RGB", (80, 80), colour) for colour in COLOURS]
    names = tuple(f"{'ab'[k % 2]}/{k}.png" for k in range(7))
    for name, picture in zip(names, pictures):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture.save(tmp_path / name)
    z_i = lab.encoder.encode_image(Thumbnails.of(pictures).pixels(0, 7)).float()
    metadata = {"model": lab.name, "weights": lab.weights}
    embeddings.write(tmp_path / "photos.parquet", [Embeddings(names, z_i)], metadata)
    (tmp_path / names[6]).unlink()
    return tmp_path / "photos.parquet"


def test_a_cell_of_an_atlas_holds_its_picture():
    pictures = [Image.new("RGB", (SIDE, SIDE), colour) for colour in COLOURS]
    atlas = Thumbnails.of(pictures, columns=3)
    assert atlas.atlas.size == (3 * SIDE, 3 * SIDE)
    assert all(ImageChops.difference(atlas[k], picture).getbbox() is None for k, picture in enumerate(pictures))
    assert atlas.pixels(5, 99).shape == (2, 3, SIDE, SIDE)


def test_the_shipped_map_has_two_thousand_pictures_with_captions_places_and_colours():
    data = map_data.emoji_world()
    count = data.thumbnails.count
    assert count >= 2000 and len(data.captions) == len(data.xy) == count
    assert {"thing", "style", "background"} == data.attributes.keys()
    assert all(len(values) == count for values in data.attributes.values())
    assert set(data.attributes["background"]) <= data.colours["background"].keys()


def test_a_file_of_embeddings_becomes_a_map_whose_missing_pictures_are_named(photos):
    data = map_data.from_embeddings(photos)
    assert data.captions[2] == "a/2.png" and data.attributes["folder"][:2] == ["a", "b"]
    assert "1 pictures are not in" in data.note
    sent = data.for_browser(run_to_end(map_data.layout("toy", data)).xy, "url")
    assert len(sent["xy"]) == 7 and sent["captions"] == data.captions


def test_embeddings_of_other_weights_are_refused_with_their_models_name(photos, monkeypatch):
    monkeypatch.setattr(map_data, "_LAYOUTS", {})
    every = embeddings.read(photos)
    other = photos.with_name("other.parquet")
    embeddings.write(other, [Embeddings(every.names, every.z_i)], {"model": "karlo", "weights": "another"})
    with pytest.raises(UserError, match="of karlo, not of toy"):
        run_to_end(map_data.layout("toy", map_data.from_embeddings(other, str(photos.parent))))


def test_a_line_of_the_map_is_decoded_from_the_embeddings_between_its_ends(photos, monkeypatch):
    monkeypatch.setattr(map_data, "_LAYOUTS", {})
    data = map_data.from_embeddings(photos)
    monkeypatch.setattr(map_data, "load", lambda: data)
    (x, y), (u, v) = run_to_end(map_data.layout("toy", data)).xy[:2].tolist()
    page_result = run_to_end(map.run("toy", f"{x},{y} {u},{v}", 5, 0, 4, 1.0))
    latents = torch.cat([image.latent.z_i for image in page_result.images])
    torch.testing.assert_close(latents[[0, -1]], data.z_i[:2], atol=1e-2, rtol=0)
    assert len(latents) == 5 and page_result.extras["scrubber"].count("at ") >= 5


@pytest.mark.parametrize("text", ["", "somewhere", "0.5", "1.2,0.4", "0.1,..", " ".join(["0.1,0.1"] * 13)])
def test_places_that_are_not_on_the_map_are_refused(text):
    with pytest.raises(UserError, match="write 1 to 12 pairs"):
        parsed_places(text, 5)


def test_the_last_two_pictures_are_chosen_and_a_second_click_gives_one_up():
    own = InputImage("mine", Image.new("RGB", (8, 8)))
    pictures = OwnPictures((own,), ((0.5, 0.5),))
    chosen: tuple[int, ...] = ()
    count = map_data.load().thumbnails.count
    assert pictures.rows == count + 1
    for row, rows in ((3, (3,)), (count, (3, count)), (8, (count, 8)), (count, (8,))):
        chosen = toggled(chosen, row)
        assert chosen == rows
    assert pictures.picture(count) is own and pictures.picture(8).caption == map_data.load().captions[8]


# The diagram and the glossary


def test_the_diagram_lights_every_stage_that_an_experiment_declares_and_leads_to_pages():
    declared = {stage for experiment in EXPERIMENTS.values() for stage in experiment.stages}
    assert declared <= diagrams.STAGES.keys()
    assert diagram.PAGES.keys() == diagrams.PIPELINE.boxes.keys()
    assert set(diagram.PAGES.values()) <= {page.key for page in PAGES}
    for page in PAGES:
        stages = page.stages or diagram.page_stages(page.key)
        drawn = diagram.draw(stages)
        assert stages and 'class="lit"' in drawn
        assert ('class="lit" aria-label="prior' in drawn) == ("prior" in stages)


def test_the_glossary_marks_a_term_once_and_no_part_of_a_word():
    marked = glossary.marked("z_i has a cosine of 0.9; another z_i and cosines; dBs, xdB, my_z_i")
    assert marked.count("data-means") == 3  # z_i, cosine, dBs
    assert "xdB" in marked and "my_z_i" in marked
    assert "<b>η</b>" in glossary.legend("η = 0.5") and glossary.legend("nothing") == ""


def test_a_map_whose_places_ship_is_shown_before_its_pictures_are_encoded(monkeypatch):
    monkeypatch.setattr(map_data.running, "encode_images", lambda *_: pytest.fail("encoded"))
    assert all(caption in html.unescape(_shipped_places()) for caption in map_data.load().captions[:5])
