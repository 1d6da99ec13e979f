"""The command line, ``python -m mnistlib``: a function for each command, whose parameters are its options."""

from __future__ import annotations  # the doctor must run, and say so, where Python is too old

import argparse
import inspect
import os
import shlex
import sys
from dataclasses import replace

from mnistlib import doctor

NAMES = ("MNIST", "FashionMNIST", "KMNIST", "QMNIST")
RECIPES = ("published", "modern", "sources", "plain")
OPTIONS = {  # what argparse is told about the parameters of the commands
    "names": {"nargs": "*", "metavar": "NAME", "help": f"{', '.join(NAMES)}; without it, MNIST"},
    "network": {"help": "a key of mnistlib.NETWORKS"},
    "dataset": {"help": ", ".join(NAMES)},
    "epochs": {"type": int, "help": "how often the training sees each image; for a sweep, instead of the recipe's"},
    "batch_size": {"type": int, "help": "images in a batch"},
    "lr": {"type": float, "help": "learning rate; for train, the peak of the one-cycle schedule"},
    "seed": {"type": int, "help": "decides the first weights, the order of images and the split"},
    "valid": {"type": int, "help": "training images kept for validation; 0 trains on all"},
    "save": {"metavar": "FILE", "help": "write the trained weights here"},
    "checkpoint": {"metavar": "FILE", "help": "save the state of the training here, and resume it from here"},
    "recipes": {"nargs": "+", "choices": RECIPES, "help": "see mnistlib/lab/sources.py; without it, sources"},
    "networks": {"nargs": "+", "metavar": "KEY", "help": "without it all; for published and modern, lenet5-padded"},
    "datasets": {"nargs": "+", "metavar": "NAME", "help": "without it MNIST; for published and modern, all four"},
    "seeds": {"type": int, "help": "how many seeds, counted from 0"},
    "workers": {"type": int, "help": "how many processes train at the same time"},
    "scheduler": {"metavar": "ADDRESS", "help": "a Dask cluster that you trust, such as tcp://10.0.0.5:8786"},
    "tfrecords": {"metavar": "FOLDER", "help": "train on the parts that the command tfrecords wrote"},
    "format": {"choices": ("nbgrader", "otter"), "help": "the grader that will read them"},
    "notebooks": {"nargs": "+", "metavar": "NUMBER", "help": "such as 01 02; without it, all ten"},
    "web": {"required": True, "metavar": "FILE", "help": "weights of a LeNet-5 from train --save, for the live page"},
    "out": {"metavar": "PATH", "help": "where to write; a sweep adds one line per run to this file"},
    "device": {"help": "auto, cpu, cuda, cuda:1 or mps; without it $MNISTLIB_DEVICE decides"},
}
SETTINGS = {  # options that are passed on as they are, and their defaults
    "train": {"epochs": 5, "batch_size": 128, "lr": 0.01, "device": None},
    "sweep": {"workers": 1, "scheduler": None, "device": None},
    "report": {"epochs": 1, "batch_size": 50, "lr": 0.001, "seed": 0, "device": None},
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns 0, 1 (the doctor found something), 2 (bad input), 130 (Ctrl-C) or 141 (a closed pipe)."""
    sys.stdout, sys.stderr = sys.stdout or open(os.devnull, "w"), sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # a console that lacks a sign such as ≈ shows "?" instead of failing
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = vars(parser().parse_args(arguments))
    run, device = options.pop("run"), options.pop("device", None)
    if run in (run_sweep, run_report):  # which write it down
        options["command"] = shlex.join(["python", "-m", "mnistlib", *arguments])
    if device:
        os.environ["MNISTLIB_DEVICE"] = device
    errors = (ValueError, TypeError, FloatingPointError, MemoryError)
    try:
        if run is not run_doctor:  # which runs where nothing else can be imported
            from mnistlib import DataError, lab  # noqa: F401 — the laboratory adds its networks

            errors += (DataError,)
        status = run(**options)
        sys.stdout.flush()
        return status or 0
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 — Python would write there once more when it ends
        return 141
    except errors as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """Return the parser: each ``run_NAME`` below is a command, and its parameters in OPTIONS are the options."""
    parser = argparse.ArgumentParser(prog="python -m mnistlib", description="The commands of the MNIST course.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run in [(name[4:], run) for name, run in globals().items() if name.startswith("run_")]:
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        defaults = {key: parameter.default for key, parameter in inspect.signature(run).parameters.items()}
        for key, default in {**defaults, **SETTINGS.get(name, {})}.items():
            if key in OPTIONS:
                shown = f" (default: {default})" if isinstance(default, (str, int, float)) else ""
                about = {**OPTIONS[key], "help": OPTIONS[key]["help"] + shown, "default": default}
                command.add_argument(key if key == "names" else f"--{key.replace('_', '-')}", **about)
    return parser


def run_doctor():
    """Is this machine ready for the course?"""
    return 0 if doctor.run() else 1


def run_data(names=("MNIST",)):
    """Get datasets ready for use offline."""
    from mnistlib.data import load, official_files
    from mnistlib.lab.store import fetch

    for name in names:
        official_files(name)  # raises for an unknown name before anything is downloaded
    for name in names:
        print(f"{load(name)}\n  in {fetch(name) / name}")


def run_train(network="lenet5", dataset="MNIST", seed=0, valid=5_000, save=None, checkpoint=None, **settings):
    """Train a network and evaluate it."""
    from mnistlib import evaluate, lab, layer_table, load, networks, save_weights
    from mnistlib.base.files import check_target

    for path in {save, checkpoint} - {None}:
        check_target(path)  # now, not after the training
    recipe = lab.Recipe(network, dataset, valid=valid, split_seed=None, **settings)
    about, data = networks.find(network), load(dataset)
    layers = layer_table(recipe.build(seed), about.input_shape).to_string()
    print(f"{about.title} ({about.source}) on {dataset}\n\n{layers}\n", flush=True)
    net, history = recipe.train(seed, data, checkpoint, progress=True)
    tested = evaluate(net, data.test.resized(about.input_shape[-1]))
    if save:  # before anything is printed, which may fail
        facts = {"dataset": dataset, "valid": valid, "test_accuracy": tested.accuracy, **settings, "seed": seed}
        save_weights(net, save, network, **facts)
    print(f"{history}\ntest: {tested}", *[f"saved to {save}"] if save else [], sep="\n")


def run_sweep(recipes=("sources",), networks=(), datasets=(), seeds=10, epochs=None, out="sweep.jsonl", **settings):
    """Train networks on datasets from many seeds, and compare them. Continues where it stopped."""
    from mnistlib import DataError, lab

    chosen = {name: recipes_called(name, networks, datasets, epochs) for name in recipes}
    for name, some in chosen.items():
        runs = lab.sweep(some, range(seeds), out, **settings)
        if runs.empty:
            raise DataError(" ".join(runs.attrs["skipped"].values()))
        by = "network" if len({recipe.network for recipe in some}) > 1 else "dataset"
        print(f"{name}, accuracy on the test images in %:\n{lab.table(runs, by).round(2).to_string()}\n")
    print(out)


def recipes_called(name: str, networks, datasets, epochs: int | None) -> list:
    """Return the recipes of this name for each network and dataset. Raises ValueError for what is unknown."""
    from mnistlib import NETWORKS, lab
    from mnistlib.networks import find

    if name in ("published", "modern"):
        networks, datasets = networks or ["lenet5-padded"], datasets or NAMES
        found = [replace(getattr(lab, name)(data), network=key) for key in networks for data in datasets]
    else:
        make = lab.plain if name == "plain" else lambda key: lab.SOURCES[find(key).key].recipe
        found = [replace(make(key), dataset=data) for key in networks or NETWORKS for data in datasets or ["MNIST"]]
    return found if epochs is None else [replace(recipe, epochs=epochs) for recipe in found]


def run_tfrecords(out="mnist_tf"):
    """Write MNIST's 70,000 digits as TFRecords."""
    from mnistlib.base.files import check_target
    from mnistlib.session import tfrecords

    check_target(tfrecords.path_of(out, "train"))
    for part, split in tfrecords.parts().items():
        path = tfrecords.path_of(out, part)
        tfrecords.write(split, path)
        print(f"{path}: {len(split):,} records")


def run_report(network="lenet-wide", tfrecords=None, out="report", **settings):
    """Train a network at a constant learning rate, and write two reports about it."""
    from mnistlib import load
    from mnistlib.session import reports
    from mnistlib.session import tfrecords as records

    reports.check_folder(out)  # now, not after the training
    if tfrecords:
        places = {part: records.path_of(tfrecords, part) for part in records.PARTS}
        splits = [records.read_split(path, count=records.PARTS[part]) for part, path in places.items()]
    else:
        mnist, seed = load("MNIST"), settings["seed"]
        splits = [*mnist.train.split(55_000, 5_000, seed=seed), mnist.test]
        places = {"train": f"55,000 of the official training images, drawn with seed {seed}"}
        places |= {"valid": "the other 5,000 of them", "test": "the official test set"}
    warning = reports.CONTAMINATED if tfrecords else ""
    session = reports.run_session(network, *splits, places=places, warning=warning, **settings)
    page = reports.write_reports(session, out)
    print(f"{session.history}\ntest: {session.tested}\n{page}")


def run_assignment(format="nbgrader", notebooks=(), out="assignments"):
    """Write exercises as assignments for nbgrader or Otter-Grader."""
    from mnistlib.exercises import assignment

    assignment.run_assignment(format, notebooks, out)


def run_export(web=None, out=None):
    """Write trained weights in another format."""
    from mnistlib.live.export import export_web

    print(export_web(web, out))
