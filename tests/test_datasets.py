"""The four datasets: the real files, every way in which they can be missing or damaged, and `Split`."""

import gzip
import hashlib
import http.server
import itertools
import os
import re
import shutil
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import example, given
from hypothesis import strategies as st
from torch.nn import functional as F

from mnistlib import datasets
from mnistlib.datasets import DIGITS, Split, fetch, load, sample
from mnistlib.files import DataError

SHA256 = {  # of the uncompressed files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MNIST_MD5 = dict(torchvision.datasets.MNIST.resources)
PACKAGED = Path(datasets.__file__).parent / "data" / "MNIST" / "raw"
SAMPLE_SHA256 = {  # of FashionMNIST's first images and labels, uncompressed
    "train-images-idx3-ubyte": "71a9f8cec24060d6752b3e4940ce6d6fd729334afa47b735dd553481aa83b53e",
    "train-labels-idx1-ubyte": "8983259dfbc9f185f92698916f7daf361704b43ba7d19568cc7bcdeefdc1bece",
    "t10k-images-idx3-ubyte": "7a6d8e07ea021ec5bc73135ebd0a5770799557ec6f8242d8749c4f32a3cf4643",
    "t10k-labels-idx1-ubyte": "b40abac7ec8228f434940f579deb7cf7b6e3103b5274cb91d1545771f5ef1c8b",
}
FASHION_SAMPLE = Path(datasets.__file__).parent / "data" / "FashionMNIST" / "sample"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"
SYSTEM_FASHION = Path("/usr/share/datasets/fashion-mnist")


def development_path(*parts):
    """Where a real file is that is no part of the repository, if it is anywhere: folders in torchvision's layout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("COURSE_REAL_DATA") or beside).joinpath(*parts)


def development_file(*parts):
    """Such a file; skip the test where it is absent."""
    path = development_path(*parts)
    if not path.is_file():
        pytest.skip(f"{'/'.join(parts)} is not on this machine; COURSE_REAL_DATA names a folder that has it")
    return path


def idx(array):
    """An array as the bytes of an IDX file."""
    array = np.asarray(array)
    kind, stored = {"uint8": (0x08, "u1"), "int32": (0x0C, ">i4")}[array.dtype.name]
    return struct.pack(f">BBBB{array.ndim}i", 0, 0, kind, array.ndim, *array.shape) + array.astype(stored).tobytes()


def md5_of(content):
    return hashlib.md5(content).hexdigest()


def files_below(folder):
    return [path for path in Path(folder).rglob("*") if path.is_file()] if Path(folder).exists() else []


def tiny_arrays(name):
    """Random images and labels for each official file name of a dataset: 5 to train, 3 to test."""
    random, arrays = np.random.default_rng(len(name)), {}
    for (part, filename, *_), kind in zip(datasets._official_files(name), itertools.cycle(["images", "labels"])):
        count = 5 if part == "train" else 3
        if kind == "images":
            arrays[filename] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        elif name == "QMNIST":
            arrays[filename] = random.integers(0, 70_000, (count, 8), dtype=np.int32)
            arrays[filename][:, 0] %= 10
        else:
            arrays[filename] = random.integers(0, 10, count, dtype=np.uint8)
    return arrays


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """A function that serves ``contents`` (file name to bytes) as a dataset's official files from this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(datasets, "SYSTEM_DATA", {})
    folder, servers = tmp_path / "server", []
    folder.mkdir()

    def start(name, contents, handler=None, checksums=None):
        for filename, content in contents.items():
            (folder / filename).write_bytes(content)
        handler = handler or (lambda *arguments: Quiet(*arguments, directory=str(folder)))
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        official = [
            (part, filename, f"http://127.0.0.1:{server.server_address[1]}/{filename}", md5_of(contents[filename]))
            for part, filename, *_ in datasets._official_files(name)
        ]
        if checksums:
            official = [(part, f, url, checksums.get(f, md5)) for part, f, url, md5 in official]
        monkeypatch.setattr(datasets, "_official_files", lambda asked: official)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def temporary_folder(tmp_path, monkeypatch):
    """Where temporary files go, so that a test can see that none is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


# The real MNIST


def test_mnist_is_the_real_one(mnist):
    assert (len(mnist.train), len(mnist.test)) == (60_000, 10_000)
    assert mnist.train.images.shape == (60_000, 1, 28, 28)
    assert mnist.train.counts() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.test.counts() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert mnist.classes == DIGITS
    assert mnist.train.label_columns is None


def test_the_tensors_hold_the_bytes_of_the_original_files(mnist):
    for part, split in (("train", mnist.train), ("t10k", mnist.test)):
        for filename, array in (
            (f"{part}-images-idx3-ubyte", split.images[:, 0].numpy()),
            (f"{part}-labels-idx1-ubyte", split.labels.numpy().astype(np.uint8)),
        ):
            assert hashlib.sha256(idx(array)).hexdigest() == SHA256[filename]


@pytest.mark.parametrize("filename", SHA256)
def test_the_packaged_file_is_the_official_one_byte_for_byte(filename):
    content = (PACKAGED / f"{filename}.gz").read_bytes()
    assert md5_of(content) == MNIST_MD5[f"{filename}.gz"]
    assert hashlib.sha256(gzip.decompress(content)).hexdigest() == SHA256[filename]


def test_the_dataset_says_what_it_is(mnist):
    assert repr(mnist) == "ImageDataset(MNIST: train 60,000, test 10,000, 10 classes)"
    assert repr(mnist.test) == "Split(10,000 images of 28×28, 10 classes)"


def test_mnist_needs_no_network_and_no_data_folder(no_network, data_folder):
    assert len(load().train) == 60_000
    assert no_network == []
    assert not data_folder.exists()


def assert_torchvision_has(mnist, root):
    for train, split in ((True, mnist.train), (False, mnist.test)):
        theirs = torchvision.datasets.MNIST(root, train=train, download=True)
        assert torch.equal(theirs.data, split.images[:, 0])
        assert torch.equal(theirs.targets, split.labels)


def test_after_fetch_torchvision_finds_nothing_left_to_download_or_write(mnist, data_folder, no_network):
    root = fetch("MNIST")
    assert root == data_folder
    before = {path: path.stat().st_mtime_ns for path in files_below(root)}
    assert len(before) == 8  # four files, packed and unpacked
    assert_torchvision_has(mnist, root)
    assert {path: path.stat().st_mtime_ns for path in files_below(root)} == before
    assert no_network == []


def test_torchvision_accepts_the_four_packaged_files_alone(mnist, tmp_path, no_network):
    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for filename in SHA256:
        (raw / f"{filename}.gz").write_bytes((PACKAGED / f"{filename}.gz").read_bytes())
    assert_torchvision_has(mnist, tmp_path / "root")
    assert no_network == []


def test_a_second_fetch_writes_nothing_so_a_shared_folder_may_be_read_only(monkeypatch):
    root = fetch("MNIST")

    def refuse(path):
        raise AssertionError(f"wrote {path}")

    monkeypatch.setattr(datasets, "atomic_write", refuse)
    assert fetch("MNIST") == root


def test_fetch_mends_every_damaged_or_half_unpacked_file(mnist, data_folder, no_network):
    raw = fetch("MNIST") / "MNIST" / "raw"
    for path in files_below(raw):
        path.write_bytes(path.read_bytes()[:1000])
    fetch("MNIST")
    assert {path.name: md5_of(path.read_bytes()) for path in raw.glob("*.gz")} == MNIST_MD5
    assert_torchvision_has(mnist, data_folder)


def test_fetch_mends_an_unpacked_file_of_the_right_length_and_the_wrong_content():
    path = fetch("MNIST") / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    fetch("MNIST")
    assert path.read_bytes() == good


def test_two_programs_that_fetch_at_once_both_succeed(mnist, data_folder):
    code = (
        "from mnistlib import fetch, load\nprint('ready', flush=True); input()\nfetch(); print(load().train.labels[:5].tolist())"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    programs = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(2)]
    for program in programs:
        assert program.stdout.readline() == "ready\n"
    for program in programs:  # both have imported all they need; now they start together
        program.stdin.write("go\n")
        program.stdin.flush()
    results = [program.communicate(timeout=60) for program in programs]
    assert [out for out, _ in results] == ["[5, 0, 4, 1, 9]\n"] * 2
    assert [err for _, err in results] == ["", ""]
    assert len(files_below(data_folder)) == 8  # and no temporary file
    assert_torchvision_has(mnist, data_folder)


# A data folder that cannot be used


@pytest.fixture(params=["below a file", "/proc"])
def unusable_folder(request, tmp_path, monkeypatch):
    """A data folder that nobody can write to, not even root."""
    if request.param == "/proc":
        if not Path("/proc/self").exists():
            pytest.skip("no /proc on this system")
        folder = Path("/proc/mnistlib-test")
    else:
        (tmp_path / "file").write_text("a file")
        folder = tmp_path / "file" / "data"
    monkeypatch.setenv("MNISTLIB_DATA", str(folder))
    return folder


def test_mnist_loads_where_the_data_folder_cannot_be_written(unusable_folder, no_network):
    assert len(load("MNIST").test) == 10_000
    assert no_network == []


def test_fetch_says_that_the_data_folder_cannot_be_written(unusable_folder):
    with pytest.raises(DataError, match="cannot write") as caught:
        fetch("MNIST")
    assert str(unusable_folder) in str(caught.value)
    assert "MNISTLIB_DATA" in str(caught.value)


@pytest.mark.parametrize("use", [load, fetch])
def test_a_data_folder_that_is_a_file_is_named_with_the_remedy(use, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("a file")
    monkeypatch.setenv("MNISTLIB_DATA", str(path))
    with pytest.raises(DataError, match=r"is a file, and must be a folder.*MNISTLIB_DATA") as caught:
        use("MNIST")
    assert str(path) in str(caught.value)
    assert path.read_text() == "a file"


def test_mnist_loads_where_one_may_not_even_look_into_the_data_folder(data_folder, monkeypatch):
    """As for an ordinary user whose data folder belongs to somebody else; root may look anywhere, so the system is patched."""
    real = os.stat

    def stat(path, *arguments, **options):
        if not isinstance(path, int) and os.fspath(path).startswith(f"{data_folder}{os.sep}"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert len(load("MNIST").test) == 10_000


# Damaged files in the data folder


def flip_one_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


DAMAGES = {"truncated": lambda content: content[:-100], "one bit flipped": flip_one_bit, "empty": lambda content: b""}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_replaced_by_the_packaged_one(mnist, data_folder, no_network, capsys, damage):
    raw = data_folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for filename in ("t10k-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"):
        (raw / filename).write_bytes(DAMAGES[damage]((PACKAGED / filename).read_bytes()))
    found = load("MNIST").test
    assert torch.equal(found.images, mnist.test.images)
    assert torch.equal(found.labels, mnist.test.labels)
    assert {path.name: md5_of(path.read_bytes()) for path in raw.iterdir()} == {
        name: md5 for name, md5 in MNIST_MD5.items() if name.startswith("t10k")
    }
    assert capsys.readouterr().err.count("was damaged and has been replaced by a good copy") == 2
    assert no_network == []


def test_a_damaged_file_that_cannot_be_replaced_does_no_harm(mnist, data_folder, capsys):
    (data_folder / "MNIST" / "raw" / TEST_LABELS).mkdir(parents=True)  # no rename can replace a folder
    assert torch.equal(load("MNIST").test.labels, mnist.test.labels)
    assert "cannot be replaced; a good copy elsewhere is used" in capsys.readouterr().err


def test_a_good_file_in_the_data_folder_comes_first(data_folder, monkeypatch, no_network):
    root = fetch("MNIST")
    monkeypatch.setattr(datasets, "PACKAGE_DATA", root / "nothing here")
    assert len(load("MNIST").train) == 60_000
    assert no_network == []


def test_a_damaged_file_that_is_nowhere_else_is_called_damaged(data_folder, no_network):
    raw = data_folder / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(b"half a download")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: damaged"):
        load("KMNIST")


# What cannot be had


@pytest.mark.parametrize("use", [load, fetch, sample])
@pytest.mark.parametrize("name", ["mnist", "EMNIST", ""])
def test_an_unknown_name_says_which_there_are(use, name):
    with pytest.raises(ValueError, match=f"unknown dataset '{name}'; the datasets are MNIST, FashionMNIST, KMNIST, QMNIST"):
        use(name)


@pytest.mark.parametrize("use", [load, fetch])
@pytest.mark.parametrize("name", ["KMNIST", "QMNIST"])
def test_without_a_network_the_error_names_what_was_tried_and_both_ways_out(use, name, data_folder, no_network, temporary_folder):
    with pytest.raises(DataError) as caught:
        use(name)
    message, first = str(caught.value), datasets._official_files(name)[0]
    assert message.startswith(f"{name}: {first[1]} is not on this machine and could not be downloaded.")
    assert str(data_folder / name / "raw" / first[1]) in message  # where to copy the file to
    assert first[2] in message  # the address
    assert "Network is unreachable" in message
    assert f"python -m mnistlib data {name}" in message
    assert "copy the file from another machine" in message
    assert "MNISTLIB_DATA" in message
    assert no_network  # it did try
    assert files_below(data_folder) == files_below(temporary_folder) == []


# Downloads, from a server of our own


@pytest.mark.parametrize("name", datasets.CLASSES)
def test_a_download_is_loaded_kept_and_not_repeated(name, serve, data_folder, temporary_folder, request):
    arrays = tiny_arrays(name)
    contents = {filename: gzip.compress(idx(array)) for filename, array in arrays.items()}
    serve(name, contents)
    found = load(name)
    train_images, train_labels, test_images, test_labels = arrays.values()
    for split, images, labels in ((found.train, train_images, train_labels), (found.test, test_images, test_labels)):
        np.testing.assert_array_equal(split.images[:, 0], images)
        np.testing.assert_array_equal(split.labels, labels[:, 0] if name == "QMNIST" else labels)
        assert split.classes == datasets.CLASSES[name]
        assert (split.label_columns is None) == (name != "QMNIST")
    assert {path.name: path.read_bytes() for path in files_below(data_folder)} == contents
    assert files_below(temporary_folder) == []

    tried = request.getfixturevalue("no_network")
    assert torch.equal(load(name).train.images, found.train.images)
    assert fetch(name) == data_folder
    for filename, array in arrays.items():
        assert (data_folder / name / "raw" / filename.removesuffix(".gz")).read_bytes() == idx(array)
    assert tried == []


def test_qmnists_eight_columns_follow_the_images(serve):
    arrays = tiny_arrays("QMNIST")
    serve("QMNIST", {filename: gzip.compress(idx(array)) for filename, array in arrays.items()})
    train, columns = load("QMNIST").train, next(a for f, a in arrays.items() if "train-labels" in f)
    assert train.label_columns.dtype == torch.int64
    assert train.label_columns.shape[1] == len(datasets.QMNIST_COLUMNS)
    np.testing.assert_array_equal(train.label_columns, columns)
    np.testing.assert_array_equal(train.take([3, 1]).label_columns, columns[[3, 1]])
    np.testing.assert_array_equal(train.take(2).label_columns, columns[:2])
    assert torch.equal(train.resized(32).label_columns, train.label_columns)
    assert torch.equal(train.to("cpu").label_columns, train.label_columns)
    for part in train.split(3, 2, seed=1):
        assert torch.equal(part.label_columns[:, 0], part.labels)


def assert_refused(data_folder, temporary_folder, match):
    with pytest.raises(DataError, match=match) as caught:
        load("KMNIST")
    assert "python -m mnistlib data KMNIST" in str(caught.value)
    assert files_below(data_folder) == files_below(temporary_folder) == []


def kmnist_contents():
    return {filename: gzip.compress(idx(array)) for filename, array in tiny_arrays("KMNIST").items()}


def test_a_download_with_the_wrong_checksum_is_refused_and_leaves_nothing(serve, data_folder, temporary_folder):
    serve("KMNIST", kmnist_contents(), checksums={"train-images-idx3-ubyte.gz": "0" * 32})
    assert_refused(data_folder, temporary_folder, "corrupted")


def handler_that(answer):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def log_message(self, *_):
            pass

    return Handler


ANSWERS = {
    "not found": (lambda handler: handler.send_error(404), "404"),
    "overloaded": (lambda handler: handler.send_error(503), "503"),
    "hangs up": (lambda handler: handler.connection.close(), "Remote end closed connection|Connection reset"),
    "no such protocol": (lambda handler: handler.wfile.write(b"garbage\r\n\r\n"), "garbage"),
    "stops in the middle": (
        lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nonly this"),
        "corrupted|IncompleteRead",
    ),
    "asks to log in": (lambda handler: handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n<html>Log in, please</html>"), "corrupted"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_server_that_answers_badly_gives_the_clear_error(answer, serve, data_folder, temporary_folder):
    act, match = ANSWERS[answer]
    serve("KMNIST", kmnist_contents(), handler=handler_that(act))
    assert_refused(data_folder, temporary_folder, match)


def test_a_silent_server_is_given_up_and_the_programs_own_patience_is_restored(serve, data_folder, temporary_folder):
    seen, before = [], socket.getdefaulttimeout()

    def answer(handler):
        seen.append(socket.getdefaulttimeout())
        handler.send_error(404)

    serve("KMNIST", kmnist_contents(), handler=handler_that(answer))
    try:
        socket.setdefaulttimeout(77)
        assert_refused(data_folder, temporary_folder, "404")
        assert socket.getdefaulttimeout() == 77
    finally:
        socket.setdefaulttimeout(before)
    assert all(0 < patience <= 60 for patience in seen)
    assert seen


def test_what_was_downloaded_before_a_failure_is_kept(serve, data_folder):
    contents = kmnist_contents()
    serve("KMNIST", contents, checksums={"t10k-images-idx3-ubyte.gz": "0" * 32})
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz is not on this machine"):
        load("KMNIST")
    kept = {path.name: path.read_bytes() for path in files_below(data_folder)}
    assert kept == {name: content for name, content in contents.items() if name.startswith("train")}


def test_a_download_into_a_folder_that_cannot_be_written_says_so(serve, unusable_folder):
    serve("KMNIST", kmnist_contents())
    with pytest.raises(DataError, match=r"cannot write.*MNISTLIB_DATA"):
        load("KMNIST")


# FashionMNIST from a system package


def gzip_header(filename, time):
    """A gzip header with a file name, made at a time (8 hexadecimal digits), by Unix."""
    return bytes.fromhex("1f8b0808" + time + "0003") + filename.removesuffix(".gz").encode() + b"\0"


def deflated(content):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush() + struct.pack("<II", zlib.crc32(content), len(content))


@pytest.fixture
def fake_debian(tmp_path, monkeypatch):
    """Small FashionMNIST files as Debian packs them, and the checksums they have with the official headers."""
    folder, arrays, official = tmp_path / "debian", tiny_arrays("FashionMNIST"), []
    folder.mkdir()
    for part, filename, url, _ in datasets._official_files("FashionMNIST"):
        body = deflated(idx(arrays[filename]))
        (folder / filename).write_bytes(bytes.fromhex("1f8b0800000000000203") + body)
        time = {"train": "dee9a759", "test": "f3e9a759"}[part]
        official.append((part, filename, url, md5_of(gzip_header(filename, time) + body)))
    monkeypatch.setattr(datasets, "SYSTEM_DATA", {"FashionMNIST": folder})
    monkeypatch.setattr(datasets, "_official_files", lambda name: official)
    return folder, arrays, {filename: md5 for _, filename, _, md5 in official}


def test_fashionmnist_comes_from_debians_package(fake_debian, no_network):
    _, arrays, _ = fake_debian
    found = load("FashionMNIST")
    np.testing.assert_array_equal(found.train.images[:, 0], arrays["train-images-idx3-ubyte.gz"])
    np.testing.assert_array_equal(found.test.labels, arrays[TEST_LABELS])
    assert found.classes[0] == "T-shirt/top"
    assert no_network == []


def test_fetch_gives_debians_files_their_official_checksum(fake_debian, data_folder, no_network):
    fetch("FashionMNIST")
    packed = {path.name: md5_of(path.read_bytes()) for path in (data_folder / "FashionMNIST" / "raw").glob("*.gz")}
    assert packed == fake_debian[2]
    assert no_network == []


def test_a_damaged_debian_file_is_not_taken(fake_debian, no_network):
    path = fake_debian[0] / TEST_LABELS
    path.write_bytes(flip_one_bit(path.read_bytes()))
    with pytest.raises(DataError, match=f"{TEST_LABELS}: damaged"):
        load("FashionMNIST")


@pytest.mark.skipif(not SYSTEM_FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_real_fashionmnist_of_debian(no_network):
    found = load("FashionMNIST")
    assert found.train.counts() == [6000] * 10
    assert found.test.counts() == [1000] * 10
    assert found.train.labels[:5].tolist() == [9, 0, 0, 3, 0]
    assert no_network == []


# Real files that are only on a developer's machine


def test_real_fashionmnist_files_in_the_data_folder(data_folder, monkeypatch, no_network):
    monkeypatch.setattr(datasets, "SYSTEM_DATA", {})
    raw = data_folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for _, filename, *_ in datasets._official_files("FashionMNIST"):
        (raw / filename).symlink_to(development_file("FashionMNIST", "raw", filename))
    assert load("FashionMNIST").test.counts() == [1000] * 10
    assert no_network == []


def real_file(name, filename, data_folder):
    """One official file, put into the data folder, as `load` reads it."""
    source = development_file(name, "raw", filename)
    (data_folder / name / "raw").mkdir(parents=True, exist_ok=True)
    (data_folder / name / "raw" / filename).symlink_to(source)
    _, _, url, md5 = next(official for official in datasets._official_files(name) if official[1] == filename)
    return datasets._read_idx(datasets._find(name, filename, url, md5), filename)


def theirs(name, filename, data_folder):
    """The same file as torchvision reads it, unpacked."""
    path = data_folder / name / "raw" / filename
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    return torchvision.datasets.mnist.read_sn3_pascalvincent_tensor(str(path.with_suffix("")))


def test_the_real_kmnist_test_images(data_folder, no_network):
    images, labels = (real_file("KMNIST", f"t10k-{kind}-ubyte.gz", data_folder) for kind in ("images-idx3", "labels-idx1"))
    split = datasets._as_split(images, labels, datasets.CLASSES["KMNIST"])
    assert split.images.shape == (10_000, 1, 28, 28)
    assert split.counts() == [1000] * 10
    assert torch.equal(images, theirs("KMNIST", "t10k-images-idx3-ubyte.gz", data_folder))
    assert no_network == []


@pytest.mark.parametrize(("filename", "each"), [("train-labels-idx1-ubyte.gz", 6000), (TEST_LABELS, 1000)])
def test_real_kmnist_labels(filename, each, data_folder, no_network):
    assert real_file("KMNIST", filename, data_folder).long().bincount().tolist() == [each] * 10
    assert no_network == []


@pytest.mark.parametrize("part", ["train", "test"])
def test_real_qmnist_labels_are_those_of_mnist(part, mnist, data_folder, no_network):
    columns = real_file("QMNIST", f"qmnist-{part}-labels-idx2-int.gz", data_folder)
    labels = getattr(mnist, part).labels
    assert columns.shape == (60_000, 8)
    assert columns.dtype == torch.int32
    assert torch.equal(columns, theirs("QMNIST", f"qmnist-{part}-labels-idx2-int.gz", data_folder))
    assert torch.equal(columns[: len(labels), 0].long(), labels)
    split = datasets._as_split(torch.zeros(60_000, 2, 2, dtype=torch.uint8), columns, DIGITS)
    writers = split.label_columns[:, datasets.QMNIST_COLUMNS.index("NIST writer id")]
    assert len(writers.unique()) > 500


def made_up(name, filename, count):
    """A whole file of a dataset's own kind; each image and each row of columns holds its number."""
    number = np.arange(count, dtype=">u4")
    if "images" in filename:
        array = np.zeros((count, 28, 28), np.uint8)
        array[:, 0, :4] = number.view(np.uint8).reshape(count, 4)
    elif name == "QMNIST":
        array = np.zeros((count, len(datasets.QMNIST_COLUMNS)), np.int32)
        array[:, 0], array[:, 5] = number % 10, number
    else:
        array = (number % 10).astype(np.uint8)
    return gzip.compress(idx(array), 1)


@pytest.mark.parametrize(("name", "tests"), [("KMNIST", 10_000), ("QMNIST", 60_000)])
def test_a_dataset_of_full_size_is_read_as_torchvision_reads_it(name, tests, data_folder, monkeypatch, no_network):
    """With the real files where there are any, and made-up ones in place of the others."""
    official, raw = [], data_folder / name / "raw"
    raw.mkdir(parents=True)
    for part, filename, url, md5 in datasets._official_files(name):
        if development_path(name, "raw", filename).is_file():
            (raw / filename).symlink_to(development_path(name, "raw", filename))
        else:
            content = made_up(name, filename, 60_000 if part == "train" else tests)
            (raw / filename).write_bytes(content)
            md5 = md5_of(content)
        official.append((part, filename, url, md5))
    monkeypatch.setattr(datasets, "_official_files", lambda asked: official)
    found, root = load(name), fetch(name)
    assert (len(found.train), len(found.test)) == (60_000, tests)
    for split, train in ((found.train, True), (found.test, False)):
        known = getattr(torchvision.datasets, name)(root, train=train)
        assert torch.equal(split.images[:, 0], known.data)
        assert torch.equal(split.label_columns if name == "QMNIST" else split.labels, known.targets)
        assert min(split.counts()) > 0
    assert no_network == []


# The sample of FashionMNIST


def first_items(content, count):
    """An IDX file of bytes, not packed, cut after its first items: the files in FashionMNIST/sample were made so."""
    sizes = struct.unpack(f">{content[3]}i", content[4 : 4 + 4 * content[3]])
    body = 4 + 4 * len(sizes)
    return content[:4] + struct.pack(">i", count) + content[8 : body + count * int(np.prod(sizes[1:]))]


def test_first_items_cuts_an_idx_file():
    array = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)
    assert first_items(idx(array), 2) == idx(array[:2])
    assert first_items(idx(array[:, 0, 0]), 4) == idx(array[:4, 0, 0])


@pytest.mark.parametrize("filename", SAMPLE_SHA256)
def test_the_sample_is_what_it_was(filename):
    content = (FASHION_SAMPLE / f"{filename}.gz").read_bytes()
    assert hashlib.sha256(gzip.decompress(content)).hexdigest() == SAMPLE_SHA256[filename]
    assert content[3:8] == bytes(5)  # neither a name nor a time in the gzip header


@pytest.mark.parametrize("filename", SAMPLE_SHA256)
def test_the_sample_is_the_beginning_of_the_official_file(filename):
    full = SYSTEM_FASHION / f"{filename}.gz"
    if not full.is_file():
        full = development_file("FashionMNIST", "raw", f"{filename}.gz")
    first = first_items(gzip.decompress(full.read_bytes()), 2000 if filename.startswith("train") else 1000)
    assert gzip.decompress((FASHION_SAMPLE / f"{filename}.gz").read_bytes()) == first


def test_the_sample_of_fashionmnist_needs_no_network_and_no_data_folder(no_network, data_folder, monkeypatch):
    monkeypatch.setattr(datasets, "SYSTEM_DATA", {})
    found = sample("FashionMNIST")
    assert repr(found) == "ImageDataset(FashionMNIST: train 2,000, test 1,000, 10 classes)"
    assert found.train.images.shape == (2000, 1, 28, 28)
    assert found.classes == datasets.CLASSES["FashionMNIST"]
    assert found.train.labels[:5].tolist() == [9, 0, 0, 3, 0]
    assert min(found.train.counts() + found.test.counts()) > 80
    assert no_network == []
    assert not data_folder.exists()


def test_the_sample_of_mnist_is_its_beginning(mnist, no_network):
    found = sample("MNIST")
    for part, count in (("train", 2000), ("test", 1000)):
        assert torch.equal(getattr(found, part).images, getattr(mnist, part).images[:count])
        assert torch.equal(getattr(found, part).labels, getattr(mnist, part).labels[:count])
    assert no_network == []


@pytest.mark.parametrize("name", ["KMNIST", "QMNIST"])
def test_a_dataset_without_a_sample_says_how_to_get_the_whole(name, no_network):
    with pytest.raises(ValueError, match=f"{name} has no sample.*python -m mnistlib data {name}"):
        sample(name)
    assert no_network == []


SAMPLE_DAMAGES = DAMAGES | {
    "no IDX file": lambda content: gzip.compress(b"<html>"),
    "cut, and packed again": lambda content: gzip.compress(gzip.decompress(content)[:-1]),
}


@pytest.mark.parametrize("damage", SAMPLE_DAMAGES)
@pytest.mark.parametrize("filename", ["train-images-idx3-ubyte.gz", TEST_LABELS])
def test_a_damaged_sample_is_refused_by_name(filename, damage, tmp_path, monkeypatch):
    shutil.copytree(FASHION_SAMPLE, tmp_path / "FashionMNIST" / "sample")
    path = tmp_path / "FashionMNIST" / "sample" / filename
    path.write_bytes(SAMPLE_DAMAGES[damage](path.read_bytes()))
    monkeypatch.setattr(datasets, "PACKAGE_DATA", tmp_path)
    with pytest.raises(DataError, match=re.escape(filename)):
        sample("FashionMNIST")


def test_a_missing_sample_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "PACKAGE_DATA", tmp_path)
    with pytest.raises(DataError, match=r"cannot read .*train-images-idx3-ubyte\.gz.*install it again"):
        sample("FashionMNIST")


# The IDX format

BYTES = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
INTEGERS = np.arange(-4, 8, dtype=np.int32).reshape(4, 3) * 100_000


def read(content):
    return datasets._read_idx(gzip.compress(content, 1), "file.gz")


def assert_same_or_refused(content, array):
    try:
        found = read(content)
    except DataError as error:
        assert "file.gz" in str(error)  # noqa: PT017 — either outcome is right
    else:
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("array", [BYTES, INTEGERS, BYTES.reshape(60), BYTES[:0]])
def test_an_idx_file_is_read_as_it_was_written(array):
    found = read(idx(array))
    np.testing.assert_array_equal(found, array)
    assert found.dtype == {"uint8": torch.uint8, "int32": torch.int32}[array.dtype.name]
    assert found.is_contiguous()


@given(data=st.data(), array=st.sampled_from([BYTES, INTEGERS]))
def test_an_idx_file_with_one_header_byte_changed_is_refused(data, array):
    content = idx(array)
    place = data.draw(st.integers(0, 4 + 4 * array.ndim - 1))
    changed = data.draw(st.integers(0, 255))
    assert_same_or_refused(content[:place] + bytes([changed]) + content[place + 1 :], array)


@pytest.mark.parametrize("array", [BYTES, INTEGERS])
def test_an_idx_file_cut_anywhere_is_refused(array):
    content = idx(array)
    for length in range(len(content)):
        with pytest.raises(DataError, match=r"file\.gz"):
            read(content[:length])


@given(extra=st.binary(min_size=1, max_size=20), array=st.sampled_from([BYTES, INTEGERS]))
def test_an_idx_file_with_something_behind_is_refused(extra, array):
    with pytest.raises(DataError, match="length"):
        read(idx(array) + extra)


@given(
    kind=st.sampled_from([0x08, 0x0C]), shape=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5), body=st.binary(max_size=40)
)
@example(kind=0x08, shape=[-3, -4, 5], body=BYTES.tobytes())  # the product is right, the sizes are not
@example(kind=0x08, shape=[2**16] * 4, body=b"")  # the product is 2⁶⁴, which overflows to 0
@example(kind=0x08, shape=[0, -1, 5], body=b"")
@example(kind=0x08, shape=[1] * 200, body=b"x")  # more dimensions than NumPy has
def test_an_idx_file_with_any_sizes_is_read_or_refused(kind, shape, body):
    content = struct.pack(f">BBBB{len(shape)}i", 0, 0, kind, len(shape), *shape) + body
    try:
        found = read(content)
    except DataError:
        return
    assert list(found.shape) == shape
    assert found.numel() * found.element_size() == len(body)


@given(content=st.binary(max_size=60))
@example(content=b"")
@example(content=b"\0\0\x08")
@example(content=b"\0\0\x08\x03\0\0")  # ends within the sizes
def test_any_bytes_are_read_or_refused(content):
    try:
        read(content)
    except DataError as error:
        assert "file.gz" in str(error)  # noqa: PT017


# Split


def images_of(count, size=2):
    return torch.zeros(count, 1, size, size, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (torch.zeros(4, 1, 2, 2), "float32 of shape [4, 1, 2, 2]"),
        (torch.zeros(4, 2, 2, dtype=torch.uint8), "uint8 of shape [4, 2, 2]"),
        (torch.zeros(4, 3, 2, 2, dtype=torch.uint8), "uint8 of shape [4, 3, 2, 2]"),
    ],
)
def test_images_of_another_kind_are_refused_with_the_conversion(images, got):
    with pytest.raises(ValueError, match="images must be uint8 of shape") as caught:
        Split(images, torch.zeros(4, dtype=torch.int64))
    assert got in str(caught.value)
    assert "(x * 255).round().to(torch.uint8)" in str(caught.value)
    assert "x[:, None]" in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "got"),
    [
        (torch.zeros(4), "float32 of shape [4]"),
        (torch.zeros(4, dtype=torch.uint8), "uint8 of shape [4]"),
        (torch.zeros(3, dtype=torch.int64), "int64 of shape [3]"),
        (torch.zeros(4, 10, dtype=torch.int64), "int64 of shape [4, 10]"),
    ],
)
def test_labels_of_another_kind_are_refused(labels, got):
    with pytest.raises(ValueError, match=r"labels must be int64 of shape \[4\], one for each image") as caught:
        Split(images_of(4), labels)
    assert got in str(caught.value)


@pytest.mark.parametrize("labels", [[0, 10], [-1, 3]])
def test_labels_out_of_range_are_refused(labels):
    with pytest.raises(ValueError, match=f"labels must be 0 to 9 for 10 classes; got {labels[0]} to {labels[1]}"):
        Split(images_of(2), torch.tensor(labels))


def test_the_number_of_classes_limits_the_labels():
    with pytest.raises(ValueError, match="labels must be 0 to 1 for 2 classes; got 0 to 2"):
        Split(images_of(3), torch.tensor([0, 1, 2]), ("a", "b"))


def test_a_split_may_be_empty():
    empty = Split(images_of(0), torch.zeros(0, dtype=torch.int64))
    assert len(empty) == 0
    assert empty.counts() == [0] * 10
    assert list(empty.batches(1)) == []


ORDER = [4, 0, 7]


@pytest.mark.parametrize(
    "which",
    [
        ORDER,
        np.array(ORDER),
        torch.tensor(ORDER),
        torch.tensor(ORDER, dtype=torch.int32),
    ],
    ids=["list", "numpy", "int64", "int32"],
)
def test_take_by_index_keeps_the_order_asked_for(fake_split, which):
    split = fake_split(10)
    taken = split.take(which)
    assert taken.labels.tolist() == ORDER
    assert torch.equal(taken.images, split.images[ORDER])
    assert taken.classes == split.classes


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_take_by_mask(fake_split, kind):
    split = fake_split(10)
    assert split.take(kind([i % 3 == 0 for i in range(10)])).labels.tolist() == [0, 3, 6, 9]
    assert split.take(split.labels > 7).labels.tolist() == [8, 9]


@pytest.mark.parametrize(("count", "expected"), [(3, 3), (0, 0), (10, 10), (99, 10)])
def test_take_a_number_gives_the_first_ones(fake_split, count, expected):
    assert fake_split(10).take(count).labels.tolist() == list(range(expected))


@pytest.mark.parametrize("which", [[], np.array([], dtype=np.int64), torch.tensor([], dtype=torch.int64)])
def test_take_nothing_gives_an_empty_split(fake_split, which):
    assert len(fake_split(10).take(which)) == 0


def test_split_cuts_every_image_into_one_part(fake_split):
    split = fake_split(50)
    parts = split.split(30, 15, 5, seed=3)
    assert [len(part) for part in parts] == [30, 15, 5]
    together = torch.cat([part.images for part in parts])
    assert not torch.equal(together, split.images)
    assert sorted(map(bytes, together.numpy())) == sorted(map(bytes, split.images.numpy()))


def test_split_depends_on_the_seed_alone(fake_split):
    first, again, other = (fake_split(50).split(50, seed=seed)[0].labels for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("sizes", [(5, 6), (4, 5), (), (10, 0), (-1, 11)])
def test_split_sizes_that_do_not_fit_are_refused(fake_split, sizes):
    with pytest.raises(ValueError, match="sizes must be positive and add up to 10") as caught:
        fake_split(10).split(*sizes)
    assert str(sizes) in str(caught.value)


def test_split_with_the_published_seed_gives_the_published_parts(mnist):
    """Seed 101011 on all 70,000 images, train then test, as published; first indices and class counts are known."""
    labels = torch.cat([mnist.train.labels, mnist.test.labels])
    number = torch.arange(70_000)
    images = torch.stack([number >> 16, (number >> 8) & 255, number & 255, number * 0], 1)  # each image holds its own index
    everything = Split(images.to(torch.uint8).view(-1, 1, 2, 2), labels)
    parts = everything.split(49_000, 14_000, 7_000, seed=101011)
    indices = [part.images.flatten(1).long() @ torch.tensor([65536, 256, 1, 0]) for part in parts]
    assert [list(i[:n]) for i, n in zip(indices, (3, 2, 2), strict=True)] == [
        [15852, 36271, 45073],
        [61770, 50774],
        [55238, 32032],
    ]
    assert [part.counts() for part in parts] == [
        [4761, 5555, 4901, 5007, 4738, 4421, 4763, 5105, 4828, 4921],
        [1468, 1537, 1397, 1422, 1360, 1252, 1412, 1451, 1346, 1355],
        [674, 785, 692, 712, 726, 640, 701, 737, 651, 682],
    ]
    assert torch.equal(torch.cat(indices).sort().values, number)
    assert all(torch.equal(part.labels, labels[i]) for part, i in zip(parts, indices, strict=True))


@pytest.mark.parametrize("size", [32, 20])
def test_resized_is_bilinear_and_keeps_the_labels(mnist, size):
    split = mnist.test.take(20)
    resized = split.resized(size)
    assert resized.images.shape == (20, 1, size, size)
    assert resized.images.dtype == torch.uint8
    assert torch.equal(resized.labels, split.labels)
    exact = F.interpolate(split.images.float(), (size, size), mode="bilinear", antialias=True)
    assert (resized.images.float() - exact).abs().max() <= 1


def test_counts_lists_absent_classes_too():
    assert Split(images_of(4), torch.tensor([1, 3, 3, 3])).counts() == [0, 1, 0, 3, 0, 0, 0, 0, 0, 0]


def test_to_moves_the_images_the_labels_and_qmnists_columns():
    """The "meta" device has no values, so it takes an empty split only; it stands for any other device."""
    empty = Split(images_of(0), torch.zeros(0, dtype=torch.int64), DIGITS, torch.zeros(0, 8, dtype=torch.int64))
    moved = empty.to("meta")
    assert {moved.images.device.type, moved.labels.device.type, moved.label_columns.device.type} == {"meta"}


def test_batches_hold_bytes_over_255_in_the_order_stored(mnist):
    split = mnist.test.take(25)
    batches = list(split.batches(10))
    assert [len(labels) for _, labels in batches] == [10, 10, 5]
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert images.dtype == torch.float32
    assert images.max() == 1
    assert torch.equal(images, split.images.float() / 255)
    assert torch.equal(labels, split.labels)


def test_batches_do_not_change_the_split(fake_split):
    split, before = fake_split(10), fake_split(10)
    for images, labels in split.batches(5):
        images.zero_()
        labels + 1
    assert torch.equal(split.images, before.images)


def test_batches_with_a_generator_visit_each_image_once_in_a_new_order_each_time():
    split = Split(torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1), torch.arange(100) % 10)
    generator = torch.Generator().manual_seed(0)
    epochs = []
    for _ in range(2):
        images, labels = (torch.cat(parts) for parts in zip(*split.batches(30, generator), strict=True))
        epochs.append((images.flatten() * 255).round().int().tolist())
        assert [number % 10 for number in epochs[-1]] == labels.tolist()
        assert sorted(epochs[-1]) == list(range(100))
    assert epochs[0] != epochs[1]
    assert list(range(100)) not in epochs


def test_batches_follow_the_generators_seed(fake_split):
    orders = [
        torch.cat([labels for _, labels in fake_split(50).batches(7, torch.Generator().manual_seed(seed))]) for seed in (1, 1, 2)
    ]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


@pytest.mark.parametrize("size", [0, -1, 11])
def test_a_batch_size_that_does_not_fit_is_refused(fake_split, size):
    with pytest.raises(ValueError, match=f"batch size must be 1 to 10, the number of images; got {size}"):
        next(fake_split(10).batches(size))
