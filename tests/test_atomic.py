"""Atomic writes: a file is written completely or not at all."""

import errno

import pytest
import torch
from safetensors.torch import save_file

from latentlab.errors import UserError
from latentlab.io.atomic import atomic_write, writable_folder


def test_a_block_that_succeeds_leaves_only_its_file(tmp_path):
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


def test_a_full_disk_gives_a_user_error_and_leaves_no_part(tmp_path):
    with (
        pytest.raises(UserError, match=r"a\.txt can't be written \(No space left"),
        atomic_write(tmp_path / "a.txt") as part,
    ):
        part.write_text("half of")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_safetensors_file_that_cannot_be_written_gives_a_user_error(tmp_path):
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


def test_a_file_where_a_folder_is_wanted_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="is a file"):
            writable_folder(folder)


def test_writable_folder_does_not_create_the_folder(tmp_path):
    assert writable_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []
