"""Two reports of a training session, as Markdown with pictures and as one HTML page. Introduced in notebook 08.

The first tells how a network was trained and on what, the second what it gets right and wrong. Their sections
follow the session reports of Maple-Lazuli/shenanigans (R0).
"""

import base64
import json
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

from mnistlib import plots
from mnistlib.counting import layer_table
from mnistlib.datasets import Split
from mnistlib.evaluation import Evaluation, evaluate
from mnistlib.files import atomic_write
from mnistlib.networks import Network, find
from mnistlib.training import History, fit

CONTAMINATED = (
    "**Warning: contaminated split.** The 70,000 images were shuffled before they were cut, so official test images are among "
    "those that the network learned from. Its accuracy must not be compared with results on the official test set."
)


@dataclass(frozen=True)
class Session:
    """One training session: what was trained, on what, how, and what came of it.

    places: where each of "train", "valid" and "test" comes from, in words or as a path. hyperparameters: in the order to
    be listed. command: what makes the report again. warning: put above everything, or "".
    """

    network: Network
    net: nn.Module
    train: Split
    valid: Split
    test: Split
    places: dict[str, str]
    hyperparameters: dict[str, object]
    history: History
    validation: Evaluation
    tested: Evaluation
    command: str
    warning: str = ""

    @property
    def title(self) -> str:
        return f"{self.network.title}, on MNIST"


def run_session(
    key: str,
    train: Split,
    valid: Split,
    test: Split,
    *,
    places: dict[str, str],
    learning_rate: float = 0.001,
    epochs: int = 1,
    batch_size: int = 50,
    seed: int = 0,
    device: str = "auto",
    command: str,
    warning: str = "",
    progress: bool = True,
) -> Session:
    """Train the network ``key`` with Adam at a constant rate, R0's settings by default, and measure it.

    The splits hold 28×28 images; they are resized where the network needs it. Raises as `fit` does. Notebook 08.
    """
    network = find(key)
    size = network.input_size[-1]
    train, valid, test = (split.resized(size) for split in (train, valid, test))
    net = network.build(seed)
    settings = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
    options = {"lr": learning_rate, "schedule": None, "device": device, "progress": progress}
    history = fit(net, train, valid=valid, **settings, **options)
    return Session(
        network=network,
        net=net,
        train=train,
        valid=valid,
        test=test,
        places=places,
        hyperparameters={"learning_rate": learning_rate, **settings, "optimizer": "Adam", "schedule": "constant", "network": key},
        history=history,
        validation=evaluate(net, valid),
        tested=evaluate(net, test),
        command=command,
        warning=warning,
    )


def write_reports(session: Session, folder) -> Path:
    """Write ``training.md``, ``evaluation.md``, ``images/`` and ``report.html``, which holds all of it; return its path.

    Beside them ``session.json`` has the numbers for programs: command, settings, results, versions, hardware.
    File names sort in the order of the pages and need no quoting. Raises `DataError` when the folder cannot be
    written.
    """
    folder = Path(folder)
    pages = {"training": training_report(session, folder), "evaluation": evaluation_report(session, folder)}
    for name, text in pages.items():
        _write(folder / f"{name}.md", text.encode())
    _write(folder / "session.json", (json.dumps(_facts(session), indent=2) + "\n").encode())
    page = folder / "report.html"
    _write(page, _html(session.title, "\n\n".join(pages.values()), folder).encode())
    return page


def training_report(session: Session, folder) -> str:
    """The training report as Markdown; its pictures are written to ``folder/images``."""
    s, folder = session, Path(folder)
    table = layer_table(s.net, s.network.input_size)
    total = table.loc["total"]
    height, width = s.train.images.shape[-2:]
    lines = [
        f"# Training: {s.title}",
        s.warning,
        f"**Accuracy on validation: {s.validation.accuracy:.2%}** (± {s.validation.standard_error:.2%} standard error, "
        f"{len(s.valid):,} images) after {_epochs(s.history)}.",
        "## Overview",
        f"The model is *{s.network.title}*, a network of {total['parameters']:,} trainable parameters, after {s.network.source}. "
        f"It takes a grey image of {height}×{width} and gives one number for each of {len(s.train.classes)} classes; one image "
        f"costs {total['mult-adds']:,} multiply-adds. It was trained with Adam on the cross-entropy of its answers.",
        _table(table.reset_index()),
        "## Hyperparameters",
        "\n".join(f"{i}. `{name}`: {value}" for i, (name, value) in enumerate(s.hyperparameters.items(), 1)),
        "## Performance",
        f"The loss of the first step was {s.history.step_loss[0]:.3f}, the mean of the last 50 is {_last(s.history):.3f}.",
        _picture(
            folder, "01_loss_each_step", plots.step_loss(s.history), "Loss of each training step, on a log scale, and its mean."
        ),
        _picture(
            folder,
            "02_error_each_epoch",
            plots.errors(s.history),
            "Share of wrong answers in each epoch, training and validation.",
        ),
        _table(s.history.table().reset_index()),
        "## Datasets",
        f"- Training set: {s.places['train']}; {len(s.train):,} images.\n"
        f"- Validation set: {s.places['valid']}; {len(s.valid):,} images.\n"
        f"- Batch size: {s.hyperparameters['batch_size']}.",
        "## Validation and training set comparison",
        f"Every image of both sets has height {height}, width {width} and depth 1, so there is nothing to compare.",
        _picture(
            folder,
            "03_labels",
            plots.class_balance(numbers=True, training=s.train, validation=s.valid),
            "How many images each label has, and its share, in the training and in the validation set.",
        ),
        "## Dataset examples",
        "The first image of each label, in the order in which the training set shows them.",
        *_examples(s.train, folder),
        "## This report",
        _origin(s),
    ]
    return _page(lines)


def evaluation_report(session: Session, folder) -> str:
    """The evaluation report as Markdown; its pictures are written to ``folder/images``."""
    s, folder = session, Path(folder)
    scores = s.tested.scores().rename_axis("label").reset_index()
    areas = [area for label in range(len(s.test.classes)) if (area := s.tested.roc(label)[2]) == area]  # NaN: no such label
    wrong = int((~s.tested.correct).sum())
    lines = [
        f"# Evaluation: {s.title}",
        s.warning,
        f"**Accuracy on the test set: {s.tested.accuracy:.2%}** (± {s.tested.standard_error:.2%} standard error): {wrong:,} of "
        f"{len(s.test):,} images are wrong. Loss {s.tested.loss:.4f}. The test set ({s.places['test']}) was used for this alone.",
        "## Confusion matrix",
        "Rows are true labels, columns are predictions.",
        _picture(folder, "20_confusion", plots.confusion(s.tested), "Counts of each true label predicted as each label."),
        _table(s.tested.confusion.rename_axis(index="true", columns=None).reset_index()),
        "## Score matrix",
        "Each label against all others: true and false positives (TP, FP) and negatives (TN, FN), and the shares made of them.",
        _table(scores),
        "## ROC curves",
        f"Ten curves, each label against all others. The areas under them lie between {min(areas):.4f} and {max(areas):.4f}.",
        _picture(folder, "21_roc", plots.roc(s.tested), "Ten one-versus-rest ROC curves with their areas."),
        "## This report",
        _origin(s),
    ]
    return _page(lines)


def _examples(split: Split, folder: Path) -> list[str]:
    """For each label, in the order met: its picture, height, width, depth and one-hot label."""
    lines = []
    met = list(dict.fromkeys(split.labels.tolist()))
    for place, label in enumerate(met):
        image = split.images[(split.labels == label).nonzero()[0, 0]]
        figure = plots.image_grid(image[None], [f"label {split.classes[label]}"], columns=6)
        depth, height, width = image.shape
        one_hot = [int(i == label) for i in range(len(split.classes))]
        lines += [
            f"### Label {split.classes[label]}",
            _picture(folder, f"{10 + place}_example", figure, f"An image with the label {split.classes[label]}."),
            f"height {height}, width {width}, depth {depth}, one-hot label `{one_hot}`",
        ]
    return lines


def _facts(s: Session) -> dict:
    return {
        "command": s.command,
        "hyperparameters": s.hyperparameters,
        "places": s.places,
        "sizes": {"train": len(s.train), "valid": len(s.valid), "test": len(s.test)},
        "validation accuracy": s.validation.accuracy,
        "test accuracy": s.tested.accuracy,
        "first loss": s.history.step_loss[0],
        "seconds": sum(s.history.seconds),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "hardware": {"device": _device(s), "threads": torch.get_num_threads()},
    }


def _device(s: Session) -> str:
    device = next(s.net.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type.upper()} ({platform.machine()})"


def _last(history: History, steps: int = 50) -> float:
    losses = history.step_loss[-steps:]
    return sum(losses) / len(losses)


def _origin(s: Session) -> str:
    return (
        f"Made with seed {s.hyperparameters['seed']}, Python {platform.python_version()} and torch {torch.__version__}, on "
        f"{_device(s)} with {torch.get_num_threads()} threads. Training took {sum(s.history.seconds):.0f} s. "
        "To make it again:\n\n"
        f"```sh\n{s.command}\n```"
    )


def _epochs(history: History) -> str:
    count = len(history.seconds)
    return f"{count} epoch{'s' if count != 1 else ''} ({len(history.step_loss):,} steps)"


def _picture(folder: Path, name: str, figure: plt.Figure, alt: str) -> str:
    plots.save(figure, folder / "images" / f"{name}.png")
    return f"![{alt}](images/{name}.png)"


def _table(frame) -> str:
    """A data frame as a Markdown table."""
    rows = [[f"{v:.4f}" if isinstance(v, float) else str(v) for v in row] for row in frame.itertuples(index=False)]
    rows = [[cell.replace("nan", "–") for cell in row] for row in rows]  # a share of nothing
    head = [[str(column) for column in frame.columns], ["---"] * len(frame.columns)]
    return "\n".join("| " + " | ".join(row) + " |" for row in head + rows)


def _page(lines: list[str]) -> str:
    return "\n\n".join(line for line in lines if line) + "\n"


def _html(title: str, markdown: str, folder: Path) -> str:
    """One page that needs no other file: the pictures are written into it."""
    import mistune

    body = mistune.create_markdown(plugins=["table"])(markdown)

    def inside(found: re.Match) -> str:
        return f'src="data:image/png;base64,{base64.b64encode((folder / found[1]).read_bytes()).decode()}"'

    return PAGE.format(title=mistune.escape(title), body=re.sub(r'src="(images/[^"]+)"', inside, body))


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif; color: #111; background: #fff; }}
img {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; font-size: 0.9rem; display: block; overflow-x: auto; }}
th, td {{ padding: 0.2rem 0.6rem; text-align: right; border-bottom: 1px solid #ccc; }}
pre {{ background: #f3f3f3; padding: 0.6rem; overflow-x: auto; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
