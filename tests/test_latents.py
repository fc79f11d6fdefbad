"""Latent and PairLatent: shapes that fit, rows that are chosen and stacked, files that load whole or are refused."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file

from latentlab.errors import UserError
from latentlab.latents import Latent, PairLatent, metadata


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
def test_an_index_beyond_the_rows_raises_an_index_error(latent, k):
    with pytest.raises(IndexError, match="4 rows"):
        latent[k]


def test_a_for_loop_visits_each_row_once_and_ends(latent):
    rows = list(latent)
    assert len(rows) == len(latent) == 4
    assert all(same(row, latent[k]) for k, row in enumerate(rows))


def test_stacking_the_rows_gives_the_latent_back(latent):
    assert same(Latent.stack(latent), latent)
    assert same(Latent.stack(part for part in (latent[:1], latent[1:])), latent)


def test_to_casts_z_i_and_x_T(latent):
    cast = latent.to(torch.float64)
    assert cast.z_i.dtype == cast.x_T.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_saved_latent_loads_as_it_was(latent, tmp_path, dtype):
    path = tmp_path / "a picture.safetensors"
    latent.to(dtype).save(path)
    loaded = Latent.load(path)
    assert loaded.z_i.dtype == loaded.x_T.dtype == dtype
    assert same(loaded, latent.to(dtype))


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


# The pair of states


@pytest.fixture
def pair(normal):
    """Four rows, not square."""
    return PairLatent(normal(4, 6), normal(4, 3, 5, 8), normal(4, 3, 5, 8), "bdia", (980, 400, 7, -1), 0.9)


def same_pair(a, b):
    tensors = ("z_i", "first", "second")
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in tensors) and a.times == b.times


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_pair_loads_as_it_was(pair, tmp_path, dtype):
    path = tmp_path / "a pair.safetensors"
    pair.to(dtype).save(path, {"image": "a photo.png"})
    loaded = PairLatent.load(path)
    assert loaded.first.dtype == loaded.z_i.dtype == dtype
    assert same_pair(loaded, pair.to(dtype)) and (loaded.method, loaded.mix) == ("bdia", 0.9)
    with safe_open(path, "pt") as file:
        assert file.metadata()["image"] == "a photo.png"


def test_metadata_saved_with_a_pair_does_not_replace_its_method_times_and_mix(pair, tmp_path):
    pair.save(tmp_path / "a.safetensors", {"method": "other", "times": "[]", "mix": "x", "format": "y"})
    assert same_pair(PairLatent.load(tmp_path / "a.safetensors"), pair)


def test_asking_a_pair_for_x_T_is_refused_with_the_reason(pair, latent):
    reason = r"bdia's pair of states, which has no x_T.*interpolation or eta.*method='fixed-point'"
    with pytest.raises(UserError, match=reason):
        pair.x_T  # noqa: B018
    with pytest.raises(UserError, match=reason):
        Latent.stack([latent, pair])
    assert not isinstance(pair, Latent)


def test_each_kind_of_file_is_refused_by_the_other_with_its_name(pair, latent, tmp_path):
    pair.save(tmp_path / "pair.safetensors")
    latent.save(tmp_path / "one.safetensors")
    with pytest.raises(UserError, match=r"pair\.safetensors holds a pair of states.*PairLatent\.load"):
        Latent.load(tmp_path / "pair.safetensors")
    with pytest.raises(UserError, match=r"one\.safetensors holds one x_T.* Latent\.load"):
        PairLatent.load(tmp_path / "one.safetensors")


@pytest.mark.parametrize("missing", ["method", "times", "mix"])
def test_a_file_of_a_pair_without_its_method_times_or_mix_is_refused(pair, tmp_path, missing):
    path = tmp_path / "mute.safetensors"
    metadata = {"method": "bdia", "times": "[980, 400, -1]", "mix": "1.0"}
    metadata.pop(missing)
    save_file({"z_i": pair.z_i, "first": pair.first, "second": pair.second}, path, metadata)
    with pytest.raises(UserError, match=r"mute\.safetensors does not say its method, times and mix"):
        PairLatent.load(path)


def test_a_pair_with_values_that_are_not_finite_is_refused(pair, tmp_path):
    pair.second[3, 2, 4, 7] = float("nan")
    pair.save(tmp_path / "nan.safetensors")
    with pytest.raises(UserError, match=r"nan\.safetensors holds values that are not finite"):
        PairLatent.load(tmp_path / "nan.safetensors")


@pytest.mark.parametrize("rows", [2, -1, slice(1, 3), torch.tensor([3, 0])], ids=str)
def test_rows_of_a_pair_are_rows_of_its_three_tensors(pair, rows):
    wanted = [rows] if isinstance(rows, int) else rows
    part = pair[rows]
    assert len(part) == len(part.first) == len(pair.z_i[wanted])
    assert torch.equal(part.second, pair.second[wanted]) and torch.equal(part.z_i, pair.z_i[wanted])
    assert part.times == pair.times and part.method == pair.method


def test_a_for_loop_visits_each_row_of_a_pair_once(pair):
    assert [len(row) for row in pair] == [1] * 4


def test_a_pair_is_frozen(pair):
    with pytest.raises(AttributeError):
        pair.first = pair.second


@pytest.mark.parametrize("shapes", [((2, 6), (3, 3, 5, 8), (3, 3, 5, 8)), ((2, 6), (2, 3, 5, 8), (2, 3, 8, 5))])
def test_a_pair_whose_shapes_disagree_is_refused(shapes):
    with pytest.raises(UserError, match=r"a PairLatent wants \(B, D\) and twice"):
        PairLatent(*(torch.zeros(shape) for shape in shapes), "edict", (980, -1), 0.93)


@pytest.mark.parametrize(
    ("changes", "message"), [({"method": "belm"}, "method is 'belm'"), ({"mix": 0.0}, "mix is 0.0")]
)
def test_a_pair_of_an_unknown_method_or_mix_is_refused_new_and_from_a_file(pair, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(pair, **changes)
    tensors = {"z_i": pair.z_i, "first": pair.first, "second": pair.second}
    metadata = {"method": "bdia", "times": "[980, 400, -1]", "mix": "1.0"} | {k: str(v) for k, v in changes.items()}
    save_file(tensors, tmp_path / "odd.safetensors", metadata)
    with pytest.raises(UserError, match=message):
        PairLatent.load(tmp_path / "odd.safetensors")


def test_metadata_saved_with_a_latent_can_be_read(latent, tmp_path):
    latent.save(tmp_path / "a.safetensors", {"model": "toy", "steps": "25"})
    assert metadata(tmp_path / "a.safetensors") == {"model": "toy", "steps": "25"}


def test_a_row_may_be_chosen_by_an_integer_of_numpy(latent):
    assert same(latent[np.int64(2)], latent[2])


def test_metadata_of_another_kind_of_latent_does_not_change_the_kind(tmp_path):
    Latent(torch.zeros(1, 2), torch.zeros(1, 3, 4, 5)).save(tmp_path / "a", {"format": "PairLatent"})
    assert len(Latent.load(tmp_path / "a")) == 1
