"""Write docs/results.md and docs/trust.md from what is in results/: ``python docs/results.py``."""

import json
from pathlib import Path

import pandas as pd

from mnistlib import lab

HERE = Path(__file__).parent


def markdown(frame: pd.DataFrame, digits: dict[str, int]) -> str:
    """Return a data frame as a Markdown table; NaN becomes an empty cell."""
    cells = [[str(name) for name in frame.columns], ["---"] * len(frame.columns)]
    for row in frame.to_dict("records"):
        texts = {name: f"{value:.{digits[name]}f}" if name in digits else f"{value}" for name, value in row.items()}
        cells.append(["" if pd.isna(row[name]) else text for name, text in texts.items()])
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def section(title: str, text: str, runs: pd.DataFrame, by: str) -> str:
    """Return one table of runs with its command, machine and versions."""
    table = lab.table(runs, by).reset_index()
    if by == "network":
        table = table.assign(network=table.title, parameters=table.parameters.map("{:,}".format))
    table["mean ± 95 %"] = [f"{row['mean']:.2f} ± {row.confidence_interval:.2f}" for _, row in table.iterrows()]
    names = [by, *(["parameters"] if by == "network" else []), "seeds", "epochs", "mean ± 95 %", "sd", "published"]
    first = runs.iloc[0]
    versions = ", ".join(f"{name} {version}" for name, version in first.versions.items())
    machine = ", ".join(f"{name} {value}" for name, value in first.machine.items())
    made = f"Made by `{first.command}` with {versions}, on a machine with: {machine}."
    return f"## {title}\n\n{text}\n\n{markdown(table[names], {'epochs': 0, 'sd': 2, 'published': 3})}\n\n{made}\n"


def page() -> str:
    """Return the whole page."""
    four = lab.read("four_datasets")
    ours, theirs = (four[four.loss == loss] for loss in ("cross-entropy", "softmax-cross-entropy"))
    padded = "Padded LeNet-5, trained on all training images, tested once."
    return "\n".join(
        [
            "# Results\n",
            "All accuracies are in %, on the official test images. `mean ± 95 %` is the mean over the seeds with half\n"
            "the width of its 95 % confidence interval (Student's t); `sd` is the standard deviation over the seeds.\n"
            "Every run is one line of JSON in [results/](../results), and `python docs/results.py` computes this page\n"
            "from these lines. To add a run, use `python -m mnistlib sweep` with `--out` and the path of the file.\n",
            section("Notebook 03", "LeNet-5 as notebook 03 trains it.", lab.read("lenet5_ten_seeds"), "network"),
            section(
                "Thirteen networks",
                "Each network with the recipe of its source, as far as the first version of the course followed it.\n"
                "Notebook 05 lists what differs from the sources. Three seeds make wide intervals.",
                lab.read("networks"),
                "network",
            ),
            section("Four datasets, our recipe", f"{padded} One-cycle Adam, augmented digits.", ours, "dataset"),
            section(
                "Four datasets, the published protocol",
                f"{padded} The protocol of antoine-spahr/MNIST-LeNet5-Pytorch with its softmax before the loss,\n"
                "but 20 epochs instead of 150. With so few epochs, some networks never predict a class (notebook 07).",
                theirs,
                "dataset",
            ),
            "KMNIST and QMNIST have no rows, because that machine did not have their training images. Where you have\n"
            "them, run `python -m mnistlib sweep --recipes modern --datasets KMNIST QMNIST`.\n",
        ]
    )


PROMISES = """\
# What you can rely on

The course promises little, and tests what it promises. `python benchmarks/trust.py` tries to break these promises,
and `make test-all` runs a twentieth of it each time.

- **Nothing is lost.** A training with a checkpoint, a sweep, an export and a report can be killed at any moment. Run
  the same command again: you get the same result, bit for bit, on the same machine. A sweep repeats no run that it
  has finished.
- **Nothing is half written.** A file appears under its name only when it is complete. Several processes can append to
  one file of results at once; a line that a killed process left half written is noticed and removed, with a warning.
- **Nothing damaged is accepted in silence.** Checkpoints, weights, TFRecords and MNIST's files are checked before
  they are used. Files of results have no checksums: a changed digit in one of them is not noticed.
- **Nothing ends in a riddle.** A wrong argument or a wrong file ends in one error of the course's own, which says
  what was given and what was expected.

A kill can leave a temporary file, whose name begins with a dot, beside the target. You can delete it.

Checkpoints and sweeps use locks and renames that Windows and macOS have too, and start processes anew instead of
forking them. The workflow on GitHub runs the tests on all three systems; the trials below ran on Linux.

## The trials

"""
PARTS = ("kills", "crowd", "damaged files", "nonsense calls")
NAMES = {
    "right": "right result",
    "refused": "refused with a message",
    "fault": "faults",
    "MiB": "MiB of memory, at most",
}


def trust() -> str:
    """Return the page of promises, with the counts of the last trials."""
    found = json.loads((HERE.parent / "results" / "trust.json").read_text("utf-8"))
    lines = ["| trial | counts |", "|---|---|"]
    for part in PARTS:
        counts = found[part]["counts"]
        for name, these in counts.items() if part == "damaged files" else [("", counts)]:
            told = ", ".join(f"{NAMES.get(key, key)}: {value:,}" for key, value in these.items())
            lines.append(f"| {part}{f', {name}' if name else ''} | {told} |")
    faults = sum(len(found[part]["faults"]) for part in PARTS)
    made = f"Faults: {faults}. Made by `{found['command']}` in {found['minutes']:.0f} minutes, with Python"
    versions = (
        f"{found['versions']['python']} and PyTorch {found['versions']['torch']}, on {found['machine']['cores']} cores."
    )
    return PROMISES + "\n".join(lines) + f"\n\n{made} {versions}\n"


if __name__ == "__main__":
    (HERE / "results.md").write_text(page(), "utf-8", newline="\n")
    (HERE / "trust.md").write_text(trust(), "utf-8", newline="\n")
