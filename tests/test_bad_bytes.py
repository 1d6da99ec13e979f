"""Thousands of damaged files and wrong inputs: what comes out is the truth, or our own clear error, and nothing else."""

import copy
import gzip
import hashlib
import io
import json
import shutil
import struct
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mnistlib import checkpoints, datasets, drawing, evaluation, experiments, networks, sweeps, tfrecords, training
from mnistlib.datasets import ImageDataset, Split
from mnistlib.files import DataError

CLEAR = (DataError, ValueError)


@st.composite
def damaged(draw, content: bytes, header: int = 16):
    """``content`` after one to three damages: bits flipped, bytes cut off, added, lost, repeated or put elsewhere.

    Half of them fall into the first or last ``header`` bytes, where files say what they hold.
    """
    for _ in range(draw(st.integers(1, 3))):
        size = len(content)
        ends = st.one_of(st.integers(0, min(header, size)), st.integers(max(0, size - header), size))
        place = draw(st.one_of(ends, st.integers(0, size)))
        length = draw(st.one_of(st.integers(1, 8), st.integers(1, max(1, size))))
        part = content[place : place + length]
        how = draw(st.sampled_from(["flip", "flip", "byte", "cut", "extend", "lose", "repeat", "zeros", "move"]))
        if how == "flip":
            bits = int.from_bytes(content, "big") ^ (1 << draw(st.integers(0, 7)) << 8 * max(0, size - 1 - place))
            content = bits.to_bytes(max(size, 1), "big")
        elif how == "byte":
            content = content[:place] + bytes([draw(st.integers(0, 255))]) + content[place + 1 :]
        elif how == "cut":
            content = content[:place]
        elif how == "extend":
            content += draw(st.binary(min_size=1, max_size=30))
        elif how == "lose":
            content = content[:place] + content[place + length :]
        elif how == "repeat":
            content = content[:place] + part + content[place:]
        elif how == "zeros":
            content = content[:place] + bytes(len(part)) + content[place + length :]
        else:
            content = part + content[:place] + content[place + length :]
    return content


# IDX files, and a dataset of them


def idx(array: np.ndarray) -> bytes:
    kind = {"uint8": 0x08, "int32": 0x0C}[array.dtype.name]
    return (
        struct.pack(f">BBBB{array.ndim}i", 0, 0, kind, array.ndim, *array.shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
COLUMNS = np.arange(5 * 8, dtype=np.int32).reshape(5, 8) % 10
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)
NAMES = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
FILES = dict(
    zip(NAMES, (gzip.compress(idx(array), mtime=0) for array in (IMAGES, LABELS, IMAGES[::-1], LABELS[::-1])), strict=True)
)
TRUE = [IMAGES, LABELS, IMAGES[::-1], LABELS[::-1]]


OFFICIAL = [
    ("train" if name.startswith("train") else "test", name, f"address/{name}", hashlib.md5(content).hexdigest())
    for name, content in FILES.items()
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The data folder and the package's, for an MNIST of ten images."""
    data, package = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("package")
    (data / "MNIST" / "raw").mkdir(parents=True)
    return data, package


def outcome(data, package):
    """The four arrays of that MNIST without a network, or None when a clear error was raised."""

    def unreachable(*_):
        raise OSError(101, "Network is unreachable")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNISTLIB_DATA", str(data))
        patch.setattr(datasets, "_official_files", lambda name: OFFICIAL)
        patch.setattr(datasets, "PACKAGE_DATA", package)
        patch.setattr(datasets, "download_url", unreachable)
        try:
            found = datasets.load("MNIST")
        except DataError as error:
            assert "Ways out" in str(error)  # noqa: PT017 — either outcome is right
            return None
    return [found.train.images[:, 0], found.train.labels, found.test.images[:, 0], found.test.labels]


def damage_of_a_file(data):
    """(name, content) of one of the four files, damaged as it is or below its compression."""
    name = data.draw(st.sampled_from(NAMES))
    if data.draw(st.booleans()):
        return name, data.draw(damaged(FILES[name]))
    payload = data.draw(damaged(gzip.decompress(FILES[name])))
    return name, gzip.compress(payload, data.draw(st.integers(0, 9)), mtime=0)


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_dataset_is_replaced_by_the_packages_or_refused(folders, data):
    cached, package = (folder / "MNIST" / "raw" for folder in folders)
    name, content = damage_of_a_file(data)
    has_package = data.draw(st.booleans())
    shutil.rmtree(package, ignore_errors=True)
    if has_package:
        package.mkdir(parents=True)
        (package / name).write_bytes(FILES[name])
    for other, good in FILES.items():
        (cached / other).write_bytes(content if other == name else good)
    found = outcome(*folders)
    if found is None:
        assert not has_package
        assert content != FILES[name]
    else:
        assert has_package or content == FILES[name]
        for array, true in zip(found, TRUE, strict=True):
            np.testing.assert_array_equal(array, true)
        assert (cached / name).read_bytes() == FILES[name]  # repaired


@settings(max_examples=6)
@given(content=damaged(gzip.compress(idx(LABELS))))
def test_damage_in_the_real_mnist_is_replaced_by_the_packages(mnist, content):
    raw = datasets.data_folder() / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    (raw / NAMES[3]).write_bytes(content)
    assert torch.equal(datasets.load("MNIST").test.labels, mnist.test.labels)


@settings(max_examples=800)
@given(data=st.data(), array=st.sampled_from([IMAGES, COLUMNS, LABELS]))
def test_a_damaged_idx_file_is_read_as_its_own_header_says_or_refused(data, array):
    """Without a checksum before it, a changed pixel cannot be seen; all else must fit together."""
    payload = data.draw(damaged(idx(array)))
    content = gzip.compress(payload, 1)
    if data.draw(st.booleans()):
        content = data.draw(damaged(content))
    try:
        found = datasets._read_idx(content, "file.gz")
    except DataError as error:
        assert "file.gz" in str(error)  # noqa: PT017
        return
    assert idx(found.numpy()) == gzip.decompress(content)


@settings(max_examples=500)
@given(
    images=arrays.arrays(
        st.sampled_from([np.uint8, np.int32]), arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=9)
    ),
    labels=arrays.arrays(
        st.sampled_from([np.uint8, np.int32]), arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9)
    ),
)
def test_whole_idx_files_that_are_no_images_or_no_labels_are_refused(images, labels):
    try:
        split = datasets._as_split(torch.from_numpy(images), torch.from_numpy(labels), datasets.DIGITS)
    except ValueError:
        return
    np.testing.assert_array_equal(split.images[:, 0], images)
    np.testing.assert_array_equal(split.labels, labels if labels.ndim == 1 else labels[:, 0])


# TFRecords

TINY = Split(torch.arange(4 * 6, dtype=torch.uint8).reshape(4, 1, 2, 3), torch.tensor([7, 0, 9, 3]))
ROWS = [(image.tolist(), label) for image, label in zip(TINY.images, TINY.labels.tolist(), strict=True)]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A place for TFRecords, and the bytes of good ones."""
    pytest.importorskip("crc32c", reason="needs the extra tfrecords")
    path = tmp_path_factory.mktemp("tfrecords") / "file.tfrecords"
    tfrecords.write(TINY, path, progress=False)
    return path, path.read_bytes()


def rows_before_the_error(path, content, **options):
    """What is read before an error, and whether there was one."""
    path.write_bytes(content)
    rows = []
    try:
        for images, labels in tfrecords.read(path, 1, **options):
            assert (images.dtype, images.ndim, images.shape[:2]) == (torch.uint8, 4, (1, 1))
            rows.append((images[0].tolist(), labels.item()))
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017
        return rows, True
    return rows, False


@settings(max_examples=400)
@given(data=st.data())
def test_damaged_tfrecords_give_a_true_beginning_and_then_an_error(records, data):
    path, good = records
    content = data.draw(damaged(good))
    rows, failed = rows_before_the_error(path, content)
    assert all(row in ROWS for row in rows)
    assert failed or len(content) * len(ROWS) == len(rows) * len(good)  # else whole records were lost or repeated
    rows, failed = rows_before_the_error(path, content, count=len(ROWS))
    assert failed or sorted(rows) == sorted(ROWS)


@settings(max_examples=400)
@given(data=st.data())
def test_damage_below_a_tfrecords_checksums_never_fails_otherwise(records, data):
    """As a faulty program would write it, with checksums that fit."""
    path, good = records
    path.write_bytes(good)
    whole = [record for _, record in tfrecords.records(path)]
    place = data.draw(st.integers(0, 3))
    whole[place] = data.draw(damaged(whole[place]))
    lengths = [len(record).to_bytes(8, "little") for record in whole]
    framed = [n + tfrecords._checksum(n) + record + tfrecords._checksum(record) for n, record in zip(lengths, whole, strict=True)]
    rows, failed = rows_before_the_error(path, b"".join(framed))
    assert rows[:place] == ROWS[:place]
    assert failed or [row for i, row in enumerate(rows) if i != place] == [row for i, row in enumerate(ROWS) if i != place]


# Checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A place for a checkpoint, the bytes of a good one, and its weights."""
    path, net = tmp_path_factory.mktemp("checkpoint") / "net.pt", networks.build("lenet5", seed=3)
    checkpoints.save_checkpoint(net, path, "lenet5", epochs=3)
    return path, path.read_bytes(), net.state_dict()


def loaded(path, content):
    """The weights in a checkpoint, or None when it was refused with its name."""
    path.write_bytes(content)
    try:
        net = checkpoints.load_checkpoint(path)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017
        return None
    assert not net.training
    return net.state_dict()


@pytest.mark.filterwarnings("ignore::UserWarning")  # zipfile's and torch's, about what they are given
@settings(max_examples=500)
@given(data=st.data())
def test_a_damaged_checkpoint_gives_the_true_weights_or_is_refused(checkpoint, data):
    path, good, state = checkpoint
    found = loaded(path, data.draw(damaged(good, header=2500)))
    assert found is None or list(found) == list(state)
    assert found is None or all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=500)
@given(data=st.data())
def test_damage_below_a_checkpoints_checksums_never_fails_otherwise(checkpoint, data):
    """One part of the file damaged and packed again: the list of tensors, a tensor, or the small parts beside them."""
    path, good, state = checkpoint
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(packed, "w") as new:
        parts = sorted(old.namelist(), key=lambda name: not name.endswith("data.pkl"))
        changed = data.draw(st.sampled_from([parts[0]] * len(parts) + parts))
        for part in old.namelist():
            content = old.read(part)
            new.writestr(part, data.draw(damaged(content)) if part == changed else content)
    found = loaded(path, packed.getvalue())
    assert found is None or {name: tensor.shape for name, tensor in found.items()} == {n: t.shape for n, t in state.items()}


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([torch.zeros(1), torch.ones(6, 1)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=5,
)
TENSORS = st.sampled_from(
    [
        torch.zeros(6, 1, 5, 5, dtype=torch.complex64),
        torch.zeros(6, 1, 5, 5, dtype=torch.int8),
        torch.zeros(6, 1, 5, 5).to_sparse(),
        torch.zeros(6, 1, 5, 5, device="meta"),
        torch.zeros(6, 1, 5),
        torch.tensor(3.0),
    ]
)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=400)
@given(data=st.data())
def test_a_checkpoint_of_another_content_is_refused(checkpoint, data):
    """Made by torch.save, as somebody else might: parts lost, replaced, or weights of other kinds."""
    path, _, state = checkpoint
    content, weights = {"network": "lenet5", "state": dict(state), "facts": {}}, dict(state)
    how = data.draw(st.sampled_from(["all", "part", "lost", "weight", "weight lost", "weight added", "names"]))
    if how == "all":
        content = data.draw(PLAIN)
    elif how in ("part", "lost"):
        part = data.draw(st.sampled_from(["network", "state"]))
        content[part] = data.draw(PLAIN)
        if how == "lost":
            del content[part]
    else:
        name = data.draw(st.sampled_from(list(weights)))
        value = weights.pop(name)
        if how == "weight":
            weights[name] = data.draw(PLAIN | TENSORS)
        elif how == "weight added":
            weights |= {name: value, data.draw(st.text(max_size=5)): data.draw(PLAIN)}
        elif how == "names":
            weights[data.draw(st.text() | st.integers() | st.none())] = value
        content["state"] = weights
    buffer = io.BytesIO()
    torch.save(content, buffer)
    found = loaded(path, buffer.getvalue())
    if found is not None:  # what fits may be taken
        assert content["network"] == "lenet5"
        assert all(torch.equal(found[key], content["state"][key].to(found[key].dtype)) for key in found)


# Trainings that were stopped

ABOUT = {"epochs": 3, "seed": 0}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A place for the state of a training, its good bytes, and the network, optimizer and history that it is read into."""
    path, net = tmp_path_factory.mktemp("stopped") / "training.pt", networks.build("lenet5", seed=3)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 1, 32, 32)).sum().backward()
    optimizer.step()
    parts = {
        "net": net,
        "optimizer": optimizer,
        "order": torch.Generator(),
        "history": training.History([0.5], [0.75], seconds=[1.0]),
    }
    checkpoints.save_training(path, ABOUT, torch.device("cpu"), **parts)
    return path, path.read_bytes(), parts


def state_of(parts):
    """All that a training goes on from, to compare."""
    tensors = [*parts["net"].state_dict().values(), parts["order"].get_state()]
    tensors += [value for state in parts["optimizer"].state_dict()["state"].values() for value in state.values()]
    return [tensor.clone() for tensor in tensors], copy.deepcopy(vars(parts["history"]))


def assert_goes_on_or_refused(path, content, parts):
    """Whether a training goes on from a file; if not, it was refused with its name."""
    path.write_bytes(content)
    with torch.random.fork_rng():
        try:
            return checkpoints.load_training(path, ABOUT, torch.device("cpu"), **parts)
        except CLEAR as error:
            assert str(path) in str(error)  # noqa: PT017
            return False


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=250)
@given(data=st.data())
def test_a_damaged_training_goes_on_from_the_true_state_or_is_refused(stopped, data):
    path, good, parts = stopped
    assert assert_goes_on_or_refused(path, good, parts)
    tensors, history = state_of(parts)
    if assert_goes_on_or_refused(path, data.draw(damaged(good, header=4000)), parts):
        found, found_history = state_of(parts)
        assert all(torch.equal(*pair) for pair in zip(found, tensors, strict=True))
        assert found_history == history


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=300)
@given(data=st.data())
def test_a_training_of_another_content_never_fails_otherwise(stopped, data):
    path, good, parts = stopped
    content = {"": torch.load(io.BytesIO(good), weights_only=True)}
    *above, last = data.draw(st.sampled_from([place for place in places(content) if 0 < len(place) < 7]))
    parent = content
    for step in above:
        parent = parent[step]
    assume(not isinstance(parent, tuple))
    parent[last] = data.draw(PLAIN | TENSORS)
    buffer = io.BytesIO()
    torch.save(content[""], buffer)
    assert_goes_on_or_refused(path, buffer.getvalue(), parts)


# Files of results

KEYS, SEEDS = ("mlp", "lenet5-padded"), 3


def fake_run(group, key, seed, **_):
    """A run as `train_and_measure` gives it, made up."""
    wrong = [3 * seed + KEYS.index(key), 12 + seed, 19]
    return {
        "seed": seed,
        "test accuracy": 1 - len(set(wrong)) / 20 - 0.01 * seed,
        "test loss": 0.25 + seed / 7,
        "epochs": 2,
        "seconds of the quickest epoch": 1.5,
        "training accuracy": [0.5, 0.75],
        "validation accuracy": [0.5, 0.7],
        "mistakes": " ".join(f"{image}:7" for image in sorted(set(wrong))),
    }


def blank(train, test):
    """A dataset of empty images, all of class 0."""
    return ImageDataset(
        "MNIST", *(Split(torch.zeros(n, 1, 28, 28, dtype=torch.uint8), torch.zeros(n).long()) for n in (train, test))
    )


def gone_on_with(go_on, path):
    """The results that a run goes on to from a file, or None when it refuses the file: that is named, and stays."""
    content = path.read_bytes()
    try:
        return go_on()
    except CLEAR as error:
        assert str(path) in str(error)  # noqa: PT017
        assert path.read_bytes() == content
        return None


def with_fault(good, place, value):
    """A copy of results with another value in one place."""
    *above, last = place
    content = parent = copy.deepcopy(good)
    for step in above:
        parent = parent[step]
    parent[last] = value
    return content


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """A function that compares two networks in made-up runs, a place for its file, and the good results."""
    path = tmp_path_factory.mktemp("results") / "networks.json"
    dataset = blank(30, 20)

    def compare():
        return experiments.compare(KEYS, seeds=SEEDS, out=path, dataset=dataset, device="cpu", progress=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments, "VALID", 10)
        patch.setattr(experiments, "train_and_measure", fake_run)
        yield compare, path, compare()


def assert_true_or_refused(comparison):
    """`compare` goes on with a file: every accuracy it then has is one that was measured, or the file is refused and stays."""
    compare, path, good = comparison
    found = gone_on_with(compare, path)
    if found is None:
        return False
    table = experiments.table(found, "published")
    assert len(table) >= len(KEYS)
    for key, entry in found["groups"]["published"].items():
        true = [run["test accuracy"] for run in good["groups"]["published"][key]["runs"]]
        assert {run["test accuracy"] for run in entry["runs"]} <= set(true)
        assert {0, 1, 2} <= {run["seed"] for run in entry["runs"]}
        experiments.predictions(entry["runs"][0], torch.zeros(10**6, dtype=torch.int64))
    return True


def test_good_results_are_taken(comparison):
    assert assert_true_or_refused(comparison)


@settings(max_examples=500)
@given(data=st.data())
def test_damaged_results_are_refused_or_their_accuracies_are_true(comparison, data):
    _, path, good = comparison
    text = json.dumps(good, indent=1, ensure_ascii=False).encode()
    path.write_bytes(data.draw(damaged(text, header=200)))
    assert_true_or_refused(comparison)


def places(tree, path=()):
    """Where each value of a JSON tree lies."""
    yield path
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    for key, child in children:
        yield from places(child, (*path, key))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([10**400, -1, 2]) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def restructured(data, good):
    """The results with a value that was replaced, lost, or, in a list, repeated."""
    content = {"": copy.deepcopy(good)}
    *above, last = data.draw(st.sampled_from(list(places(content))[1:]))
    parent = content
    for step in above:
        parent = parent[step]
    how = data.draw(st.sampled_from(["replace", "replace", "lose", "repeat"]))
    assume(how == "replace" or len(above) > 0)
    if how == "replace":
        parent[last] = data.draw(JSON)
    elif how == "lose":
        del parent[last]
    elif isinstance(parent, list):
        parent.insert(0, copy.deepcopy(parent[last]))
    else:
        parent[data.draw(st.text(max_size=4))] = copy.deepcopy(parent[last])
    return content[""]


@settings(max_examples=500)
@given(data=st.data())
def test_results_of_a_wrong_structure_are_refused_or_their_accuracies_are_true(comparison, data):
    _, path, good = comparison
    path.write_text(json.dumps(restructured(data, good)), "utf-8")
    assert_true_or_refused(comparison)


RUN = ("groups", "published", "mlp", "runs")
WRONG = {
    "no groups": (("groups",), None),
    "groups that are a list": (("groups",), [1]),
    "an unknown group": (("groups",), {"other": {"mlp": {}}}),
    "an unknown network": (("groups", "published"), {"resnet": {"runs": []}}),
    "runs that are no list": (RUN, 3),
    "no runs": (RUN, []),
    "a run that is a number": ((*RUN, 0), 3),
    "an accuracy that is a text": ((*RUN, 0, "test accuracy"), "0.98"),
    "an accuracy above one": ((*RUN, 0, "test accuracy"), 98.7),
    "another accuracy": ((*RUN, 0, "test accuracy"), 0.5),
    "an accuracy that is not a number": ((*RUN, 0, "test accuracy"), float("nan")),
    "a seed that is a text": ((*RUN, 0, "seed"), "0"),
    "a seed twice": ((*RUN, 0, "seed"), 1),
    "epochs that were not": ((*RUN, 0, "epochs"), 9),
    "mistakes that are none": ((*RUN, 0, "mistakes"), "many"),
    "parameters that are a text": (("groups", "published", "mlp", "parameters"), "many"),
    "another mean": (("groups", "published", "mlp", "mean test accuracy"), 0.5),
    "another deviation": (("groups", "published", "mlp", "standard deviation"), None),
}


@pytest.mark.parametrize("what", WRONG)
def test_results_with_a_fault_are_refused_and_the_fault_is_named(comparison, what):
    compare, path, good = comparison
    place, value = WRONG[what]
    path.write_text(json.dumps(with_fault(good, place, value)), "utf-8")
    with pytest.raises(DataError, match=r"is no file of results, or it is damaged \(.+\)\. Move it away") as caught:
        compare()
    assert place[-1] == "groups" or "published" in str(caught.value) or "other" in str(caught.value)
    with pytest.raises(DataError):
        experiments.read_results(path, experiments._check_groups)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"groups": ' + "[" * 100_000, "9" * 10_000], ids=["lists", "groups", "digits"]
)
def test_results_of_brackets_or_digits_without_end_are_refused(comparison, content):
    compare, path, _ = comparison
    path.write_text(content)
    with pytest.raises(DataError, match="no file of results"):
        compare()


def test_other_results_of_the_course_are_not_gone_on_with(comparison):
    compare, path, good = comparison
    path.write_text(json.dumps({fact: value for fact, value in good.items() if fact != "groups"}), "utf-8")
    with pytest.raises(DataError, match="holds other results, not those of a comparison"):
        compare()


def test_answers_for_images_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="an answer for image 20, but there are 20 labels"):
        experiments.predictions({"mistakes": "3:1 20:7"}, torch.zeros(20, dtype=torch.int64))


# The file of a sweep


def fake_runs(dataset, preset, seeds, *_):
    """What a task of `sweep` gives, made up: of 20 images, all of class 0 but one, some got another answer."""
    runs = []
    for seed in seeds:
        right = 19 - seed - (preset == "modern")
        confusion = [f"{right} {19 - right}", "1 0"]
        runs.append({"seed": seed, "train accuracy": 0.75, "test accuracy": right / 20, "test loss": 0.25 + seed / 7})
        runs[-1] |= {"epochs": 2, "seconds": 1.5, "confusion": confusion}
    return runs


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A function that sweeps over one dataset in made-up runs, a place for its file, and the good results."""
    path = tmp_path_factory.mktemp("results") / "sweep.json"
    dataset = blank(200, 20)

    def sweep():
        return sweeps.sweep([dataset], seeds=SEEDS, epochs=2, out=path, device="cpu", progress=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "train_and_measure", fake_runs)
        yield sweep, path, sweep()


def assert_the_sweep_is_true_or_refused(swept):
    """`sweep` goes on with a file: every accuracy it then has is one that was measured, or the file is refused and stays."""
    sweep, path, good = swept
    found = gone_on_with(sweep, path)
    if found is None:
        return False
    for preset in sweeps.PRESETS:
        runs, true = (results["cells"][preset]["MNIST"]["runs"] for results in (found, good))
        assert {run["test accuracy"] for run in runs} <= {run["test accuracy"] for run in true}
        assert set(range(1, SEEDS + 1)) <= {run["seed"] for run in runs}
        assert 0 < sweeps.table(found, preset).loc["MNIST", "mean"] < 100
    return True


@pytest.mark.parametrize("how", ["bytes", "structure"])
@settings(max_examples=500)
@given(data=st.data())
def test_a_damaged_sweep_is_refused_or_its_accuracies_are_true(swept, how, data):
    _, path, good = swept
    if how == "bytes":
        path.write_bytes(data.draw(damaged(json.dumps(good, indent=1, ensure_ascii=False).encode(), header=200)))
    else:
        path.write_text(json.dumps(restructured(data, good)), "utf-8")
    assert_the_sweep_is_true_or_refused(swept)


CELL = ("cells", "modern", "MNIST")
WRONG_IN_A_SWEEP = {
    "cells that are a list": (("cells",), [1]),
    "an unknown preset": (("cells",), {"other": {"MNIST": {}}}),
    "runs that are no list": ((*CELL, "runs"), 3),
    "a run that is a number": ((*CELL, "runs", 0), 3),
    "an accuracy that is a text": ((*CELL, "runs", 0, "test accuracy"), "0.98"),
    "an accuracy that its answers do not have": ((*CELL, "runs", 0, "test accuracy"), 0.5),
    "an accuracy that is not a number": ((*CELL, "runs", 0, "train accuracy"), float("nan")),
    "another training accuracy": ((*CELL, "runs", 0, "train accuracy"), 0.5),
    "a loss below zero": ((*CELL, "runs", 0, "test loss"), -1),
    "a seed that is a text": ((*CELL, "runs", 0, "seed"), "1"),
    "a seed twice": ((*CELL, "runs", 0, "seed"), 2),
    "epochs that were not": ((*CELL, "runs", 0, "epochs"), 9),
    "answers that are no numbers": ((*CELL, "runs", 0, "confusion", 0), "many"),
    "answers to more images": ((*CELL, "runs", 0, "confusion", 1), "3 0"),
    "fewer than no answers": ((*CELL, "runs", 0, "confusion"), ["17 4", "-1 0"]),
    "no answers": ((*CELL, "runs", 0, "confusion"), []),
    "another mean": ((*CELL, "test", 0), 50.0),
    "another spread": ((*CELL, "test", 1), 0.0),
    "a mean without its spread": ((*CELL, "test"), [90.0]),
    "no mean": ((*CELL, "test"), None),
    "a mean of no runs": ((*CELL, "runs"), []),
    "no data": ((*CELL, "data"), None),
    "no epochs": ((*CELL, "how"), {"preset": "", "versions": {}}),
}


@pytest.mark.parametrize("what", WRONG_IN_A_SWEEP)
def test_a_sweep_with_a_fault_is_refused_and_the_fault_is_named(swept, what):
    sweep, path, good = swept
    place, value = WRONG_IN_A_SWEEP[what]
    path.write_text(json.dumps(with_fault(good, place, value)), "utf-8")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"is no file of results, or it is damaged \(.+\)\. Move it away") as caught:
        sweep()
    assert place[-1] == "cells" or "modern, MNIST: " in str(caught.value)
    assert path.read_bytes() == before


def test_a_good_sweep_is_taken(swept):
    _, path, good = swept
    path.write_text(json.dumps(good), "utf-8")
    assert assert_the_sweep_is_true_or_refused(swept)


# Images

NUMBERS = st.sampled_from(
    [np.bool_, np.uint8, np.int16, np.int64, np.uint64, np.float16, np.float32, np.float64, np.complex64, "U1", "M8[s]"]
)


@settings(max_examples=700)
@given(
    picture=arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=40)),
    torch_too=st.sampled_from([None, torch.float32, torch.bfloat16, torch.uint8]),
)
@pytest.mark.filterwarnings("error")
def test_any_array_is_drawn_or_refused(picture, torch_too):
    if torch_too is not None and picture.dtype.kind in "buif" and picture.dtype != np.uint64:
        picture = torch.from_numpy(picture).to(torch_too)
    try:
        image = drawing.as_mnist(picture)
    except ValueError as error:
        assert "picture" in str(error) or "ink" in str(error)  # noqa: PT017
        return
    assert (image.shape, image.dtype) == ((1, 28, 28), torch.uint8)
    assert image.any()


STROKES = st.lists(
    st.lists(
        st.tuples(st.floats(), st.floats())
        | st.tuples(st.integers(), st.integers())
        | st.tuples(st.floats(-1, 2), st.floats(-1, 2)),
        max_size=4,
    )
    | JSON,
    max_size=3,
)


@settings(max_examples=800)
@given(strokes=STROKES)
def test_any_strokes_are_drawn_or_refused(strokes):
    try:
        image = drawing.as_mnist(strokes)
    except ValueError as error:
        assert any(word in str(error) for word in ("stroke", "ink"))  # noqa: PT017
        return
    assert (image.shape, image.dtype) == ((1, 28, 28), torch.uint8)
    assert image.any()


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.eye(2)[[0, 1]].repeat(1, 0), None),
        (np.pad([[1.0]], (0, 2000)) + np.pad([[1.0]], (2000, 0)), "so thin that none is left"),
        (torch.ones(28, 28).to_sparse(), "rectangle of numbers"),
        (torch.ones(28, 28, device="meta"), "rectangle of numbers"),
        (((1, 2), (3,)), "rectangle of numbers"),
        ([[(1e9, 0), (0, 1e9)]], "on the page or near it"),
    ],
)
def test_a_picture_that_is_none_says_why(picture, message):
    if message is None:
        assert drawing.as_mnist(picture).any()
    else:
        with pytest.raises(ValueError, match=message):
            drawing.as_mnist(picture)


TYPES = st.sampled_from([torch.uint8, torch.int64, torch.int32, torch.bool, torch.float32, torch.float16])


@st.composite
def tensors(draw, most=5):
    """A tensor of any shape, type and values, NaN and infinite among them; or what is no tensor."""
    tensor = torch.tensor(
        draw(arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=most)))
    ).to(draw(TYPES))
    return draw(st.sampled_from([tensor] * 8 + [tensor.tolist(), tensor.numpy(), None]))


@settings(max_examples=800)
@given(
    images=tensors() | st.just(torch.zeros(3, 1, 4, 4, dtype=torch.uint8)), labels=tensors() | st.just(torch.tensor([0, 1, 2]))
)
def test_a_split_is_uint8_images_with_int64_labels_or_refused(images, labels):
    try:
        split = Split(images, labels)
    except ValueError as error:
        assert any(word in str(error) for word in ("images must be", "labels must be"))  # noqa: PT017
        return
    assert isinstance(split.images, torch.Tensor)
    assert isinstance(split.labels, torch.Tensor)
    assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
    assert split.images.shape[:2] == (len(split.labels), 1)
    assert all(0 <= label < 10 for label in split.labels.tolist())


@pytest.mark.parametrize("what", ["images", "labels"])
def test_an_array_that_is_no_tensor_is_called_so(what):
    """Otherwise it would say: must be uint8 of shape …, got uint8 of shape …"""
    parts = {"images": torch.zeros(3, 1, 4, 4, dtype=torch.uint8), "labels": torch.zeros(3, dtype=torch.int64)}
    with pytest.raises(ValueError, match=f"{what} must be .* ndarray, not a tensor"):
        Split(**parts | {what: parts[what].numpy()})


@pytest.fixture(scope="module")
def nets():
    return {key: networks.build(key, seed=0) for key in networks.NETWORKS}


@settings(max_examples=300)
@given(
    key=st.sampled_from(list(networks.NETWORKS)),
    count=st.integers(0, 3),
    height=st.integers(0, 40) | st.sampled_from([28, 32]),
    width=st.integers(0, 40) | st.none(),
    classes=st.sampled_from([datasets.DIGITS, datasets.DIGITS[:3]]),
    use=st.sampled_from(["evaluate", "fit"]),
)
def test_images_of_any_size_are_measured_or_refused_before_the_first_step(nets, key, count, height, width, classes, use):
    net, shape = nets[key], (height, height if width is None else width)
    split = Split(torch.zeros(count, 1, *shape, dtype=torch.uint8), torch.zeros(count, dtype=torch.int64), classes)
    before = [parameter.clone() for parameter in net.parameters()] if use == "fit" else []
    fits = count > 0 and len(classes) == 10 and shape == networks.NETWORKS[key].input_size[-2:]
    try:
        if use == "evaluate":
            assert evaluation.evaluate(net, split).logits.shape == (count, 10)
        elif not fits:
            training.fit(net, split, epochs=1, batch_size=1, device="cpu", progress=False)
    except ValueError as error:
        assert not fits
        assert any(word in str(error) for word in ("images", "logits"))  # noqa: PT017
        assert all(torch.equal(*pair) for pair in zip(before, net.parameters(), strict=False))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_float_images_with_values_that_are_none_are_refused(value):
    images = torch.full((3, 1, 28, 28), value)
    with pytest.raises(ValueError, match="images must be uint8"):
        Split(images, torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("lr", [float("nan"), 0.0, -1.0])
def test_a_learning_rate_that_is_none_is_refused(nets, fake_split, lr):
    with pytest.raises(ValueError, match="lr, the learning rate, must be above 0"):
        training.fit(nets["lenet5-padded"], fake_split(), lr=lr, batch_size=10, device="cpu", progress=False)
