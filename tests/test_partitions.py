"""Shards of a corpus: every kind of source, a run that goes on after a kill, and one PCA however it is cut."""

from __future__ import annotations

import dataclasses
import io
import json
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from latentlab import UserError, cli
from latentlab.analysis.covariance import Moments
from latentlab.analysis.pca import Directions
from latentlab.io import embeddings, partitions, ray_shards

COUNT, BROKEN = 11, "04-broken.png"


def content(k: int) -> bytes:
    noise = np.random.default_rng(k).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {f"{k:02d}.png": content(k) for k in range(COUNT)} | {BROKEN: b"no picture"}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return folder


def as_tars(folder):
    """WebDataset's tars, each picture beside its caption."""
    for k, names in enumerate((sorted(FILES)[:5], sorted(FILES)[5:])):
        with tarfile.open(folder / f"{k:05d}.tar", "w") as archive:
            for name in names:
                for member, data in ((name, FILES[name]), (name.replace(".png", ".txt"), b"a caption")):
                    info = tarfile.TarInfo(member)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))


def as_table(column):
    names = sorted(FILES)
    return {
        "bytes": lambda folder: {"key": names, "jpg": [FILES[n] for n in names]},
        "dictionaries": lambda folder: {"image": [{"bytes": FILES[n], "path": n} for n in names], "path": names},
        "paths": lambda folder: {"image_path": [f"../photos/{n}" for n in names]},
    }[column]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    def go(*words):
        monkeypatch.setattr(sys, "argv", ["latentlab", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
            raise SystemExit(0)
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err

    return go


def embed(run, source, out, *words):
    code, output, err = run("embed", source, "--out", out, "--model", "toy", "--rows", 3, "--json", *words)
    assert code == 0, err
    return json.loads(output)


def rows_of(folder):
    """z_i of all shards by the pictures' names."""
    parts = [embeddings.read(path) for path in sorted(folder.glob("*.parquet"))]
    return {name.rsplit("/", 1)[-1]: z for part in parts for name, z in zip(part.names, part.z_i)}


@pytest.mark.parametrize("kind", ["folder", "tars", "bytes", "dictionaries", "paths", "img2dataset"])
def test_every_kind_of_source_gives_the_same_rows_and_names_what_cannot_be_read(run, photos, tmp_path, kind):
    source = tmp_path / kind
    if kind == "folder":
        source = photos
    else:
        source.mkdir()
        if kind in ("tars", "img2dataset"):
            as_tars(source)
            if kind == "img2dataset":  # which writes a table of captions and a JSON of counts beside each tar
                for stem in ("00000", "00001"):
                    pq.write_table(pa.table({"caption": ["a cat"]}), source / f"{stem}.parquet")
                    (source / f"{stem}_stats.json").write_text("{}")
        else:
            pq.write_table(pa.table(as_table(kind)(source)), source / "pictures.parquet")
    output = embed(run, source, tmp_path / "z")
    whole = tmp_path / "whole.parquet"
    assert run("embed", photos, "--out", whole, "--model", "toy")[0] == 0
    wanted = embeddings.read(whole)
    rows = rows_of(tmp_path / "z")
    assert output["count"] == COUNT and len(output["skipped"]) == 1 and BROKEN in next(iter(output["skipped"]))
    assert rows.keys() == set(wanted.names)
    assert all(torch.equal(rows[name], z) for name, z in zip(wanted.names, wanted.z_i))


@pytest.mark.parametrize("workers", [1, 2])
def test_pca_of_the_shards_is_that_of_all_pictures(run, photos, tmp_path, workers):
    embed(run, photos, tmp_path / "z", "--workers", workers)
    out = tmp_path / "d.safetensors"
    code, _, err = run("pca", "fit", tmp_path / "z", "--out", out)
    assert code == 0, err
    fitted, wanted = Directions.load(out), Directions.fit(torch.stack([*rows_of(tmp_path / "z").values()]))
    assert fitted.count == COUNT and fitted.metadata["model"] == "toy" and "probe" in fitted.metadata
    torch.testing.assert_close(fitted.components, wanted.components)
    torch.testing.assert_close(fitted.variance, wanted.variance)


@pytest.mark.parametrize("parts", [1, 2, 7, 60])
def test_moments_merged_in_a_tree_are_those_of_the_whole_in_any_order(normal, parts):
    z = 100 + normal(60, 5)
    whole = Moments.of(z)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(parts))
    merged = Moments.merge_all(map(Moments.of, z[order].tensor_split(parts)))
    assert merged.count == whole.count
    torch.testing.assert_close(merged.mean, whole.mean, rtol=1e-13, atol=0)
    torch.testing.assert_close(merged.scatter, whole.scatter, rtol=1e-11, atol=1e-11)


def test_a_run_goes_on_where_it_was_killed_and_loses_one_shard_at_most(run, photos, tmp_path):
    """SIGKILL when the second shard's moments appear: what is finished is not written again."""
    out, words = tmp_path / "z", ("--model", "toy", "--rows", "3", "--batch", "1")
    slow = (
        "import sys, time; from latentlab import cli; from latentlab.io import images; "
        "real = images.open_image; images.open_image = lambda p, **k: (time.sleep(0.15), real(p, **k))[1]; cli.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", slow, "embed", photos, "--out", out, *words])
    deadline = time.monotonic() + 90
    while len([*out.glob("*.moments.safetensors")]) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.moments.safetensors")}
    assert 2 <= len(finished) < 4
    embed(run, photos, out, "--batch", 1)
    assert all(path.stat().st_mtime_ns == time_ for path, time_ in finished.items())
    assert sorted(rows_of(out)) == sorted(set(FILES) - {BROKEN})


def test_a_run_that_was_killed_while_it_wrote_its_manifest_or_an_export_into_its_folder_goes_on(run, photos, tmp_path):
    out = tmp_path / "z"
    (out / ".retrieval.89abcdef.part" / "img_emb").mkdir(parents=True)
    (out / ".manifest.json.0123abcd.part").write_text('{"format": ')
    assert embed(run, photos, out)["count"] == COUNT
    assert not [*out.glob(".*")]


def test_a_manifest_of_another_run_is_refused_and_unfinished_shards_are_named(run, photos, tmp_path):
    out = tmp_path / "z"
    embed(run, photos, out)
    code, _, err = run("embed", photos, "--out", out, "--model", "toy", "--rows", 3, "--fit", "pad")
    assert code == 2 and "manifest.json is of another run: its fit is model" in err
    (photos / "new.png").write_bytes(content(99))
    code, _, err = run("embed", photos, "--out", out, "--model", "toy", "--rows", 3)
    assert code == 2 and "its fingerprint is" in err
    (out / "000001.moments.safetensors").unlink()
    code, _, err = run("pca", "fit", out, "--out", tmp_path / "d.safetensors")
    assert code == 2 and "1 of 4 shards" in err and "000001" in err


def test_a_finished_shard_whose_rows_were_lost_is_refused_and_written_again(run, photos, tmp_path):
    out = tmp_path / "z"
    embed(run, photos, out)
    (out / "000001.parquet").unlink()
    code, _, err = run("export", out, "--out", tmp_path / "x")
    assert code == 2 and "1 of 4 shards" in err and "000001" in err
    embed(run, photos, out)
    assert (out / "000001.parquet").exists()


def test_a_shard_of_another_encoder_is_named(run, photos, tmp_path):
    out = tmp_path / "z"
    embed(run, photos, out)
    moments, about = Moments.load(out / "000002.moments.safetensors")
    moments.save(out / "000002.moments.safetensors", {**about, "weights": "others"})
    with pytest.raises(UserError, match=r"shard 000002 .* has another weights"):
        partitions.merged(out)


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    with (
        partitions.locked(tmp_path),
        pytest.raises(UserError, match="another run writes into"),
        partitions.locked(tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "z.csv"), "ends in .parquet, or a folder"),
        (("--out", "z", "--engine", "spark"), "--engine is 'spark'"),
        (("--out", "z.parquet", "--workers", "2"), "one file: give a folder for shards"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_before_the_model_loads(run, photos, words, message):
    code, _, err = run("embed", photos, "--model", "no-such-model", *words)
    assert code == 2 and message in err


def test_an_actor_writes_the_shards_of_this_process_and_leaves_finished_ones_alone(run, lab, photos, tmp_path):
    embed(run, photos, tmp_path / "z")
    again = tmp_path / "again"
    again.mkdir()
    corpus = partitions.corpus(photos, 3)
    writer = ray_shards.ShardWriter(lambda: lab, corpus, again, {**lab.clip_metadata(), "fit": "model"}, 64)
    for part in (*corpus.parts, corpus.parts[0]):
        at = {path: path.stat().st_mtime_ns for path in again.iterdir()}
        assert writer(dataclasses.asdict(part)) == {"name": part.name, "refusal": ""}
        assert all(path.stat().st_mtime_ns == time_ for path, time_ in at.items())
    ours, theirs = rows_of(again), rows_of(tmp_path / "z")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_an_actor_reports_what_it_refuses(lab, photos, tmp_path):
    corpus, file = partitions.corpus(photos, 3), tmp_path / "file"
    file.touch()

    def no_model():
        raise UserError("there is no such model")

    for load, folder, message in ((lambda: lab, file, "can't be written"), (no_model, tmp_path, "no such model")):
        writer = ray_shards.ShardWriter(load, corpus, folder, {**lab.clip_metadata(), "fit": "model"}, 64)
        assert message in writer(dataclasses.asdict(corpus.parts[0]))["refusal"]


@pytest.mark.parametrize("kind", ["shards", "file"])
def test_clip_retrieval_finds_its_layout(run, photos, tmp_path, kind):
    """img_emb/*.npy of unit vectors in the order of metadata/*.parquet, whose column is image_path."""
    source, out = tmp_path / ("z" if kind == "shards" else "z.parquet"), tmp_path / "exported"
    embed(run, photos, source)
    code, text, err = run("export", source, "--out", out, "--json")
    assert code == 0, err
    arrays, tables = sorted((out / "img_emb").iterdir()), sorted((out / "metadata").iterdir())
    numbers = [[path.stem.rsplit("_", 1)[1] for path in paths] for paths in (arrays, tables)]
    assert numbers[0] == numbers[1] and len(arrays) == (4 if kind == "shards" else 1)
    assert {path.suffix for path in arrays} == {".npy"} and {path.suffix for path in tables} == {".parquet"}
    names = [name for path in tables for name in pq.read_table(path).column("image_path").to_pylist()]
    rows = torch.from_numpy(np.concatenate([np.load(path) for path in arrays]))
    assert rows.dtype == torch.float16 and len(names) == len(rows) == json.loads(text)["count"] == COUNT
    z_i = rows_of(source if kind == "shards" else tmp_path)
    for name, row in zip(names, rows.float()):
        torch.testing.assert_close(row, z_i[name] / z_i[name].norm(), rtol=0, atol=1e-3)
    code, _, err = run("export", source, "--out", out)
    assert code == 2 and "holds files: give a new folder" in err


def test_lance_and_embedding_atlas_find_a_vector_of_fixed_size(run, photos, tmp_path):
    """Lance searches columns of fixed-size lists of float32; embedding-atlas takes lists and a column of names."""
    embed(run, photos, tmp_path / "z")
    schema = pq.read_schema(tmp_path / "z" / "000000.parquet")
    assert schema.names == ["path", "z_i"] and schema.field("path").type == pa.string()
    assert schema.field("z_i").type == pa.list_(pa.float32(), 12)


def test_lance_finds_the_nearest_picture(run, photos, tmp_path):
    lance = pytest.importorskip("lance")
    embed(run, photos, tmp_path / "z")
    data = lance.write_dataset(pq.read_table(tmp_path / "z" / "000000.parquet"), tmp_path / "z.lance")
    z_i = rows_of(tmp_path / "z")["02.png"].numpy()
    assert data.to_table(nearest={"column": "z_i", "q": z_i, "k": 1}).column("path").to_pylist() == ["02.png"]


def test_the_engine_ray_without_ray_says_what_to_install(run, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = run("embed", photos, "--out", tmp_path / "z", "--model", "toy", "--engine", "ray")
    assert code == 2 and "pip install 'latentlab[ray]'" in err


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "127.0.0.1:99999"])
def test_a_ray_cluster_that_is_not_there_is_one_sentence(address, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=r"no Ray cluster answers at .*: start it, or unset RAY_ADDRESS"):
        ray_shards._check_address(address.format(port))


@pytest.mark.slow
def test_a_node_that_is_killed_loses_no_shard_and_writes_none_twice(lab, photos, tmp_path):
    """Two nodes on this machine; the second one is killed while it writes a shard."""
    ray = pytest.importorskip("ray")
    cluster = pytest.importorskip("ray.cluster_utils").Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "_system_config": {"health_check_failure_threshold": 2}}
    )
    second = cluster.add_node(num_cpus=2)
    out, marks = tmp_path / "z", tmp_path / "marks"
    out.mkdir(), marks.mkdir()

    def load():  # Ray sends it to the nodes whole, since it is local
        from latentlab import models
        from latentlab.models.toy import ToyEncoder

        class Slow(ToyEncoder):
            def encode_image(self, pixels):
                (marks / f"{ray.get_runtime_context().get_node_id()}-{time.time_ns()}").touch()
                time.sleep(0.4)
                return super().encode_image(pixels)

        return dataclasses.replace(models.load("toy"), encoder=Slow(torch.device("cpu")))

    def begun():
        return len([*marks.glob(f"{second.node_id}-*")])

    def kill():
        while begun() < 2:  # its first shard is half done
            time.sleep(0.02)
        cluster.remove_node(second, allow_graceful=False)
        killed.append(begun())

    killed = []
    corpus, metadata = partitions.corpus(photos, 3), {**lab.clip_metadata(), "fit": "model"}
    todo = partitions.open_partitions(out, corpus, metadata, 3)
    thread = threading.Thread(target=kill, daemon=True)
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        thread.start()
        reports = [*ray_shards.write_shards(load, corpus, todo, out, metadata, batch=1, workers=2)]
        thread.join(10)
        with pytest.raises(UserError, match=r"can't be written"):  # what an actor refuses is a sentence here, too
            [*ray_shards.write_shards(load, corpus, todo[:1], photos / "00.png", metadata, batch=1, workers=1)]
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert killed and len(todo) > 1
    assert sorted(report["name"] for report in reports) == [part.name for part in corpus.parts]
    rows = [name for path in sorted(out.glob("*.parquet")) for name in embeddings.read(path).names]
    assert sorted(rows) == sorted(set(FILES) - {BROKEN})
    moments, _, skipped = partitions.merged(out)
    assert moments.count == COUNT and set(skipped) == {BROKEN}
