"""The command line: ``python -m mnistlib doctor | data | train | compare | sweep | tfrecords | report | pictures``."""

from __future__ import annotations  # the doctor must run, and say so, where Python is too old

import argparse
import shlex
import sys
from pathlib import Path

from mnistlib import doctor

DEFAULTS = argparse.ArgumentDefaultsHelpFormatter


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0 well, 1 the doctor found something, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m mnistlib", description="Helper of the MNIST and LeNet-5 course.")
    commands = parser.add_subparsers(dest="command", required=True)

    commands.add_parser("doctor", help="is this machine ready for the course?")

    data = commands.add_parser("data", help="get datasets ready for use without a network")
    data.add_argument("names", nargs="*", default=["MNIST"], metavar="NAME", help="MNIST, FashionMNIST, KMNIST, QMNIST")

    train = commands.add_parser("train", help="train a network and measure it", formatter_class=DEFAULTS)
    train.add_argument("--network", default="lenet5", help="a key of mnistlib.NETWORKS")
    train.add_argument("--dataset", default="MNIST", help="MNIST, FashionMNIST, KMNIST or QMNIST")
    train.add_argument("--epochs", type=int, default=5)
    train.add_argument("--batch-size", type=int, default=128)
    train.add_argument("--lr", type=float, default=0.01, help="peak learning rate of the one-cycle schedule")
    train.add_argument("--seed", type=int, default=0, help="decides the first weights, the order of images, the split")
    train.add_argument("--valid", type=int, default=5000, help="training images kept for validation; 0 trains on all")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    train.add_argument("--save", type=Path, metavar="FILE", help="write the trained weights here")
    train.add_argument("--checkpoint", type=Path, metavar="FILE", help="keep the state here, to go on after an interruption")

    compare = commands.add_parser("compare", help="train all networks with several seeds, and compare", formatter_class=DEFAULTS)
    compare.add_argument("--networks", nargs="+", default=["all"], metavar="KEY", help="keys of mnistlib.NETWORKS")
    compare.add_argument(
        "--groups", nargs="+", default=["published"], help="published: each in its source's setting; same: all alike"
    )
    compare.add_argument("--seeds", type=int, default=3)
    compare.add_argument("--epochs", type=int, default=argparse.SUPPRESS, help="another number of epochs than the setting's")
    compare.add_argument("--workers", type=int, default=1, help="networks trained at once, each in its own process")
    compare.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    compare.add_argument("--out", type=Path, default=Path("results/networks.json"), metavar="FILE", help="goes on where it was")

    sweep = commands.add_parser("sweep", help="train LeNet-5 on several datasets with many seeds", formatter_class=DEFAULTS)
    names = ["MNIST", "FashionMNIST", "KMNIST", "QMNIST"]
    sweep.add_argument("--datasets", nargs="+", default=names, metavar="NAME", help=", ".join(names))
    sweep.add_argument("--presets", nargs="+", default=["published", "modern"], help="published: R4's protocol; modern: ours")
    sweep.add_argument("--seeds", type=int, default=10)
    sweep.add_argument("--epochs", type=int, default=argparse.SUPPRESS, help="another number of epochs than the preset's")
    sweep.add_argument("--workers", type=int, default=1, help="networks trained at once, each in its own process; not on a GPU")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster that does the work, such as tcp://10.0.0.5:8786")
    sweep.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    sweep.add_argument(
        "--out", type=Path, default=Path("results/four_datasets.json"), metavar="FILE", help="goes on where it was"
    )

    records = commands.add_parser("tfrecords", help="write MNIST's 70,000 digits as TFRecords, in R0's three parts")
    records.add_argument("--out", type=Path, default=Path("mnist_tf"), metavar="FOLDER")

    report = commands.add_parser(
        "report", help="train a network and write a training and an evaluation report", formatter_class=DEFAULTS
    )
    report.add_argument("--network", default="lenet-wide", help="a key of mnistlib.NETWORKS")
    report.add_argument("--epochs", type=int, default=1)
    report.add_argument("--batch-size", type=int, default=50)
    report.add_argument("--learning-rate", type=float, default=0.001, help="constant")
    report.add_argument("--seed", type=int, default=0, help="decides the first weights, the order of images, the split")
    report.add_argument("--split", choices=["official", "r0"], default="official", help="r0 mixes test images into training")
    report.add_argument("--tfrecords", type=Path, metavar="FOLDER", help="read the three parts that the command tfrecords wrote")
    report.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    report.add_argument("--out", type=Path, default=Path("report"), metavar="FOLDER")

    pictures = commands.add_parser("pictures", help="draw every picture of the course again")
    pictures.add_argument("--out", type=Path, default=Path("pictures"), metavar="FOLDER")

    options = parser.parse_args(arguments)
    options.command_line = shlex.join(["python", "-m", "mnistlib", *(sys.argv[1:] if arguments is None else arguments)])
    for stream in (sys.stdout, sys.stderr):  # a console that lacks a sign such as ≈ shows "?" instead of failing
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if options.command == "doctor":  # before anything else is imported: it must run where the rest does not
        return 0 if doctor.run() else 1

    from mnistlib.files import DataError

    try:
        return COMMANDS[options.command](options)
    except (ValueError, DataError, FloatingPointError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run_data(options) -> int:
    from mnistlib import datasets

    for name in options.names:
        if name not in datasets.CLASSES:
            raise ValueError(f"unknown dataset {name!r}; the datasets are {', '.join(datasets.CLASSES)}.")
    for name in options.names:
        folder = datasets.fetch(name)
        print(f"{datasets.load(name)}\n  in {folder / name}")
    return 0


def run_train(options) -> int:
    from mnistlib import checkpoints, counting, datasets, evaluation, files, networks, training

    if options.save:
        files.check_writable(options.save.parent)  # now, not after the training
    network = networks.find(options.network)
    dataset = datasets.load(options.dataset)
    size = network.input_size[-1]
    train, test = dataset.train.resized(size), dataset.test.resized(size)
    valid = None
    if not 0 <= options.valid < len(train):
        raise ValueError(f"--valid must be 0 to {len(train) - 1:,}, a part of the training images; got {options.valid}.")
    if options.valid:
        train, valid = train.split(len(train) - options.valid, options.valid, seed=options.seed)
    net = network.build(options.seed)
    print(f"{network.title} ({network.source}) on {options.dataset}\n")
    print(counting.layer_table(net, network.input_size).to_string(), "\n", flush=True)
    history = training.fit(
        net,
        train,
        valid=valid,
        epochs=options.epochs,
        batch_size=options.batch_size,
        lr=options.lr,
        seed=options.seed,
        device=options.device,
        checkpoint=options.checkpoint,
    )
    measured = evaluation.evaluate(net, test)
    print(history)
    print(f"test: {measured}")
    if options.save:
        facts = {k: v for k, v in vars(options).items() if k not in ("command", "command_line", "save", "checkpoint", "device")}
        checkpoints.save_checkpoint(net, options.save, network.key, **facts, test_accuracy=measured.accuracy)
        print(f"saved to {options.save}")
    return 0


def run_compare(options) -> int:
    from mnistlib import experiments, networks

    results = experiments.compare(
        networks.NETWORKS if options.networks == ["all"] else options.networks,
        groups=options.groups,
        seeds=options.seeds,
        out=options.out,
        epochs=getattr(options, "epochs", None),
        workers=options.workers,
        device=options.device,
        command=options.command_line,
    )
    for group in results["groups"]:
        print(f"\n{group}:\n{experiments.table(results, group).round(2).to_string()}")
    print(f"\n{options.out}")
    return 0


def run_sweep(options) -> int:
    from mnistlib import sweeps

    results = sweeps.sweep(
        options.datasets,
        presets=options.presets,
        seeds=options.seeds,
        epochs=getattr(options, "epochs", None),
        out=options.out,
        workers=options.workers,
        scheduler=options.scheduler,
        device=options.device,
        command=options.command_line,
    )
    for preset in results["cells"]:
        for part in ("train", "test"):
            print(f"\n{preset}, {part}, %:\n{sweeps.table(results, preset, part).round(3).to_string()}")
    for name, reason in sweeps.reasons(results).items():
        print(f"\n{name} has no numbers: {reason}")
    print(f"\n{options.out}")
    return 0


def run_tfrecords(options) -> int:
    from mnistlib import tfrecords

    for part, split in tfrecords.parts().items():
        path = tfrecords.path_of(options.out, part)
        tfrecords.write(split, path)
        print(f"{path}: {len(split):,} records")
    return 0


def run_report(options) -> int:
    from mnistlib import datasets, files, networks, reports, tfrecords

    files.check_writable(options.out)  # now, not after the training
    network = networks.find(options.network)
    names = ("train", "valid", "test")
    if options.tfrecords:
        paths = {name: tfrecords.path_of(options.tfrecords, name) for name in names}
        splits = [tfrecords.read_split(path, count=tfrecords.PARTS[name]) for name, path in paths.items()]
        places = {name: f"`{path.as_posix()}`" for name, path in paths.items()}
    elif options.split == "r0":
        splits = list(tfrecords.parts().values())
        places = {name: f"{name} part of all 70,000 images, shuffled with seed {tfrecords.SEED}" for name in names}
    else:
        mnist = datasets.load("MNIST")
        splits = [*mnist.train.split(55_000, 5_000, seed=options.seed), mnist.test]
        places = {
            "train": f"55,000 of the official 60,000 training images, drawn with seed {options.seed}",
            "valid": "the other 5,000 of them",
            "test": "the official test set",
        }
    chosen = {name: getattr(options, name) for name in ("learning_rate", "epochs", "batch_size", "seed", "device")}
    session = reports.run_session(
        network.key,
        *splits,
        places=places,
        command=options.command_line,
        warning=reports.CONTAMINATED if options.tfrecords or options.split == "r0" else "",
        **chosen,
    )
    page = reports.write_reports(session, options.out)
    print(f"{session.history}\ntest: {session.tested}\n{page}")
    return 0


def run_pictures(options) -> int:
    from mnistlib import files, pictures

    files.check_writable(options.out)  # now, not after the training
    for path in pictures.write(options.out):
        print(path, flush=True)
    return 0


COMMANDS = {
    "data": run_data,
    "train": run_train,
    "compare": run_compare,
    "sweep": run_sweep,
    "tfrecords": run_tfrecords,
    "report": run_report,
    "pictures": run_pictures,
}

if __name__ == "__main__":
    sys.exit(main())
