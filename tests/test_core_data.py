"""The datasets: the real files, every way in which they can be missing or damaged, and `Split`."""

import functools
import gzip
import hashlib
import http.server
import itertools
import os
import struct
import threading
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torchvision
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as transforms

from mnistlib import data
from mnistlib.augment import Augmentation
from mnistlib.base.files import DataError
from mnistlib.data import DIGITS, Split, load

SHA256 = {  # of the uncompressed files of MNIST
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
PACKAGED = data.PACKAGE_DATA / "MNIST" / "raw"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"


def idx(array):
    """An array as the bytes of an IDX file."""
    kind, stored = {"uint8": (0x08, "u1"), "int32": (0x0C, ">i4")}[array.dtype.name]
    return struct.pack(f">BBBB{array.ndim}i", 0, 0, kind, array.ndim, *array.shape) + array.astype(stored).tobytes()


def test_mnist_is_the_real_one_and_needs_neither_a_network_nor_a_data_folder(no_network, data_folder):
    mnist = load()
    assert repr(mnist) == "ImageDataset(MNIST: train 60,000, test 10,000, 10 classes)"
    assert repr(mnist.test) == "Split(10,000 images of 28×28, 10 classes)"
    assert mnist.test.counts() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    for part, split in (("train", mnist.train), ("t10k", mnist.test)):
        images, labels = idx(split.images[:, 0].numpy()), idx(split.labels.numpy().astype(np.uint8))
        assert hashlib.sha256(images).hexdigest() == SHA256[f"{part}-images-idx3-ubyte"]
        assert hashlib.sha256(labels).hexdigest() == SHA256[f"{part}-labels-idx1-ubyte"]
    assert no_network == []
    assert not data_folder.exists()


@pytest.mark.parametrize("name", data.CLASSES)
def test_files_and_classes_are_those_of_torchvision(name):
    theirs = getattr(torchvision.datasets, name)
    resources = theirs.resources if name != "QMNIST" else theirs.resources["train"] + theirs.resources["test"]
    assert data.official_files(name) == [(url.rpartition("/")[2], md5) for url, md5 in resources]
    assert name in ("MNIST", "QMNIST") or data.CLASSES[name] == tuple(theirs.classes)


def test_resized_is_the_resize_of_torchvision(mnist):
    for size in (32, 20, 1, 41):
        theirs = transforms.resize(mnist.test.images[:200].float(), [size, size], antialias=True).round()
        assert (mnist.test.take(200).resized(size).images - theirs).abs().max() <= 1  # theirs depends on the processor


def test_torchvision_reads_the_same_digits_from_the_same_files(mnist, tmp_path, no_network):
    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for filename in SHA256:
        (raw / f"{filename}.gz").symlink_to(PACKAGED / f"{filename}.gz")
    for train, split in ((True, mnist.train), (False, mnist.test)):
        theirs = torchvision.datasets.MNIST(tmp_path / "root", train=train, download=True)
        assert torch.equal(theirs.data, split.images[:, 0])
        assert torch.equal(theirs.targets, split.labels)
    assert no_network == []


def numbered(labels):
    """A split in which each image, 1×1, holds the last two digits of its number."""
    return Split((torch.arange(len(labels)) % 100).to(torch.uint8).view(-1, 1, 1, 1), labels)


def test_a_split_is_the_same_on_every_machine(mnist):
    train, valid = numbered(mnist.train.labels).split(55_000, 5_000, seed=0)
    assert train.images[:5].flatten().tolist() == [13, 72, 84, 19, 41]  # of 24413, 42772, 6584, 51319, 6641
    assert valid.images[:5].flatten().tolist() == [13, 46, 83, 92, 91]  # of 31713, 48146, 32083, 54292, 7591
    # What Maple-Lazuli/shenanigans published: seed 101011 on all 70,000 images.
    parts = numbered(torch.cat([mnist.train.labels, mnist.test.labels])).split(49_000, 14_000, 7_000, seed=101011)
    assert [part.images[:2].flatten().tolist() for part in parts] == [[52, 71], [70, 74], [38, 32]]
    assert parts[2].counts() == [674, 785, 692, 712, 726, 640, 701, 737, 651, 682]


def flip_a_bit(path):
    content = bytearray((PACKAGED / path.name).read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_damaged_files_in_the_data_folder_do_no_harm(mnist, data_folder, no_network):
    raw = data_folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    truncate = lambda path: path.write_bytes((PACKAGED / path.name).read_bytes()[:-100])  # noqa: E731
    damages = (flip_a_bit, Path.mkdir, truncate, getattr(os, "mkfifo", Path.touch))
    for damage, filename in zip(damages, SHA256, strict=True):
        damage(raw / f"{filename}.gz")
    found = load("MNIST")
    for split, good in ((found.train, mnist.train), (found.test, mnist.test)):
        assert torch.equal(split.images, good.images)
        assert torch.equal(split.labels, good.labels)
    assert no_network == []


def test_a_file_that_cannot_be_read_is_passed_over_and_named_where_there_is_no_other(data_folder, monkeypatch):
    for name in ("MNIST", "KMNIST"):
        (data_folder / name / "raw").mkdir(parents=True)
        (data_folder / name / "raw" / TEST_LABELS).write_bytes(b"secret")
    refuse = Mock(side_effect=PermissionError(13, "Permission denied"))  # root may read everything
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (refuse if data_folder in path.parents else read_bytes)(path))
    assert len(load("MNIST").test) == 10_000
    with pytest.raises(ValueError, match=r"unknown dataset 'EMNIST'; .* MNIST, FashionMNIST, KMNIST, QMNIST"):
        load("EMNIST")
    with pytest.raises(DataError, match=rf"{TEST_LABELS} cannot be read: Permission denied"):
        load("KMNIST", download=False)


@pytest.mark.parametrize("name", ["KMNIST", "QMNIST"])
def test_without_a_network_one_error_says_what_was_tried_and_what_to_do(name, data_folder, no_network):
    damaged = data_folder / name / "raw" / data.official_files(name)[0][0]
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"half a download")
    with pytest.raises(DataError, match=f"^{name} is not on this machine.") as caught:
        load(name)
    assert str(caught.value).count(f"{damaged} is damaged") == 1
    for words in ("the download failed: ", f"python -m mnistlib data {name}", f"files to {damaged.parent}"):
        assert words in str(caught.value)
    assert no_network  # it did try
    assert os.listdir(damaged.parent) == [damaged.name]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): ...


@pytest.fixture
def offered(tmp_path, monkeypatch):
    """The folder of a small KMNIST on a server of our own, where torchvision downloads it, and its labels."""
    labels, known = np.arange(5, dtype=np.uint8), []
    handler = functools.partial(Quiet, directory=str(tmp_path / "server"))
    (tmp_path / "server").mkdir()
    for filename, _ in data.official_files("KMNIST"):
        content = gzip.compress(idx(np.zeros((5, 28, 28), np.uint8) if "images" in filename else labels))
        (tmp_path / "server" / filename).write_bytes(content)
        known.append((filename, hashlib.md5(content).hexdigest()))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(torchvision.datasets.KMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(torchvision.datasets.KMNIST, "resources", known)
    (tmp_path / "MD5SUMS").write_text("".join(f"{md5}  KMNIST/raw/{filename}\n" for filename, md5 in known))
    monkeypatch.setattr(data, "CHECKSUMS", tmp_path / "MD5SUMS")
    yield tmp_path / "server", labels.tolist()
    server.shutdown()
    server.server_close()


def test_a_download_is_whole_files_or_none_and_a_systems_package_is_taken(offered, data_folder, tmp_path, monkeypatch):
    folder, labels = offered
    good = (folder / TEST_LABELS).read_bytes()
    (folder / TEST_LABELS).write_bytes(b"<html>Log in, please</html>")
    with pytest.raises(DataError, match="the download failed"):
        load("KMNIST")
    assert os.listdir(data_folder / "KMNIST" / "raw") == []
    (folder / TEST_LABELS).write_bytes(good)
    assert load("KMNIST").train.labels.tolist() == labels
    system = folder.rename(tmp_path / "system")
    assert load("KMNIST").test.labels.tolist() == labels
    monkeypatch.setenv("MNISTLIB_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr(data, "SYSTEM_DATA", {"KMNIST": system})
    for path in system.iterdir():  # the same content behind another gzip header, as in Debian's package
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), mtime=1))
    assert load("KMNIST", download=False).test.labels.tolist() == labels
    (system / TEST_LABELS).write_bytes(good[:-4])
    with pytest.raises(DataError, match=f"{TEST_LABELS} is not a gzip file, or it is damaged"):
        load("KMNIST")


def test_an_idx_file_is_read_as_it_was_written_and_refused_when_its_length_or_header_changed():
    read = lambda content: data.read_idx(gzip.compress(content, 1), Path("file.gz"))  # noqa: E731
    array = np.arange(-4, 8, dtype=np.int32).reshape(4, 3) * 1000
    content = idx(array)
    np.testing.assert_array_equal(read(content), array)
    changed = itertools.product(range(4 + 4 * array.ndim), (0, 1, 4, 8, 12, 127, 255))
    wrong = [content[:i] + bytes([byte]) + content[i + 1 :] for i, byte in changed if content[i] != byte]
    wrong += [content[:length] for length in range(len(content))] + [content + b"x"]
    for shape in ([-3, -4, 5], [2**16] * 4, [1] * 60):  # the product of the sizes is right, or overflows; too many
        wrong.append(struct.pack(f">BBBB{len(shape)}i", 0, 0, 8, len(shape), *shape) + bytes(60))
    for damaged in wrong:
        with pytest.raises(DataError, match=r"file\.gz"):
            read(damaged)


def test_images_and_labels_of_another_kind_are_refused():
    images, labels = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.arange(4)
    for wrong in (images / 255, images[:, 0], images.repeat(1, 3, 1, 1), images.numpy(), None):
        with pytest.raises(
            (ValueError, TypeError), match=r"images must be a (uint8 tensor \[N, 1, H, W\]|torch.Tensor)"
        ):
            Split(wrong, labels)
    for wrong in (labels.float(), labels.to(torch.uint8), labels[:3], labels[:, None], [0, 1, 2, 3]):
        with pytest.raises((ValueError, TypeError), match=r"labels must be an? (int64 tensor \[4\]|torch.Tensor)"):
            Split(images, wrong)
    for wrong, classes in ((labels - 1, DIGITS), (labels + 7, DIGITS), (labels, ("a", "b", "c"))):
        with pytest.raises(ValueError, match=f"labels must be 0 to {len(classes) - 1}"):
            Split(images, wrong, classes)
    assert Split(images, labels, ("a", "b", "c", "d")).counts() == [1] * 4


def test_take_keeps_the_order_asked_for_and_everything_else(fake_split):
    split = fake_split(10, classes=DIGITS, augmentation=Augmentation(degrees=5))
    whole = [3, np.int64(3), torch.tensor(3), np.uint8(3), [0, 1, 2], range(3), split.labels < 3, np.arange(10) < 3]
    for which in (*whole, [i < 3 for i in range(10)]):
        assert split.take(which).labels.tolist() == [0, 1, 2]
    for which in ([4, 0, 7], np.array([4, 0, 7]), torch.tensor([4, 0, 7], dtype=torch.int32)):
        assert torch.equal(split.take(which).images, split.images[[4, 0, 7]])
    for nothing in (0, [], np.array([], dtype=np.int64), split.labels > 9):
        assert len(empty := split.take(nothing)) == 0
        assert (empty.counts(), list(empty.batches(1))) == ([0] * 10, [])
    assert (len(split.take(99)), split.take(2).augmentation) == (10, split.augmentation)
    for nonsense in (True, 2.5, -1, "abc", None, torch.tensor(2.0), np.float32(2), slice(3), {1}):
        with pytest.raises(ValueError, match="take needs a number from 0 on, a list of indices below 10, or a mask"):
            split.take(nonsense)


def test_split_puts_every_image_into_one_part_and_depends_on_the_seed_alone():
    split = numbered(torch.zeros(50, dtype=torch.int64))
    cut = lambda *sizes, seed: [part.images.flatten().tolist() for part in split.split(*sizes, seed=seed)]  # noqa: E731
    parts = cut(30, np.int64(15), torch.tensor(5), seed=3)
    assert [len(part) for part in parts] == [30, 15, 5]
    assert sorted(itertools.chain(*parts)) == list(range(50))
    assert cut(30, 15, 5, seed=np.int64(3)) == cut(30, 15, 5, seed=torch.tensor(3)) == parts != cut(30, 15, 5, seed=4)
    for wrong in ((30, 21), (30, 19), (), (50, 0), (-1, 51), (25.0, 25.0), (True, 49), ("25", "25")):
        with pytest.raises((ValueError, TypeError), match=r"sizes must be (whole numbers above 0 that|a whole number)"):
            split.split(*wrong)


def test_resized_is_bilinear(mnist):
    split = mnist.test.take(20)
    assert split.resized(28) is split
    for size in (32, 20):
        resized = split.resized(size)
        exact = F.interpolate(split.images.float(), (size, size), mode="bilinear", antialias=True)
        assert (resized.images.float() - exact).abs().max() <= 1
        assert (resized.images.dtype, resized.labels.tolist()) == (torch.uint8, split.labels.tolist())
    for wrong in (0, -3, 32.0, True, "x", None):
        with pytest.raises((ValueError, TypeError), match=r"size must be (1 to 10,000 pixels|a whole number)"):
            split.resized(wrong)


def test_batches_are_the_images_in_0_to_1_in_their_order_or_in_a_new_one_at_each_call(mnist):
    split, generator = mnist.test.take(25), torch.Generator().manual_seed(0)
    before, batches = split.images.clone(), list(split.batches(np.int64(10)))
    assert [len(labels) for _, labels in batches] == [10, 10, 5]
    assert torch.equal(torch.cat([images for images, _ in batches]), split.images.float() / 255)
    assert torch.equal(torch.cat([labels for _, labels in batches]), split.labels)
    first, second = ([y for _, labels in split.batches(10, generator) for y in labels.tolist()] for _ in range(2))
    assert first == [y for _, ys in split.batches(10, generator.manual_seed(0)) for y in ys.tolist()] != second
    assert sorted(first) == sorted(second) == sorted(split.labels.tolist())
    augmented = split.augmented(Augmentation(degrees=20))
    assert torch.equal(next(augmented.batches(25))[0], split.images.float() / 255)  # in training only
    changed, plain = (next(each.batches(25, generator.manual_seed(1)))[0] for each in (augmented, split))
    assert 0 < (changed - plain).abs().mean() < 0.2  # in the same order
    plain.zero_()
    assert torch.equal(split.images, before)
    for wrong in (0, -1, 26, 5.0, True, "x", None, torch.tensor([5])):
        with pytest.raises((ValueError, TypeError), match=r"size must be (1 to 25, the|a whole) number"):
            next(split.batches(wrong))
