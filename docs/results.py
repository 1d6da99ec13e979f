"""Write the pages in docs/ that are computed from what is stored: ``python docs/results.py``."""

import json
import runpy
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from mnistlib import Augmentation, lab
from mnistlib.weights import SHIPPED

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


def ladder() -> pd.DataFrame:
    """Return the runs of benchmarks/ladder.py in its order, with a column that names what each step changes."""
    steps, runs = runpy.run_path(str(HERE.parent / "benchmarks" / "ladder.py"))["STEPS"], lab.read("ladder")
    networks = ["lenet5-1998", *(change["network"] for change in steps.values() if "network" in change)]
    number = runs.network.map(networks.index) + (runs.optimizer == "adam") + (runs.schedule == "one-cycle")
    number += runs.augmentation.notna().astype(int) + runs.averaging.notna()
    return runs.assign(number=number, change=number.map([*steps].__getitem__)).sort_values(["number", "seed"])


BEST = """\
Which recipe is best for the padded LeNet-5? Each of these trained on 50,000 images and was measured on the other
10,000, in %. All have a one-cycle learning rate with a peak of 0.005, batches of 128 and averaged weights (decay
0.999), but for the changes that the table names. With one seed, 0.1 points on MNIST can be chance.

The recipes in the second table trained on all 60,000 images and were measured on the test images. On MNIST this search
failed: the recipe that was best after 20 epochs is, after 60, no better than our recipe above after 15. A second
search compared recipes after 60 epochs; its best one has not been tested yet."""


def search() -> tuple[str, pd.DataFrame]:
    """Return the recipes that benchmarks/best_lenet5.py tried, as a table, and its runs on the test images."""
    runs, usual = lab.read("best_lenet5"), lab.Recipe("lenet5-padded", lr=0.005, averaging=0.999).to_dict()
    names = [name for name in usual if name not in ("network", "dataset", "epochs", "valid", "split_seed")]
    recipes = runs[names].astype(object).where(runs[names].notna(), None).to_dict("records")
    runs["changes"] = [words(recipe, usual) or "none" for recipe in recipes]
    runs["recipe"] = runs.dataset + ", " + runs.epochs.astype(str) + " epochs, " + runs.changes
    tried = runs[runs.valid > 0].groupby(["dataset", "epochs", "changes"], sort=False)
    table = tried.valid_accuracy.agg(seeds="count", validation=lambda found: 100 * found.mean()).reset_index()
    table = table.sort_values(["dataset", "epochs", "validation"], ascending=False, kind="stable")
    return markdown(table, {"validation": 2}), runs[runs.valid == 0].sort_values("dataset", kind="stable")


def words(values: dict, usual: dict) -> str:
    """Return in words the values that are not the usual ones."""
    texts = []
    for name, value in values.items():
        if isinstance(value, dict):  # an augmentation
            texts.append(words(value, asdict(Augmentation())))
        elif isinstance(value, list) and tuple(value) != usual[name]:
            texts.append(f"{name} {value[0]:g}–{value[1]:g}")
        elif not isinstance(value, list) and value != usual[name]:
            text = "none" if value is None else f"{value:g}" if isinstance(value, float) else value
            texts.append(f"{name.replace('_', ' ')} {text}")
    return ", ".join(texts)


def page() -> str:
    """Return the whole page."""
    four = lab.read("four_datasets")
    ours, theirs = (four[four.loss == loss] for loss in ("cross-entropy", "softmax-cross-entropy"))
    tried, tested = search()
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
            section("The best LeNet-5", f"{BEST}\n\n{tried}", tested, "recipe"),
            section(
                "From 1998 to today",
                "LeNet-5 of 1998 becomes today's, one change at a time (notebook 06): ten epochs on 55,000 images,\n"
                "and the learning rate that was best on the other 5,000. Each row keeps the changes above it.\n"
                "Where a change kills some networks, no bell curve describes the runs; notebook 06 shows each of them.",
                ladder(),
                "change",
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


CARD = """\
# Model card: the LeNet-5 that comes with the course

`mnistlib.pretrained("lenet5")`, in `mnistlib/pretrained/lenet5.pt`. The live page and notebooks 00, 04 and 09 use it.

| | |
|---|---|
| network | LeNet-5, modified: {parameters:,} parameters, ten logits ([networks.py](../mnistlib/networks.py)) |
| input | one digit of 32 × 32 pixels in 0–1, 0 for paper: MNIST's 28 × 28 stretched, scaled and centred as MNIST's |
| trained on | {train:,} of MNIST's 60,000 training images; the other {valid:,} were kept for validation |
| how | Adam, one-cycle learning rate with a peak of {lr}, {epochs} epochs, batches of {batch_size}, seed {seed} |
| made by | `make weights`, which is `python -m mnistlib {command}` |
| accuracy | {accuracy:.2%} of the 10,000 test images, measured after training |
| file | {size:,.0f} kB, numbers and text alone: no code can hide in it ([security](../SECURITY.md)) |
| licence | [MIT](../LICENSE), as the code; for MNIST itself see [data and licences](data.md) |

**How it was chosen.** Its settings are those of notebook 03, with ten epochs instead of five. Its seed is 0;
[Results](results.md) has ten seeds with five epochs.

**What it is for.** Learning how a convolutional network works. Read nothing that matters with it.

**Where it fails.** It has seen one digit at a time, upright and in the middle. It answers with confidence also when the
image shows no digit (notebook 00), is too sure of its answers before a temperature corrects them (notebook 04), and
loses many digits that are moved, turned, small or thin (notebooks 04 and 09, which measure each, and a cure). The
writers of MNIST were employees of the US Census Bureau and students of a high school; other hands write otherwise.
"""


def card() -> str:
    """Return the model card, with the facts that the file of weights holds."""
    path = SHIPPED / "lenet5.pt"
    content = torch.load(path, weights_only=True)
    facts = content["facts"]
    command = " ".join(runpy.run_path(str(HERE.parent / "course.py"))["WEIGHTS"])
    counts = {
        "parameters": sum(tensor.numel() for tensor in content["state"].values()),
        "train": 60_000 - facts["valid"],
    }
    size = path.stat().st_size / 1000
    return CARD.format(**facts, **counts, accuracy=facts["test_accuracy"], command=f"train {command}", size=size)


SETTINGS = """\
# The numeric settings

Computers add in different orders, depending on the processor, the number of threads and the version of PyTorch, and
each addition is rounded. During training, tiny differences grow. This is why numbers in the notebooks stand after ≈,
and why an `assert` nearby says how far a result of training may differ.

`python tools/numeric_settings.py` runs every code cell of every notebook, and compares its output with the stored
one, in each of these settings: with all vector instructions of an AVX-512 processor or with fewer; the same for
oneDNN, the library that convolves ("less" means SSE4.1 beside no AVX, and AVX2 otherwise); on one thread and on two;
and two notebooks at once (`pytest -n 2`). `--python` takes another PyTorch, such as the oldest one that is supported.
[results/numeric_settings.jsonl](../results/numeric_settings.jsonl) has a row for each notebook in each setting; the
table adds up the ten lessons.

"""


def settings() -> str:
    """Return the page of the numeric settings, with the cells that were compared in each of them."""
    lines = (HERE.parent / "results" / "numeric_settings.jsonl").read_text("utf-8").splitlines()
    last = {tuple(row[name] for name in ("torch", "setting", "notebook")): row for row in map(json.loads, lines)}
    frame = pd.DataFrame(last.values()).assign(failures=lambda rows: rows.failed.map(len))
    sums = frame.groupby(["torch", "setting"])[["cells", "failures"]].sum()
    texts = {key: f"{row.cells:,}, {row.failures} failed" for key, row in sums.iterrows()}
    table = ["| PyTorch | instructions | cells compared, 1 thread | 2 threads |", "|---|---|---|---|"]
    for torch_version in sorted(frame.torch.unique(), reverse=True):
        for vectors, said in {"default": "no AVX", "avx2": "AVX2", "avx512": "AVX-512"}.items():
            for isa, which in {"full": "all", "limited": "less"}.items():
                cells = [texts.get((torch_version, f"{threads}-{vectors}-{isa}"), "") for threads in "12"]
                table.append(f"| {torch_version} | {said}, oneDNN {which} | {' | '.join(cells)} |")
        table.append(
            f"| {torch_version} | two notebooks at once | {texts.get((torch_version, 'two-at-once'), '')} |  |"
        )
    return SETTINGS + "\n".join(table) + "\n"


PAGES = {"results": page, "trust": trust, "model_card": card, "settings": settings}

if __name__ == "__main__":
    for name, page_of in PAGES.items():
        (HERE / f"{name}.md").write_text(page_of(), "utf-8", newline="\n")
