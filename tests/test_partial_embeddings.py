"""A run that is stopped keeps what it has encoded, and the same run again goes on from there."""

import fcntl
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from latentlab import UserError, cli
from latentlab.io import embeddings, images, partial_embeddings


@pytest.fixture
def photos(tmp_path):
    """Twelve pictures, and two files that only call themselves pictures."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(12):
        noise = np.random.default_rng(k).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{k:02d}.png")
    for name in ("03-broken.png", "99-broken.png"):
        (folder / name).write_text("no picture")
    return folder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, photos):
    """Run `latentlab embed` on the pictures: (exit code, standard error)."""

    def go(*words):
        place = ("--out", tmp_path / "z.parquet", "--model", "toy", "--batch", 2)
        monkeypatch.setattr(sys, "argv", ["latentlab", "embed", *map(str, (photos, *place, *words))])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
            raise SystemExit(0)
        return stopped.value.code or 0, capsys.readouterr().err

    return go


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that are opened; `opened.stop_at(name)` presses Ctrl-C there."""

    class Opened(list):
        stop_at = None

    names, open_image = Opened(), images.open_image

    def watched(path, **options):
        if path.name == names.stop_at:
            raise KeyboardInterrupt
        names.append(path.name)
        return open_image(path, **options)

    monkeypatch.setattr(images, "open_image", watched)
    return names


def uninterrupted(lab, photos, tmp_path):
    embeddings.write(tmp_path / "whole.parquet", embeddings.embed(lab.encoder, photos))
    return embeddings.read(tmp_path / "whole.parquet")


@pytest.mark.parametrize("rows", [1, 4, 1024])
def test_an_interrupted_run_keeps_its_rows_and_the_same_command_encodes_only_the_rest(
    run, opened, lab, photos, tmp_path, monkeypatch, rows
):
    monkeypatch.setattr(partial_embeddings, "ROWS", rows)
    opened.stop_at = "09.png"
    code, err = run()
    assert code == 130 and "goes on from there" in err and "Traceback" not in err
    assert not (tmp_path / "z.parquet").exists()
    assert "08.png" in opened and "09.png" not in opened  # the last batch of one picture was not encoded yet
    opened.stop_at = None
    opened.clear()
    code, err = run()
    assert code == 0 and "9 files" in err
    assert sorted(opened) == ["08.png", "09.png", "10.png", "11.png", "99-broken.png"]
    resumed, whole = embeddings.read(tmp_path / "z.parquet"), uninterrupted(lab, photos, tmp_path)
    assert resumed.names == whole.names and torch.equal(resumed.z_i, whole.z_i)
    assert resumed.skipped == whole.skipped and len(whole.skipped) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "whole.parquet", "z.parquet"]


def test_a_killed_run_loses_at_most_one_shard(lab, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(partial_embeddings, "ROWS", 4)
    pid = os.fork()
    if pid == 0:
        with partial_embeddings.resume(tmp_path / "z.parquet", {}) as partial:
            for shard in embeddings.embed(lab.encoder, photos, batch=1):
                partial.add(shard)
                if shard.names == ("06.png",):
                    os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    with partial_embeddings.resume(tmp_path / "z.parquet", {}) as partial:
        assert partial.done >= {"00.png", "01.png", "02.png", "03.png"} and "08.png" not in partial.done


def test_two_runs_do_not_write_one_file(run, tmp_path):
    (tmp_path / "z.parquet.shards").mkdir()
    lock = os.open(tmp_path / "z.parquet.shards", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    code, err = run()
    assert code == 2 and "another run writes" in err
    os.close(lock)
    assert run()[0] == 0


def test_shards_of_another_model_are_refused(run, opened, tmp_path):
    opened.stop_at = "09.png"
    run()
    code, err = run("--fit", "pad")
    assert code == 2 and "z.parquet.shards holds shards of another run" in err and "'fit': 'model'" in err
    opened.stop_at = None
    assert run()[0] == 0


def test_files_that_are_all_done_are_joined_even_where_only_broken_ones_are_left(lab, photos, tmp_path):
    done = {path.name for path in photos.iterdir()} - {"99-broken.png"}
    last = list(embeddings.embed(lab.encoder, photos, done=done))
    assert [(shard.step, shard.names, list(shard.skipped)) for shard in last] == [(14, (), ["99-broken.png"])]
    assert list(embeddings.embed(lab.encoder, photos, done=done | {"99-broken.png"})) == []
    with pytest.raises(UserError, match="nothing to write"), partial_embeddings.resume(tmp_path / "a", {}) as partial:
        partial.join()
