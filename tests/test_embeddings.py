"""Embeddings: folders with files of every sort, files that load bit by bit, and what is refused."""

import os
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from latentlab import __version__
from latentlab.analysis.pca import Directions
from latentlab.errors import UserError
from latentlab.io import embedding_files, embeddings, images
from latentlab.io.embeddings import Embeddings
from latentlab.latents import Latent

N, D = 23, 6


@pytest.fixture
def z(rng):
    return torch.randn(N, D, generator=rng)


@pytest.fixture
def parquet(tmp_path):
    """Write columns, as somebody else would: `parquet(z_i=rows)` is the path."""

    def make(row_group_size=5, **columns):
        path = tmp_path / "theirs.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
        return path

    return make


def fixed(z, kind=None):
    return pa.FixedSizeListArray.from_arrays(pa.array(z.numpy().ravel(), kind), z.shape[1])


@pytest.fixture
def folder(tmp_path):
    """Pictures of every sort, a broken one, a text file, a text named as a picture, and a hidden file."""
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    half = Image.new("RGB", (20, 12), "black")
    half.paste("white", (0, 0, 20, 6))  # the upper half
    half.save(folder / "z.png")
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    half.save(folder / "b" / "turned.png", exif=exif)
    Image.fromarray(np.full((9, 14), 40000, np.uint16)).save(folder / "b" / "grey.png")
    half.save(folder / "süß 🐶.jpg", quality=95)
    (folder / "broken.png").write_bytes((folder / "z.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("no picture")
    (folder / "text.jpg").write_text("no picture either")
    (folder / ".hidden.png").write_bytes((folder / "z.png").read_bytes())
    return folder


READ = ["b/grey.png", "b/turned.png", "süß 🐶.jpg", "z.png"]


def gathered(shards):
    shards = list(shards)
    names = [name for shard in shards for name in shard.names]
    return names, torch.cat([shard.z_i for shard in shards]), {k: v for s in shards for k, v in s.skipped.items()}


# A folder of pictures


def test_every_picture_below_a_folder_is_encoded_in_the_order_of_the_paths(lab, folder):
    names, z_i, _ = gathered(embeddings.embed(lab.encoder, folder))
    assert names == READ
    wanted = torch.cat([lab.encoder.encode_image(images.load(folder / name, lab.encoder.image_size)) for name in READ])
    assert z_i.dtype == torch.float32 and torch.equal(z_i, wanted)


def test_a_turned_picture_is_encoded_upright_and_a_16_bit_grey_at_its_lightness(lab, folder):
    names, z_i, _ = gathered(embeddings.embed(lab.encoder, folder))
    z_i = dict(zip(names, z_i.view(-1, 3, 2, 2)))  # the toy's z_i is the mean colour of each quarter
    assert (z_i["z.png"][:, 0] > 0.9).all() and (z_i["z.png"][:, 1] < -0.9).all()
    torch.testing.assert_close(z_i["b/turned.png"], z_i["z.png"].flip(1))
    torch.testing.assert_close(z_i["b/grey.png"], torch.full((3, 2, 2), 40000 / 65535 * 2 - 1), atol=0.01, rtol=0)


def test_unreadable_pictures_are_named_with_the_reason_and_text_files_are_ignored(lab, folder):
    _, _, skipped = gathered(embeddings.embed(lab.encoder, folder))
    assert list(skipped) == ["broken.png", "text.jpg"]
    assert "broken.png is broken" in skipped["broken.png"] and "not an image" in skipped["text.jpg"]


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 100])
def test_the_size_of_a_batch_changes_nothing_and_each_file_counts_once(lab, folder, batch):
    shards = list(embeddings.embed(lab.encoder, folder, batch=batch))
    names, z_i, skipped = gathered(shards)
    assert names == READ and list(skipped) == ["broken.png", "text.jpg"]
    assert torch.equal(z_i, gathered(embeddings.embed(lab.encoder, folder))[1])
    assert all(len(shard.names) == len(shard.z_i) <= batch for shard in shards)
    steps = [shard.step for shard in shards]
    assert steps == sorted(set(steps)) and steps[-1] == shards[-1].steps == 7


def test_files_skipped_after_the_last_full_batch_are_still_named(lab, folder):
    (folder / "zz.png").write_text("no picture")
    last = list(embeddings.embed(lab.encoder, folder, batch=4))[-1]
    assert list(last.skipped) == ["zz.png"] and last.names == () and last.z_i.shape == (0, 12)


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_pictures_are_cropped_or_padded_as_asked(lab, folder, fit):
    names, z_i, _ = gathered(embeddings.embed(lab.encoder, folder, fit=fit))
    wanted = lab.encoder.encode_image(images.load(folder / "z.png", lab.encoder.image_size, fit=fit))
    assert torch.equal(z_i[names.index("z.png")], wanted[0])


def test_a_real_clip_encodes_a_folder_too(encoder, folder):
    names, z_i, _ = gathered(embeddings.embed(encoder, folder))
    assert z_i.shape == (len(names), 24)
    picture = encoder.square(images.open_image(folder / "z.png"))  # 20 x 12
    wanted = encoder.encode_image(images.to_tensor(picture))
    torch.testing.assert_close(z_i[names.index("z.png")], wanted[0], atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_name_that_is_not_utf_8_can_be_written_and_read(lab, folder, tmp_path):
    os.rename(folder / "z.png", os.fsencode(folder) + b"/caf\xe9.png")
    os.rename(folder / "broken.png", os.fsencode(folder) + b"/br\xe9.png")
    embeddings.write(tmp_path / "a.parquet", embeddings.embed(lab.encoder, folder))
    loaded = embeddings.read(tmp_path / "a.parquet")
    assert "caf?.png" in loaded.names and "br?.png" in loaded.skipped


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no pictures"),
        ({".hidden.png": b"x"}, "holds no pictures"),
        (
            {"a.png": b"x", "b.txt": b"x"},
            r"nothing in .*folder can be read as a picture \(2 tried\): a\.png is not an image",
        ),
        ({"b.txt": b"x"}, r"nothing in .*folder can be read as a picture \(1 tried\): give one with PNG"),
    ],
)
def test_a_folder_without_a_readable_picture_is_refused_and_nothing_written(lab, tmp_path, files, message):
    folder, out = tmp_path / "folder", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        embeddings.write(out / "a.parquet", embeddings.embed(lab.encoder, folder))
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("params", "message"),
    [({"batch": 0}, "batch is 0"), ({"fit": "stretch"}, "fit is 'stretch': give 'model', 'crop', 'pad' or 'subject'")],
)
def test_params_out_of_range_are_refused(lab, folder, params, message):
    with pytest.raises(UserError, match=message):
        list(embeddings.embed(lab.encoder, folder, **params))


@pytest.mark.parametrize("name", ["nowhere", "z.png"])
def test_a_path_that_is_not_a_folder_is_refused(lab, folder, name):
    with pytest.raises(UserError, match=f"{name} is not a folder"):
        list(embeddings.embed(lab.encoder, folder / name))


# Parquet, there and back


def test_written_embeddings_load_bit_by_bit(lab, folder, tmp_path):
    path = tmp_path / "a.parquet"
    written = embeddings.write(path, embeddings.embed(lab.encoder, folder, batch=3), {"model": "toy"})
    names, z_i, skipped = gathered(embeddings.embed(lab.encoder, folder))
    loaded = embeddings.read(path)
    assert list(loaded.names) == names and loaded.skipped == skipped == written.skipped
    assert loaded.z_i.dtype == torch.float32 and torch.equal(loaded.z_i, z_i)
    assert (written.count, written.width, written.path) == (4, 12, path)
    ours = {"format": "latentlab.Embeddings", "latentlab": __version__, "normalised": "no"}
    assert loaded.metadata == {"model": "toy", **ours}
    embeddings.write(path, [loaded], {**loaded.metadata, "normalised": "yes"})
    again = embeddings.read(path)
    assert torch.equal(again.z_i, z_i) and again.skipped == skipped and again.metadata["normalised"] == "yes"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.parquet", "photos"]


def test_extreme_floats_load_bit_by_bit(tmp_path):
    odd = torch.tensor([[0.0, -0.0, 1e-45, 3.4028235e38], [1 / 3, -1e-38, 2**-126, 1.0000001]])
    embeddings.write(tmp_path / "a.parquet", [Embeddings(("a", "b"), odd)])
    assert torch.equal(embeddings.read(tmp_path / "a.parquet").z_i.view(torch.int32), odd.view(torch.int32))


def test_shards_are_gathered_into_row_groups(z, tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "ROWS", 10)
    shards = [Embeddings((str(k),), z[k : k + 1]) for k in range(N)]
    embeddings.write(tmp_path / "a.parquet", iter(shards))
    with pq.ParquetFile(tmp_path / "a.parquet") as file:
        assert [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)] == [10, 10, 3]
    loaded = embeddings.read(tmp_path / "a.parquet")
    assert torch.equal(loaded.z_i, z) and loaded.names == tuple(map(str, range(N)))


def test_pyarrow_reads_our_file_as_a_column_of_fixed_size_lists(z, tmp_path):
    embeddings.write(tmp_path / "a.parquet", [Embeddings(tuple("abcdefghijklmnopqrstuvw"), z)])
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.types == [pa.string(), pa.list_(pa.float32(), D)]
    assert table["z_i"].to_pylist() == z.tolist() and table.schema.names == ["path", "z_i"]


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        (lambda z: [], "nothing to write into a.parquet"),
        (lambda z: [Embeddings((), z[:0])], "nothing to write"),
        (lambda z: [Embeddings(("a",), z[:1]), Embeddings(("b",), z[:1, :5])], "widths 6 and 5"),
        (lambda z: [Embeddings(("a", "b"), z[:2] / torch.tensor([[1.0], [0.0]]))], "not finite for b: encode"),
    ],
)
def test_embeddings_that_cannot_be_written_are_refused_and_the_old_file_stays(z, tmp_path, shards, message):
    path = tmp_path / "a.parquet"
    embeddings.write(path, [Embeddings(("old",), z[:1])])
    with pytest.raises(UserError, match=message):
        embeddings.write(path, shards(z))
    assert embeddings.read(path).names == ("old",) and len(list(tmp_path.iterdir())) == 1


def test_a_write_that_fails_half_way_leaves_the_old_file(z, tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "ROWS", 2)
    path = tmp_path / "a.parquet"
    embeddings.write(path, [Embeddings(("old",), z[:1])])

    def shards():
        yield Embeddings(tuple("abcd"), z[:4])
        raise KeyError

    with pytest.raises(KeyError):
        embeddings.write(path, shards())
    assert embeddings.read(path).names == ("old",) and len(list(tmp_path.iterdir())) == 1


def test_a_path_that_cannot_be_written_is_refused_with_its_name(z, tmp_path):
    with pytest.raises(UserError, match=r"a\.parquet can't be written"):
        embeddings.write(tmp_path / "nowhere" / "a.parquet", [Embeddings(("a",), z[:1])])


def test_names_and_rows_of_different_numbers_are_refused(z):
    with pytest.raises(UserError, match=r"1 names and z_i \(2, 6\)"):
        Embeddings(("a",), z[:2])
    with pytest.raises(UserError, match=r"6 names and z_i \(6,\)"):
        Embeddings(tuple("abcdef"), z[0])


# Files of others


def save(z, path):
    if path.suffix == ".npy":
        np.save(path, z.numpy())
    elif path.suffix == ".safetensors":
        save_file({"z_i": z}, path, {"model": "theirs"})
    else:
        pq.write_table(pa.table({"z_i": fixed(z)}), path, row_group_size=7)
    return path


KINDS = [".parquet", ".npy", ".safetensors"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 4, 7, N, 100])
def test_batches_of_a_file_join_to_the_whole(z, tmp_path, kind, size):
    path = save(z, tmp_path / f"a{kind}")
    shards = list(embeddings.batches(path, size))
    assert all(len(shard) <= size for shard in shards)
    assert torch.equal(torch.cat(shards), z) and torch.equal(embeddings.read(path).z_i, z)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_file_knows_its_width_and_numbers_its_rows(z, tmp_path, kind, monkeypatch):
    monkeypatch.setattr(embeddings, "ROWS", 5)
    path = save(z, tmp_path / f"a{kind}")
    assert embeddings.width(path) == D
    assert embeddings.read(path, width=D).names == tuple(map(str, range(N)))


@pytest.mark.parametrize("kind", KINDS)
def test_directions_can_be_fitted_to_a_file_that_is_streamed(z, tmp_path, kind):
    path = save(z, tmp_path / f"a{kind}")
    streamed, whole = Directions.fit(embeddings.batches(path, 5), 3), Directions.fit(z, 3)
    torch.testing.assert_close(streamed.components, whole.components)


@pytest.mark.parametrize("name", ["image_embedding", "embedding"])
@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, lambda t: pa.list_(t, D)], ids=["list", "large", "fixed"])
def test_the_usual_columns_are_read_from_any_kind_of_list(z, parquet, name, kind):
    path = parquet(**{"url": ["u"] * N, name: pa.array(z.tolist(), kind(pa.float32()))})
    assert torch.equal(embeddings.read(path).z_i, z)
    assert embeddings.width(path) == D


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_floats_keep_their_width(z, tmp_path, kind, dtype):
    z_i = embeddings.read(save(z.to(dtype), tmp_path / f"a{kind}")).z_i
    assert z_i.dtype == dtype and torch.equal(z_i, z.to(dtype))


def test_the_column_z_i_is_the_default_and_another_can_be_asked_for(z, parquet):
    path = parquet(embedding=fixed(z + 1), z_i=fixed(z), text_embedding=fixed(z + 2))
    assert torch.equal(embeddings.read(path).z_i, z)
    assert torch.equal(embeddings.read(path, column="text_embedding").z_i, z + 2)
    assert torch.equal(next(embeddings.batches(path, 3, column="embedding")), (z + 1)[:3])


@pytest.mark.parametrize("label", ["path", "name", "image_path"])
def test_names_are_read_from_their_column_and_missing_ones_are_row_numbers(z, parquet, label):
    path = parquet(**{label: ["a.png", None, *"cdefghijklmnopqrstuvw"], "z_i": fixed(z)})
    assert embeddings.read(path).names[:3] == ("a.png", "1", "c")


def test_metadata_of_a_file_is_kept(z, tmp_path):
    assert embeddings.read(save(z, tmp_path / "a.safetensors")).metadata == {"model": "theirs"}
    table = pa.table({"z_i": fixed(z)}).replace_schema_metadata({"clip": "ViT-L-14", "skipped": "no JSON"})
    pq.write_table(table, tmp_path / "a.parquet")
    loaded = embeddings.read(tmp_path / "a.parquet")
    assert loaded.metadata == {"clip": "ViT-L-14", "skipped": "no JSON"} and loaded.skipped == {}


def test_a_saved_latent_is_a_set_of_embeddings_too(z, tmp_path):
    Latent(z[:3], torch.zeros(3, 1, 2, 2)).save(tmp_path / "a.safetensors")
    assert torch.equal(embeddings.read(tmp_path / "a.safetensors").z_i, z[:3])


def test_an_array_of_the_other_byte_order_is_read(z, tmp_path):
    np.save(tmp_path / "a.npy", z.numpy().astype(">f4"))
    assert torch.equal(embeddings.read(tmp_path / "a.npy").z_i, z)


# Refusals


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_rows_that_are_not_finite_are_named_at_any_batch_size(z, tmp_path, kind, value):
    z[[8, 11, 12, 13, 20], 2] = value
    path = save(z, tmp_path / f"a{kind}")
    with pytest.raises(UserError, match=rf"a{kind} is not finite in row 8, 11, 12 and 2 more: leave"):
        embeddings.read(path)
    with pytest.raises(UserError, match=r"not finite in row 8:"):
        list(embeddings.batches(path, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_another_width_is_refused_with_both(z, tmp_path, kind):
    with pytest.raises(UserError, match="holds z_i of width 6, wanted 512"):
        embeddings.read(save(z, tmp_path / f"a{kind}"), width=512)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_rows_is_refused(z, tmp_path, kind):
    with pytest.raises(UserError, match=f"a{kind} holds no numbers"):
        embeddings.read(save(z[:0], tmp_path / f"a{kind}"))
    with pytest.raises(UserError, match=f"a{kind} holds no numbers"):
        embeddings.width(tmp_path / f"a{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_empty_foreign_truncated_and_missing_files_are_refused(z, tmp_path, kind):
    path = tmp_path / f"a{kind}"
    with pytest.raises(UserError, match="is not there: `latentlab embed"):
        embeddings.read(path)
    whole = save(z, path).read_bytes()
    for content, message in ((b"", "is empty"), (b"\x89PNG" + bytes(99), "not a whole"), (whole[:-9], "not a whole")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"a{kind} {message}|a{kind} is {message}"):
            embeddings.read(path)


def test_a_page_that_is_damaged_is_refused(rng, parquet):
    path = parquet(z_i=fixed(torch.randn(N, D, generator=rng)))
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not a whole Parquet"):
        embeddings.read(path)


def test_no_flipped_bit_of_a_page_reads_as_another_number(rng, tmp_path):
    path, z_i = tmp_path / "a.parquet", torch.randn(N, D, generator=rng)
    embeddings.write(path, [Embeddings(tuple(map(str, range(N))), z_i)])
    whole = path.read_bytes()
    for offset in range(4, whole.rindex(b"zstd") if b"zstd" in whole else len(whole) - 900, 3):
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << offset % 8
        path.write_bytes(damaged)
        try:
            loaded = embeddings.read(path)
        except UserError:
            continue
        assert torch.equal(loaded.z_i, z_i) and loaded.names == tuple(map(str, range(N))), offset


def test_rows_that_are_not_those_written_are_refused_though_each_page_is_whole(rng, tmp_path, monkeypatch):
    path, z_i = tmp_path / "a.parquet", torch.randn(N, D, generator=rng)
    monkeypatch.setattr(embedding_files, "zlib", SimpleNamespace(crc32=lambda data, before: 7))
    embeddings.write(path, [Embeddings(tuple(map(str, range(N))), z_i)])
    monkeypatch.undo()
    with pytest.raises(UserError, match="holds other numbers than were written"):
        embeddings.read(path)


def test_another_suffix_is_refused_with_those_that_are_read(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(UserError, match=r"a\.csv is of no kind that is read: give one of \.parquet, \.npy"):
        embeddings.read(tmp_path / "a.csv")
    with pytest.raises(UserError, match="nowhere is not there"):
        embeddings.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("columns", "column", "message"),
    [
        (lambda z: {"url": ["u"] * N, "vec": fixed(z)}, None, "no column z_i or .*, it has url, vec: name the one"),
        (lambda z: {"z_i": fixed(z)}, "vec", "no column vec, it has z_i"),
        (lambda z: {"z_i": pa.array(range(N))}, None, "column z_i holds int64, wanted lists of floats"),
        (lambda z: {"z_i": pa.array([[1, 2]] * N)}, None, "wanted lists of floats"),
        (lambda z: {"z_i": [*z.tolist()[:9], [1.0], *z.tolist()[10:]]}, None, "6 numbers in row [0-9]+ and 1 in row 9"),
        (lambda z: {"z_i": [*z.tolist()[:9], None, *z.tolist()[10:]]}, None, "has no z_i in row 9"),
        (lambda z: {"z_i": [*z.tolist()[:9], [None] * D, *z.tolist()[10:]]}, None, "not finite in row 9"),
        (lambda z: {"z_i": pa.array([[]] * N, pa.list_(pa.float32()))}, None, "holds no numbers"),
    ],
    ids=[
        "no usual column",
        "not the one asked for",
        "numbers",
        "integers",
        "ragged",
        "null",
        "null inside",
        "no width",
    ],
)
@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_parquet_of_another_shape_is_refused_with_what_it_has(z, parquet, columns, column, message, size):
    path = parquet(**columns(z))
    with pytest.raises(UserError, match=message):
        list(embeddings.batches(path, size, column=column))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4), np.float32), r"holds float32 \(2, 3, 4\), wanted floats \(N, D\)"),
        (np.zeros((2, 3), np.int64), r"holds int64 \(2, 3\)"),
        (np.zeros((2, 3), np.complex64), r"holds complex64 \(2, 3\)"),
        (np.zeros((2, 3), np.longdouble), r"\(2, 3\), wanted floats"),
        (np.array([None, "a"], object), "not a whole NumPy array"),
    ],
)
def test_an_array_of_another_kind_is_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match=message):
        embeddings.read(tmp_path / "a.npy")


@pytest.mark.parametrize("header", ["(((", "{'descr': '<f4', ", "{1: 2}", "-" * 5000 + "1", "\0"])
def test_an_array_with_a_damaged_header_is_refused(tmp_path, header):
    text = header.encode() + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(96))
    with pytest.raises(UserError, match=r"a\.npy is not a whole NumPy array"):
        embeddings.read(tmp_path / "a.npy")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_names_that_are_not_utf_8_are_read_with_a_mark_in_place_of_the_byte(z, parquet, kind):
    raw = pa.array(
        [b"caf\xe9.png", *[b"b.png"] * (N - 1)], pa.large_binary() if kind == pa.large_string() else pa.binary()
    )
    names = raw if kind == pa.binary() else pa.Array.from_buffers(kind, N, raw.buffers())
    loaded = embeddings.read(parquet(path=names, z_i=fixed(z)))
    assert loaded.names[:2] == ("caf\ufffd.png", "b.png") and torch.equal(loaded.z_i, z)


def test_several_arrays_under_the_name_of_one_are_refused(tmp_path):
    with open(tmp_path / "a.npy", "wb") as file:
        np.savez(file, z_i=np.zeros((2, 3)))
    with pytest.raises(UserError, match="holds several arrays"):
        embeddings.read(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"x_T": torch.zeros(2, 3)}, r"holds \['x_T'\], a set of embeddings wants z_i"),
        ({"z_i": torch.zeros(2, 3, 4)}, r"holds z_i F32 \(2, 3, 4\)"),
        ({"z_i": torch.zeros(2, 3, dtype=torch.int32)}, r"holds z_i I32 \(2, 3\)"),
    ],
)
def test_safetensors_of_another_kind_are_refused(tmp_path, tensors, message):
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=message):
        embeddings.read(tmp_path / "a.safetensors")


def test_a_size_below_one_is_refused(z, tmp_path):
    with pytest.raises(UserError, match="size is 0"):
        list(embeddings.batches(save(z, tmp_path / "a.npy"), 0))


def test_a_column_whose_name_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "z.parquet"
    pq.write_table(pa.table({"z_i": [[1.0, 2.0]], "päth": ["a"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace("päth".encode(), b"p\xa3\xa3th"))
    with pytest.raises(UserError, match="is not a whole Parquet"):
        embeddings.read(path)


def test_an_array_whose_header_is_no_python_is_refused(tmp_path):
    path = tmp_path / "z.npy"
    np.save(path, np.ones((1, 2), np.float32))
    path.write_bytes(path.read_bytes().replace(b"{'descr'", b")'descr'"))
    with pytest.raises(UserError, match="is not a whole NumPy array"):
        embeddings.read(path)


def test_a_damaged_list_of_skipped_pictures_is_refused(tmp_path):
    path = tmp_path / "z.parquet"
    metadata = {"format": embeddings.FORMAT, "skipped": "no list"}
    pq.write_table(pa.table({"z_i": [[1.0, 2.0]]}).replace_schema_metadata(metadata), path)
    with pytest.raises(UserError, match=r"the list of skipped pictures of z\.parquet is damaged"):
        embeddings.read(path)
