"""The four datasets of the course as tensors: MNIST, FashionMNIST, KMNIST, QMNIST.

``load("MNIST")`` needs no network: the four official files are part of this package.
The file names, checksums and download addresses are those of torchvision, which we read, not repeat.
"""

import gzip
import hashlib
import http.client
import io
import math
import random
import shutil
import socket
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torchvision
from torchvision.datasets.utils import download_url
from torchvision.transforms.v2 import functional as transforms

from mnistlib.files import DataError, atomic_write, data_folder

DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
CLASSES = {
    "MNIST": DIGITS,
    "FashionMNIST": tuple(torchvision.datasets.FashionMNIST.classes),
    "KMNIST": tuple(torchvision.datasets.KMNIST.classes),
    "QMNIST": DIGITS,
}
QMNIST_COLUMNS = (
    "class",
    "NIST HSF series",
    "NIST writer id",
    "digit index of this writer",
    "NIST class code",
    "global NIST digit index",
    "duplicate",
    "unused",
)

PACKAGE_DATA = Path(__file__).parent / "data"
# Debian's package dataset-fashion-mnist: the same compressed bytes behind a shorter gzip header.
SYSTEM_DATA = {"FashionMNIST": Path("/usr/share/datasets/fashion-mnist")}
OFFICIAL_TIME = {"train": "dee9a759", "t10k": "f3e9a759"}  # as in the official FashionMNIST headers


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, whole, in memory. Introduced in notebook 00, explained in 01.

    images: uint8 ``[N, 1, H, W]``, 0 is paper and 255 is ink.
    labels: int64 ``[N]``, each in ``0 … len(classes) - 1``.
    classes: the name of each label.
    label_columns: int64 ``[N, 8]``, QMNIST only (`QMNIST_COLUMNS` names them), else None.

    Raises ValueError when a tensor has another dtype or shape, or a label has no class.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...] = DIGITS
    label_columns: torch.Tensor | None = None

    def __post_init__(self):
        images, labels = self.images, self.labels
        if not isinstance(images, torch.Tensor) or images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(
                f"images must be uint8 of shape [N, 1, H, W], got {_describe(images)}. For floats in 0–1: "
                "(x * 255).round().to(torch.uint8); for [N, H, W]: x[:, None]."
            )
        if not isinstance(labels, torch.Tensor) or labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be int64 of shape [{len(images)}], one for each image; got {_describe(labels)}.")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
            raise ValueError(
                f"labels must be 0 to {len(self.classes) - 1} for {len(self.classes)} classes; "
                f"got {int(labels.min())} to {int(labels.max())}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        n, _, height, width = self.images.shape
        return f"Split({n:,} images of {height}×{width}, {len(self.classes)} classes)"

    def take(self, which) -> "Split":
        """The first ``which`` images, or those a list, index tensor or boolean mask names."""
        index = slice(which) if isinstance(which, int) else torch.as_tensor(which, device=self.images.device)
        if not isinstance(which, int) and not len(index):
            index = index.long()  # an empty list has no type of its own
        columns = None if self.label_columns is None else self.label_columns[index]
        return replace(self, images=self.images[index], labels=self.labels[index], label_columns=columns)

    def split(self, *sizes: int, seed: int = 0) -> list["Split"]:
        """Shuffle, then cut into parts of these sizes; together they must use every image.

        Python's own ``random.Random(seed).shuffle`` orders the images: the same on every machine
        and in every version, which PyTorch does not promise for its generators. Raises ValueError for
        other sizes.
        """
        if sum(sizes) != len(self) or min(sizes, default=0) < 1:
            raise ValueError(f"sizes must be positive and add up to {len(self):,}, the number of images; got {sizes}.")
        order = list(range(len(self)))
        random.Random(seed).shuffle(order)
        return [self.take(part) for part in torch.tensor(order).split(list(sizes))]

    def resized(self, size: int) -> "Split":
        """Each image stretched to ``size × size`` (bilinear, as torchvision's Resize does it); as it is, if it has that size."""
        if self.images.shape[-2:] == (size, size):
            return self
        return replace(self, images=transforms.resize(self.images, [size, size], antialias=True))

    def counts(self) -> list[int]:
        """How many images each class has."""
        return torch.bincount(self.labels, minlength=len(self.classes)).tolist()

    def to(self, device) -> "Split":
        """The same images and labels on another device."""
        columns = None if self.label_columns is None else self.label_columns.to(device)
        return replace(self, images=self.images.to(device), labels=self.labels.to(device), label_columns=columns)

    def batches(self, size: int, generator: torch.Generator | None = None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield (images float32 ``[B, 1, H, W]`` in 0–1, labels int64 ``[B]``), each image once.

        With a (CPU) generator in a new random order at each call, else in the order stored.
        The last batch holds what is left. No DataLoader: the whole set is one tensor, and taking
        rows of a tensor is many times faster than opening images one by one. Raises ValueError for a
        size that does not fit. Introduced in notebook 03.
        """
        if not 1 <= size <= max(len(self), 1):
            raise ValueError(f"batch size must be 1 to {len(self):,}, the number of images; got {size}.")
        order = None if generator is None else torch.randperm(len(self), generator=generator).to(self.images.device)
        for start in range(0, len(self), size):
            rows = slice(start, start + size) if order is None else order[start : start + size]
            yield self.images[rows].to(torch.get_default_dtype()).div_(255), self.labels[rows]


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A dataset's official training and test part. Introduced in notebook 00, explained in 01."""

    name: str
    train: Split
    test: Split

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    def __repr__(self) -> str:
        return f"ImageDataset({self.name}: train {len(self.train):,}, test {len(self.test):,}, {len(self.classes)} classes)"


def load(name: str = "MNIST", download: bool = True) -> ImageDataset:
    """Load MNIST, FashionMNIST, KMNIST or QMNIST. Introduced in notebook 00.

    Each file is looked for in the data folder (`data_folder`), in this package (MNIST), in Debian's
    package (FashionMNIST), and is downloaded last, unless ``download`` is False; its checksum decides whether it is taken.
    Raises ValueError for an unknown name and `DataError` when a file cannot be had.

    Sources: MNIST, LeCun, Cortes and Burges; FashionMNIST, Xiao et al. 2017; KMNIST, Clanuwat et al.
    2018; QMNIST, Yadav and Bottou 2019.
    """
    parts = {"train": [], "test": []}
    for part, filename, url, md5 in _official_files(name):
        parts[part].append(_read_idx(_find(name, filename, url, md5, download), filename))
    return _as_dataset(name, parts)


def sample(name: str = "MNIST") -> ImageDataset:
    """The first 2,000 training and the first 1,000 test images of MNIST or FashionMNIST, without a network. Notebook 07.

    They are real images in the official order, and come with this package: MNIST is there whole, of FashionMNIST there are only
    these. Raises ValueError for a dataset that has no sample, and `DataError` when a file is missing or damaged.

    Sources: MNIST, LeCun, Cortes and Burges; FashionMNIST, Xiao et al. 2017.
    """
    files = _official_files(name)
    if name == "MNIST":
        whole = load(name)
        return ImageDataset(name, whole.train.take(2000), whole.test.take(1000))
    if name != "FashionMNIST":
        raise ValueError(
            f"{name} has no sample in this package; MNIST and FashionMNIST have one. "
            f"For the whole of {name} run: python -m mnistlib data {name}; then load({name!r})."
        )
    parts = {"train": [], "test": []}
    for part, filename, *_ in files:
        path = PACKAGE_DATA / name / "sample" / filename
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}. It is a part of this package; install it again.") from None
        parts[part].append(_read_idx(content, str(path)))
    return _as_dataset(name, parts)


def fetch(name: str = "MNIST") -> Path:
    """Put a dataset's files where torchvision looks; return the ``root`` to give to torchvision.

    After it, ``torchvision.datasets.MNIST(root, download=True)`` finds nothing left to download or
    unpack. Raises as `load` does. Introduced in notebook 01.
    """
    for _, filename, url, md5 in _official_files(name):
        content = _find(name, filename, url, md5)
        packed = _raw_folder(name) / filename
        # Unpacked here too, because torchvision writes the unpacked file in place: two notebooks
        # that start at the same moment could then read half of it.
        for path, needed in ((packed, content), (packed.with_suffix(""), gzip.decompress(content))):
            if not path.is_file() or path.read_bytes() != needed:
                with atomic_write(path) as file:
                    file.write(needed)
    return data_folder()


def _official_files(name: str) -> list[tuple[str, str, str, str]]:
    """(part, file name, address, md5) of a dataset's four files, images before labels."""
    if name not in CLASSES:
        raise ValueError(f"unknown dataset {name!r}; the datasets are {', '.join(CLASSES)}.")
    source = getattr(torchvision.datasets, name)
    if name == "QMNIST":
        return [(part, url.rpartition("/")[2], url, md5) for part in ("train", "test") for url, md5 in source.resources[part]]
    return [("train" if f.startswith("train") else "test", f, source.mirrors[0] + f, md5) for f, md5 in source.resources]


def _raw_folder(name: str) -> Path:
    return data_folder() / name / "raw"


def _find(name: str, filename: str, url: str, md5: str, download: bool = True) -> bytes:
    """The bytes of one official file, checked, from the first place that has them."""
    cached = _raw_folder(name) / filename
    places = [cached, PACKAGE_DATA / name / "raw" / filename]
    if name in SYSTEM_DATA:
        places.append(SYSTEM_DATA[name] / filename)
    tried, broken = [], False
    for place in places:
        try:
            content = place.read_bytes()
            if place.parent in SYSTEM_DATA.values():
                content = _with_official_header(content, filename)
        except OSError as error:
            tried.append(f"{place}: {error.strerror}")
            broken = broken or (place == cached and not isinstance(error, FileNotFoundError | NotADirectoryError))
            continue
        if hashlib.md5(content).hexdigest() == md5:
            if broken:
                _repair(cached, content)
            return content
        tried.append(f"{place}: damaged (its md5 is not {md5})")
        broken = broken or place == cached
    if not download:
        raise DataError(f"{name}: {filename} is not on this machine. To get the dataset, run: python -m mnistlib data {name}")
    return _download(name, cached, url, md5, tried)


def _repair(cached: Path, content: bytes) -> None:
    try:
        with atomic_write(cached) as file:
            file.write(content)
        print(f"mnistlib: {cached} was damaged and has been replaced by a good copy.", file=sys.stderr)
    except (DataError, OSError):
        print(f"mnistlib: {cached} is damaged and cannot be replaced; a good copy elsewhere is used.", file=sys.stderr)


def _with_official_header(content: bytes, filename: str) -> bytes:
    """Debian's file with the official gzip header, so that one checksum serves for both."""
    time = bytes.fromhex(OFFICIAL_TIME[filename.split("-")[0]])
    return b"\x1f\x8b\x08\x08" + time + b"\x00\x03" + filename.removesuffix(".gz").encode() + b"\x00" + content[10:]


def _download(name: str, cached: Path, url: str, md5: str, tried: list[str]) -> bytes:
    """Download with torchvision (a bar, the checksum) under a temporary name, then rename."""
    patience = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(30)  # torchvision would wait for a silent server without end
        with tempfile.TemporaryDirectory() as folder:
            download_url(url, folder, cached.name, md5)
            content = (Path(folder) / cached.name).read_bytes()
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        listed = "\n".join(f"  - {line}" for line in [*tried, f"{url}: {error}"])
        raise DataError(
            f"{name}: {cached.name} is not on this machine and could not be downloaded.\nTried:\n{listed}\n"
            f"Ways out:\n  1. connect to the internet and run: python -m mnistlib data {name}\n"
            f"  2. copy the file from another machine to {cached}\n"
            "     (or set MNISTLIB_DATA to a folder in torchvision's layout that has it)."
        ) from None
    finally:
        socket.setdefaulttimeout(patience)
    with atomic_write(cached) as file:
        file.write(content)
    return content


def _read_idx(content: bytes, filename: str) -> torch.Tensor:
    """Unpack a gzipped IDX file (format: LeCun's MNIST page) into a tensor of its own shape."""
    unpacked = io.BytesIO()
    try:
        with gzip.open(io.BytesIO(content)) as file:
            shutil.copyfileobj(file, unpacked, 2**20)  # in pieces of 1 MB: at no moment is the whole in memory twice
    except (OSError, EOFError, zlib.error):  # gzip has three ways to say so
        raise DataError(f"{filename} is not a gzip file, or it is damaged.") from None
    data = unpacked.getbuffer()
    kinds = {0x08: np.dtype(np.uint8), 0x0C: np.dtype(">i4")}  # the third byte of the magic number
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in kinds:
        raise DataError(f"{filename} is not an IDX file of bytes or 32-bit integers.")
    kind, dimensions = kinds[data[2]], data[3]
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(data[i : i + 4], "big", signed=True) for i in range(4, start, 4)]
    if not 1 <= dimensions <= 4 or min(shape) < 0 or len(data) - start != math.prod(shape) * kind.itemsize:
        raise DataError(f"{filename} does not have the length that its header says.")
    values = np.frombuffer(data, kind, offset=start).reshape(shape)
    return torch.from_numpy(values.astype(kind.newbyteorder("="), copy=False))


def _as_dataset(name: str, parts: dict[str, list[torch.Tensor]]) -> ImageDataset:
    return ImageDataset(name, *(_as_split(images, labels, CLASSES[name]) for images, labels in parts.values()))


def _as_split(images: torch.Tensor, labels: torch.Tensor, classes: tuple[str, ...]) -> Split:
    labels = labels.long()
    columns = labels if labels.shape[1:] == (len(QMNIST_COLUMNS),) else None
    return Split(images[:, None], labels if columns is None else columns[:, 0].clone(), classes, columns)


def _describe(tensor: torch.Tensor) -> str:
    if not isinstance(tensor, torch.Tensor):
        return f"{type(tensor).__name__}, not a tensor (torch.as_tensor makes one)"
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {list(tensor.shape)}"
