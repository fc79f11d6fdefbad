"""The folders of trained parts: a part's own training comes before the shipped weights."""

import pytest

from latentlab.errors import UserError
from latentlab.training import exports


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A cache and a package folder of weights, both empty."""
    monkeypatch.setenv("LATENTLAB_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "weights"
    weights.mkdir()
    monkeypatch.setattr(exports, "weights_folder", lambda: weights)
    return exports.run_folder("clip") / "export", weights


def write(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(text)


def test_a_part_s_own_training_comes_before_the_shipped_weights(folders):
    export, weights = folders
    with pytest.raises(UserError, match=r"clip is not trained yet: run `python -m latentlab.training clip` first"):
        exports.newest_export("clip")
    write(weights / "clip", "shipped")
    assert exports.newest_export("clip") == weights / "clip"
    write(export, "trained")
    assert exports.newest_export("clip") == export
