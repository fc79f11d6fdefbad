"""Files of a training run that are not whole are refused by name, with what brings them back."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from latentlab import UserError
from latentlab.training import drawings, exports, session, shipping


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The folder of the runs, with a whole export of the prior, and the folder of the package."""
    runs, package = tmp_path / "runs", tmp_path / "package"
    export = runs / "prior" / "export"
    export.mkdir(parents=True)
    package.mkdir()
    save_file({"weight": torch.ones(50)}, export / "model.safetensors")
    (export / "config.json").write_text(json.dumps({"width": 50}))
    (runs / "prior" / "log.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    for module in (shipping, exports):
        monkeypatch.setattr(module, "run_folder", lambda part: runs / part)
        monkeypatch.setattr(module, "weights_folder", lambda: package)
    return runs, package


def test_a_whole_export_is_copied_and_listed_with_its_newest_entry(folders):
    assert set(shipping.copy_exports()) == {"prior/config.json", "prior/model.safetensors"}
    assert json.loads((folders[1] / "MANIFEST.json").read_text())["trained"] == {"prior": {"step": 2}}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("export/model.safetensors", r"model\.safetensors is not a whole safetensors file"),
        ("export/config.json", r"config\.json is not whole .*: `python -m latentlab\.training prior` exports it again"),
        ("log.jsonl", r"the last line of .*log\.jsonl is not whole .*: remove that line"),
    ],
)
def test_a_truncated_file_is_refused_and_nothing_is_copied(folders, file, message):
    runs, package = folders
    path = runs / "prior" / file
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=message):
        shipping.copy_exports()
    assert list(package.iterdir()) == []


def test_a_fine_tuned_decoder_ships_with_its_own_decoder_alone(folders, miniature, miniature_folder):
    from latentlab.models import inpainter

    runs, package = folders
    shutil.copytree(miniature_folder / "decoder", package / "decoder")
    delta = inpainter.InpaintingDelta(miniature.decoder.network, rank=2)
    inpainter.save(delta, runs / "inpainting" / "export")
    assert f"inpainting/{inpainter.FILE}" in shipping.copy_exports()
    delta.decoder.add_(1)  # the decoder was trained further in between
    for folder in (runs / "inpainting" / "export", package / "inpainting"):
        inpainter.save(delta, folder)
    (package / "MANIFEST.json").unlink()
    with pytest.raises(UserError, match="was trained from another decoder than this one"):
        shipping.copy_exports()
    assert not (package / "MANIFEST.json").exists()


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_damaged_checkpoint_is_refused_by_name_with_the_option_that_begins_anew(tmp_path, size):
    path = tmp_path / "checkpoint.pt"
    torch.save({"network": {"weight": torch.ones(500)}}, path)
    assert torch.equal(session.load_checkpoint(path, torch.device("cpu"))["network"]["weight"], torch.ones(500))
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2 if size < 0 else size])
    with pytest.raises(UserError, match=r"checkpoint\.pt can't be loaded \(.*--restart begins anew"):
        session.load_checkpoint(path, torch.device("cpu"))


@pytest.mark.parametrize("suffix", [".json", ".npy"])
def test_a_truncated_cache_of_drawings_is_refused_with_what_draws_it_again(tmp_path, monkeypatch, suffix):
    from PIL import Image

    monkeypatch.setattr(drawings, "fetch", lambda folder: None)
    monkeypatch.setattr(drawings, "_draw_all", lambda *_: iter([("a/sun", Image.new("RGBA", (4, 4)))] * 30))
    assert drawings.load_sprites(tmp_path).pixels.shape == (30, 4, 4, 4)
    (path,) = tmp_path.glob(f"*{suffix}")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=rf"sprites-.*{suffix} is not whole .*: delete .*\.json, and the next run"):
        drawings.load_sprites(tmp_path)
