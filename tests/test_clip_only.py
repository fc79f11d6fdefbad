"""A CLIP alone, from a folder in open_clip's layout: all that needs no decoder works, in library and commands."""

import json
import shutil

import pytest
import torch
from PIL import Image

from latentlab import cli, experiments, models
from latentlab.analysis.pca import Directions
from latentlab.errors import UserError
from latentlab.io import embeddings
from latentlab.models import clip_only

LABELS = ["a red apple", "a blue ball", "a cat"]


@pytest.fixture(scope="module")
def lab(clip_folder):
    return models.load(clip_folder, device="cpu")


@pytest.fixture
def pixels():
    return torch.rand(2, 3, 60, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, angle in (("one.png", 0), ("two.png", 90), ("three.png", 180)):
        Image.linear_gradient("L").rotate(angle).convert("RGB").resize((90, 70)).save(folder / name)
    return folder


@pytest.fixture
def run(monkeypatch, capsys, clip_folder, tmp_path):
    """Run a command on the CLIP: exit code, standard output as JSON where it is, standard error."""

    def go(*words, out=True):
        out_option = ("--out", tmp_path / "out") if out else ()
        words = ("latentlab", *words, *out_option, "--model", clip_folder, "--json")
        monkeypatch.setattr("sys.argv", [str(word) for word in words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
            raise SystemExit(0)
        output = capsys.readouterr()
        return stopped.value.code or 0, json.loads(output.out) if output.out else None, output.err

    return go


# The library


def test_the_lab_holds_the_folders_encoder_and_the_name_of_its_weights(lab, encoder, pixels, clip_folder):
    assert torch.equal(lab.encoder.encode_image(pixels), encoder.encode_image(pixels))
    assert (lab.name, lab.weights) == (clip_folder.name, f"{clip_folder.name}@{encoder.fingerprint()}")
    assert lab.image_size == encoder.image_size and not lab.has_decoder
    assert (lab.prior, lab.decoder, lab.upsampler) == (None, None, None)
    with pytest.raises(UserError, match=r"is a CLIP alone, without a decoder: it can classify.*load one of"):
        lab.require_decoder()


def test_a_fingerprint_depends_on_the_weights_alone(clip_folder, encoder):
    other = clip_only.encoder(f"local-dir:{clip_folder}")
    assert other.fingerprint() == encoder.fingerprint()
    other.model.logit_scale.data += 1e-3
    assert other.fingerprint() != encoder.fingerprint()


def test_zero_shot_similarity_and_components_need_no_decoder(lab, pixels):
    assert experiments.classify(lab.encoder, pixels, LABELS).probabilities.shape == (2, 3)
    assert experiments.compare(lab.encoder, pixels, LABELS).similarity.shape == (2, 3)
    z_i = lab.encoder.encode_image(pixels)
    fitted = Directions.fit(z_i)
    torch.testing.assert_close(fitted.reconstruct(z_i, len(fitted)), z_i, rtol=1e-4, atol=1e-5)


def test_an_attack_without_a_decoder_measures_clip_alone_and_has_a_note_about_it(lab, pixels):
    attack = experiments.attack(lab, pixels, ["ball"], "a red apple", labels=LABELS, encoders={"again": lab.encoder})
    assert attack.variations.shape[2] == 0
    assert any("has no decoder" in note for note in attack.notes)
    torch.testing.assert_close(attack.others["again"], attack.attacked)
    figure = attack.figure()
    assert figure.axes and "A written word wins" in attack.summary()


@pytest.mark.parametrize(
    "experiment",
    [
        lambda lab, pixels: experiments.reconstruct(lab, pixels),
        lambda lab, pixels: experiments.vary(lab, pixels),
        lambda lab, pixels: experiments.interpolate(lab, pixels),
        lambda lab, pixels: experiments.diff(lab, pixels, "a cat"),
        lambda lab, _: experiments.generate(lab, "a cat"),
        lambda lab, _: experiments.ablate(lab, ["a cat"]),
        lambda lab, _: experiments.bind(lab, "a red cube on top of a blue ball"),
        lambda lab, _: experiments.spell(lab, "deep", alternatives=["learning"]),
        lambda lab, _: experiments.guide(lab, "a cat"),
        lambda lab, pixels: experiments.truncate(lab, pixels, Directions.fit(torch.randn(9, 24)), dims=[1]),
    ],
)
def test_experiments_that_need_a_decoder_or_a_prior_are_refused(lab, pixels, experiment):
    with pytest.raises(UserError, match=r"without a decoder: it can classify|has no prior"):
        experiment(lab, pixels)


@pytest.mark.parametrize("options", [{"offload": True}])
def test_offloading_is_refused_for_a_single_network(clip_folder, options):
    with pytest.raises(UserError, match="is one network, which stays on its device: leave out offload"):
        models.load(clip_folder, **options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-32:nowhere", "ViT-B-32 has no weights called 'nowhere': give one of .*laion2b_s34b_b79k"),
        ("ViT-B-33:openai", "open_clip has no model 'ViT-B-33'; near names: .*ViT-B-32"),
        ("local-dir:/nowhere", "open_clip_config.json is not there"),
        ("ViT-L-14:openai", "openai's weights of ViT-L-14 were trained with QuickGELU: give ViT-L-14-quickgelu"),
    ],
)
def test_an_unknown_encoder_is_refused_before_anything_is_fetched(name, message):
    with pytest.raises(UserError, match=message):
        models.load(name)


def test_the_quickgelu_name_to_give_instead_is_one_that_open_clip_has():
    import open_clip

    for name, tag in open_clip.list_pretrained():
        trained = open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)
        if trained and not open_clip.get_model_config(name).get("quick_gelu", False):
            assert (f"{name}-quickgelu", tag) in open_clip.list_pretrained()


def test_a_folder_with_half_its_weights_is_refused(clip_folder, tmp_path):
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"clip can't be loaded by open_clip \("):
        models.load(folder)


# The command line


def test_classify_and_compare_work_on_a_clip_alone(run, photos):
    code, output, _ = run("classify", photos / "one.png", "--labels", ",".join(LABELS), out=False)
    assert code == 0 and len(output["pictures"][0]["labels"]) == 3 and output["weights"].startswith("clip@")
    code, output, _ = run("compare", photos / "one.png", photos / "two.png", "--captions", ",".join(LABELS))
    assert code == 0 and len(output["similarity"]) == 2 and len(output["similarity"][0]) == 3
    assert {row["quantity"] for row in output["table"]} >= {"modality gap", "cosine among pictures"}
    assert all(Image.open(output[name]).size for name in ("figure", "gap"))


def test_attack_shows_several_clips_side_by_side_without_a_decoder(run, photos, clip_folder):
    other = f"local-dir:{clip_folder}"
    words = ("--text", "ball", "--truth", "a red apple", "--labels", ",".join(LABELS), "--encoder", other)
    code, output, err = run("attack", photos / "one.png", *words)
    encoders_seen = [row["encoder"] for row in output["table"] if row["quantity"] == "attack succeeds"]
    assert code == 0 and encoders_seen == [clip_folder.name, other]
    assert "has no decoder: nothing is decoded" in err


def test_embed_and_pca_fit_work_on_a_clip_alone(run, photos, tmp_path, encoder):
    code, output, _ = run("embed", photos, "--out", tmp_path / "z.parquet", out=False)
    assert code == 0 and output["count"] == 3 and embeddings.read(tmp_path / "z.parquet").z_i.shape == (3, 24)
    code, output, _ = run("pca", "fit", photos, "--out", tmp_path / "d.safetensors", out=False)
    assert code == 0 and output["components"] == 2
    code, output, _ = run("pca", "fit", tmp_path / "z.parquet", "--out", tmp_path / "e.safetensors", out=False)
    of_folder, of_file = (Directions.load(tmp_path / f"{name}.safetensors").metadata for name in "de")
    assert of_folder["weights"] == output["weights"] == of_file["weights"] and of_file["normalised"] == "no"
    assert of_folder["probe"] == of_file["probe"]


def test_a_command_that_draws_refuses_a_clip_alone_in_one_sentence(run, photos):
    code, output, err = run("vary", photos / "one.png")
    assert (code, output) == (2, None)
    assert "is a CLIP alone, without a decoder" in err and len(err.strip().splitlines()) == 1


def test_every_command_with_a_model_takes_all_options_of_a_model():
    import typer

    group = typer.main.get_command(cli.app)
    commands = {**group.commands, **group.commands["pca"].commands}
    taking = {name: {p.name for p in c.params} for name, c in commands.items() if name not in ("app", "fetch")}
    taking = {name: options for name, options in taking.items() if "model" in options}
    assert len(taking) >= 16
    for name, options in taking.items():
        assert {"model", "family", "device", "dtype", "offload"} <= options, name
