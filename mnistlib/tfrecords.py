"""Write and read TFRecords, TensorFlow's file format, without TensorFlow. Introduced in notebook 08.

A TFRecord file is one record after another: its length (uint64), a checksum of the length, its bytes, a checksum of
the bytes; all numbers little-endian. Here each record is a ``tf.train.Example`` with one image. Needs the extra
``tfrecords``: ``python -m pip install -e ".[tfrecords]"``.

Sources: the format, TensorFlow's guide "TFRecord and tf.train.Example"; seed, names of the files and features of a
record, Maple-Lazuli/shenanigans (R0). The feature ``depth`` is 0 there and 1 here; both are read.
"""

import functools
import itertools
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from mnistlib.datasets import Split, load
from mnistlib.files import DataError, atomic_write

PARTS = {"train": 49_000, "valid": 14_000, "test": 7_000}
SEED = 101011
LABELS = 10
MISSING = 'TFRecords need two more packages. In the course\'s folder run: python -m pip install -e ".[tfrecords]"'
_REMEDY = "Write it again: python -m mnistlib tfrecords --out FOLDER"
_FEATURES = dict(height="int64_list", width="int64_list", depth="int64_list", label="bytes_list", image_raw="bytes_list")
_ONE_HOT = [row.tobytes() for row in np.eye(LABELS, dtype="<i8")]


def parts() -> dict[str, Split]:
    """MNIST's 70,000 digits in the three parts of R0, `PARTS`, shuffled with its seed, `SEED`.

    Official test images are among those to train on, so results are not comparable with others on MNIST.
    """
    mnist = load("MNIST")
    both = Split(torch.cat([mnist.train.images, mnist.test.images]), torch.cat([mnist.train.labels, mnist.test.labels]))
    return dict(zip(PARTS, both.split(*PARTS.values(), seed=SEED), strict=True))


def path_of(folder, part: str) -> Path:
    """Where a part belongs, as R0 names it: ``train/mnist_train.tfrecords``."""
    return Path(folder) / part / f"mnist_{part}.tfrecords"


def write(split: Split, path, progress: bool = True) -> None:
    """Write one record an image: ``height``, ``width``, ``depth`` (int64), ``label``, ``image_raw`` (bytes).

    ``label`` is the one-hot label as ten little-endian int64, 80 bytes; ``image_raw`` the pixels, uint8, row by row. The
    names of the classes are not written. The file appears under its name only when it is whole. Raises ValueError when
    there are not ten classes and `DataError` when the file cannot be written or a package is missing.
    """
    if len(split.classes) != LABELS:
        raise ValueError(f"the one-hot label has {LABELS} places, but the split has {len(split.classes)} classes.")
    _, new_example, _ = _packages()  # if one is missing, that shows before anything is written
    height, width = split.images.shape[-2:]
    rows = zip(split.images.cpu().numpy(), split.labels.tolist(), strict=True)
    with atomic_write(path) as file:
        for image, label in tqdm(rows, desc=Path(path).name, total=len(split), unit="image", disable=not progress):
            example = new_example()
            values = (height, width, 1, _ONE_HOT[label], image.tobytes())
            for (name, kind), value in zip(_FEATURES.items(), values, strict=True):
                getattr(example.features.feature[name], kind).value.append(value)
            record = example.SerializeToString(deterministic=True)
            length = len(record).to_bytes(8, "little")
            file.write(length + _checksum(length) + record + _checksum(record))


def read(
    path, batch_size: int = 50, *, shuffle: int | None = None, buffer: int = 10_000, count: int | None = None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (images uint8 ``[B, 1, H, W]``, labels int64 ``[B]``); the last batch holds what is left.

    ``shuffle`` is a seed, or None for the order of the file. The file is never in memory as a whole: shuffling draws from
    the next ``buffer`` records. Both checksums of every record are verified. Give ``count``, the number of records there
    must be, to learn also of whole records lost at the end, which no checksum can show.

    Raises, when a batch is asked for: ValueError for arguments that do not fit; `DataError` when the file cannot be read, a
    package is missing, or a record is damaged or of another kind: the file, the record (from 0) and its byte are named.
    """
    if batch_size < 1 or buffer < 1 or isinstance(shuffle, bool):  # False would be the seed 0
        raise ValueError(f"{batch_size=} and {buffer=} must be at least 1, {shuffle=} a seed or None.")
    examples = _examples(path, count)
    if shuffle is not None:
        examples = _shuffled(examples, buffer, random.Random(shuffle))
    while batch := list(itertools.islice(examples, batch_size)):
        images, labels = zip(*batch, strict=True)
        yield torch.from_numpy(np.stack(images)), torch.tensor(labels)


def read_split(path, count: int | None = None) -> Split:
    """A whole file as a `Split` of digits, in the order of the file. Raises as `read` does, and when it is empty."""
    batches = list(read(path, 1000, count=count))
    if not batches:
        raise DataError(f"{path} holds no records. {_REMEDY}")
    return Split(*(torch.cat(column) for column in zip(*batches, strict=True)))


def records(path) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) of each record, both checksums verified. Raises `DataError` as `read` does."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            for number in itertools.count():
                offset, header = file.tell(), file.read(12)
                if not header:
                    return
                place, length = (path, number, offset), int.from_bytes(header[:8], "little")
                _check(len(header) == 12, place, "the file ends inside its length")
                _check(_checksum(header[:8]) == header[8:], place, "the checksum of its length does not fit")
                _check(offset + 12 + length + 4 <= size, place, "the file ends before the record does")
                record = file.read(length)  # now that the file has so much: a wrong length must not take all memory
                _check(_checksum(record) == file.read(4), place, "its checksum does not fit")
                yield offset, record
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}. {_REMEDY}") from None


def _examples(path, count: int | None) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (image uint8 ``[1, H, W]``, label) of each record, all of one size and as many as ``count`` says."""
    number, first = -1, None
    _, new_example, decode_error = _packages()
    for number, (offset, record) in enumerate(records(path)):
        place = (path, number, offset)
        try:
            features = new_example.FromString(record).features.feature
        except (decode_error, ValueError):  # ValueError: a name that is not UTF-8, where protobuf is pure Python
            _check(False, place, "it is not a tf.train.Example")
        values = {name: getattr(features[name], kind).value for name, kind in _FEATURES.items()}
        for name, found in values.items():
            _check(len(found) == 1, place, f"its {name} has {len(found)} values in {_FEATURES[name]}, not one")
        height, width, depth, label, pixels = (found[0] for found in values.values())
        first = first or (height, width)
        _check(depth in (0, 1), place, f"its depth is {depth}; grey images have 1 (or 0, in R0's files)")
        fits = height > 0 and width > 0 and height * width == len(pixels)
        _check(fits, place, f"it has {len(pixels)} pixels for an image of {height}×{width}")
        _check((height, width) == first, place, f"its image is {height}×{width}, not {first[0]}×{first[1]} as the first")
        _check(label in _ONE_HOT, place, "its label is not ten int64 with one 1 and nine 0")
        yield np.frombuffer(pixels, np.uint8).reshape(1, height, width), _ONE_HOT.index(label)
    if count not in (None, number + 1):
        raise DataError(f"{path} holds {number + 1:,} records, and must hold {count:,}. {_REMEDY}")


def _shuffled(examples: Iterator, buffer: int, chance: random.Random) -> Iterator:
    """Keep ``buffer`` examples; give one of them at random and put the next one in its place."""
    kept = list(itertools.islice(examples, buffer))
    for example in examples:
        place = chance.randrange(len(kept))
        yield kept[place]
        kept[place] = example
    chance.shuffle(kept)
    yield from kept


def _check(good: bool, place: tuple, problem: str) -> None:
    if not good:
        path, number, offset = place
        raise DataError(f"{path}: record {number} at byte {offset:,} is damaged or of another kind: {problem}. {_REMEDY}")


def _checksum(content: bytes) -> bytes:
    """CRC-32C, turned and moved by a constant, as TensorFlow's record format defines it."""
    crc = _packages()[0](content)
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


@functools.cache
def _packages():
    """The function crc32c, the class tf.train.Example, and the error it raises for bytes that are none."""
    try:
        from crc32c import crc32c
        from google.protobuf.message import DecodeError

        if "tensorflow" in sys.modules:  # a program cannot have these classes twice, so take TensorFlow's
            from tensorflow.core.example import example_pb2
        else:
            from tfrecord import example_pb2
    except ImportError:
        raise DataError(MISSING) from None
    return crc32c, example_pb2.Example, DecodeError
