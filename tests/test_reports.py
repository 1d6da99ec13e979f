"""The two reports: every item that R0's reports have, and pictures that show something."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib import image as images

from mnistlib import evaluation, reports
from mnistlib.__main__ import main
from mnistlib.datasets import Split, load
from mnistlib.files import DataError


@pytest.fixture(scope="module")
def session():
    mnist = load("MNIST")
    return reports.run_session(
        "lenet5-padded",
        mnist.train.take(4000),
        mnist.train.take(range(4000, 4500)),
        mnist.test.take(1000),
        places={"train": "first part", "valid": "second part", "test": "third part"},
        command="python -m mnistlib report --out 'my report'",
        warning=reports.CONTAMINATED,
        epochs=2,
        device="cpu",
        progress=False,
    )


@pytest.fixture(scope="module")
def folder(session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    assert reports.write_reports(session, folder) == folder / "report.html"
    return folder


def text(folder, name):
    return (folder / f"{name}.md").read_text("utf-8")


def sections(markdown):
    """{heading: text under it} of the second level, in order."""
    parts = re.split(r"^## (.+)$", markdown, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table(markdown):
    """The first table of a text as a list of rows of cells."""
    rows = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("|")]
    return [rows[0], *rows[2:]]


def test_training_report_has_r0s_sections_in_r0s_order(folder):
    assert list(sections(text(folder, "training"))) == [
        "Overview",
        "Hyperparameters",
        "Performance",
        "Datasets",
        "Validation and training set comparison",
        "Dataset examples",
        "This report",
    ]


def test_evaluation_report_has_confusion_scores_and_roc(folder):
    assert list(sections(text(folder, "evaluation"))) == ["Confusion matrix", "Score matrix", "ROC curves", "This report"]


@pytest.mark.parametrize("name", ["training", "evaluation"])
def test_the_warning_and_then_the_accuracy_come_first(folder, session, name):
    title, warning, accuracy, *_ = text(folder, name).split("\n\n")
    assert title.startswith("# ")
    assert warning == reports.CONTAMINATED
    measured = session.validation if name == "training" else session.tested
    assert f"{measured.accuracy:.2%}" in accuracy
    assert f"{measured.standard_error:.2%}" in accuracy


def test_the_overview_is_prose_about_the_model(folder):
    overview = sections(text(folder, "training"))["Overview"]
    assert "61,706 trainable parameters" in overview
    assert "antoine-spahr/MNIST-LeNet5-Pytorch" in overview
    assert "416,520 multiply-adds" in overview


def test_hyperparameters_are_numbered(folder):
    listed = re.findall(r"^(\d+)\. `(\w+)`: (.+)$", sections(text(folder, "training"))["Hyperparameters"], re.MULTILINE)
    assert [int(number) for number, *_ in listed] == list(range(1, len(listed) + 1))
    values = {name: value for _, name, value in listed}
    assert values["learning_rate"] == "0.001"
    assert {"epochs": "2", "batch_size": "50", "seed": "0"}.items() <= values.items()


def test_performance_shows_the_loss_of_each_step_and_the_error_of_each_epoch(folder):
    performance = sections(text(folder, "training"))["Performance"]
    assert re.findall(r"\(images/([^)]+)\)", performance) == ["01_loss_each_step.png", "02_error_each_epoch.png"]


def test_datasets_say_where_they_lie_and_how_large_they_are(folder):
    datasets = sections(text(folder, "training"))["Datasets"]
    assert "first part; 4,000 images" in datasets
    assert "second part; 500 images" in datasets
    assert "Batch size: 50" in datasets


def test_the_comparison_is_one_chart_and_a_sentence_for_what_does_not_vary(folder):
    comparison = sections(text(folder, "training"))["Validation and training set comparison"]
    assert "height 28, width 28 and depth 1" in comparison
    assert comparison.count("![") == 1


def test_there_is_one_example_a_label_in_the_order_met(folder, session):
    found = re.findall(
        r"### Label (\d)\n\n!\[[^]]+\]\(images/(\d\d)_example\.png\)\n\n"
        r"height 28, width 28, depth 1, one-hot label `\[([01, ]+)\]`",
        sections(text(folder, "training"))["Dataset examples"],
    )
    labels = [int(label) for label, *_ in found]
    assert labels == list(dict.fromkeys(session.train.labels.tolist()))
    assert sorted(labels) == list(range(10))
    assert [int(number) for _, number, _ in found] == list(range(10, 20))
    assert [one_hot.split(", ").index("1") for *_, one_hot in found] == labels
    assert all(one_hot.count("1") == 1 and one_hot.count("0") == 9 for *_, one_hot in found)


@pytest.mark.parametrize("name", ["training", "evaluation"])
def test_it_names_seed_versions_device_time_and_command(folder, name):
    origin = sections(text(folder, name))["This report"]
    assert re.search(r"seed 0, Python 3\.\d+\.\d+ and torch \d+\.\d+\S*, on CPU \(\w+\) with \d+ threads", origin)
    assert re.search(r"Training took \d+ s", origin)
    assert "python -m mnistlib report --out 'my report'" in origin


def test_the_confusion_matrix_counts_every_test_image(folder, session):
    head, *rows = table(sections(text(folder, "evaluation"))["Confusion matrix"])
    counts = np.array([[int(cell) for cell in row[1:]] for row in rows])
    assert head == ["true", *map(str, range(10))]
    assert counts.sum() == 1000
    assert np.diag(counts).sum() == session.tested.correct.sum()


def test_the_score_matrix_is_that_of_its_definition(folder, session):
    head, *rows = table(sections(text(folder, "evaluation"))["Score matrix"])
    assert head == ["label", "TP", "FP", "FN", "TN", "precision", "recall", "specificity", "accuracy", "F1"]
    for row in rows:
        label, tp, fp, fn, tn = map(int, row[:5])
        said, true = session.tested.predictions == label, session.tested.labels == label
        assert (tp, fp) == (int((said & true).sum()), int((said & ~true).sum()))
        assert (fn, tn) == (int((~said & true).sum()), int((~said & ~true).sum()))
        shares = [tp / (tp + fp), tp / (tp + fn), tn / (tn + fp), (tp + tn) / 1000, 2 * tp / (2 * tp + fp + fn)]
        assert [float(cell) for cell in row[5:]] == pytest.approx(shares, abs=6e-5)


def test_every_picture_is_there_is_not_blank_and_has_a_text_alternative(folder):
    linked = re.findall(r"!\[([^]]*)\]\((images/[^)]+)\)", text(folder, "training") + text(folder, "evaluation"))
    files = sorted(path.relative_to(folder).as_posix() for path in (folder / "images").iterdir())
    assert sorted(path for _, path in linked) == files
    assert len(files) == 3 + 10 + 2
    for alt, path in linked:
        assert len(alt) > 20
        assert re.fullmatch(r"images/[a-z0-9_]+\.png", path), "needs quoting"
        pixels = images.imread(folder / path)
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20, path


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources, self.alts, self.headings, self.open = [], [], [], None

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.open = tag
        assert tag not in ("script", "link", "iframe")
        if tag == "img":
            self.sources.append(attributes["src"])
            self.alts.append(attributes["alt"])

    def handle_data(self, data):
        if self.open in ("h1", "h2") and data.strip():
            self.headings.append(data.strip())


def test_the_web_page_holds_everything_and_needs_no_other_file(folder):
    page = Page()
    page.feed((folder / "report.html").read_text("utf-8"))
    assert len(page.sources) == 15
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert all(page.alts)
    assert page.headings[0] == "Training: LeNet-5, padded, on MNIST"
    assert {"Overview", "Score matrix", "ROC curves"} <= set(page.headings)


def test_the_numbers_are_there_for_programs(folder, session):
    facts = json.loads((folder / "session.json").read_text("utf-8"))
    assert facts["test accuracy"] == session.tested.accuracy
    assert facts["hyperparameters"]["learning_rate"] == 0.001
    assert facts["command"] == session.command


def test_a_folder_that_cannot_be_written_is_one_clear_error(session, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot write"):
        reports.write_reports(session, tmp_path / "file" / "report")


def test_a_split_in_which_a_label_is_missing_can_be_reported(session, tmp_path):
    few = session.test.take(session.test.labels != 3)
    measured = evaluation.evaluate(session.net, few)
    scores = measured.scores()
    assert np.isnan(scores.loc["3", "recall"])
    assert np.isnan(measured.roc(3)[2])
    reports.write_reports(replace(session, test=few, tested=measured), tmp_path)
    assert "nan" not in text(tmp_path, "evaluation")


def test_roc_is_that_of_a_hand_computation():
    import torch

    five = torch.tensor([0.9, 0.8, 0.6, 0.4, 0.3, 0.1])
    logits = torch.stack([torch.zeros(6), torch.log(five / (1 - five))], dim=1)
    measured = evaluation.Evaluation(logits, torch.tensor([1, 1, 0, 1, 0, 0]), ("other", "five"))
    false_positive, true_positive, area = measured.roc(1)
    assert area == pytest.approx(8 / 9)
    points = set(zip(false_positive.round(4).tolist(), true_positive.round(4).tolist(), strict=True))
    assert {(0.0, 0.6667), (0.3333, 0.6667), (0.3333, 1.0), (1.0, 1.0)} <= points


def test_the_command_writes_the_reports(tmp_path, monkeypatch, capsys):
    """`report`, on a small MNIST; the command in the report is the one that was given."""
    mnist = load("MNIST")
    small = Split(mnist.train.images[:60_000:60], mnist.train.labels[:60_000:60])
    monkeypatch.setattr(
        Split, "split", lambda self, *sizes, seed: [small.take(800), small.take(range(800, 1000))] if len(self) == 60_000 else []
    )
    arguments = ["report", "--network", "lenet5-padded", "--epochs", "1", "--device", "cpu", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "on validation" in capsys.readouterr().out
    training = text(tmp_path / "out", "training")
    assert "python -m mnistlib report --network lenet5-padded" in training
    assert "contaminated" not in training


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--network", "resnet"], "unknown network 'resnet'"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--tfrecords", "nowhere"], "nowhere"),
        (["--learning-rate", "-1"], "learning rate"),
    ],
)
def test_bad_input_is_one_line_and_no_report(arguments, words, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["report", *arguments, "--out", str(out)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert words in errors
    assert not out.exists() or list(out.iterdir()) == []
