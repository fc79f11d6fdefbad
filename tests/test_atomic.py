"""Whole files or none."""

import errno

import pytest
import torch
from safetensors.torch import save_file

from latentlab.errors import UserError
from latentlab.io.atomic import atomic_write, writable_folder


def test_a_block_that_ends_well_leaves_the_file_alone(tmp_path):
    with atomic_write(tmp_path / "a.txt") as part:
        part.write_text("all of it")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_block_that_fails_leaves_the_old_file_and_no_part(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyError), atomic_write(tmp_path / "a.txt") as part:
        part.write_text("half of")
        raise KeyError
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


def test_two_writers_of_one_file_leave_one_of_their_files_whole(tmp_path):
    with atomic_write(tmp_path / "a.txt") as first:
        first.write_text("first, ")
        with atomic_write(tmp_path / "a.txt") as second:
            second.write_text("second")
        with first.open("a") as file:
            file.write("all of it")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "first, all of it")]


def test_a_full_disk_is_a_sentence_and_leaves_no_part(tmp_path):
    with (
        pytest.raises(UserError, match=r"a\.txt can't be written \(No space left"),
        atomic_write(tmp_path / "a.txt") as part,
    ):
        part.write_text("half of")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_safetensors_file_that_can_t_be_written_is_a_sentence(tmp_path):
    with (
        pytest.raises(UserError, match="can't be written"),
        atomic_write(tmp_path / "nowhere" / "a.safetensors") as part,
    ):
        save_file({"x": torch.zeros(1)}, part)


def test_a_folder_in_the_file_s_place_is_refused(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(UserError, match="can't be written"), atomic_write(tmp_path / "a.txt") as part:
        part.write_text("all of it")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_is_no_folder_to_write_into_nor_below(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="is a file"):
            writable_folder(folder)


def test_a_folder_that_can_be_made_is_not_made_yet(tmp_path):
    assert writable_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []
