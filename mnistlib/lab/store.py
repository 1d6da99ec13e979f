"""Dataset files for torchvision, and what ships of the datasets that do not ship as a whole."""

import gzip
from pathlib import Path

import torch

from mnistlib import data
from mnistlib.base.files import DataError, atomic_write
from mnistlib.data import ImageDataset, Split, data_folder, load

QMNIST_COLUMNS = ("class", "NIST HSF series", "NIST writer id", "digit index of this writer", "NIST class code")
QMNIST_COLUMNS += ("global NIST digit index", "duplicate", "unused")


def fetch(name: str = "MNIST") -> Path:
    """Put a dataset's files where torchvision looks for them, and return the ``root`` to give to torchvision.

    Afterwards ``torchvision.datasets.MNIST(root, download=True)`` has nothing left to download or to unpack. Raises
    the errors of `load`. Introduced in notebook 01.
    """
    load(name)  # downloads what is missing
    for path, content in data.find_files(name, data.official_files(name))[0]:
        # Unpacked here, because torchvision unpacks in place: another process could read half a file.
        target, content = data_folder() / name / "raw" / path.stem, gzip.decompress(content)
        if not target.is_file() or target.read_bytes() != content:
            with atomic_write(target) as file:
                file.write(content)
    return data_folder()


def sample(name: str = "FashionMNIST") -> ImageDataset:
    """Return the first 2,000 training and 1,000 test images of MNIST or FashionMNIST, offline. Notebook 07."""
    if name == "MNIST":
        mnist = load(name)
        return ImageDataset(name, mnist.train.take(2000), mnist.test.take(1000))
    if name != "FashionMNIST":
        raise ValueError(f"MNIST and FashionMNIST have a sample; got {name!r}. See kmnist_test and qmnist_labels too.")
    return data.dataset(name, _shipped(name, "sample", [file for file, _ in data.official_files(name)]))


def kmnist_test() -> Split:
    """Return KMNIST's 10,000 official test images, which ship with the course. Introduced in notebook 07.

    A network that was trained on some of them must not be compared with published results on KMNIST.
    """
    test = _shipped("KMNIST", "raw", [file for file, _ in data.official_files("KMNIST")[2:]])
    return data.dataset("KMNIST", [*test, *test]).test


def qmnist_labels(part: str = "train") -> torch.Tensor:
    """Return QMNIST's labels, int64 ``[60000, 8]``, with the columns of `QMNIST_COLUMNS`. Introduced in notebook 07.

    The rows of "train", and the first 10,000 of "test", belong to MNIST's own digits, in order.
    """
    if part not in ("train", "test"):
        raise ValueError(f"part must be 'train' or 'test'; got {part!r}.")
    ((path, content),) = _shipped("QMNIST", "raw", [f"qmnist-{part}-labels-idx2-int.gz"])
    return data.read_idx(content, path).long()


def _shipped(name: str, folder: str, files: list[str]) -> list[tuple[Path, bytes]]:
    try:
        return [(path, path.read_bytes()) for path in (data.PACKAGE_DATA / name / folder / file for file in files)]
    except OSError as error:
        raise DataError(f"a file of mnistlib cannot be read ({error}). Install mnistlib again.") from None
