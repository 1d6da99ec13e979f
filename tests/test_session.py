"""The room `session`: TFRecords, against bytes made here by hand, and the reports of a training."""

import itertools
import json
import re
import struct
import sys
import tracemalloc
import types
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from mnistlib import plots
from mnistlib.base.files import DataError
from mnistlib.data import Split
from mnistlib.evaluation import evaluate
from mnistlib.session import reports, tfrecords

for package in ("crc32c", "tfrecord"):
    pytest.importorskip(package, reason="needs the extra tfrecords")


def crc32c(content):
    """Bit by bit, from the definition: polynomial 0x1EDC6F41, here reversed."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(content):
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32)


def frame(record, length=None):
    """A record with its length and checksums; a wrong ``length`` gets a checksum that fits."""
    head = struct.pack("<Q", len(record) if length is None else length)
    return head + masked(head) + record + masked(record)


def varint(number):
    number %= 2**64  # negative numbers as two's complement in 64 bits
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + varint(number // 128)


def field(number, content):
    """A field of wire type 2: bytes, text, a message, or packed numbers."""
    return varint(number * 8 + 2) + varint(len(content)) + content


def int64(*values):
    return field(3, field(1, b"".join(map(varint, values))))


def blob(*values):
    return field(1, b"".join(field(1, value) for value in values))


def message(features):
    """A tf.train.Example of features by name, in the order given."""
    entries = (field(1, field(1, name.encode()) + field(2, feature)) for name, feature in features.items())
    return field(1, b"".join(entries))


def one_hot(label):
    return struct.pack("<10q", *(int(label == i) for i in range(10)))


def features_of(image, label):
    """The features of one image, sorted by name, as they are written."""
    values = int64(1), int64(image.shape[-2]), blob(bytes(image.flatten().tolist())), blob(one_hot(label))
    return dict(zip(("depth", "height", "image_raw", "label"), values, strict=True)) | {"width": int64(image.shape[-1])}


def by_hand(split):
    pairs = zip(split.images, split.labels.tolist(), strict=True)
    return b"".join(frame(message(features_of(image, label))) for image, label in pairs)


def tiny_split(count=3, height=2, width=3):
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 1, height, width), generator=generator, dtype=torch.uint8)
    return Split(images, torch.tensor([7, 0, 9, 3])[torch.arange(count) % 4])


TINY = tiny_split()
CONTENT = by_hand(TINY)
SIZE = len(CONTENT) // 3  # of one record with its frame: all three are equally long
FEATURES = features_of(TINY.images[0], 7)
ROWS = [(image.tolist(), label) for image, label in zip(TINY.images, TINY.labels.tolist(), strict=True)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One file name for all the mutations; a new folder for each would take longer than the test."""
    return tmp_path_factory.mktemp("tfrecords") / "file.tfrecords"


def outcome(path, content, **options):
    """What a file yields before an error, image by image, and the error or None."""
    path.write_bytes(content)
    rows = []
    try:
        for images, labels in tfrecords.read(path, 1, **options):
            rows += [(images[0].tolist(), labels.item())]
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017 — either outcome is right
        return rows, str(error)
    return rows, None


def test_the_checksum_has_the_known_answers():
    """Those of CRC-32C's check value and of RFC 3720, appendix B.4."""
    known = {b"123456789": 0xE3069283, bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E}
    for content, crc in known.items():
        assert crc32c(content) == crc
        assert tfrecords.checksum(content) == masked(content)


def test_a_record_that_tensorflow_wrote_is_read(place):
    """The first record of an event file of TensorFlow: another message in the same frame."""
    record = bytes.fromhex("09 00008038 99d6d741 1a0d") + b"brain.Event:2"
    content = bytes.fromhex("1800000000000000 a37f4b22") + record + bytes.fromhex("124b36ab")
    place.write_bytes(content * 2)
    places = [f"{place}: record {number} at byte {offset}" for number, offset in ((0, 0), (1, 40))]
    assert list(tfrecords.records(place)) == [(words, record) for words in places]


@pytest.mark.parametrize("split", [TINY, tiny_split(2, 28, 28), tiny_split(0)], ids=repr)
def test_what_is_written_is_what_the_definition_says_byte_for_byte(tmp_path, split, capsys):
    path = tmp_path / "new" / "folder" / "file.tfrecords"
    tfrecords.write(split, path, progress=False)
    assert path.read_bytes() == by_hand(split)
    assert list(path.parent.iterdir()) == [path]
    assert capsys.readouterr() == ("", "")


def test_batches_hold_all_records_in_order_and_the_last_what_is_left(place):
    place.write_bytes(CONTENT)
    (images, labels), (last, _) = tfrecords.read(place, 2, count=3)
    assert (images.shape, images.dtype, labels.dtype) == ((2, 1, 2, 3), torch.uint8, torch.int64)
    assert torch.equal(torch.cat([images, last]), TINY.images)


def test_what_cannot_be_written_or_read_is_refused(tmp_path, fake_split, monkeypatch):
    with pytest.raises(ValueError, match="has 10 places, but the split has 2 classes"):
        tfrecords.write(fake_split(2, classes=("a", "b")), tmp_path / "folder" / "file")
    with pytest.raises(ValueError, match="batch_size must be 1 to"):
        next(tfrecords.read(tmp_path / "file", 0))
    for use in (lambda: tfrecords.read_split(tmp_path / "absent"), lambda: next(tfrecords.records(tmp_path))):
        with pytest.raises(DataError, match=f"cannot read {tmp_path}.*: python -m mnistlib tfrecords --out FOLDER"):
            use()
    path, calls = tmp_path / "file", itertools.count()
    path.write_bytes(b"old content")

    def fail(content):
        if next(calls) == 3:  # in the second record
            raise OSError(28, "No space left on device")
        return bytes(4)

    monkeypatch.setattr(tfrecords, "checksum", fail)
    with pytest.raises(DataError, match="cannot write"):
        tfrecords.write(TINY, path, progress=False)
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"file": b"old content"}


def test_a_bit_that_flips_in_any_byte_is_found_and_its_record_named(place):
    for position in range(len(CONTENT)):
        content = bytearray(CONTENT)
        content[position] ^= 1 << position % 8
        rows, error = outcome(place, content)
        number = position // SIZE
        assert rows == ROWS[:number]
        assert f"record {number} at byte {number * SIZE} is damaged" in error


def test_a_file_cut_anywhere_is_refused_unless_cut_between_records(place):
    for length in range(len(CONTENT)):
        number, rest = divmod(length, SIZE)
        rows, error = outcome(place, CONTENT[:length])
        assert rows == ROWS[:number]
        assert (error is None) == (rest == 0)
        _, error = outcome(place, CONTENT[:length], count=3)  # which finds that as well
        assert f"record {number} at byte {number * SIZE}" in error if rest else "and must hold 3. Write it" in error


@pytest.mark.parametrize("length", [0, 1, SIZE - 17, SIZE - 15, 2 * SIZE, 2**40, 2**63, 2**64 - 1])
def test_a_wrong_length_with_a_fitting_checksum_is_refused_before_memory_is_taken(place, length):
    content = CONTENT[:SIZE] + frame(CONTENT[SIZE + 12 : 2 * SIZE - 4], length) + CONTENT[2 * SIZE :]
    tracemalloc.start()
    rows, error = outcome(place, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == ROWS[:1]
    assert f"record 1 at byte {SIZE} is damaged" in error
    assert peak < 500_000


WRONG = {
    "name not UTF-8": field(1, field(1, field(1, b"\xff\xfe") + field(2, int64(1)))),
    "nothing": b"",
    "colour": {"depth": int64(3)},
    "a pixel too many": {"image_raw": blob(bytes(7))},
    "no pixels": {"height": int64(0), "image_raw": blob(b"")},
    "height unknown": {"height": int64(-1)},
    "turned": {"height": int64(3), "width": int64(2)},
    "two ones": {"label": blob(struct.pack("<10q", 1, 1, *[0] * 8))},
    **{f"no {name}": {name: b""} for name in FEATURES},
}


@pytest.mark.parametrize("record", WRONG.values(), ids=WRONG)
def test_a_record_of_another_kind_is_refused(place, record):
    record = record if isinstance(record, bytes) else message({**FEATURES, **record})
    rows, error = outcome(place, CONTENT[: 2 * SIZE] + frame(record))
    assert rows == ROWS[:2]
    assert f"record 2 at byte {2 * SIZE} is damaged or of another kind: it is not a tf.train.Example with one" in error
    assert "Write it again: python -m mnistlib tfrecords --out FOLDER" in error


def test_a_missing_package_is_told_in_one_line_and_tensorflow_is_preferred(tmp_path, monkeypatch):
    from tfrecord import example_pb2

    tfrecords._packages.cache_clear()
    monkeypatch.setitem(sys.modules, "tfrecord", None)  # now its import fails
    with pytest.raises(DataError, match=r'^TFRecords need .* pip install -e "\.\[tfrecords\]"$'):
        tfrecords.write(TINY, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
    folder = types.ModuleType("tensorflow.core.example")
    folder.example_pb2 = example_pb2
    for name in ("tensorflow", "tensorflow.core", "tensorflow.core.example"):
        monkeypatch.setitem(sys.modules, name, folder)
    tfrecords.write(TINY, tmp_path / "file", progress=False)
    assert (tmp_path / "file").read_bytes() == CONTENT
    tfrecords._packages.cache_clear()


def test_the_parts_are_exactly_those_of_the_source(mnist):
    found = tfrecords.parts()
    assert {name: len(split) for name, split in found.items()} == {"train": 49_000, "valid": 14_000, "test": 7_000}
    assert found["test"].counts() == [674, 785, 692, 712, 726, 640, 701, 737, 651, 682]
    images = torch.cat([mnist.train.images, mnist.test.images])
    for name, first in (("train", [15852, 36271, 45073]), ("valid", [61770, 50774]), ("test", [55238, 32032])):
        assert torch.equal(found[name].images[: len(first)], images[first])
    assert tfrecords.path_of("mnist_tf", "train").as_posix() == "mnist_tf/train/mnist_train.tfrecords"


@pytest.fixture(scope="module")
def session(mnist):
    return reports.run_session(
        "lenet5-padded",
        mnist.train.take(600),
        mnist.train.take(range(4000, 4500)),
        mnist.test.take(1000),
        places={"train": "first part", "valid": Path("a `b`\n# c"), "test": "third part"},
        command="python -m mnistlib report --out 'a\n```\n# b'",
        warning=reports.CONTAMINATED,
        epochs=2,
        progress=False,
    )


@pytest.fixture(scope="module")
def folder(session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "DPI", 40)  # quicker
        assert reports.write_reports(session, folder) == folder / "report.html"
    return folder


def sections(folder, name):
    parts = re.split(r"^## (.+)$", (folder / f"{name}.md").read_text("utf-8"), flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_training_report_has_the_sections_and_the_numbers(folder, session):
    found = sections(folder, "training")
    headings = ["", "Overview", "Hyperparameters", "Performance", "Datasets", "Validation and training set comparison"]
    assert list(found) == [*headings, "Dataset examples", "This report"]
    assert found[""].split("\n\n")[1] == reports.CONTAMINATED
    assert f"{session.validation.accuracy:.2%}" in found[""]
    assert "61,706 trainable parameters" in found["Overview"]
    assert found["Hyperparameters"].startswith("\n\n1. `learning_rate`: 0.001\n2. `epochs`: 2\n3. `batch_size`: 50\n")
    assert "Training set: first part; 600 images" in found["Datasets"]
    assert "Validation set: ``` a `b` # c ```; 500 images" in found["Datasets"]
    examples = re.findall(r"### Label (\d)\n.*?one-hot label `\[([01, ]+)\]`", found["Dataset examples"], re.DOTALL)
    assert [int(label) for label, _ in examples] == list(dict.fromkeys(session.splits["train"].labels.tolist()))
    assert all(places.split(", ").index("1") == int(label) for label, places in examples)
    assert re.search(r"seed 0, Python 3\.\S+ and torch \S+, on \w+ \(\w+\) with \d+ threads", found["This report"])


def test_the_evaluation_report_has_the_sections_and_the_numbers(folder, session):
    found = sections(folder, "evaluation")
    assert list(found) == ["", "Confusion matrix", "Score matrix", "ROC curves", "This report"]
    assert f"{session.tested.accuracy:.2%}" in found[""]
    counts = np.array(re.findall(r"\d+", found["Confusion matrix"].split("---")[-1]), int).reshape(10, 11)[:, 1:]
    assert (counts == session.tested.confusion.to_numpy()).all()
    assert "| label | TP | FP | FN | TN | precision | recall | specificity | accuracy | F1 |" in found["Score matrix"]


def test_the_web_page_needs_no_other_file_and_nothing_escapes_the_code(folder, session):
    page = (folder / "report.html").read_text("utf-8")
    sources, alts = re.findall(r'<img src="([^"]+)"', page), re.findall(r'<img [^>]*alt="([^"]+)"', page)
    assert len(sources) == len(alts) == len(list((folder / "images").iterdir())) == 15
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search("<(script|link|iframe)", page)
    assert page.count("<h1>") == 2  # a command or a path with a heading in it makes none
    assert page.count("```\n# b") == 2
    facts = json.loads((folder / "session.json").read_text("utf-8"))
    assert facts["test accuracy"] == session.tested.accuracy
    assert facts["sizes"] == {"train": 600, "valid": 500, "test": 1000}


def test_a_label_may_be_missing_and_what_cannot_be_written_is_named(session, tmp_path):
    few = session.splits["test"].take(session.splits["test"].labels != 3)
    reports.write_reports(replace(session, tested=evaluate(session.net, few), warning=""), tmp_path)
    text = (tmp_path / "evaluation.md").read_text("utf-8")
    assert "| 3 | 0 |" in text
    assert "nan" not in text
    (tmp_path / "new" / "report.html").mkdir(parents=True)
    with pytest.raises(DataError, match=r"report\.html: it is a folder"):
        reports.write_reports(session, tmp_path / "new")
    assert not plt.get_fignums()
