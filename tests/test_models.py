"""The registry: models that load or are refused by name; and imports that go one way."""

import ast
import dataclasses
import gc
import graphlib
import inspect
import sys
from pathlib import Path

import pytest
import torch

import latentlab
from latentlab import models
from latentlab.errors import UserError
from latentlab.models import loading

ROOT = Path(latentlab.__file__).parent
FILES = {".".join(("latentlab", *p.relative_to(ROOT).with_suffix("").parts)): p for p in sorted(ROOT.rglob("*.py"))}
FILES = {name.removesuffix(".__init__"): path for name, path in FILES.items()}
# From the bottom up; a module imports from its own layer and from those below it.  `training` stands beside them.
LAYERS = ("theory", "models", "experiments", "paper", "app", "cli")
FOUNDATION = {"io", "analysis", "diagrams"}  # packages that belong to the theory


# The registry


def test_load_gives_the_whole_lab_on_the_device_asked_for():
    lab = models.load("toy", device="cpu")
    assert isinstance(lab, models.Lab) and lab.name == "toy"
    assert lab.device == torch.device("cpu")


@pytest.mark.parametrize("name", models.REGISTRY)
def test_each_row_is_complete_and_its_family_can_load(name):
    row = models.spec(name)
    assert row.name == name and row.about and row.clip and row.licence and row.megabytes >= 0
    tree = ast.parse((ROOT / "models" / f"{row.family}.py").read_text("utf-8"))
    assert "load" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_embedded_miniature_is_the_default():
    assert inspect.signature(models.load).parameters["name"].default == "emoji" and "emoji" in models.REGISTRY


@pytest.mark.parametrize("accelerator", [True, False])
def test_triton_is_hidden_during_a_load_where_no_accelerator_can_use_it(accelerator, monkeypatch):
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator)
    with loading.triton_hidden():
        assert ("triton" in sys.modules) != accelerator
    assert "triton" not in sys.modules


@pytest.mark.parametrize("was_on", [True, False])
def test_load_leaves_the_garbage_collector_as_it_was(was_on, monkeypatch):
    meanwhile = []
    monkeypatch.setattr(loading, "resolve", lambda *_: meanwhile.append(gc.isenabled()) or 1 / 0)
    try:
        (gc.enable if was_on else gc.disable)()
        with pytest.raises(ZeroDivisionError):
            models.load("toy")
        assert gc.isenabled() is was_on and meanwhile == [False]
    finally:
        gc.enable()


@pytest.mark.parametrize(("name", "near"), [("emojy", "emoji"), ("toys", "toy"), ("Emoji", "emoji")])
def test_an_unknown_name_is_refused_with_all_names_and_the_nearest(name, near):
    with pytest.raises(UserError, match=rf"there is no model '{name}'.*did you mean {near}\?") as caught:
        models.load(name)
    assert ", ".join(models.REGISTRY) in str(caught.value)


def test_a_name_unlike_any_other_is_refused_without_a_suggestion():
    with pytest.raises(UserError, match="there is no model 'xqzwv'") as caught:
        models.load("xqzwv")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}:y", f"{'x' * 300}/y/z"])
def test_a_name_too_long_for_a_file_is_refused(name):
    with pytest.raises(UserError):
        models.load(name)


@pytest.mark.parametrize("device", ["banana", "cuda:99", "meta", ""])
def test_a_device_that_cant_be_used_is_refused(device):
    with pytest.raises(UserError, match=rf"device '{device}' can't be used here: give 'cpu'"):
        models.load("toy", device=device)


def test_a_lab_and_a_row_are_frozen(lab):
    for thing in (lab, models.spec("toy")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            thing.name = "other"


def test_a_model_without_a_gallery_has_no_sample_pictures():
    assert models.gallery("toy") == []


@pytest.mark.parametrize("name", models.REGISTRY)
def test_every_sample_picture_is_there_and_has_a_caption(name):
    assert all(path.is_file() and caption for path, caption in models.gallery(name))


@pytest.mark.parametrize("stack", ["lab", "miniature"])
def test_the_parts_of_a_lab_fit_one_another(stack, request):
    lab = request.getfixturevalue(stack)
    z_t, z_i = lab.encoder.encode_text(["a dog", "a cat"]), lab.encoder.encode_image(torch.zeros(2, 3, 20, 31))
    assert z_t.shape == z_i.shape == (2, lab.prior.width)
    for part in filter(None, (lab.prior, lab.decoder, lab.upsampler)):
        assert part.abar.ndim == 1 and (part.abar.diff() < 0).all()
    pixels = lab.decoder.to_pixels(torch.zeros(2, *lab.decoder.shape))
    assert pixels.shape == (2, 3, lab.decoder.image_size, lab.decoder.image_size)
    assert lab.upsampler is None or lab.upsampler.low == lab.decoder.image_size


# The one-way rule


def imports(name):
    """The (module, place) of each import in a module; the place is "top", "function" or "types"."""
    path = FILES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def visit(node, place):
        if isinstance(node, ast.Import):
            yield from ((alias.name, place) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, (base, node.module)))
            for alias in node.names:  # `from . import images` names a module, `from .images import psnr` does not
                yield (f"{base}.{alias.name}" if f"{base}.{alias.name}" in FILES else base), place
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.body:
                yield from visit(child, "types")
        else:
            inside = "function" if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else place
            for child in ast.iter_child_nodes(node):
                yield from visit(child, inside)

    return set(visit(ast.parse(path.read_text("utf-8")), "top"))


def within(module, package):
    return module == package or module.startswith(f"{package}.")


def layer(module):
    """The layer that a module of ours is in; "top" for the package itself and "training" for the training."""
    _, *parts = module.split(".")
    if not parts:
        return "top"
    return parts[0] if parts[0] in (*LAYERS, "training") else "theory"


THEORY = [name for name in FILES if layer(name) == "theory"]
OUTSIDE = [name for name in FILES if layer(name) != "training"]


def test_imports_lists_the_imports_of_a_module_with_their_places():
    assert ("latentlab.errors", "top") in imports("latentlab.io.images")
    assert ("latentlab.io.images", "top") in imports("latentlab.models.emoji")
    assert ("latentlab.diffusion", "types") in imports("latentlab.models.lab")
    assert ("skimage.metrics", "function") in imports("latentlab.io.images")
    assert {
        "latentlab.io.images",
        "latentlab.analysis.pca",
        "latentlab.diffusion",
        "latentlab.slerp",
        "latentlab.errors",
    } <= set(THEORY)


def test_imports_have_no_cycle():
    graph = {name: {m for m, place in imports(name) if m in FILES and place == "top"} for name in FILES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_theory_has_no_import_cycle_even_inside_functions():
    graph = {name: {m for m, place in imports(name) if m in THEORY and place != "types"} for name in THEORY}
    graphlib.TopologicalSorter(graph).prepare()


def test_every_module_is_in_a_layer():
    packages = {path.parent.name for path in FILES.values() if path.parent.parent == ROOT}
    assert packages == {*LAYERS[1:], *FOUNDATION, "training"}


@pytest.mark.parametrize("name", [name for name in FILES if layer(name) in LAYERS])
def test_imports_go_one_way(name):
    """Theory ← models ← experiments ← paper ← app ← cli; only annotations of one layer may import another's names."""
    below = (*LAYERS[: LAYERS.index(layer(name)) + 1], "top")
    ours = [m for m, place in imports(name) if within(m, "latentlab") and place != "types"]
    assert [m for m in ours if layer(m) not in below] == []


@pytest.mark.parametrize("name", [name for name in FILES if layer(name) in ("top", "experiments", "paper", "cli")])
def test_modules_that_run_before_a_model_loads_import_the_models_only_inside_functions(name):
    assert [m for m, place in imports(name) if place == "top" and within(m, "latentlab.models")] == []


@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_outside_training_imports_training(name):
    assert [m for m, _ in imports(name) if within(m, "latentlab.training")] == []


@pytest.mark.parametrize(
    ("library", "users"),
    [
        ("open_clip", {"latentlab.clip"}),
        ("diffusers", {"latentlab.models"}),
        ("transformers", {"latentlab.models"}),
        ("accelerate", {"latentlab.models.offload"}),
        ("skimage", {"latentlab.io.images"}),
        ("pyarrow", {"latentlab.io.embedding_files", "latentlab.io.parts", "latentlab.io.clip_retrieval"}),
        ("scipy", {"latentlab.analysis.intervals", "latentlab.analysis.probing"}),
        ("sklearn", {"latentlab.analysis.layout"}),
        ("gradio", {"latentlab.app"}),
        ("spaces", {"latentlab.app"}),
        ("typer", {"latentlab.cli"}),
    ],
)
def test_each_foreign_library_is_imported_in_one_place(library, users):
    importers = {name for name in OUTSIDE for m, _ in imports(name) if within(m, library)}
    assert [name for name in importers if not any(within(name, user) for user in users)] == []
