"""Two reports of a training session, as Markdown with pictures and as one HTML page. Introduced in notebook 08.

The first says how a network was trained and on what, the second what it gets right and wrong. Their sections are those
of the session reports of Maple-Lazuli/shenanigans; their texts are the templates beside this file.
"""

import base64
import json
import math
import platform
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from string import Template

import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import nn

from mnistlib import plots
from mnistlib.data import Split
from mnistlib.evaluation import Evaluation, evaluate
from mnistlib.files import atomic_write
from mnistlib.lab.targets import check_target
from mnistlib.layers import layer_table
from mnistlib.networks import Network, find
from mnistlib.show import figures
from mnistlib.train import History, constant, fit, pick_device

HERE = Path(__file__).parent
CONTAMINATED = (
    "**Warning: contaminated split.** The 70,000 images were shuffled before they were divided, so official test "
    "images are among the training images. The accuracy must not be compared with results on the official test set."
)


@dataclass(frozen=True)
class Session:
    """One training: what was trained, on what, how, and the results. Introduced in notebook 08."""

    network: Network
    net: nn.Module
    splits: dict[str, Split]  # "train", "valid" and "test"
    places: dict[str, str | Path]  # where each of them comes from: words, or a path
    hyperparameters: dict[str, object]  # in the order of the report
    history: History
    validation: Evaluation
    tested: Evaluation
    command: str  # what makes the report again
    warning: str = ""  # Markdown that stands above everything


def run_session(
    key: str, train: Split, valid: Split, test: Split, *, places: dict, command: str, warning: str = "", **settings
) -> Session:
    """Train the network ``key`` with Adam at a constant learning rate, and evaluate it on ``valid`` and ``test``.

    ``settings`` are those of `fit`; by default epochs=1, batch_size=50, lr=0.001 and seed=0, as in
    Maple-Lazuli/shenanigans. Images are resized to what the network takes. Raises as `fit` does. Notebook 08.
    """
    network, settings = find(key), {"lr": 0.001, "epochs": 1, "batch_size": 50, "seed": 0} | settings
    splits = {"train": train, "valid": valid, "test": test}
    splits = {name: split.resized(network.input_shape[-1]) for name, split in splits.items()}
    net = network.build(settings["seed"])
    history = fit(net, splits["train"], splits["valid"], optimizer=constant, **settings)
    named = {"learning_rate" if name == "lr" else name: value for name, value in settings.items() if name != "progress"}
    hyperparameters = named | {"optimizer": "Adam", "schedule": "constant", "network": key}
    measured = evaluate(net, splits["valid"]), evaluate(net, splits["test"])
    return Session(network, net, splits, places, hyperparameters, history, *measured, command, warning)


def check_folder(folder) -> None:
    """Raise `DataError` unless the reports could be written to ``folder`` now: to be called before the training."""
    for name in ("training.md", "evaluation.md", "report.html", "session.json", "images/21_roc.png"):
        check_target(Path(folder) / name)


def write_reports(session: Session, folder) -> Path:
    """Write ``training.md``, ``evaluation.md``, ``images/``, and ``report.html`` with all of it; return its path.

    ``session.json`` has the numbers for programs. Raises `DataError` when a file cannot be written. Notebook 08.
    """
    import mistune

    check_folder(folder := Path(folder))
    pages = {"training.md": training_report(session, folder), "evaluation.md": evaluation_report(session, folder)}

    def data_url(found):
        return f'src="data:image/png;base64,{base64.b64encode((folder / found[1]).read_bytes()).decode()}"'

    body = mistune.create_markdown(plugins=["table"])("\n".join(pages.values()))
    body = re.sub(r'src="(images/[^"]+)"', data_url, body)  # so that the page needs no other file
    page = Template((HERE / "report.html").read_text("utf-8"))
    pages["report.html"] = page.substitute(title=mistune.escape(session.network.title), body=body)
    pages["session.json"] = json.dumps(facts(session), indent=2) + "\n"
    for name, text in pages.items():
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    return folder / "report.html"


def training_report(session: Session, folder) -> str:
    """Return the training report as Markdown, and write its pictures to ``folder/images``. Notebook 08."""
    history, train, valid = session.history, session.splits["train"], session.splits["valid"]
    layers, (height, width) = layer_table(session.net, session.network.input_shape), train.images.shape[-2:]
    pictures = {"01_loss_each_step": step_loss(history), "02_error_each_epoch": epoch_errors(history)}
    pictures["03_labels"] = figures.class_balance(numbers=True, training=train, validation=valid)
    examples = []
    for number, label in enumerate(dict.fromkeys(train.labels.tolist()), 10):
        name, image = train.classes[label], train.images[(train.labels == label).nonzero()[0]]
        pictures[f"{number}_example"] = plots.image_grid(image, [f"label {name}"], columns=6)
        one_hot = [int(c == label) for c in range(len(train.classes))]
        examples += [f"### Label {name}", f"![An image with the label {name}.](images/{number}_example.png)"]
        examples += [f"height {height}, width {width}, depth 1, one-hot label `{one_hot}`"]
    values = {
        "epochs": f"{len(history.seconds)} epoch{'s' * (len(history.seconds) > 1)} ({len(history.step_loss):,} steps)",
        "hyperparameters": "\n".join(f"{i}. `{k}`: {v}" for i, (k, v) in enumerate(session.hyperparameters.items(), 1)),
        "layers": _table(layers.reset_index()),
        "history": _table(history.table().reset_index()),
        "last": statistics.mean(history.step_loss[-50:]),
        "examples": "\n\n".join(examples),
    }
    values |= {"height": height, "width": width, "total": layers.loc["total"]}
    return _filled("training", session, folder, pictures, values)


def evaluation_report(session: Session, folder) -> str:
    """Return the evaluation report as Markdown, and write its pictures to ``folder/images``. Notebook 08."""
    tested = session.tested
    areas = pd.Series([tested.roc(label)[2] for label in range(len(tested.classes))])  # NaN if no image has the label
    pictures = {"20_confusion": figures.confusion(tested), "21_roc": figures.roc(tested)}
    confusion = _table(tested.confusion.rename_axis(index="true", columns=None).reset_index())
    values = {"confusion": confusion, "scores": _table(tested.scores().rename_axis("label").reset_index())}
    values |= {"wrong": len(tested.errors()), "lowest": areas.min(), "highest": areas.max()}
    return _filled("evaluation", session, folder, pictures, values)


@plots.styled
def step_loss(history: History) -> Figure:
    """Draw the loss of each step, and its mean over the last 50 steps. Introduced in notebook 08."""
    losses = pd.Series(history.step_loss, index=range(1, len(history.step_loss) + 1))
    curves = {"each step": losses, "mean of the last 50 steps": losses.rolling(50, min_periods=1).mean()}
    look = {"style": [".-", "-"], "color": ["#AAAAAA", plots.BLUE], "logy": True, "linewidth": 1, "figsize": (9, 3.2)}
    return pd.DataFrame(curves).plot(xlabel="step", ylabel="cross-entropy loss (log scale)", **look).figure


@plots.styled
def epoch_errors(history: History) -> Figure:
    """Draw the error rate after each epoch, training beside validation. Introduced in notebook 08."""
    errors = 1 - history.table().filter(like="accuracy")
    errors = errors.rename(columns={"train_accuracy": "training (while learning)", "valid_accuracy": "validation"})
    axis = errors.plot(style=["o-", "s--"], ylabel="error rate", ylim=(0, None), figsize=(9, 3.2))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    return axis.figure


def facts(session: Session) -> dict:
    """Return the settings and numbers of a session as plain values, as ``session.json`` has them."""
    return {
        "command": session.command,
        "hyperparameters": session.hyperparameters,
        "places": {name: str(place) for name, place in session.places.items()},
        "sizes": {name: len(split) for name, split in session.splits.items()},
        "validation accuracy": session.validation.accuracy,
        "test accuracy": session.tested.accuracy,
        "first loss": session.history.step_loss[0],
        "seconds": sum(session.history.seconds),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "hardware": {"device": str(pick_device()), "machine": platform.machine(), "threads": torch.get_num_threads()},
    }


def _filled(name: str, session: Session, folder, pictures: dict[str, Figure], values: dict) -> str:
    """Write the pictures, and return the template ``name`` filled in."""
    for title, figure in pictures.items():
        plots.save(figure, Path(folder) / "images" / f"{title}.png")
    places = {split: _code(p.as_posix()) if isinstance(p, Path) else p for split, p in session.places.items()}
    values |= {"s": session, "facts": facts(session), "places": places, "command": _code(session.command, block=True)}
    values["warning"] = f"{session.warning}\n\n" if session.warning else ""
    return (HERE / f"{name}.md").read_text("utf-8").format(**values)


def _code(text: str, block: bool = False) -> str:
    """Text as code in Markdown, between more backticks than it has in a row, so that nothing in it can end the code."""
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks}sh\n{text}\n{ticks}" if block else f"{ticks} {' '.join(text.split())} {ticks}"


def _table(frame: pd.DataFrame) -> str:
    """A data frame as a Markdown table."""
    cells = frame.map(lambda v: str(v) if not isinstance(v, float) else "–" if math.isnan(v) else f"{v:.4f}")
    rows = [frame.columns, ["---"] * len(frame.columns), *cells.to_numpy()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
