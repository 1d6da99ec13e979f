"""TFRecords: bytes made here by hand from the format's definition, the package tfrecord, and every kind of damage."""

import itertools
import os
import random
import struct
import sys
import tracemalloc
import types
from pathlib import Path

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mnistlib import tfrecords
from mnistlib.datasets import Split
from mnistlib.files import DataError
from mnistlib.tfrecords import MISSING, PARTS, parts, path_of, read, read_split, records, write

for package in ("crc32c", "tfrecord"):
    pytest.importorskip(package, reason="needs the extra tfrecords")


# The format by hand: checksums, frames around records, protocol buffers


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
    number, groups = number % 2**64, []  # negative numbers as two's complement in 64 bits
    while number >= 128:
        groups.append(number % 128 + 128)
        number //= 128
    return bytes([*groups, number])


def field(number, content):
    """A field of wire type 2: bytes, text, a message, or packed numbers."""
    return varint(number * 8 + 2) + varint(len(content)) + content


def int64(*values):
    return field(3, field(1, b"".join(map(varint, values))))


def int64_unpacked(*values):
    return field(3, b"".join(varint(1 * 8 + 0) + varint(value) for value in values))


def blob(*values):
    return field(1, b"".join(field(1, value) for value in values))


def message(features):
    """A tf.train.Example of features by name, in the order given."""
    entries = (field(1, field(1, name.encode()) + field(2, feature)) for name, feature in features.items())
    return field(1, b"".join(entries))


def one_hot(label):
    return struct.pack("<10q", *(int(label == i) for i in range(10)))


def features_of(image, label, depth=1):
    """The features that `write` writes, sorted by name as it sorts them."""
    return {
        "depth": int64(depth),
        "height": int64(image.shape[-2]),
        "image_raw": blob(bytes(image.flatten().tolist())),
        "label": blob(one_hot(label)),
        "width": int64(image.shape[-1]),
    }


def by_hand(split, **options):
    pairs = zip(split.images, split.labels.tolist(), strict=True)
    return b"".join(frame(message(features_of(image, label, **options))) for image, label in pairs)


def tiny_split(count=3, height=2, width=3):
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 1, height, width), generator=generator, dtype=torch.uint8)
    return Split(images, torch.tensor([7, 0, 9, 3])[torch.arange(count) % 4])


TINY = tiny_split()
CONTENT = by_hand(TINY)
SIZE = len(CONTENT) // 3  # of one record with its frame: all three are equally long
FEATURES = features_of(TINY.images[0], 7)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One file name for all the mutations; a new folder for each would take longer than the test."""
    return tmp_path_factory.mktemp("tfrecords") / "file.tfrecords"


def rows_of(split):
    return [(image.tolist(), label) for image, label in zip(split.images, split.labels.tolist(), strict=True)]


def outcome(path, content, **options):
    """What comes out of a file before an error, image by image, and the error or None."""
    path.write_bytes(content)
    rows = []
    try:
        for images, labels in read(path, 1, **options):
            rows += [(images[0].tolist(), labels.item())]
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017 — either outcome is right
        return rows, str(error)
    return rows, None


def assert_same(found, split):
    assert torch.equal(found.images, split.images)
    assert torch.equal(found.labels, split.labels)
    assert (found.images.dtype, found.labels.dtype) == (torch.uint8, torch.int64)


def test_the_checksum_has_the_known_answers():
    """Those of CRC-32C's check value and of RFC 3720, appendix B.4."""
    known = {
        b"123456789": 0xE3069283,
        bytes(32): 0x8A9136AA,
        b"\xff" * 32: 0x62A8AB43,
        bytes(range(32)): 0x46DD794E,
        bytes(range(31, -1, -1)): 0x113FDB5C,
    }
    for content, crc in known.items():
        assert crc32c(content) == crc
        assert tfrecords._checksum(content) == masked(content)


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_the_checksum_is_the_one_made_by_hand(content):
    assert tfrecords._checksum(content) == masked(content)


def test_a_record_that_tensorflow_wrote_is_read(tmp_path):
    """The first record of an event file of TensorFlow: another message in the same frame."""
    record = bytes.fromhex("09 00008038 99d6d741 1a0d") + b"brain.Event:2"
    content = bytes.fromhex("1800000000000000 a37f4b22") + record + bytes.fromhex("124b36ab")
    assert frame(record) == content
    path = tmp_path / "events.tfrecords"
    path.write_bytes(content * 2)
    assert list(records(path)) == [(0, record), (40, record)]


# Writing


@pytest.mark.parametrize("split", [TINY, tiny_split(2, 28, 28), tiny_split(1, 1, 200), tiny_split(0)], ids=repr)
def test_what_is_written_is_what_the_definition_says_byte_for_byte(tmp_path, split):
    path = tmp_path / "new" / "folder" / "file.tfrecords"
    write(split, path, progress=False)
    assert path.read_bytes() == by_hand(split)
    assert os.listdir(path.parent) == [path.name]


def test_the_pixels_are_written_row_by_row_however_they_lie_in_memory(tmp_path):
    turned = Split(TINY.images.transpose(2, 3), TINY.labels)
    assert not turned.images.is_contiguous()
    write(turned, tmp_path / "file", progress=False)
    assert (tmp_path / "file").read_bytes() == by_hand(Split(turned.images.contiguous(), turned.labels))


def test_the_package_tfrecord_reads_what_we_write(tmp_path, fake_split):
    from tfrecord.reader import tfrecord_loader

    split, path = fake_split(30), tmp_path / "file.tfrecords"
    write(split, path, progress=False)
    kinds = {"height": "int", "width": "int", "depth": "int", "label": "byte", "image_raw": "byte"}
    found = list(tfrecord_loader(str(path), None, kinds))
    assert len(found) == 30
    for row, image, label in zip(found, split.images, split.labels.tolist(), strict=True):
        assert [row[name].tolist() for name in ("height", "width", "depth")] == [[28], [28], [1]]
        assert bytes(row["label"]) == one_hot(label)
        assert bytes(row["image_raw"]) == bytes(image.flatten().tolist())


def test_we_read_what_the_package_tfrecord_writes(tmp_path, fake_split):
    from tfrecord.writer import TFRecordWriter

    split, path = fake_split(30), tmp_path / "file.tfrecords"
    writer = TFRecordWriter(str(path))
    for image, label in zip(split.images.numpy(), split.labels.tolist(), strict=True):
        content = {"image_raw": (image.tobytes(), "byte"), "label": (one_hot(label), "byte")}
        writer.write({**content, "depth": (0, "int"), "width": (28, "int"), "height": (28, "int")})
    writer.close()
    assert_same(read_split(path, count=30), split)


def test_progress_is_shown_unless_unwanted(tmp_path, capsys):
    write(TINY, tmp_path / "quiet", progress=False)
    assert capsys.readouterr() == ("", "")
    write(TINY, tmp_path / "loud.tfrecords")
    assert "loud.tfrecords: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("classes", [("a", "b"), tuple("abcdefghijk")])
def test_a_split_without_ten_classes_is_refused(tmp_path, fake_split, classes):
    with pytest.raises(ValueError, match=f"has 10 places, but the split has {len(classes)} classes"):
        write(fake_split(2, classes=classes), tmp_path / "folder" / "file")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("failure", "raised"),
    [(OSError(28, "No space left on device"), DataError), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["disk full", "interrupted"],
)
@pytest.mark.parametrize("old", [None, b"old content"])
def test_a_failure_leaves_the_old_file_as_it_was(tmp_path, monkeypatch, failure, raised, old):
    path, real, calls = tmp_path / "file.tfrecords", tfrecords._checksum, itertools.count()
    if old is not None:
        path.write_bytes(old)

    def fail(content):
        if next(calls) == 3:  # in the second record
            raise failure
        return real(content)

    monkeypatch.setattr(tfrecords, "_checksum", fail)
    with pytest.raises(raised):
        write(TINY, path, progress=False)
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == ({} if old is None else {path.name: old})


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("a file")
    for path in (tmp_path, tmp_path / "file" / "below.tfrecords"):
        with pytest.raises(DataError, match="cannot write") as caught:
            write(TINY, path, progress=False)
        assert str(path) in str(caught.value)


# Reading what is whole


@pytest.mark.parametrize("size", [1, 50, 119, 120, 1000])
def test_batches_hold_all_records_in_order_and_the_last_what_is_left(tmp_path, fake_split, size):
    split, path = fake_split(120), tmp_path / "file"
    write(split, path, progress=False)
    batches = list(read(path, size, count=120))
    assert [len(labels) for _, labels in batches] == [size] * (120 // size) + [120 % size] * (120 % size > 0)
    assert all(images.shape == (len(labels), 1, 28, 28) for images, labels in batches)
    assert_same(Split(*map(torch.cat, zip(*batches, strict=True))), split)


def test_batches_are_of_fifty_unless_said_otherwise_and_may_be_changed(tmp_path, fake_split):
    write(fake_split(120), tmp_path / "file", progress=False)
    batches = list(read(str(tmp_path / "file")))
    assert [len(labels) for _, labels in batches] == [50, 50, 20]
    batches[0][0].zero_()  # a warning, or worse, if the memory were that of the bytes read


def test_a_whole_file_is_a_split_again(tmp_path, fake_split):
    split = fake_split(1234, size=5)
    write(split, tmp_path / "file", progress=False)
    assert_same(read_split(tmp_path / "file", count=1234), split)


def test_files_of_r0_have_depth_0(place):
    assert outcome(place, by_hand(TINY, depth=0), count=3) == (rows_of(TINY), None)


@pytest.mark.parametrize("order", list(itertools.permutations(FEATURES))[::7])
def test_features_may_come_in_any_order(place, order):
    content = frame(message({name: FEATURES[name] for name in order}))
    assert outcome(place, content) == (rows_of(TINY)[:1], None)


def test_unknown_features_and_fields_are_passed_over(place):
    more = {
        "": int64(),
        "name": blob(b"five", b"seven"),
        "weights": field(2, field(1, struct.pack("<3f", 0.5, 1, 2))),
        "é": b"",
        "many": int64(*range(-300, 300)),
    }
    for features in ({**more, **FEATURES}, {**FEATURES, **more}):
        content = frame(message(features) + field(15, b"new") + varint(16 * 8) + varint(5))
        assert outcome(place, content) == (rows_of(TINY)[:1], None)


def test_integers_may_be_packed_or_not(place):
    single = {"height": int64_unpacked(2), "width": int64_unpacked(3), "depth": int64_unpacked(0)}
    assert single["height"] != FEATURES["height"]
    assert outcome(place, frame(message({**FEATURES, **single}))) == (rows_of(TINY)[:1], None)


# Shuffling


NUMBERED = Split(torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1), torch.arange(50) % 10)


@pytest.fixture
def numbered(tmp_path):
    """A file of 50 records; each image is its own number."""
    write(NUMBERED, tmp_path / "numbered", progress=False)

    def order(**options):
        images, labels = map(torch.cat, zip(*read(tmp_path / "numbered", 7, count=50, **options), strict=True))
        assert torch.equal(images.flatten() % 10, labels)
        return images.flatten().tolist()

    return order


@pytest.mark.parametrize("buffer", [2, 7, 49, 50, 51, 10_000])
def test_shuffling_gives_every_record_once_as_the_seed_says(numbered, buffer):
    first, again, other = (numbered(shuffle=seed, buffer=buffer) for seed in (1, 1, 2))
    assert sorted(first) == list(range(50))
    assert first == again
    assert list(range(50)) != first != other
    assert all(place > number - buffer for place, number in enumerate(first))  # none comes before it could be read


def test_a_large_buffer_moves_records_far(numbered):
    moves = [abs(place - number) for seed in range(20) for place, number in enumerate(numbered(shuffle=seed))]
    assert 15 < sum(moves) / len(moves) < 18  # 16.66 for orders drawn evenly


def test_without_a_seed_or_with_a_buffer_of_one_the_order_is_the_files(numbered):
    assert numbered() == numbered(shuffle=3, buffer=1) == list(range(50))


def test_zero_is_a_seed_and_pythons_own_chance_is_left_alone(numbered):
    before = random.getstate()
    assert numbered(shuffle=0) != list(range(50))
    assert random.getstate() == before


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"buffer": 0}, {"shuffle": False}, {"shuffle": True}], ids=str)
def test_arguments_that_do_not_fit_are_refused(place, options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        next(read(place, **options))


# Damage


def test_every_single_bit_that_flips_is_found_and_its_record_named(place):
    expected = rows_of(TINY)
    for place_in_file, bit in itertools.product(range(len(CONTENT)), range(8)):
        content = bytearray(CONTENT)
        content[place_in_file] ^= 1 << bit
        rows, error = outcome(place, content)
        number = place_in_file // SIZE
        assert rows == expected[:number]
        assert f"record {number} at byte {number * SIZE} is damaged" in error


def test_a_file_cut_anywhere_gives_a_true_beginning_and_is_refused_unless_cut_between_records(place):
    expected = rows_of(TINY)
    for length in range(len(CONTENT)):
        number, rest = divmod(length, SIZE)
        rows, error = outcome(place, CONTENT[:length])
        assert rows == expected[:number]
        assert (error is None) == (rest == 0)
        if rest:
            assert f"record {number} at byte {number * SIZE} is damaged" in error
            assert f"the file ends {'inside its length' if rest < 12 else 'before the record does'}" in error
        rows, error = outcome(place, CONTENT[:length], count=3)
        assert rows == expected[:number]
        assert error


@given(start=st.integers(0, len(CONTENT)), end=st.integers(0, len(CONTENT)), new=st.binary(max_size=30))
@example(start=0, end=0, new=bytes(12))
@example(start=len(CONTENT), end=len(CONTENT), new=bytes(16))
@example(start=0, end=len(CONTENT), new=b"")
@example(start=SIZE, end=len(CONTENT), new=b"")
@settings(max_examples=500)
def test_a_part_replaced_lost_or_added_is_found(place, start, end, new):
    start, end = sorted((start, end))
    assume(CONTENT[start:end] != new)
    assume(new or start % SIZE or end % SIZE or end == len(CONTENT))  # whole records lost: see the next test
    content = CONTENT[:start] + new + CONTENT[end:]
    for shuffle in (None, 1):
        rows, error = outcome(place, content, count=3, shuffle=shuffle, buffer=2)
        assert error
        assert shuffle is not None or rows == rows_of(TINY)[: len(rows)]
        assert all(row in rows_of(TINY) for row in rows)


@pytest.mark.parametrize("kept", [[0, 1], [0, 2], [1, 2], [0, 1, 1, 2], []])
def test_whole_records_lost_or_added_show_in_the_count_alone(place, kept):
    content = b"".join(CONTENT[SIZE * i : SIZE * (i + 1)] for i in kept)
    expected = [rows_of(TINY)[i] for i in kept]
    assert outcome(place, content) == (expected, None)
    rows, error = outcome(place, content, count=3)
    assert rows == expected
    assert f"holds {len(kept)} records, and must hold 3. Write it again: python -m mnistlib" in error


@pytest.mark.parametrize("length", [0, 1, SIZE - 17, SIZE - 15, 2 * SIZE, 3 * SIZE, 2**40, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_wrong_length_with_a_fitting_checksum_is_refused_before_memory_is_taken(place, length):
    content = CONTENT[:SIZE] + frame(CONTENT[SIZE + 12 : 2 * SIZE - 4], length) + CONTENT[2 * SIZE :]
    outcome(place, content)
    tracemalloc.start()
    rows, error = outcome(place, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == rows_of(TINY)[:1]
    assert f"record 1 at byte {SIZE} is damaged" in error
    assert peak < 500_000


def test_a_record_as_long_as_the_rest_of_the_file_swallows_no_checksum(place):
    """Its length fits the file, with no room for the checksum behind it."""
    for missing in range(5):
        rows, error = outcome(place, CONTENT[: SIZE - missing], count=1)
        assert rows == ([] if missing else rows_of(TINY)[:1])
        assert (error is not None and "the file ends before the record does" in error) == (missing > 0)


# Whole records of another kind


WRONG = {
    "text": (b"no protocol buffer", "it is not a tf.train.Example"),
    "name not UTF-8": (field(1, field(1, field(1, b"\xff\xfe") + field(2, int64(1)))), "it is not a tf.train.Example"),
    "nothing": (b"", "its height has 0 values in int64_list, not one"),
    "no pixels": ({"image_raw": blob()}, "its image_raw has 0 values in bytes_list"),
    "two labels": ({"label": blob(one_hot(1), one_hot(1))}, "its label has 2 values"),
    "label is a number": ({"label": int64(7)}, "its label has 0 values in bytes_list"),
    "height is bytes": ({"height": blob(b"2")}, "its height has 0 values in int64_list"),
    "colour": ({"depth": int64(3)}, "its depth is 3; grey images have 1"),
    "negative depth": ({"depth": int64(-1)}, "its depth is -1"),
    "a pixel too many": ({"image_raw": blob(bytes(7))}, "it has 7 pixels for an image of 2×3"),
    "no height": ({"height": int64(0), "image_raw": blob(b"")}, "it has 0 pixels for an image of 0×3"),
    "negative sizes": ({"height": int64(-2), "width": int64(-3)}, "it has 6 pixels for an image of -2×-3"),
    "turned": ({"height": int64(3), "width": int64(2)}, "its image is 3×2, not 2×3 as the first"),
    "no label": ({"label": blob(bytes(80))}, "its label is not ten int64 with one 1 and nine 0"),
    "two ones": ({"label": blob(struct.pack("<10q", 1, 1, *[0] * 8))}, "its label is not ten int64"),
    "short label": ({"label": blob(one_hot(7)[:79])}, "its label is not ten int64"),
    "big-endian label": ({"label": blob(struct.pack(">10q", 1, *[0] * 9))}, "its label is not ten int64"),
    "floats as label": ({"label": blob(struct.pack("<10d", 1, *[0] * 9))}, "its label is not ten int64"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_record_of_another_kind_is_refused_and_the_reason_given(place, name):
    record, problem = WRONG[name]
    record = record if isinstance(record, bytes) else message({**FEATURES, **record})
    rows, error = outcome(place, CONTENT[: 2 * SIZE] + frame(record))
    assert rows == rows_of(TINY)[:2]
    assert f"record 2 at byte {2 * SIZE} is damaged or of another kind: {problem}" in error
    assert "Write it again: python -m mnistlib tfrecords --out FOLDER" in error
    assert "\n" not in error


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_that_is_absent_is_named(place, name):
    _, error = outcome(place, frame(message({other: feature for other, feature in FEATURES.items() if other != name})))
    assert f"its {name} has 0 values" in error


def test_records_wrong_inside_but_with_fitting_checksums_never_fail_otherwise(place):
    """As another program may write them: each bit of a record flipped, then framed. Some are good images still."""
    good = message(FEATURES)
    for number in range(8 * len(good)):
        content = bytearray(good)
        content[number // 8] ^= 1 << number % 8
        rows, error = outcome(place, tfrecord_frame(bytes(content)))
        assert (len(rows), error is None) in [(0, False), (1, True)]


def tfrecord_frame(record):
    length = struct.pack("<Q", len(record))
    return length + tfrecords._checksum(length) + record + tfrecords._checksum(record)


@given(st.binary(max_size=60))
def test_any_bytes_as_a_record_are_refused(place, record):
    rows, error = outcome(place, frame(record))
    assert not rows
    assert "record 0 at byte 0 is damaged or of another kind" in error


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_as_a_file_are_refused(place, content):
    rows, error = outcome(place, content)
    assert not rows
    assert "record 0 at byte 0 is damaged" in error


# Files that are none


def test_an_empty_file_has_no_records(place):
    assert outcome(place, b"") == ([], None)
    assert "holds 0 records, and must hold 3" in outcome(place, b"", count=3)[1]
    assert outcome(place, b"", count=0) == ([], None)
    with pytest.raises(DataError, match=r"holds no records\. Write it again"):
        read_split(place)


@pytest.mark.parametrize("shuffle", [None, 1])
@pytest.mark.parametrize(("name", "reason"), [("absent", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_is_not_there_or_is_a_folder_is_named_with_the_remedy(tmp_path, name, reason, shuffle):
    path = tmp_path / name
    for use in (lambda: next(read(path, shuffle=shuffle)), lambda: read_split(path), lambda: next(records(path))):
        with pytest.raises(DataError, match="Write it again: python -m mnistlib tfrecords --out FOLDER") as caught:
            use()
        assert str(path) in str(caught.value)
        assert os.name == "nt" or reason in str(caught.value)


def test_a_disk_that_fails_while_reading_is_an_error_of_the_data():
    path = Path("/proc/self/mem")  # opens, and cannot be read at its beginning
    if not path.exists():
        pytest.skip("no /proc on this system")
    with pytest.raises(DataError, match="cannot read /proc/self/mem: Input/output error"):
        read_split(path)


# Packages that are missing, and TensorFlow when it is there


@pytest.fixture
def fresh_packages():
    tfrecords._packages.cache_clear()
    yield
    tfrecords._packages.cache_clear()


@pytest.mark.usefixtures("fresh_packages")
@pytest.mark.parametrize("name", ["crc32c", "tfrecord", "google.protobuf.message"])
def test_a_missing_package_is_told_in_one_line_and_nothing_is_written(tmp_path, monkeypatch, name):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    monkeypatch.setitem(sys.modules, name, None)  # now its import fails
    uses = (lambda: write(TINY, path), lambda: write(TINY, tmp_path / "new" / "file"), lambda: list(read(path)))
    for use in (*uses, lambda: read_split(path), lambda: list(records(path))):
        with pytest.raises(DataError) as caught:
            use()
        assert str(caught.value) == MISSING
    assert "\n" not in MISSING
    assert 'pip install -e ".[tfrecords]"' in MISSING
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() == CONTENT


@pytest.mark.usefixtures("fresh_packages")
def test_where_tensorflow_is_imported_its_own_messages_are_used(place, monkeypatch):
    """The package tfrecord would fail: a program cannot register the same messages twice."""
    from tfrecord import example_pb2

    folder = types.ModuleType("tensorflow.core.example")
    folder.example_pb2 = example_pb2
    for name in ("tensorflow", "tensorflow.core", "tensorflow.core.example"):
        monkeypatch.setitem(sys.modules, name, folder)
    monkeypatch.setitem(sys.modules, "tfrecord", None)
    write(TINY, place, progress=False)
    assert_same(read_split(place), TINY)


# Large files, and R0's


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of 20,000 records, 19 MB."""
    path = tmp_path_factory.mktemp("tfrecords") / "large.tfrecords"
    write(tiny_split(20_000, 28, 28), path, progress=False)
    return path


@pytest.mark.parametrize(("options", "limit"), [({}, 300_000), ({"shuffle": 1, "buffer": 500}, 1_500_000)])
def test_memory_does_not_grow_with_the_file(large, options, limit):
    list(itertools.islice(read(large), 3))  # what is imported on the way does not count
    tracemalloc.start()
    found = sum(len(labels) for _, labels in read(large, count=20_000, **options))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == 20_000
    assert peak < limit < large.stat().st_size / 10


def test_the_parts_are_exactly_those_of_r0(mnist):
    found = parts()
    assert {name: len(split) for name, split in found.items()} == PARTS == {"train": 49_000, "valid": 14_000, "test": 7_000}
    assert [split.counts() for split in found.values()] == [
        [4761, 5555, 4901, 5007, 4738, 4421, 4763, 5105, 4828, 4921],
        [1468, 1537, 1397, 1422, 1360, 1252, 1412, 1451, 1346, 1355],
        [674, 785, 692, 712, 726, 640, 701, 737, 651, 682],
    ]
    images = torch.cat([mnist.train.images, mnist.test.images])
    for name, first in (("train", [15852, 36271, 45073]), ("valid", [61770, 50774]), ("test", [55238, 32032])):
        assert torch.equal(found[name].images[: len(first)], images[first])


def test_a_part_lies_where_r0_puts_it():
    assert path_of("mnist_tf", "train").as_posix() == "mnist_tf/train/mnist_train.tfrecords"
    assert [path_of(Path("x"), part).name for part in PARTS] == [f"mnist_{part}.tfrecords" for part in ("train", "valid", "test")]
