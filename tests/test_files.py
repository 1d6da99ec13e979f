"""Where files live, and that nobody ever meets half a file."""

import os
import threading
from pathlib import Path

import platformdirs
import pytest

from mnistlib.files import DataError, atomic_write, data_folder

OLD, NEW = b"old content", b"new content, longer than the old"


def save(path, content):
    with atomic_write(path) as file:
        file.write(content)


@pytest.fixture
def old_file(tmp_path):
    path = tmp_path / "folder" / "file.bin"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def test_data_folder_is_the_one_of_the_environment_and_need_not_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("MNISTLIB_DATA", str(tmp_path / "a" / "b"))
    assert data_folder() == tmp_path / "a" / "b"
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("value", [None, ""])
def test_data_folder_is_the_users_cache_when_the_environment_names_none(monkeypatch, value):
    monkeypatch.delenv("MNISTLIB_DATA") if value is None else monkeypatch.setenv("MNISTLIB_DATA", value)
    assert data_folder() == Path(platformdirs.user_cache_dir("mnistlib", appauthor=False))


def test_data_folder_that_is_a_file_is_refused_with_both_remedies(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("not a folder")
    monkeypatch.setenv("MNISTLIB_DATA", str(path))
    with pytest.raises(DataError) as caught:
        data_folder()
    assert str(path) in str(caught.value)
    assert "Remove that file" in str(caught.value)
    assert "MNISTLIB_DATA" in str(caught.value)


def test_data_folder_that_cannot_be_looked_at_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("MNISTLIB_DATA", str(tmp_path / ("long" * 100)))  # longer than any file system takes
    with pytest.raises(DataError, match="MNISTLIB_DATA"):
        save(data_folder() / "file.bin", NEW)


def test_atomic_write_makes_missing_folders_and_the_file(tmp_path):
    save(tmp_path / "a" / "b" / "file.bin", NEW)
    assert (tmp_path / "a" / "b" / "file.bin").read_bytes() == NEW
    assert os.listdir(tmp_path / "a" / "b") == ["file.bin"]


def test_atomic_write_accepts_a_path_as_text(tmp_path):
    save(str(tmp_path / "file.bin"), NEW)
    assert (tmp_path / "file.bin").read_bytes() == NEW


def test_atomic_write_replaces_the_old_file_only_when_the_block_ends(old_file):
    with atomic_write(old_file) as file:
        file.write(NEW)
        file.flush()
        assert old_file.read_bytes() == OLD
    assert old_file.read_bytes() == NEW
    assert os.listdir(old_file.parent) == [old_file.name]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_atomic_write_makes_files_that_others_can_read(tmp_path):
    save(tmp_path / "file.bin", NEW)
    assert (tmp_path / "file.bin").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_in_the_block_passes_through_and_leaves_the_old_file(old_file, error):
    def half():
        with atomic_write(old_file) as file:
            file.write(NEW)
            raise error

    with pytest.raises(error):
        half()
    assert old_file.read_bytes() == OLD
    assert os.listdir(old_file.parent) == [old_file.name]


def test_a_full_disk_leaves_the_old_file_and_says_so(old_file):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # as near to a full disk as a test can come
    try:
        with pytest.raises(DataError) as caught:
            save(old_file, bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(old_file) in str(caught.value)
    assert "File too large" in str(caught.value)
    assert "MNISTLIB_DATA" in str(caught.value)
    assert old_file.read_bytes() == OLD
    assert os.listdir(old_file.parent) == [old_file.name]


def test_a_path_below_a_file_is_refused_and_the_file_stays(old_file):
    with pytest.raises(DataError, match=r"Not a directory|File exists") as caught:
        save(old_file / "below", NEW)
    assert str(old_file / "below") in str(caught.value)
    assert old_file.read_bytes() == OLD


def test_a_folder_in_the_place_of_the_file_is_refused_and_stays(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(DataError, match="taken"):
        save(tmp_path / "taken", NEW)
    assert os.listdir(tmp_path) == ["taken"]


def test_an_error_without_a_number_keeps_its_text(tmp_path):
    """Pillow raises such errors, e.g. OSError("encoder error -2 …")."""
    with pytest.raises(DataError, match="encoder error"), atomic_write(tmp_path / "picture.png"):
        raise OSError("encoder error -2 when writing image file")


def test_readers_never_see_a_part_while_two_writers_write(tmp_path):
    path = tmp_path / "file.bin"
    contents = [bytes([i]) * 100_000 for i in (1, 2)]
    save(path, contents[0])

    def write(content):
        for _ in range(10):
            save(path, content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    seen = []
    while any(writer.is_alive() for writer in writers):
        seen.append(path.read_bytes())
    for writer in writers:
        writer.join()
    assert seen
    assert all(content in contents for content in seen)
    assert os.listdir(tmp_path) == ["file.bin"]
