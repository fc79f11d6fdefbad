"""The commands as a user types them: results, refusals, and what goes to which stream."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from PIL import Image

from latentlab import cli, images
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


def test_generate_writes_one_png_a_seed_that_carries_its_settings(run, tmp_path):
    code, out, _ = run(
        "generate", "a red apple", "--count", 2, "--seed", 7, "--model", "toy", "--out", tmp_path, "--json"
    )
    found = json.loads(out)
    assert code == 0
    assert [p["seed"] for p in found["pictures"]] == [7, 8]
    settings = images.read_metadata(found["pictures"][1]["path"])
    assert (settings["prompt"], settings["seed"], settings["model"]) == ("a red apple", 8, "toy")


def test_invert_writes_the_latents_and_the_way_back(run, photo, tmp_path):
    code, out, _ = run("invert", photo, "--model", "toy", "--out", tmp_path / "new" / "folder", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["psnr"] > 30
    assert found["evaluations"] <= 100
    assert Latent.load(found["latent"]).x_T.shape == (1, 3, 8, 8)
    assert images.open_image(found["reconstruction"]).size == (8, 8)


@pytest.mark.parametrize("method", ["bdia", "edict"])
def test_invert_writes_the_pair_of_states_of_an_exact_method(run, photo, tmp_path, method):
    code, out, _ = run("invert", photo, "--model", "toy", "--method", method, "--out", tmp_path, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["psnr"] > 90 and found["converged"] is True
    pair = PairLatent.load(found["latent"])
    assert (pair.method, len(pair.times), pair.first.shape) == (method, 26, (1, 3, 8, 8))


def test_invert_says_when_its_tolerance_was_not_reached(run, photo, tmp_path):
    words = ("invert", photo, "--model", "toy", "--out", tmp_path)
    assert "did not reach its tolerance" in run(*words, "--iterations", 1)[1]
    assert "did not reach its tolerance" not in run(*words)[1]


@pytest.mark.parametrize("command", ["models", "doctor"])
def test_json_is_one_object_and_nothing_else(run, command):
    code, out, _ = run(command, "--json")
    assert code == 0
    assert isinstance(json.loads(out), dict)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("generate", ""), "the caption is empty"),
        (("generate", "a cat", "--model", "emojj"), "did you mean emoji"),
        (("generate", "a cat", "--model", "toy", "--device", "teapot"), "device 'teapot' can't be used"),
        (("invert", "nowhere.png"), "is not there"),
        (("invert", "{folder}"), "is a folder"),
        (("invert", "{photo}", "--fit", "stretch"), "give 'crop' or 'pad'"),
        (("invert", "{photo}", "--model", "toy", "--method", "magic"), "naive, fixed-point, bdia, edict"),
        (("generate", "a cat", "--model", "toy", "--out", "{photo}"), "is a file"),
    ],
)
def test_a_mistake_is_one_sentence_on_standard_error_and_exit_code_2(run, photo, tmp_path, words, said):
    code, out, err = run(*(w.format(photo=photo, folder=tmp_path) for w in words))
    assert code == 2
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_a_refused_picture_leaves_no_folder_behind(run, tmp_path):
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
    monkeypatch.setattr(cli, "_load", lambda *_: pytest.fail("the model was loaded first"))
    code, _, err = run("generate", "a cat", "--model", "toy", "--out", photo.parent / "new")
    assert code == 2
    assert "can't be written" in err


def test_other_settings_never_overwrite_a_picture(run, tmp_path):
    words = ("generate", "a cat", "--count", 1, "--model", "toy", "--out", tmp_path, "--json")
    paths = [json.loads(run(*words, "--steps", steps)[1])["pictures"][0]["path"] for steps in (5, 6, 5)]
    assert paths[0] != paths[1]
    assert paths[0] == paths[2]


def test_captions_in_any_script_name_their_own_files():
    assert len({cli._slug("日本語"), cli._slug("a cat"), cli._slug("кот")}) == 3


def test_version_is_said(run):
    code, out, _ = run("--version")
    assert (code, out.startswith("latentlab ")) == (0, True)
