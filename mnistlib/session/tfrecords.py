"""Write and read TFRecords, TensorFlow's file format, without TensorFlow. Introduced in notebook 08.

A TFRecord file is one record after another: its length (uint64), a checksum of the length, its bytes, a checksum of the
bytes; all numbers are little-endian. Here each record is a ``tf.train.Example`` with one image. Sources: TensorFlow's
guide "TFRecord and tf.train.Example" for the format, Maple-Lazuli/shenanigans for the seed and the names.
"""

import functools
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from mnistlib.base.checks import PATH, checked
from mnistlib.base.files import DataError, atomic_write
from mnistlib.data import Split, load

PARTS = {"train": 49_000, "valid": 14_000, "test": 7_000}
SEED = 101011
FEATURES = dict(height="int64_list", width="int64_list", depth="int64_list", label="bytes_list", image_raw="bytes_list")
ONE_HOT = [row.tobytes() for row in np.eye(10, dtype="<i8")]
KIND = "it is not a tf.train.Example with one grey image, as large as the others, and its one-hot label"
REMEDY = "Write it again: python -m mnistlib tfrecords --out FOLDER"


def parts() -> dict[str, Split]:
    """Return MNIST's 70,000 digits in the three parts of Maple-Lazuli/shenanigans, `PARTS`, shuffled with its `SEED`.

    Official test images are among the training images, so no accuracy on these parts can be compared with others.
    """
    mnist = load("MNIST")
    both = Split(*(torch.cat([getattr(s, name) for s in (mnist.train, mnist.test)]) for name in ("images", "labels")))
    return dict(zip(PARTS, both.split(*PARTS.values(), seed=SEED), strict=True))


def path_of(folder, part: str) -> Path:
    """Return the path of a part, such as ``train/mnist_train.tfrecords``."""
    return Path(folder) / part / f"mnist_{part}.tfrecords"


@checked
def write(split: Split, path: PATH, progress: bool = True) -> None:
    """Write one record for each image: ``height``, ``width``, ``depth`` (int64), ``label`` and ``image_raw`` (bytes).

    ``label`` is the one-hot label as ten little-endian int64, ``image_raw`` the pixels, uint8, row by row. Raises
    ValueError unless the split has ten classes, and `DataError` when the file cannot be written. Notebook 08.
    """
    if len(split.classes) != len(ONE_HOT):
        raise ValueError(f"a one-hot label has {len(ONE_HOT)} places, but the split has {len(split.classes)} classes.")
    new_example = _packages()[1]  # a missing package shows before anything is written
    rows = zip(split.images.cpu().numpy(), split.labels.tolist(), strict=True)
    with atomic_write(path) as file:
        for image, label in tqdm(rows, desc=Path(path).name, total=len(split), unit="image", disable=not progress):
            example = new_example()
            for name, value in zip(FEATURES, (*image.shape[1:], 1, ONE_HOT[label], image.tobytes()), strict=True):
                getattr(example.features.feature[name], FEATURES[name]).value.append(value)
            record = example.SerializeToString(deterministic=True)
            length = len(record).to_bytes(8, "little")
            file.write(length + checksum(length) + record + checksum(record))


@checked
def read(path: PATH, batch_size: int = 50, count: int | None = None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches of images, uint8 ``[B, 1, H, W]``, and labels, int64 ``[B]``, in the order of the file.

    The file is never in memory as a whole. ``count`` is the number of records expected, because a checksum cannot show
    that whole records are missing. Raises ValueError for a ``batch_size`` below 1, and `DataError`, which names the
    file, the record (from 0) and its byte, for what is damaged or of another kind. Introduced in notebook 08.
    """
    if not 1 <= batch_size < 2**31:
        raise ValueError(f"batch_size must be 1 to 2,147,483,647; got {batch_size}.")
    examples, found = _examples(path), 0
    while batch := list(itertools.islice(examples, batch_size)):
        images, labels = zip(*batch, strict=True)
        yield torch.from_numpy(np.stack(images)), torch.tensor(labels)
        found += len(batch)
    if count not in (None, found):
        raise DataError(f"{path} holds {found:,} records, and must hold {count:,}. {REMEDY}")


def read_split(path, count: int | None = None) -> Split:
    """Return a whole file as a `Split` of digits, in its order. Raises as `read` does, and when the file is empty."""
    batches = list(read(path, 1000, count=count))
    if not batches:
        raise DataError(f"{path} holds no records. {REMEDY}")
    return Split(*map(torch.cat, zip(*batches, strict=True)))


def records(path) -> Iterator[tuple[str, bytes]]:
    """Yield the place, in words, and the bytes of each record, both checksums verified. Raises `DataError`."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            for number, header in enumerate(iter(functools.partial(file.read, 12), b"")):
                place = f"{path}: record {number} at byte {file.tell() - len(header):,}"
                _check(checksum(header[:8]) == header[8:], place, "its length is damaged or cut off")
                length = int.from_bytes(header[:8], "little")
                _check(file.tell() + length + 4 <= size, place, "the file ends before the record does")
                record = file.read(length)  # only now, because a wrong length could take all memory
                _check(checksum(record) == file.read(4), place, "its checksum does not fit")
                yield place, record
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}. {REMEDY}") from None


def checksum(content: bytes) -> bytes:
    """CRC-32C, rotated and shifted by a constant, as TensorFlow's record format defines it."""
    crc = _packages()[0](content)
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def _examples(path) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the image, uint8 ``[1, H, W]``, and the label of each record."""
    _, new_example, decode_error = _packages()
    shape = None
    for place, record in records(path):
        try:
            features = new_example.FromString(record).features.feature
            values = [getattr(features[name], kind).value for name, kind in FEATURES.items()]
            (height,), (width,), (depth,), (one_hot,), (pixels,) = values
            image, label = np.frombuffer(pixels, np.uint8).reshape(1, height, width), ONE_HOT.index(one_hot)
            shape = shape or image.shape
            fits = depth in (0, 1) and image.size and image.shape == (1, height, width) == shape
        except (decode_error, ValueError):
            fits = False
        _check(fits, place, KIND)
        yield image, label


def _check(good: bool, place: str, problem: str) -> None:
    if not good:
        raise DataError(f"{place} is damaged or of another kind: {problem}. {REMEDY}")


@functools.cache
def _packages():
    """Return the function crc32c, the class tf.train.Example, and its error for other bytes."""
    try:
        from crc32c import crc32c
        from google.protobuf.message import DecodeError

        if "tensorflow" in sys.modules:  # a program cannot register these classes twice, so take TensorFlow's
            from tensorflow.core.example import example_pb2
        else:
            from tfrecord import example_pb2
    except ImportError:
        raise DataError('TFRecords need two more packages: python -m pip install -e ".[tfrecords]"') from None
    return crc32c, example_pb2.Example, DecodeError
