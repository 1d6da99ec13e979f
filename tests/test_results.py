"""The numbers in README.md and docs/results.md are those of the stored runs."""

import runpy
from pathlib import Path

from mnistlib import lab
from mnistlib.stats import confidence_interval

ROOT = Path(__file__).parents[1]


def test_the_numbers_in_the_readme_are_those_of_the_runs():
    four = lab.read("four_datasets")
    ours = four[four.loss == "cross-entropy"]
    runs = [lab.read("lenet5_ten_seeds"), *(ours[ours.dataset == name] for name in ("MNIST", "FashionMNIST"))]
    rows = [line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if " ± " in line]
    assert len(rows) == len(runs)
    for row, group in zip(rows, runs, strict=True):
        mean, half_width = confidence_interval(list(100 * group.test_accuracy))
        assert f"| {mean:.2f} ± {half_width:.2f} % |" in row
        assert len(group) == 10
        assert f"{group.epochs_run.iloc[0]} epochs" in row


def test_the_page_of_results_is_computed_from_the_runs():
    page = runpy.run_path(str(ROOT / "docs" / "results.py"))["page"]
    assert (ROOT / "docs" / "results.md").read_text("utf-8") == page()
