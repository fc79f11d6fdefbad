"""The page of the training recipe says what the manifest, the configs and the trainings say now."""

import json
import runpy
from pathlib import Path

import pytest

from latentlab.models.emoji_files import weights_folder

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def recipe():
    return runpy.run_path(str(DOCS / "recipe.py"))


def test_the_page_is_not_stale(recipe):
    assert recipe["PAGE"].read_text("utf-8") == recipe["page"](), "python docs/recipe.py writes it anew"


def test_every_part_that_ships_has_a_section(recipe):
    parts = {part.folder for part in recipe["PARTS"]}
    shipped = {path.parent.name for path in weights_folder().glob("*/*.safetensors")}
    assert shipped - {"directions", "dictionary", "judge"} <= parts


def test_the_parameters_in_the_headers_are_those_of_the_networks(recipe, miniature, miniature_folder):
    assert recipe["parameters"](miniature_folder / "prior") == sum(
        p.numel() for p in miniature.prior.network.parameters()
    )


def test_steps_and_dropped_captions_come_from_the_manifest_and_the_class(recipe):
    trained = json.loads((weights_folder() / "MANIFEST.json").read_text("utf-8"))["trained"]
    prior = next(part for part in recipe["PARTS"] if part.folder == "prior")
    figures = recipe["ours"](prior, {"prior": trained["prior"] | {"step": 12345}})
    assert figures["steps"] == "12,345" and figures["dropped"] == "caption 10%"
