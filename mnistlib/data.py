"""The four datasets of the course as tensors: MNIST, FashionMNIST, KMNIST and QMNIST. Introduced in notebook 01.

``load("MNIST")`` works offline: the official files are part of this package. Torchvision downloads the others.
"""

import gzip
import hashlib
import math
import operator
import os
import random
import socket
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from mnistlib.augment import Augmentation
from mnistlib.base.checks import checked, is_whole
from mnistlib.base.files import DataError, data_folder

DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
HIRAGANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
CLASSES = {"MNIST": DIGITS, "FashionMNIST": CLOTHES, "KMNIST": HIRAGANA, "QMNIST": DIGITS}  # MD5SUMS lists their files
PACKAGE_DATA = Path(__file__).parent / "datasets"
CHECKSUMS = PACKAGE_DATA / "MD5SUMS"  # the md5 of every official file
SYSTEM_DATA = {"FashionMNIST": Path("/usr/share/datasets/fashion-mnist")}  # Debian's package dataset-fashion-mnist


@checked
@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, all of them in memory. Introduced in notebook 00, explained in 01.

    images: uint8 ``[N, 1, H, W]``, 0 is paper, 255 is ink; labels: int64 ``[N]``, 0 to ``len(classes) - 1``;
    classes: the name of each label; augmentation: see `augmented`. Raises ValueError for other dtypes or shapes.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...] = DIGITS
    augmentation: Augmentation | None = None

    def __post_init__(self):
        images, labels, last = self.images, self.labels, len(self.classes) - 1
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(
                f"images must be a uint8 tensor [N, 1, H, W], got {images.dtype} {list(images.shape)}. "
                "For floats in 0–1: (x * 255).round().to(torch.uint8); for [N, H, W]: x[:, None]."
            )
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            got = f"{labels.dtype} {list(labels.shape)}"
            raise ValueError(f"labels must be an int64 tensor [{len(images)}], one per image; got {got}.")
        if len(labels) and not (labels.min() >= 0 and labels.max() <= last):
            raise ValueError(f"labels must be 0 to {last}, one for each class; got {labels.min()} to {labels.max()}.")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        n, _, height, width = self.images.shape
        return f"Split({n:,} images of {height}×{width}, {len(self.classes)} classes)"

    def take(self, which) -> "Split":
        """Return the first ``which`` images, or those at the indices of a list, an index tensor or a boolean mask."""
        try:
            if is_whole(which) and which >= 0:
                index = slice(operator.index(which))
            else:
                index = torch.as_tensor(which, device=self.images.device)
                index = index if len(index) else index.long()  # an empty list has no dtype of its own
            return replace(self, images=self.images[index], labels=self.labels[index])
        except (TypeError, ValueError, RuntimeError, IndexError):
            what = f"a number from 0 on, a list of indices below {len(self):,}, or a mask"
            raise ValueError(f"take needs {what}; got {which!r:.80}.") from None

    @checked
    def split(self, *sizes: int, seed: int = 0) -> list["Split"]:
        """Shuffle the images, then cut them into parts of these sizes, which must add up to all images.

        Python's ``random.Random(seed).shuffle`` gives the same order on every machine and in every version.
        """
        if sum(sizes) != len(self) or min(sizes, default=0) < 1:
            raise ValueError(f"sizes must be whole numbers above 0 that add up to {len(self):,}; got {sizes}.")
        order = list(range(len(self)))
        random.Random(operator.index(seed)).shuffle(order)
        return [self.take(part) for part in torch.tensor(order).split([operator.index(size) for size in sizes])]

    @checked
    def resized(self, size: int) -> "Split":
        """Stretch each image to ``size × size`` with bilinear interpolation, as torchvision's Resize does."""
        if not 1 <= size <= 10_000:
            raise ValueError(f"size must be 1 to 10,000 pixels; got {size}.")
        if self.images.shape[-2:] == (size, size):
            return self
        images = F.interpolate(self.images.cpu(), (size, size), mode="bilinear", antialias=True)  # the same on a GPU
        return replace(self, images=images.to(self.images.device))

    @checked
    def augmented(self, augmentation: Augmentation | None) -> "Split":
        """Return the same images, each of which training then changes at random in every epoch. Notebook 06."""
        return replace(self, augmentation=augmentation)

    def counts(self) -> list[int]:
        """Return the number of images in each class."""
        return torch.bincount(self.labels, minlength=len(self.classes)).tolist()

    def to(self, device) -> "Split":
        """Return the same images and labels on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    @checked
    def batches(self, size: int, generator: torch.Generator | None = None) -> Iterator:
        """Yield (images float32 ``[B, 1, H, W]`` in 0–1, labels int64 ``[B]``), each image once.

        With a CPU generator the order is random and new at each call, and the images are augmented; without one they
        come as they are stored. The last batch holds the remainder. Indexing one tensor is many times faster than a
        DataLoader. Raises ValueError for a size that does not fit. Introduced in notebook 03.
        """
        if not 1 <= size <= max(len(self), 1):
            raise ValueError(f"batch size must be 1 to {len(self):,}, the number of images; got {size}.")
        order = None if generator is None else torch.randperm(len(self), generator=generator).to(self.images.device)
        for start in range(0, len(self), size):
            rows = slice(start, start + size) if order is None else order[start : start + size]
            images = self.images[rows].to(torch.get_default_dtype()).div_(255)
            if self.augmentation is not None and generator is not None:
                images = self.augmentation(images, generator)
            yield images, self.labels[rows]


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """The official training and test images of a dataset. Introduced in notebook 00, explained in 01."""

    name: str
    train: Split
    test: Split

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    def __repr__(self) -> str:
        train, test = len(self.train), len(self.test)
        return f"ImageDataset({self.name}: train {train:,}, test {test:,}, {len(self.classes)} classes)"


@checked
def load(name: str = "MNIST", download: bool = True) -> ImageDataset:
    """Load MNIST, FashionMNIST, KMNIST or QMNIST. Introduced in notebook 00.

    Each file is looked for in the data folder (`data_folder`), in this package (MNIST), and in Debian's package
    (FashionMNIST). If one is missing and ``download`` is True, torchvision downloads the dataset to the data folder.
    Raises ValueError for an unknown name, and `DataError` when a file is missing. Sources: LeCun, Cortes and Burges;
    Xiao et al. 2017 (FashionMNIST); Clanuwat et al. 2018 (KMNIST); Yadav and Bottou 2019 (QMNIST).
    """
    files = official_files(name)
    found, problems = find_files(name, files)
    if len(found) < len(files) and download:
        problems += _download(name)
        found, more = find_files(name, files)
        problems += more
    if len(found) < len(files):
        listed = "".join(f"\n  - {problem}" for problem in dict.fromkeys(problems))
        remedy = f"Connect to the internet and run: python -m mnistlib data {name}\nOr copy its four files"
        raise DataError(f"{name} is not on this machine.{listed}\n{remedy} to {data_folder() / name / 'raw'}")
    return dataset(name, found)


def official_files(name: str) -> list[tuple[str, str]]:
    """Return (file name, md5) of a dataset's four files: training images and labels, then test images and labels."""
    if name not in CLASSES:
        raise ValueError(f"unknown dataset {name!r}; the datasets are {', '.join(CLASSES)}.")
    lines = (line.split() for line in CHECKSUMS.read_text("utf-8").splitlines())
    return [(path.rpartition("/")[2], md5) for md5, path in lines if path.startswith(f"{name}/")]


def find_files(name: str, files: list[tuple[str, str]]) -> tuple[list[tuple[Path, bytes]], list[str]]:
    """Return (path, bytes) of each file from the first folder with a good copy, and what is wrong with other copies."""
    found, problems = [], []
    for filename, md5 in files:
        for folder in (data_folder() / name / "raw", PACKAGE_DATA / name / "raw", SYSTEM_DATA.get(name, Path())):
            path = folder / filename
            if not path.is_file():  # missing, or a folder or a pipe
                continue
            try:
                content = path.read_bytes()
            except OSError as error:
                problems.append(f"{path} cannot be read: {error.strerror}")
                continue
            if folder == SYSTEM_DATA.get(name) or hashlib.md5(content, usedforsecurity=False).hexdigest() == md5:
                found.append((path, content))  # Debian's files have another gzip header, and checksums of their own
                break
            problems.append(f"{path} is damaged: its md5 is not {md5}")
    return found, problems


def _download(name: str) -> list[str]:
    """Let torchvision download a dataset into the data folder, whole files only, and return what went wrong."""
    raw, timeout = data_folder() / name / "raw", socket.getdefaulttimeout()
    try:
        import torchvision  # late, because only a download needs it

        socket.setdefaulttimeout(30)  # torchvision would wait for a silent server without end
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=raw) as folder:
            for option in ({"what": "train"}, {"what": "test"}) if name == "QMNIST" else ({},):
                getattr(torchvision.datasets, name)(folder, download=True, **option)
            for path in (Path(folder) / name / "raw").iterdir():
                os.replace(path, raw / path.name)
    except (OSError, RuntimeError, ImportError) as error:
        return [f"the download failed: {' '.join(str(error).split())}"]
    finally:
        socket.setdefaulttimeout(timeout)
    return []


def dataset(name: str, files: list[tuple[Path, bytes]]) -> ImageDataset:
    """Turn a dataset's four files, in the order of `official_files`, into tensors."""
    parts = [read_idx(content, path) for path, content in files]
    labels = [part.long() if part.ndim == 1 else part[:, 0].long() for part in parts[1::2]]  # QMNIST has 8 columns
    return ImageDataset(name, *(Split(i[:, None], y, CLASSES[name]) for i, y in zip(parts[::2], labels, strict=True)))


def read_idx(content: bytes, path: Path) -> torch.Tensor:
    """Turn a gzipped IDX file (the format of LeCun's MNIST page) into a tensor of the shape that its header gives."""
    try:
        data = bytearray(gzip.decompress(content))
    except (OSError, EOFError, zlib.error):  # gzip has three ways to say so
        raise DataError(f"{path} is not a gzip file, or it is damaged.") from None
    kinds = {0x08: np.dtype(np.uint8), 0x0C: np.dtype(">i4")}  # the third byte of the magic number
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in kinds:
        raise DataError(f"{path} is not an IDX file of bytes or 32-bit integers.")
    kind, start = kinds[data[2]], 4 + 4 * data[3]
    shape = [int.from_bytes(data[i : i + 4], "big", signed=True) for i in range(4, start, 4)]
    if not 1 <= len(shape) <= 4 or min(shape) < 0 or len(data) - start != math.prod(shape) * kind.itemsize:
        raise DataError(f"{path} does not have the length that its header gives.")
    values = np.frombuffer(data, kind, offset=start).reshape(shape)
    return torch.from_numpy(values.astype(kind.newbyteorder("="), copy=False))
