"""Where files live, and that nobody ever meets half a file."""

import os
from pathlib import Path

import platformdirs
import pytest

from mnistlib.base.files import DataError, atomic_write, check_target, data_folder

OLD, NEW = b"old content", b"new content, longer than the old"


def save(path, content=NEW):
    with atomic_write(path) as file:
        file.write(content)


@pytest.fixture
def old_file(tmp_path):
    path = tmp_path / "folder" / "file.bin"
    save(path, OLD)
    yield path
    assert os.listdir(path.parent) == [path.name]  # whatever happened, no temporary file stays


def test_the_data_folder_is_the_one_of_the_environment_or_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MNISTLIB_DATA", str(tmp_path / "a"))
    assert data_folder() == tmp_path / "a"
    monkeypatch.setenv("MNISTLIB_DATA", "")
    assert data_folder() == Path(platformdirs.user_cache_dir("mnistlib", appauthor=False))


@pytest.mark.parametrize("value", ["{old_file}", "{folder}/" + "long" * 100, "~nosuchuser/x"])
def test_a_data_folder_that_cannot_be_is_refused_with_the_remedy(old_file, monkeypatch, value):
    monkeypatch.setenv("MNISTLIB_DATA", value.format(old_file=old_file, folder=old_file.parent))
    with pytest.raises(DataError, match="MNISTLIB_DATA"):
        save(data_folder() / "file.bin")


def test_the_old_file_is_replaced_only_when_the_block_ends(old_file):
    with atomic_write(str(old_file)) as file:
        file.write(NEW)
        file.flush()
        assert old_file.read_bytes() == OLD
    assert old_file.read_bytes() == NEW


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions, and links need a privilege")
def test_modes_and_links_are_kept(old_file, tmp_path):
    assert old_file.stat().st_mode & 0o777 == 0o644
    old_file.chmod(0o600)
    (tmp_path / "link").symlink_to(old_file)
    save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert old_file.read_bytes() == NEW
    assert old_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_in_the_block_passes_through_and_leaves_the_old_file(old_file, error):
    with pytest.raises(error), atomic_write(old_file) as file:  # noqa: PT012
        file.write(NEW)
        raise error
    assert old_file.read_bytes() == OLD


def test_a_full_disk_leaves_the_old_file_and_says_so(old_file):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # as near to a full disk as a test can come
    try:
        with pytest.raises(DataError, match=r"file\.bin: File too large"):
            save(old_file, bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert old_file.read_bytes() == OLD


def test_what_is_not_a_regular_file_is_refused_and_stays(old_file, tmp_path):
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="not a regular file"):
            save(tmp_path / "pipe")
        assert (tmp_path / "pipe").is_fifo()
    with pytest.raises(DataError, match="folder"):
        save(old_file.parent)
    with pytest.raises(DataError, match="below"):
        check_target(old_file / "below")
    assert old_file.read_bytes() == OLD
