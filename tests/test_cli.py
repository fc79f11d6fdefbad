"""The commands as a user types them: results, refusals, and the output on both streams."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import toy_pictures
from PIL import Image
from safetensors.torch import save_file

from latentlab import cli, models
from latentlab.analysis.pca import Directions
from latentlab.cli import components, diagnostics, features
from latentlab.cli.output import free_path, slug
from latentlab.experiments.history import History
from latentlab.io import embeddings, images
from latentlab.latents import Latent, PairLatent


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command line in this process: (exit code, standard output, standard error)."""

    def go(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["latentlab", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
            raise SystemExit(0)
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err

    return go


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo of mine.jpg"
    Image.radial_gradient("L").resize((90, 60)).convert("RGB").save(path)
    return path


def test_generate_writes_one_png_per_seed_with_its_settings(run, tmp_path):
    code, out, _ = run(
        "generate", "a red apple", "--count", 2, "--seed", 7, "--model", "toy", "--out", tmp_path, "--json"
    )
    output = json.loads(out)
    assert code == 0
    assert [p["seed"] for p in output["pictures"]] == [7, 8] and output["notes"] == []
    settings = images.read_metadata(output["pictures"][1]["path"])
    assert (settings["prompt"], settings["seed"], settings["model"]) == ("a red apple", 8, "toy")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--solver", "euler"), "--solver is 'euler': give one of ddim, dpm"),
        (("--guidance-interval", "800,300"), "--guidance-interval is '800,300': give the least and the greatest time"),
        (("--guidance-interval", "300"), "give the least and the greatest time, like 300,800"),
    ],
)
def test_a_solver_or_an_interval_that_does_not_exist_is_refused_before_the_model_loads(run, tmp_path, words, message):
    code, _, errors = run("generate", "a red apple", "--model", "no-such-model", "--out", tmp_path, *words)
    assert code and message in " ".join(errors.split())


@pytest.mark.parametrize("module", ["latentlab.cli", "latentlab.app.main"])
def test_openmp_wait_policy_is_set_before_torch_is_imported(module):
    code = f"""
import os, sys

class Watch:
    def find_spec(name, path, target=None):
        if name in ("torch", "gradio"):  # the app imports gradio first, which takes seconds
            print(os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch)
import {module}
import torch
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert output.stdout == "PASSIVE\n"


def test_free_path_avoids_other_files_and_folders(tmp_path):
    (tmp_path / "a.png").write_text("somebody else's")
    (tmp_path / "a-2.png").mkdir()
    assert free_path(tmp_path / "a.png", {}) == tmp_path / "a-3.png"


def test_reconstructing_a_reconstruction_writes_new_names_into_the_same_folder(run, photo, tmp_path):
    folder = tmp_path / "a-reconstruction"
    words = ("--model", "toy", "--out", folder, "--json", "--steps", 4)
    first = json.loads(run("reconstruct", photo, *words)[1])
    code, out, _ = run("reconstruct", first["reconstruction"], *words)
    second = json.loads(out)
    assert code == 0 and {p.parent for p in map(Path, (first["latent"], second["latent"]))} == {folder}
    assert first["latent"] != second["latent"]


def test_a_missing_residual_is_null_in_json_and_unknown_in_the_summary(run, photo, tmp_path):
    words = ("reconstruct", photo, "--model", "toy", "--method", "naive", "--steps", 4, "--out", tmp_path)
    output = json.loads(run(*words, "--json")[1], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert output["residual"] is None
    assert "residual unknown" in run(*words)[1]


def test_reconstruct_writes_the_latents_and_the_reconstruction(run, photo, tmp_path):
    code, out, _ = run("reconstruct", photo, "--model", "toy", "--out", tmp_path / "new" / "folder", "--json")
    output = json.loads(out)
    assert code == 0
    assert output["psnr"] > 30
    assert output["evaluations"] <= 100
    assert Latent.load(output["latent"]).x_T.shape == (1, 3, 8, 8)
    assert images.open_image(output["reconstruction"]).size == (8, 8)


def test_invert_writes_the_latents_of_reconstruct_and_no_picture(run, photo, tmp_path):
    words = (photo, "--model", "toy", "--steps", 4, "--json")
    for _ in range(2):  # the same settings replace the file
        inverted = json.loads(run("invert", *words, "--out", tmp_path / "inverted")[1])
    assert [str(path) for path in (tmp_path / "inverted").iterdir()] == [inverted["latent"]]
    other = json.loads(run("invert", *words[:3], "--steps", 3, "--json", "--out", tmp_path / "inverted")[1])
    assert other["latent"] != inverted["latent"], "other settings get a file of their own"
    both = json.loads(run("reconstruct", *words, "--out", tmp_path / "both")[1])
    ours, theirs = Latent.load(inverted["latent"]), Latent.load(both["latent"])
    assert torch.equal(ours.z_i, theirs.z_i) and torch.equal(ours.x_T, theirs.x_T)
    assert inverted["residual"] == both["residual"] and inverted["evaluations"] < both["evaluations"]


# Latents and many pictures on the command line


@pytest.fixture
def latents(run, photo, tmp_path):
    """The output of a reconstruction of the photo."""
    words = ("reconstruct", photo, "--model", "toy", "--steps", 4, "--out", tmp_path / "inverted", "--json")
    return json.loads(run(*words)[1])


def test_decode_gives_the_reconstruction_of_the_inversion_again(run, latents, tmp_path):
    code, out, _ = run("decode", latents["latent"], "--model", "toy", "--out", tmp_path / "again", "--json")
    output = json.loads(out)
    decoded = images.open_image(f"{output['pictures']}/000.png")
    assert code == 0 and output["steps"] == 4
    assert decoded.tobytes() == images.open_image(latents["reconstruction"]).tobytes()


@pytest.mark.parametrize(
    "words",
    [
        ("vary", "A", "--eta", "0,1", "--count", 2),
        ("diff", "A", "--from", "a cat", "--to", "a dog", "--theta", "0,0.4"),
        ("interpolate", "A", "B", "--frames", 3, "--animation", "none"),
    ],
)
def test_the_latents_of_a_picture_give_what_the_picture_gives(run, photo, other, latents, tmp_path, words):
    def pictures(first):
        given = [{"A": first, "B": other}.get(word, word) for word in words]
        options = ("--model", "toy", "--out", tmp_path / Path(first).suffix[1:], "--json")
        steps = ("--steps", 4) if first == photo else ()  # the latents bring their own
        output = json.loads(run(*given, *options, *steps)[1])
        return [np.asarray(images.open_image(p), float) for p in sorted(Path(output["pictures"]).iterdir())]

    ours, again = pictures(photo), pictures(latents["latent"])
    assert len(ours) == len(again) > 1
    assert max(np.abs(a - b).max() for a, b in zip(ours, again)) <= 1  # grey level


@pytest.mark.parametrize("words", [("pca", "show"), ("pca", "walk", "--components", "0,1"), ("attack",), ("classify",)])
def test_commands_of_pictures_take_latents(run, latents, directions, tmp_path, monkeypatch, words):
    monkeypatch.setattr("latentlab.typography.LEGIBLE", 0.1)
    directions.save(tmp_path / "d.safetensors", {"weights": ""})
    more = {"pca": ("--directions", tmp_path / "d.safetensors"), "attack": ("--text", "a", "--truth", "one")}
    more["classify"] = ("--labels", "a cat,a dog")
    out = () if words == ("classify",) else ("--out", tmp_path / "out", "--steps", 3)
    code, output, err = run(*words, latents["latent"], *more[words[0]], "--model", "toy", *out, "--json")
    assert code == 0, err
    assert Path(latents["latent"]).name in output


def test_a_folder_of_pictures_is_inverted_in_one_run_and_what_is_broken_is_named(run, folder, other, tmp_path):
    (folder / "inside").mkdir()
    other.rename(folder / "inside" / "photo of mine.png")
    words = ("invert", folder, "--model", "toy", "--steps", 2, "--out", tmp_path / "out")
    code, out, err = run(*words, "--json")
    results = json.loads(out)["results"]
    assert code == 0 and [r["image"] for r in results] == ["inside/photo of mine.png", "photo of mine.jpg"]
    assert len({r["latent"] for r in results}) == 2 and err.count("skipped broken-") == 7
    code, out, _ = run("decode", tmp_path / "out", "--model", "toy", "--out", tmp_path / "decoded", "--json")
    assert code == 0 and len(json.loads(out)["results"]) == 2


def test_two_files_of_one_name_have_results_of_their_own(run, photo, tmp_path):
    (tmp_path / "a").mkdir()
    twin = tmp_path / "a" / photo.name
    Image.new("RGB", (9, 9), "red").save(twin)
    words = ("reconstruct", photo, twin, "--model", "toy", "--steps", 2, "--out", tmp_path / "out", "--json")
    first, second = json.loads(run(*words)[1])["results"]
    assert first["latent"] != second["latent"] and first["psnr"] != second["psnr"]


def test_latents_of_another_model_are_refused(run, tmp_path):
    path = tmp_path / "a.safetensors"
    Latent(torch.zeros(1, 12), torch.zeros(1, 3, 8, 8)).save(path, {"model": "toy", "weights": "others"})
    code, _, err = run("vary", path, "--model", "toy", "--out", tmp_path)
    assert code == 2 and "a.safetensors holds latents of toy (others), this lab is toy ()" in err


@pytest.fixture
def folder(photo, tmp_path):
    """One picture, and seven text files named as pictures."""
    (tmp_path / "photos").mkdir()
    photo.rename(tmp_path / "photos" / photo.name)
    for k in range(7):
        (tmp_path / "photos" / f"broken-{k}.png").write_text("no picture")
    return tmp_path / "photos"


def test_embed_writes_a_parquet_with_its_settings(run, folder, tmp_path):
    path = tmp_path / "new" / "photos.parquet"
    code, out, _ = run("embed", folder, "--out", path, "--model", "toy", "--fit", "pad", "--json")
    output, embedded = json.loads(out), embeddings.read(path)
    assert code == 0
    assert (output["path"], output["count"], output["width"]) == (str(path), 1, 12)
    assert list(output["skipped"]) == [f"broken-{k}.png" for k in range(7)] == list(embedded.skipped)
    padded = models.load("toy").encoder.encode_image(images.load(folder / "photo of mine.jpg", 8, fit="pad"))
    assert embedded.names == ("photo of mine.jpg",) and torch.equal(embedded.z_i, padded.cpu())
    assert (embedded.metadata["model"], embedded.metadata["fit"], embedded.metadata["normalised"]) == (
        "toy",
        "pad",
        "no",
    )


def test_embed_summarises_the_folder_and_names_the_first_skipped_files(run, folder, tmp_path):
    code, out, err = run("embed", folder, "--out", tmp_path / "a.parquet", "--model", "toy", "--batch", 1)
    lines = out.splitlines()
    assert code == 0 and "embed" in err
    assert lines[0].endswith("1 picture, width 12, 7 skipped")
    assert [line.split(":")[0] for line in lines[1:6]] == [f"skipped broken-{k}.png" for k in range(5)]
    assert lines[6:] == ["… and 2 more; --json names them all"]


def test_embed_refuses_to_replace_a_file_before_the_model_is_loaded(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("latentlab.models.load", lambda *_, **__: pytest.fail("the model was loaded first"))
    (tmp_path / "a.parquet").write_text("precious")
    code, out, err = run("embed", folder, "--out", tmp_path / "a.parquet")
    assert (code, out) == (2, "") and "is there already" in err
    assert (tmp_path / "a.parquet").read_text() == "precious"


def test_embed_refuses_a_folder_without_files_before_the_model_is_loaded(run, tmp_path, monkeypatch):
    monkeypatch.setattr("latentlab.models.load", lambda *_, **__: pytest.fail("the model was loaded first"))
    code, out, err = run("embed", tmp_path, "--out", tmp_path / "a.parquet")
    assert (code, out) == (2, "") and "holds no pictures" in err


def test_a_folder_without_a_readable_picture_leaves_no_file(run, folder, tmp_path):
    (folder / "photo of mine.jpg").unlink()
    code, out, err = run("embed", folder, "--out", tmp_path / "a.parquet", "--model", "toy")
    assert (code, out) == (2, "") and "(7 tried)" in err
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("method", ["bdia", "edict"])
def test_reconstruct_writes_the_pair_of_states_of_an_exact_method(run, photo, tmp_path, method):
    code, out, _ = run("reconstruct", photo, "--model", "toy", "--method", method, "--out", tmp_path, "--json")
    output = json.loads(out)
    assert code == 0
    assert output["psnr"] > 90 and output["converged"] is True
    pair = PairLatent.load(output["latent"])
    assert (pair.method, len(pair.times), pair.first.shape) == (method, 26, (1, 3, 8, 8))


def test_doctor_reports_a_lack_of_memory_and_still_verifies_the_weights(monkeypatch):
    monkeypatch.setattr("latentlab.models.offload.free_gigabytes", lambda device: 0.4)
    report = diagnostics.examine()
    assert report["facts"]["memory"] == "0.4 GB free" and "embedded weights" in report["facts"]
    assert any("0.4 GB of memory are free" in problem for problem in report["problems"])


def test_invert_reports_when_its_tolerance_was_not_reached(run, photo, tmp_path):
    words = ("invert", photo, "--model", "toy", "--out", tmp_path)
    assert "did not reach its tolerance" in run(*words, "--iterations", 1)[1]
    assert "did not reach its tolerance" not in run(*words)[1]


@pytest.mark.parametrize("command", ["models", "doctor"])
def test_json_is_one_object_and_nothing_else(run, command):
    code, out, _ = run(command, "--json")
    assert code == 0
    assert isinstance(json.loads(out), dict)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("generate", ""), "the prompt is empty"),
        (("generate", "a cat", "--model", "emojj"), "did you mean emoji"),
        (("generate", "a cat", "--model", "toy", "--device", "teapot"), "device 'teapot' can't be used"),
        (("invert", "nowhere.png"), "is not there"),
        (("decode", "{photo}"), "holds no latents: give a .safetensors file"),
        (("interpolate", "{folder}", "{photo}"), "is a folder: give two pictures"),
        (("invert", "{photo}", "--fit", "stretch"), "give 'crop', 'pad' or 'subject'"),
        (("invert", "{photo}", "--model", "toy", "--method", "magic"), "naive, fixed-point, bdia, edict"),
        (("generate", "a cat", "--model", "toy", "--out", "{photo}"), "is a file"),
        (("embed", "nowhere", "--out", "a.parquet"), "nowhere is not a folder"),
        (("embed", "{photo}", "--out", "a.parquet"), "is not a folder"),
        (("embed", "{folder}", "--out", "a.csv"), "a file that ends in .parquet"),
        (("embed", "{folder}", "--out", "{photo}/a.parquet"), "is a file"),
        (("embed", "{folder}", "--out", "a.parquet", "--fit", "stretch"), "give 'model', 'crop', 'pad' or 'subject'"),
    ],
)
def test_a_mistake_is_one_sentence_on_standard_error_and_exit_code_2(run, photo, tmp_path, words, message):
    code, out, err = run(*(w.format(photo=photo, folder=tmp_path) for w in words))
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("generate", "a cat", "--count", 300), "'--count'"),
        (("vary", "a.png", "--steps", "many"), "'--steps'"),
        (("generate", "a cat", "--colour", "red"), "--colour"),
        (("pca", "show"), "pictures"),
        (("paint",), "paint"),
        (("generat",), "'generat'. Did you mean 'generate' or 'invert'? `"),
    ],
)
def test_an_unknown_option_or_value_gives_one_sentence_and_no_usage(run, words, message):
    code, out, err = run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ") and message in err and "--help` lists what it accepts" in err


@pytest.mark.parametrize("words", [(), ("pca",)])
def test_a_group_without_a_subcommand_shows_its_help(run, words):
    _, out, err = run(*words)
    assert (out + err).startswith("Usage:") and "error" not in err


def test_a_refused_picture_creates_no_folder(run, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    code, _, err = run("invert", broken, "--out", tmp_path / "out")
    assert code == 2
    assert "broken.png" in err
    assert not (tmp_path / "out").exists()


def test_the_installed_command_refuses_without_a_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "latentlab.cli", "invert", "nowhere.png"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(run, photo, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere, so ask for the refusal itself
    monkeypatch.setattr("latentlab.models.load", lambda *_, **__: pytest.fail("the model was loaded first"))
    code, _, err = run("generate", "a cat", "--model", "toy", "--out", photo.parent / "new")
    assert code == 2
    assert "can't be written" in err


def test_other_settings_never_overwrite_a_picture(run, tmp_path):
    words = ("generate", "a cat", "--count", 1, "--model", "toy", "--out", tmp_path, "--json")
    paths = [json.loads(run(*words, "--steps", steps)[1])["pictures"][0]["path"] for steps in (5, 6, 5)]
    assert paths[0] != paths[1]
    assert paths[0] == paths[2]


def test_captions_in_any_script_name_their_own_files():
    assert len({slug("日本語"), slug("a cat"), slug("кот")}) == 3


def test_the_help_shows_every_command_in_full_at_80_columns_and_pca_beside_embed(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run("--help")
    names = [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()]
    assert "..." not in out.partition("Commands:\n")[2]
    assert names[:4] == ["generate", "vary", "invert", "reconstruct"]
    assert names.index("pca") + 1 == names.index("embed") < names.index("app")
    assert "fit " in run("pca", "--help")[1].partition("Commands:\n")[2].splitlines()[0]


def test_version_is_printed(run):
    code, out, _ = run("--version")
    assert (code, out.startswith("latentlab ")) == (0, True)


# The experiments as commands


@pytest.fixture
def other(tmp_path):
    path = tmp_path / "other.png"
    Image.linear_gradient("L").convert("RGB").save(path)
    return path


COMMANDS = {
    "vary": ("vary", "A", "--eta", "0,1", "--count", 2),
    "interpolate": ("interpolate", "A", "B", "--frames", 3),
    "interpolate with x_T fixed": ("interpolate", "A", "B", "--noise", "fixed", "--count", 2, "--animation", "webp"),
    "diff": ("diff", "A", "--from", "a cat", "--to", "a dog", "--to", "a fox", "--theta", "0,0.4"),
    "ablate": ("ablate", "a cat", "a dog", "--count", 2),
    "guide": ("guide", "a cat", "--decoder", "1,2", "--prior", "1", "--count", 2),
    "guide by clip": ("guide", "a cat", "--by", "clip", "--decoder", "0,2", "--prior", "1", "--count", 2),
    "edit": ("edit", "A", "--mask", "A", "--prompt", "a cat", "--count", 2),
    "edit beyond the canvas": ("edit", "A", "--grow", "right", "--grow", "top", "--count", 1),
    "edit all": ("edit", "A", "--strength", "0.5", "--prompt", "a cat", "--count", 1),
    "bind": ("bind", "a red cube on top of a blue ball", "--count", 2),
    "bind a sample": ("bind", "--sample", 3, "--count", 1),
    "attack": ("attack", "A", "B", "--text", "a", "--truth", "one", "--truth", "two", "--count", 1, "--paper", "white"),
    "compare": ("compare", "A", "B", "--captions", "a cat,a dog"),
    "spell": ("spell", "hello", "--alternatives", "stop,go", "--count", 2),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_an_experiment_writes_its_figure_and_pictures_and_prints_its_table(
    run, photo, other, tmp_path, monkeypatch, words
):
    monkeypatch.setattr("latentlab.typography.LEGIBLE", 0.1)  # the toy's pictures have no room for letters
    words = [{"A": photo, "B": other}.get(w, w) for w in words]
    words += [] if words[0] == "compare" else ["--steps", 4]
    code, out, _ = run(*words, "--model", "toy", "--out", tmp_path / "out", "--json")
    output = json.loads(out)
    assert code == 0
    assert output["table"] and all({"quantity", "value", "n", "low", "high"} <= set(row) for row in output["table"])
    settings = images.read_metadata(output["figure"])
    assert all(slug(words[k + 1]) in output["figure"] for k, word in enumerate(words) if word == "--to")
    assert settings["model"] == "toy" and settings["experiment"] == output["experiment"]
    inside = sorted((tmp_path / "out").glob("*/*.png"))
    assert inside and images.read_metadata(inside[0])["experiment"] == output["experiment"]
    if "animation" in output:
        with Image.open(output["animation"]) as movie:
            assert movie.n_frames >= 3


def test_the_json_of_an_edit_is_continued_from_any_of_its_states(run, photo, tmp_path):
    def edit(image, *words):
        words = ("edit", image, *words, "--steps", 2, "--count", 1, "--model", "toy", "--out", tmp_path, "--json")
        code, out, err = run(*words)
        assert code == 0, err
        return json.loads(out)

    first = edit(photo, "--grow", "right")
    second = edit(first["history"], "--grow", "top", "--animation", "none")
    third = edit(second["history"], "--strength", "0.5", "--prompt", "a cat", "--state", 1, "--animation", "webp")
    states = History.load(third["history"]).states
    assert [state.parent for state in states] == [None, 0, 1, 1]
    assert [tuple(state.pixels.shape[-2:]) for state in states] == [(8, 8), (8, 12), (12, 12), (8, 12)]
    assert "animation" not in second and third["animation"].endswith(".webp")
    code, _, err = run("edit", second["history"], "--mask", photo, "--model", "toy", "--out", tmp_path)
    assert code == 2 and "the mask is 90x60 and the picture 12x12 pixels" in err


def test_without_json_an_experiment_prints_its_files_and_summary(run, photo, tmp_path):
    code, out, _ = run("vary", photo, "--steps", 4, "--count", 2, "--model", "toy", "--out", tmp_path / "out")
    assert code == 0
    assert "figure" in out and "the samples have a mean cosine of" in out


def test_the_same_command_again_writes_the_same_files_and_another_does_not_overwrite_them(run, photo, tmp_path):
    for eta in ("0,1", "0,1", "0.5"):
        assert run("vary", photo, "--eta", eta, "--steps", 3, "--count", 1, "--model", "toy", "--out", tmp_path)[0] == 0
    assert len(list(tmp_path.glob("*variations*.png"))) == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("vary", "A", "--eta", "much"), "--eta is"),
        (("vary", "A", "--eta", "2"), "--eta is"),
        (("vary", "nowhere.png"), "is not there"),
        (("interpolate", "A", "A", "--noise", "none"), "--noise is"),
        (("diff", "A", "--from", "a cat", "--to", "a cat"), "caption"),
        (("attack", "A", "--text", "pizza", "--truth", "an apple"), "pixel"),
        (("attack", "A", "--text", "pizza", "--truth", "an apple", "--at", "1,2"), "--at is"),
        (("attack", "A", "--text", "pizza", "--truth", "an apple", "--font", "A"), "is no font"),
        (("attack", "A", "A", "A", "--text", "pizza", "--truth", "an apple", "--truth", "a cat"), "2 truths for 3"),
        (("compare", "A", "--captions", "a cat,a dog"), "two or more of each"),
        (("edit", "A"), "there is nothing to edit"),
        (("edit", "A", "--mask", "B"), "the mask is 256x256 and the picture 90x60 pixels"),
        (("edit", "A", "--mask", "black"), "the mask is empty: mark the part"),
        (("edit", "A", "--mask", "white"), "the mask covers everything: mark the part"),
        (("edit", "A", "--mask", "edge"), "--fit crop cuts off all that the mask marks: give --fit pad"),
        (("edit", "A", "--mask", "A", "--decoder", "fine-tuned"), "toy has no decoder that was trained to inpaint"),
        (("edit", "A", *["--grow", "right"] * 7), "would grow to 4.5 times the picture's area"),
        (("edit", "A", "--strength", "1.5"), "strength is 1.5"),
        (("edit", "A", "--grow", "up"), "grow is 'up'"),
        (("edit", "A", "--strength", "0.5", "--state", "1"), "--state is 1, but photo of mine.jpg is a picture"),
        (("edit", "A", "--strength", "0.5", "--animation", "mp4"), "--animation is 'mp4'"),
        (("edit", "A", "--strength", "0.5", "--by", "clip"), "guidance by clip goes towards a prompt"),
        (("edit", "nowhere.json", "--grow", "right"), "nowhere.json is not there"),
        (("bind", "a dog"), "relates no two solids"),
        (("guide", "a cat", "--by", "magic"), "--by is 'magic'"),
        (("generate", "a cat", "--count", 2, "--best", 3), "--best is"),
        (("generate", "a cat", "--prior", "autoregressive"), "toy has no autoregressive prior: take prior='diffusion'"),
        (("dalle", "a cat", "--count", 2, "--best", 3), "--best is 3 of --count 2"),
        (("dalle", " "), "the caption is empty"),
        (("rerank",), "give either prompts"),
        (("rerank", "a cat", "--things", 2), "give either prompts"),
        (("rerank", "--things", 999), "--things is 999, and toy knows"),
        (("road", "a cat", "--systems", "dall-e"), "give some of dalle, draw, glide"),
        (("pca", "show", "A"), "ships no directions"),
        (("pca", "show", "A", "--dims", "1.5"), "whole numbers"),
        (("draw",), "there is nothing to draw"),
        (("draw", "a cat", "--strokes", "0"), "strokes is 0: give at least 1"),
        (("draw", "a cat", "--strokes", "999999999"), "memory holds"),
        (("draw", "a cat", "--canvas", "latents"), "toy decodes pixels and has no first stage"),
        (("draw", "a cat", "--canvas", "pixels", "--svg"), "--svg is of strokes"),
        (("draw", "a cat", "--animation", "mp4"), "--animation is 'mp4'"),
        (("draw", "a cat", "--palette", "mauvish"), "'mauvish' is no colour"),
        (("draw", "a cat", "--start", "nowhere.png"), "is not there"),
        (("figures", "--only", "2"), "there is no figure 2"),
    ],
)
def test_an_experiment_refuses_in_one_sentence(run, photo, other, tmp_path, words, complaint):
    files = {"A": photo, "B": other}
    for name in {"black", "white", "edge"} & set(words):
        files[name], mask = tmp_path / f"{name}.png", Image.new("L", (90, 60), "white" if name == "white" else "black")
        mask.paste(255, (0, 0, 5 * (name == "edge"), 60))
        mask.save(files[name])
    words = [files.get(w, w) for w in words]
    code, out, err = run(*words, "--model", "toy", "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ") and complaint in last and "Traceback" not in err


def test_a_drawing_is_written_with_its_svg_and_its_animation(run, photo, tmp_path):
    words = ("draw", "a cat", "a dog:0.5", "--start", photo, "--strokes", 3, "--steps", 2, "--views", 1, "--svg")
    code, out, _ = run(*words, "--model", "toy", "--out", tmp_path, "--json")
    paths = json.loads(out)
    assert code == 0 and Path(paths["svg"]).read_text("utf-8").count("<path") == 3
    with Image.open(paths["animation"]) as movie:
        assert movie.n_frames >= 2


def test_pca_is_fitted_on_a_folder_and_its_components_are_shown_on_a_picture(run, photo, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for k in range(8):
        colours = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(k)) * 2 - 1
        images.to_pil(images.resize(colours, 16))[0].save(many / f"{k}.png")
    path = tmp_path / "directions.safetensors"
    code, out, _ = run("pca", "fit", many, "--out", path, "--components", 4, "--model", "toy", "--json")
    fitted = json.loads(out)
    assert code == 0 and (fitted["count"], fitted["components"]) == (8, 4)
    for words in (
        ("show", photo),
        ("show", photo, "--dims", "0,1,4"),
        ("walk", photo, "--components", "0,3", "--sigmas=-1,0,1"),
    ):
        shared_options = ("--directions", path, "--steps", 3, "--model", "toy", "--out", tmp_path / "out", "--json")
        code, out, err = run("pca", *words, *shared_options)
        assert code == 0, err
        assert json.loads(out)["table"]


def test_features_are_fitted_on_a_file_and_shown_and_walked_on_pictures(run, lab, photo, other, tmp_path):
    z_i, path = lab.encoder.encode_image(toy_pictures(60)), tmp_path / "z.npy"
    np.save(path, z_i.numpy())
    out = tmp_path / "features.safetensors"
    code, output, err = run(
        "features", "fit", path, "--features", 6, "--active", 2, "--steps", 20, "--out", out, "--json"
    )
    assert code == 0, err
    assert json.loads(output)["features"] == 6
    options = ("--dictionary", out, "--steps", 2, "--model", "toy", "--out", tmp_path / "out", "--json")
    for words in (("show", photo, other, "--features", "0,2"), ("walk", photo, "--strengths=0,1")):
        code, output, err = run("features", *words, *options)
        assert code == 0, err
        assert json.loads(output)["table"]
    assert "ships no features" in run("features", "show", photo, "--model", "toy")[2]


def test_a_walk_along_components_and_a_walk_along_features_take_the_same_arguments_in_the_same_order():
    words = {"components": "features", "sigmas": "strengths", "directions": "dictionary"}
    along_components, along_features = (inspect.signature(module.walk).parameters for module in (components, features))
    assert [words.get(name, name) for name in along_components] == [*along_features]
    defaults = {words.get(name, name): parameter.default for name, parameter in along_components.items()}
    assert [n for n, p in along_features.items() if p.default != defaults[n]] == ["strengths"]  # the units differ


def test_components_beyond_the_pca_are_refused_before_the_model_is_loaded(run, photo, tmp_path, monkeypatch):
    path = tmp_path / "small.safetensors"
    Directions.fit(torch.randn(6, 12), metadata={"weights": ""}).save(path)
    monkeypatch.setattr("latentlab.models.load", lambda *_, **__: pytest.fail("the model was loaded first"))
    code, _, err = run("pca", "show", photo, "--directions", path, "--dims", "1,64")
    assert code == 2 and "--dims has 64, but the PCA has 5 components: give numbers from 0 to 5" in err


@pytest.mark.parametrize("kind", ["parquet", "npy", "safetensors"])
def test_pca_fit_shows_how_much_of_a_file_is_read(run, tmp_path, monkeypatch, kind):
    z_i, path = torch.randn(20, 4), tmp_path / f"z.{kind}"
    if kind == "npy":
        np.save(path, z_i.numpy())
    elif kind == "safetensors":
        save_file({"z_i": z_i}, path)
    else:
        embeddings.write(path, [embeddings.Embeddings(tuple(map(str, range(20))), z_i)])
    assert [(shard.step, shard.steps) for shard in embeddings.shards(path)] == [(20, 20)]
    code, _, err = run("pca", "fit", path, "--out", tmp_path / "d.safetensors")
    assert code == 0 and "read" in err and "20/20" in err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
@pytest.mark.parametrize("words", [("invert", "--steps", 2), ("vary", "--steps", 2, "--count", 1), ("classify",)])
def test_a_picture_whose_name_is_not_utf_8_is_taken_like_another(run, photo, tmp_path, words):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")
    os.rename(photo, name)
    place = ("--labels", "a cat,a dog") if words[0] == "classify" else ("--out", tmp_path / "out")
    for last in ((), ("--json",)):
        code, out, err = run(words[0], name, *words[1:], *place, "--model", "toy", *last)
        assert (code, "Traceback" in err) == (0, False)
    assert "caf?.jpg" in out


def test_classify_prints_the_most_probable_labels_first(run, photo):
    code, out, _ = run("classify", photo, "--labels", "a cat,a dog,a fox", "--top", 2, "--model", "toy", "--json")
    (picture,) = json.loads(out)["pictures"]
    assert code == 0 and len(picture["labels"]) == 2
    assert picture["labels"][0]["probability"] >= picture["labels"][1]["probability"]


def test_figures_makes_a_page_that_shows_every_figure_it_wrote(run, tmp_path):
    code, out, _ = run("figures", "--only", "3,9", "--model", "toy", "--out", tmp_path / "figures", "--json")
    output = json.loads(out)
    page = (tmp_path / "figures" / "index.html").read_text("utf-8")
    assert code == 0 and [f["figure"] for f in output["figures"]] == ["3", "9"]
    for figure in output["figures"]:
        for file in figure["files"]:
            assert f'src="{file}"' in page and images.read_metadata(tmp_path / "figures" / file)["model"] == "toy"
