"""Latent: what fits together, rows in and out, and files that are whole or refused."""

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file

from latentlab.errors import UserError
from latentlab.latents import Latent


@pytest.fixture
def latent(rng):
    """Four rows, not square."""
    return Latent(torch.randn(4, 6, generator=rng), torch.randn(4, 3, 5, 8, generator=rng))


def same(a, b):
    return torch.equal(a.z_i, b.z_i) and torch.equal(a.x_T, b.x_T)


@pytest.mark.parametrize(
    ("z_i", "x_T"),
    [
        ((2, 6), (3, 3, 5, 8)),
        ((6,), (1, 3, 5, 8)),
        ((2, 6), (3, 5, 8)),
        ((2, 1, 6), (2, 3, 5, 8)),
        ((1, 6), (2, 3, 5, 8)),
    ],
)
def test_shapes_that_disagree_are_refused_with_both_shapes(z_i, x_T):
    with pytest.raises(UserError, match=r"z_i is .* and x_T is .*wants \(B, D\)") as caught:
        Latent(torch.zeros(z_i), torch.zeros(x_T))
    assert str(z_i) in str(caught.value) and str(x_T) in str(caught.value)


def test_a_latent_is_frozen(latent):
    with pytest.raises(AttributeError):
        latent.z_i = latent.z_i + 1


@pytest.mark.parametrize("k", [0, 2, 3, -1, -4])
def test_one_index_keeps_the_batch_dimension(latent, k):
    row = latent[k]
    assert len(row) == 1
    assert torch.equal(row.z_i[0], latent.z_i[k]) and torch.equal(row.x_T[0], latent.x_T[k])


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (slice(1, 3), [1, 2]),
        (slice(None, None, 2), [0, 2]),
        (torch.tensor([3, 0, 3]), [3, 0, 3]),
        (torch.tensor([True, False, False, True]), [0, 3]),
    ],
    ids=["slice", "stride", "indices", "mask"],
)
def test_slices_and_tensors_choose_the_same_rows_of_both(latent, rows, wanted):
    assert same(latent[rows], Latent(latent.z_i[wanted], latent.x_T[wanted]))


@pytest.mark.parametrize("k", [4, -5])
def test_an_index_beyond_the_rows_is_an_index_error(latent, k):
    with pytest.raises(IndexError, match="4 rows"):
        latent[k]


def test_a_for_loop_visits_each_row_once_and_ends(latent):
    rows = list(latent)
    assert len(rows) == len(latent) == 4
    assert all(same(row, latent[k]) for k, row in enumerate(rows))


def test_stacking_the_rows_gives_the_latent_back(latent):
    assert same(Latent.stack(latent), latent)
    assert same(Latent.stack(part for part in (latent[:1], latent[1:])), latent)


def test_to_casts_both(latent):
    cast = latent.to(torch.float64)
    assert cast.z_i.dtype == cast.x_T.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_saved_latent_loads_as_it_was(latent, tmp_path, dtype):
    path = tmp_path / "a picture.safetensors"
    latent.to(dtype).save(path)
    found = Latent.load(path)
    assert found.z_i.dtype == found.x_T.dtype == dtype
    assert same(found, latent.to(dtype))


@pytest.mark.parametrize("change", [lambda la: la[1], lambda la: la[::2], lambda la: Latent(la.z_i, la.x_T.mT)])
def test_views_of_a_latent_can_be_saved(latent, tmp_path, change):
    view = change(latent)
    view.save(tmp_path / "view.safetensors")
    assert same(Latent.load(tmp_path / "view.safetensors"), view)


def test_metadata_is_in_the_file_and_no_other_file_is_left(latent, tmp_path):
    latent.save(tmp_path / "a.safetensors", {"caption": "ein süßer Hund 🐶"})
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata()["caption"] == "ein süßer Hund 🐶"
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_failed_save_leaves_the_old_file_as_it_was(latent, tmp_path):
    path = tmp_path / "a.safetensors"
    latent.save(path)
    with pytest.raises(Exception):  # noqa: B017  (whatever safetensors raises for a value that is not text)
        latent[0].save(path, {"steps": 50})
    assert same(Latent.load(path), latent)


def test_a_missing_file_and_a_folder_are_refused_with_the_way_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.safetensors is not there: `latentlab invert"):
        Latent.load(tmp_path / "nothing.safetensors")
    with pytest.raises(UserError, match="is not there"):
        Latent.load(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_a_broken_file_is_refused(latent, tmp_path, keep):
    path = tmp_path / "broken.safetensors"
    latent.save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"broken\.safetensors is not a whole safetensors file"):
        Latent.load(path)


def test_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "picture.safetensors"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(UserError, match="not a whole safetensors file"):
        Latent.load(path)


def test_a_file_without_x_T_is_refused_with_what_it_holds(tmp_path):
    path = tmp_path / "half.safetensors"
    save_file({"z_i": torch.zeros(1, 6), "other": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"half\.safetensors holds \['other', 'z_i'\]"):
        Latent.load(path)


def test_a_file_whose_tensors_disagree_is_refused(tmp_path):
    path = tmp_path / "odd.safetensors"
    save_file({"z_i": torch.zeros(2, 6), "x_T": torch.zeros(1, 3, 5, 8)}, path)
    with pytest.raises(UserError, match="same B"):
        Latent.load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["z_i", "x_T"])
def test_values_that_are_not_finite_are_refused(latent, tmp_path, name, value):
    path = tmp_path / "nan.safetensors"
    latent.save(path)
    tensors = load_file(path)
    tensors[name].view(-1)[-1] = value
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"nan\.safetensors holds values that are not finite"):
        Latent.load(path)
