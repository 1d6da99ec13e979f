"""Two reports of a training session, as Markdown with pictures and as one HTML page. Introduced in notebook 08.

The first says how a network was trained and on what, the second what it gets right and wrong. Their sections are those
of the session reports of Maple-Lazuli/shenanigans; their texts are the templates beside this file.
"""

import base64
import json
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import mistune
import pandas as pd
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import nn

from mnistlib import plots
from mnistlib.base.files import atomic_write, check_target
from mnistlib.data import Split
from mnistlib.evaluation import Evaluation, evaluate
from mnistlib.layers import layer_table
from mnistlib.networks import Network, find
from mnistlib.show import figures
from mnistlib.train import History, constant, fit, pick_device

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
    check_folder(folder := Path(folder))
    history, tested, train = session.history, session.tested, session.splits["train"]
    examples = list(dict.fromkeys(train.labels.tolist()))
    pictures = {"01_loss_each_step": step_loss(history), "02_error_each_epoch": epoch_errors(history)}
    pictures["03_labels"] = figures.class_balance(numbers=True, training=train, validation=session.splits["valid"])
    for number, label in enumerate(examples, 10):
        image = train.images[(train.labels == label).nonzero()[0]]
        pictures[f"{number}_example"] = plots.image_grid(image, [f"label {train.classes[label]}"], columns=6)
    pictures |= {"20_confusion": figures.confusion(tested), "21_roc": figures.roc(tested)}
    for name, figure in pictures.items():
        plots.save(figure, folder / "images" / f"{name}.png")
    values = {"s": session, "facts": facts(session), "train": train, "losses": history.step_loss, "examples": examples}
    values["places"] = {k: _code(p.as_posix()) if isinstance(p, Path) else p for k, p in session.places.items()}
    values["layers"] = layer_table(session.net, session.network.input_shape)
    values["areas"] = pd.Series([tested.roc(label)[2] for label in range(len(tested.classes))])  # NaN without images
    pages = {name: TEMPLATES.get_template(name).render(values) for name in ("training.md", "evaluation.md")}
    body = mistune.create_markdown(plugins=["table"])("\n".join(pages.values()))
    for path in re.findall(r'src="(images/[^"]+)"', body):  # so that the page needs no other file
        body = body.replace(path, f"data:image/png;base64,{base64.b64encode((folder / path).read_bytes()).decode()}")
    pages["report.html"] = TEMPLATES.get_template("report.html").render(title=session.network.title, body=body)
    pages["session.json"] = json.dumps(values["facts"], indent=2) + "\n"
    for name, text in pages.items():
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    return folder / "report.html"


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


def _code(text: str, language: str = "") -> str:
    """Text as code in Markdown, between more backticks than it has in a row, so that nothing in it can end the code."""
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}" if language else f"{ticks} {' '.join(text.split())} {ticks}"


def _table(frame: pd.DataFrame) -> str:
    """A data frame as a Markdown table."""
    cells = frame.reset_index().map(lambda v: f"{v:.4f}".replace("nan", "–") if isinstance(v, float) else str(v))
    rows = [cells.columns, ["---"] * len(cells.columns), *cells.to_numpy()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


LOADER, LINES = FileSystemLoader(Path(__file__).parent), {"trim_blocks": True, "keep_trailing_newline": True}
TEMPLATES = Environment(loader=LOADER, undefined=StrictUndefined, autoescape=select_autoescape(), **LINES)
TEMPLATES.filters.update(code=_code, table=_table)
