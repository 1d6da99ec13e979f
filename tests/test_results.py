"""The numbers in README.md and docs/results.md are those of the stored runs."""

import json
import runpy
from pathlib import Path

from mnistlib import lab
from mnistlib.stats import confidence_interval

ROOT = Path(__file__).parents[1]


def test_the_numbers_in_the_readme_are_those_of_the_runs():
    four, best = lab.read("four_datasets"), lab.read("best_lenet5")
    runs = [lab.read("lenet5_ten_seeds"), four[(four.loss == "cross-entropy") & (four.dataset == "MNIST")]]
    runs.append(best[(best.valid == 0) & (best.dataset == "FashionMNIST")])
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|") and " ± " in line]
    assert len(rows) == len(runs)
    for row, group in zip(rows, runs, strict=True):
        mean, half_width = confidence_interval(list(100 * group.test_accuracy))
        assert f"| {mean:.2f} ± {half_width:.2f} % |" in row
        assert len(group) == 10
        assert f"{group.epochs_run.iloc[0]} epochs" in row


def test_the_page_of_results_is_computed_from_the_runs():
    for name, page in runpy.run_path(str(ROOT / "docs" / "results.py"))["PAGES"].items():
        assert (ROOT / "docs" / f"{name}.md").read_text("utf-8") == page()


def test_the_numbers_of_the_live_page_are_measured():
    found = json.loads((ROOT / "results" / "live.json").read_text("utf-8"))["measured"]
    sizes = [found["page, bytes"] / 1e6, found["page in one file, bytes"] / 1e6]
    ready, one = found["first answer, ms"] / 1000, found["one image, ms"]
    rate, ninety = found["training, images a second"], found["seconds to 90 %"]
    table = (ROOT / "docs" / "speed.md").read_text("utf-8")
    cells = [f"{sizes[0]:.2f} MB", f"{sizes[1]:.2f} MB", f"{ready:.2f} s"]
    cells += [f"{one:.2f} ms", f"{rate:,.0f}", f"{ninety:.1f} s"]
    assert [cell for cell in cells if f"| {cell} |" not in table] == []
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    claims = [f"has {sizes[0]:.1f} MB", f"after {ready:.1f} seconds", f"in {one:.1f} milliseconds"]
    claims += [f"on {round(rate, -2):,.0f} digits", f"in {ninety:.0f} seconds"]
    assert [claim for claim in claims if claim not in readme] == []
