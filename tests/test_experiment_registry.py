"""The law of one place: what an experiment declares is what pages, commands, figures and the GPU lease find."""

import re
import runpy
from pathlib import Path

import pytest
import small_runs
import torch
from typer.main import get_command

import latentlab
from latentlab import cli, decoding, experiments, inpainting
from latentlab.app import links, running
from latentlab.app.pages import PAGES
from latentlab.ascent import ascend
from latentlab.experiments import EXPERIMENTS, InversionResult
from latentlab.paper.drawings import DRAWINGS
from latentlab.paper.figures import FIGURES

ROOT = Path(__file__).parents[1]
ANEW = "python docs/experiments.py writes them anew"


@pytest.fixture
def pixels():
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3)) * 2 - 1


def commands() -> set[str]:
    """The words of every command, like `pca show`."""
    root = get_command(cli.app)
    words = set(root.commands)
    for name, command in root.commands.items():
        words |= {f"{name} {inner}" for inner in getattr(command, "commands", {})}
    return words


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_a_page_a_command_a_figure_and_a_place_in_the_docs_or_says_that_it_has_none(name):
    declared = EXPERIMENTS[name]
    assert declared.page in {"", *(page.key for page in PAGES)}
    assert declared.command in commands()
    assert hasattr(latentlab, name), ANEW
    assert declared.__doc__ and getattr(latentlab, name) is getattr(experiments, name) is declared


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_result_is_named_after_its_experiments_module(name):
    module = EXPERIMENTS[name].__module__.rpartition(".")[2]
    assert EXPERIMENTS[name].result.__name__ == module.title().replace("_", "") + "Result"


def test_the_stubs_and_the_page_of_the_docs_have_the_declared_experiments():
    script = runpy.run_path(str(ROOT / "docs" / "experiments.py"))
    written = {path: path.read_text("utf-8") for path in (script["STUB"], script["TOP"], script["PAGE"])}
    assert written[script["STUB"]] == script["stub"](), ANEW
    assert written[script["TOP"]] == script["top_stub"](written[script["TOP"]]), ANEW
    assert script["listing"]() in written[script["PAGE"]], ANEW


def test_every_declared_figure_has_a_drawing_and_every_drawing_one_experiment():
    declared = [key for experiment in EXPERIMENTS.values() for key in experiment.figures]
    assert len(declared) == len(set(declared))
    assert set(declared) == set(DRAWINGS) == set(FIGURES), "figures= of an experiment, and paper/drawings.py"


TYPED = ["latentlab", "latentlab.models", "latentlab.models.lab", "latentlab.models.loading", "latentlab.experiments"]
TYPED += [f"latentlab.experiments.{module}" for module in ("base", "generation", "reconstruction")]


def test_the_type_checker_knows_the_parameters_and_the_result_of_an_experiment(tmp_path, monkeypatch):
    api = pytest.importorskip("mypy.api")
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nignore_missing_imports = true\nfollow_imports = skip\n"  # a call's types need these modules alone
        f"[mypy-{','.join(TYPED)}]\nfollow_imports = silent\n"
    )
    (tmp_path / "script.py").write_text(
        "import latentlab\n"
        "lab = latentlab.load('toy')\n"
        "reveal_type(latentlab.reconstruct)\n"
        "reveal_type(latentlab.generate(lab, 'a cat', steps=3))\n"
        "latentlab.generate(lab, 'a cat', step=3)\n"
    )
    options = ("--config-file", tmp_path / "mypy.ini", "--cache-dir", tmp_path / "cache")
    output, _, _ = api.run([str(word) for word in (*options, tmp_path / "script.py")])
    declared, generated, misspelt, *_ = output.splitlines()
    assert re.search(r"Experiment\[\[lab: .*Lab, pictures: .*, \*, steps: int =.*ReconstructionResult\]", declared)
    assert re.search(r"Revealed type is .*generation\.GenerationResult", generated)
    assert 'Unexpected keyword argument "step"' in misspelt


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if EXPERIMENTS[name].page])
def test_the_picture_of_every_experiment_leads_back_to_its_page_and_task(name):
    page, fields = links.page_settings({"experiment": name, "steps": 9})
    assert page == EXPERIMENTS[name].page and fields.get("task", "") == EXPERIMENTS[name].task


def test_every_experiment_has_a_small_run_for_the_laws_of_all():
    lacking = [small_runs.tests_of(e) for e in small_runs.MEASURING if e.name not in small_runs.RUNS]
    assert lacking == [], "tests/NAME.py needs SMALL_RUN, the arguments of a small run"


@pytest.mark.parametrize("name", small_runs.RUNS)
def test_the_declared_number_of_pictures_is_what_a_run_decodes_or_shows_clip_at_a_step(
    lab, directions, monkeypatch, name
):
    decoded, sample_steps, inpaint_steps = [], decoding.sample_steps, inpainting.inpaint_steps

    def counted(decoder, latent, **params):
        decoded.append(len(latent))
        return sample_steps(decoder, latent, **params)

    def counted_inpainting(decoder, cond, *args, **params):
        decoded.append(len(cond))
        return inpaint_steps(decoder, cond, *args, **params)

    def counted_climb(canvas, *args, **params):
        for number, step in enumerate(ascend(canvas, *args, **params)):
            if number == 0:
                decoded.append(len(step.pixels) * len(params["views"]))
            yield step

    monkeypatch.setattr(decoding, "sample_steps", counted)
    monkeypatch.setattr("latentlab.experiments.drawing_stages.ascend", counted_climb)
    monkeypatch.setattr(inpainting, "inpaint_steps", counted_inpainting)
    monkeypatch.setattr("latentlab.typography.LEGIBLE", 0.1)  # the toy's pictures have no room for letters
    arguments = small_runs.arguments(name, directions)
    EXPERIMENTS[name](lab, **arguments)
    most = EXPERIMENTS[name].count_images(lab, **arguments)
    # The toy's decoder takes no text and the toy has one prior, so an ablation has three of its five signals there.
    assert sum(decoded) == (most * 3 // 5 if name == "ablate" else most)


def test_a_larger_model_and_positional_arguments_lengthen_the_lease():
    captions = [f"caption {k}" for k in range(6)]
    small, large = (running.gpu_seconds(model, "ablate", (captions,), {"steps": 25}) for model in ("emoji", "karlo"))
    assert 5 < small < large
    drawing = {"steps": 100, "views": 4, "seeds": [0]}
    drawings = [running.gpu_seconds("emoji", "draw", ("a cat",), {**drawing, **more}) for more in ({}, {"views": 16})]
    assert (
        5
        < drawings[0]
        < drawings[1]
        < running.gpu_seconds("emoji", "draw", ("a cat",), {**drawing, "views": 16, "canvas": "z_i", "seeds": [0, 1]})
    )
    words = running.gpu_seconds("emoji", "spell", (["a", "b", "c", "d"],), {"seeds": range(8), "steps": 25})
    assert words == running.gpu_seconds("emoji", "spell", (), {"words": ["a"] * 4, "seeds": range(8), "steps": 25})
    assert words > running.gpu_seconds("emoji", "spell", (["a"],), {"seeds": range(8), "steps": 25})


# Inversions of several pictures


def test_a_row_of_several_inversions_has_its_own_residual_and_evaluations(lab, pixels):
    both = experiments.invert(lab, torch.cat([pixels[:1], pixels[:1] * 0.01]), steps=6)
    for k in range(2):
        alone = experiments.invert(lab, both.original[k : k + 1], steps=6)
        row = both.row(k)
        assert row.evaluations == alone.evaluations
        torch.testing.assert_close(row.residual, alone.residual, rtol=0.2, atol=1e-6)
    assert both.evaluations == max(both.row(k).evaluations for k in range(2))
    again = InversionResult.stack([both.row(0), both.row(1)])
    assert torch.equal(again.residuals, both.residuals) and torch.equal(again.spent, both.spent)
