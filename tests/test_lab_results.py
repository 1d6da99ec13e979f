"""Files of results: one line per run, no line lost, no wrong line accepted; tables are computed when read."""

import json
import multiprocessing
import os
from pathlib import Path

import pandas as pd
import pytest
import torch

from mnistlib.base.files import DataError
from mnistlib.lab import Recipe, confusion, predictions, read, results, table
from mnistlib.stats import confidence_interval

RECIPE = Recipe("lenet5")


def run(seed=0, recipe=RECIPE, **own):
    return {
        "key": recipe.key(seed),
        "recipe": recipe.to_dict(),
        "seed": seed,
        "test_accuracy": 0.5,
        "errors": "",
        **own,
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.jsonl"


def test_what_is_appended_is_read_as_rows(path):
    history = {"train_accuracy": [0.1, 0.2], "valid_accuracy": [0.3, 0.4], "valid_loss": [], "seconds": [3.0, 2.0]}
    results.append(path, run(0, note="first ≈ 1", history=history))
    results.append(path, run(1, test_accuracy=0.25))
    rows = read(path)
    assert list(rows.seed) == [0, 1]
    assert list(rows.network) == ["lenet5", "lenet5"]
    assert list(rows.test_accuracy) == [0.5, 0.25]
    first = rows.iloc[0]
    assert (first.epochs_run, first.epoch_seconds, first.valid_accuracy, first.note) == (2, 2.0, 0.4, "first ≈ 1")
    assert len(path.read_text("utf-8").splitlines()) == 2


def test_a_run_that_is_there_twice_counts_once(path):
    for accuracy in (0.5, 0.6):
        results.append(path, run(0, test_accuracy=accuracy))
    assert list(read(path).test_accuracy) == [0.5]


@pytest.mark.parametrize("kept", [1, 5, 30, -1])
def test_a_torn_last_line_is_skipped_and_repaired(path, kept):
    results.append(path, run(0))
    whole = path.read_bytes()
    results.append(path, run(1))
    torn = path.read_bytes()[len(whole) : -1][:kept]
    path.write_bytes(whole + torn)
    assert list(read(path).seed) == [0]
    with pytest.warns(UserWarning, match="half-written line was removed"):
        results.append(path, run(2))
    assert list(read(path).seed) == [0, 2]


def test_a_last_line_that_lacks_only_its_newline_is_kept(path):
    results.append(path, run(0))
    path.write_bytes(path.read_bytes()[:-1])
    assert list(read(path).seed) == [0]
    results.append(path, run(1))
    assert list(read(path).seed) == [0, 1]


GOOD = json.dumps(run()).encode()
BAD = {
    "no json": b"hello",
    "cut": GOOD[:-20],
    "a list": b"[1, 2]",
    "an old file": b'{"groups": {}}',
    "no recipe": b'{"key": "1", "seed": 1}',
    "a seed of text": GOOD.replace(b'"seed": 0', b'"seed": "0"'),
    "an impossible accuracy": GOOD.replace(b"0.5", b"1.5"),
    "a million brackets": b"[" * 1_000_000,
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD)
def test_a_damaged_line_is_named_with_its_file_and_number(path, line):
    path.write_bytes(GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
    with pytest.raises(DataError, match=r"runs\.jsonl, line 2 is not a run \(.*\)\. Correct or delete that line"):
        read(path)


@pytest.mark.parametrize("content", [b"my notes", b"\x89PNG", b"{"])
def test_another_file_is_not_changed(path, content):
    path.write_bytes(content)
    if content != b"{":  # which a run, torn after its first character, would leave
        for use in (read, lambda path: results.append(path, run())):
            with pytest.raises(DataError, match=r"runs\.jsonl is not a file of results"):
                use(path)
        assert path.read_bytes() == content
    with pytest.raises(DataError, match="not a file of results"):
        read(path.with_name("none.jsonl"))


def test_a_place_that_cannot_be_written_is_a_data_error(tmp_path):
    (tmp_path / "file").write_text("old")
    for path in (tmp_path / "file" / "runs.jsonl", tmp_path):
        with pytest.raises(DataError, match="cannot write"):
            results.append(path, run())


def append_twenty(path, start):
    for seed in range(start, start + 20):
        results.append(path, {"key": f"{seed:016x}", "recipe": {}, "seed": seed, "filling": "x" * 20_000})


def test_several_processes_that_append_at_once_lose_nothing(path):
    context = multiprocessing.get_context("spawn" if os.name == "nt" else "forkserver")
    context.set_forkserver_preload(["mnistlib.lab", "pytest"])
    processes = [context.Process(target=append_twenty, args=(path, start)) for start in (0, 20, 40)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(run["seed"] for run in results.runs(path)) == list(range(60))


def test_predictions_are_the_labels_but_for_the_errors():
    labels = torch.tensor([3, 1, 4])
    assert predictions({"errors": "0:7 2:9"}, labels).tolist() == [7, 1, 9]
    assert predictions({"errors": ""}, labels).tolist() == labels.tolist() == [3, 1, 4]
    for errors in ("3:1", "-1:1"):
        with pytest.raises(ValueError, match="but there are 3 labels"):
            predictions({"errors": errors}, labels)


def test_confusion_adds_up_predictions_or_what_old_runs_stored():
    labels = torch.tensor([3, 1, 4])
    rows = pd.DataFrame([{"dataset": "MNIST", "errors": "0:7"}, {"dataset": "MNIST", "errors": "0:7 2:9"}])
    counts = confusion(rows, labels)
    assert (counts.loc["3", "7"], counts.loc["1", "1"], counts.loc["4", "4"], counts.loc["4", "9"]) == (2, 2, 1, 1)
    assert counts.to_numpy().sum() == 6
    stored = [[int(row == column) for column in range(10)] for row in range(10)]
    assert confusion(pd.DataFrame([{"dataset": "MNIST", "confusion": stored}] * 2)).to_numpy().trace() == 20


def test_a_table_is_computed_from_the_runs(path):
    accuracies = [0.97, 0.98, 0.985]
    for seed, accuracy in enumerate(accuracies):
        results.append(path, run(seed, Recipe("cnn-2d", epochs=7), test_accuracy=accuracy))
    results.append(path, run(0, Recipe("lenet5-padded", "KMNIST"), test_accuracy=0.96, train_accuracy=0.99))
    frame = table(read(path))
    assert list(frame.index) == ["lenet5-padded", "cnn-2d"]  # in the order of NETWORKS
    row = frame.loc["cnn-2d"]
    mean, half_width = confidence_interval([100 * accuracy for accuracy in accuracies])
    assert (row["mean"], row.confidence_interval) == pytest.approx((mean, half_width))
    assert row.sd == pytest.approx(pd.Series(accuracies).std() * 100)
    assert (row.seeds, row.published, row.epochs, row.title) == (3, 98.67, 7, "2D CNN")
    assert (row.parameters, row["mult-adds"]) == (175_240, 394_000)
    assert pd.isna(frame.loc["lenet5-padded", "sd"])
    assert table(read(path), by="dataset", part="train").loc["KMNIST", ["mean", "published"]].tolist() == [99.0, 98.518]


# The results that come with the course


def test_the_stored_comparison_has_the_published_numbers_beside_its_own(mnist):
    rows = read("networks")
    frame = table(rows)
    assert len(frame) == 13
    assert (frame.seeds == 3).all()
    assert frame.loc["lenet5", "mean"] == pytest.approx(98.76)
    assert frame.loc["multi-tower", "published"] == 98.75
    for _, row in rows.iterrows():
        correct = predictions(row, mnist.test.labels) == mnist.test.labels
        assert correct.double().mean().item() == pytest.approx(row.test_accuracy, abs=1e-9)
        old_head = row.optimizer == "adam" and row.patience == 2 and row.network != "mlp"
        assert isinstance(row.get("note"), str) == old_head
        recipe = Recipe.from_dict(
            {name: row[name] for name in RECIPE.to_dict()}
            | {"patience": 2 if row.patience == 2 else None}
            | {"averaging": None, "split_seed": None}
        )
        assert (recipe.key(row.seed) == row.key) == (not old_head)


def test_the_stored_table_of_four_datasets_has_whole_confusion_counts():
    rows = read("four_datasets")
    for (_, _), group in rows.groupby(["dataset", "loss"]):
        assert sorted(group.seed) == list(range(1, 11))
        for _, row in group.iterrows():
            counts = torch.tensor(row.confusion)
            assert counts.sum() == 10_000
            assert counts.trace() == round(10_000 * row.test_accuracy)
    modern, published = (
        table(rows[rows.loss == loss], "dataset") for loss in ("cross-entropy", "softmax-cross-entropy")
    )
    assert modern["mean"].tolist() == pytest.approx([99.460, 91.173])
    assert published["mean"].tolist() == pytest.approx([98.987, 83.966])
    assert modern.published.tolist() == [99.445, 89.495]


@pytest.mark.parametrize(
    ("name", "count"), [("lenet5_ten_seeds", 10), ("modern_preset", 16), ("wide_lenet_one_epoch", 6)]
)
def test_the_other_stored_results_can_be_read(name, count):
    assert len(read(name)) == count
    assert Path(results.__file__).parents[2].joinpath("results", f"{name}.jsonl").is_file()
