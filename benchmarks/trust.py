"""Try to break the course's promises: kills, crowds, damaged files and nonsense calls.

    python benchmarks/trust.py            # the whole: 500 kills, 1,000 appended runs, 10,000 files of each kind, …
    python benchmarks/trust.py --short    # a twentieth of it, as `make test-all` does

prints the counts and writes them to results/trust.json. Each trial runs in a process of its own (a fork, so this needs
Linux or macOS). It must end with the right result, or with an error of the course's own whose message has at most three
lines. A crash, a raw exception from inside a library, more than ten seconds, or more than a gigabyte of memory is a
fault; faults are printed, and the exit status is then 1.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as from_seed
from hypothesis import strategies as st
from torch import nn
from traitlets import TraitError

import mnistlib
from mnistlib import lab
from mnistlib.base.files import atomic_write
from mnistlib.data import Split, read_idx
from mnistlib.lab import results
from mnistlib.live import export, pad
from mnistlib.session import reports, tfrecords
from mnistlib.stats import confidence_interval, holm, mcnemar

ROOT = Path(mnistlib.__file__).parent
MNIST = mnistlib.load("MNIST")
TINY = mnistlib.ImageDataset("MNIST", MNIST.train.take(120), MNIST.test.take(40))
RECIPE = lab.Recipe("lenet5-padded", epochs=2, batch_size=50, valid=20)
SECONDS, MEMORY, LINES = 10, 2**30, 3
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "tempfile.mkstemp", "os.link"}


# Processes


def fork(work, *arguments):
    """Start ``work(*arguments)`` in a process of its own; return its id and the file that will hold what it returns."""
    reader, writer = os.pipe()
    if child := os.fork():
        os.close(writer)
        return child, open(reader, "rb")
    status = 1
    try:
        os.setpgid(0, 0)
        os.close(reader)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        with open(writer, "wb") as file:
            file.write(json.dumps(work(*arguments)).encode())
        status = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    os._exit(status)


def finished(child, file):
    """Wait for a process of `fork`, and return what its work returned; RuntimeError if it crashed or was killed."""
    with file:
        content = file.read()
    if status := os.waitpid(child, 0)[1]:
        raise RuntimeError(f"the process ended with status {status}")
    return json.loads(content)


def own(error: BaseException) -> str:
    """Return why an error is not one of the course's own with a short message, or nothing."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    message = str(error)
    if isinstance(error, TraitError) and message.count("\n") < LINES:  # traitlets checks what our widgets declare
        return ""
    if not Path(frame.filename).is_relative_to(ROOT) or "raise" not in (frame.line or ""):
        return f"raised in {frame.filename}:{frame.lineno}: {type(error).__name__}: {message[:200]}"
    if not message or message.count("\n") >= LINES:
        return f"a message of {message.count(chr(10)) + 1} lines: {message[:200]!r}"
    return ""


def judged(call, *arguments) -> tuple[str, str]:
    """Call once: return ("right" or "refused" or "fault", what)."""

    def late(*_):
        raise TimeoutError(f"it took more than {SECONDS} seconds")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call(*arguments)
        return "right", ""
    except Exception as error:
        reason = own(error)
        return ("fault", reason) if reason else ("refused", "")
    finally:
        signal.alarm(0)


def counted(trials) -> dict:
    """Judge (description, call, arguments) one by one; return the counts, the faults, and the memory they took."""
    before, counts, faults = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, Counter(), []
    for description, call, arguments in trials:
        verdict, reason = judged(call, *arguments)
        counts[verdict] += 1
        if reason:
            faults.append(f"{description}: {reason}")
    unit = 1 if sys.platform == "darwin" else 1024
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    if memory > MEMORY:
        faults.append(f"{memory / 2**20:.0f} MiB of memory")
    return {"counts": counts, "faults": faults, "MiB": memory // 2**20}


# Kills


def train(folder: Path) -> str:
    net = mnistlib.build("lenet5-padded", seed=0)
    callbacks = [lab.Checkpoint(folder / "training.pt")]
    mnistlib.fit(net, TINY.train, epochs=3, batch_size=40, callbacks=callbacks, progress=False)
    mnistlib.save_weights(net, folder / "weights.pt", "lenet5-padded")
    saved = mnistlib.load_weights(folder / "weights.pt")
    return digest(*[tensor.contiguous().numpy().tobytes() for tensor in saved.state_dict().values()])


def sweep(folder: Path) -> str:
    rows = lab.sweep(RECIPE, [0, 1], folder / "runs.jsonl", datasets={"MNIST": TINY}, progress=False)
    return digest(rows[["key", "test_accuracy", "test_loss", "errors"]].to_json().encode())


def export_web(folder: Path) -> str:
    return digest(export.export_web(ROOT / "pretrained" / "lenet5.pt", folder / "web.safetensors").read_bytes())


def report(folder: Path) -> str:
    part = MNIST.train.take(60)
    session = reports.run_session(
        "lenet5-padded",
        part,
        part,
        part,
        places=dict.fromkeys(("train", "valid", "test"), "MNIST"),
        command="trust.py",
        epochs=1,
        batch_size=20,
        progress=False,
    )
    page = reports.write_reports(session, folder / "report")
    pictures = sorted(page.parent.rglob("*.png"))
    return digest(*[path.name.encode() for path in pictures], str(all(map(is_whole_png, pictures))).encode())


def is_whole_png(path: Path) -> bool:
    content = path.read_bytes()
    return content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")


def digest(*contents: bytes) -> str:
    return hashlib.sha256(b"|".join(contents)).hexdigest()


def watched(operation, folder: Path, kill_at: int = 0):
    """Run an operation that is killed at its ``kill_at``-th change of the file system; return its digest and count."""
    changes = 0

    def hook(event, arguments):
        nonlocal changes
        writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writing or event in CHANGES:
            changes += 1
            if changes == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return operation(folder), changes


def kills(count: int, rng: random.Random) -> dict:
    """Kill operations at each change of the file system and at random moments, run them again, compare the results."""
    operations, faults, done = {train: 0.4, sweep: 0.4, export_web: 0.15, report: 0.05}, [], Counter()
    for operation, fraction in operations.items():
        with tempfile.TemporaryDirectory() as folder:
            operation(Path(folder))  # here, so that the processes of the trials need not warm up
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            right, changes = finished(*fork(watched, operation, Path(folder)))
            seconds = time.perf_counter() - start
        wanted, trial = max(2, round(count * fraction)), 0
        while done[f"{operation.__name__}, killed"] < wanted:
            trial += 1
            at = trial // 2 % changes + 1 if trial % 2 else 0
            with tempfile.TemporaryDirectory() as folder:
                child, file = fork(watched, operation, Path(folder), at)
                if not at:
                    time.sleep(rng.uniform(0, seconds))
                    os.kill(child, signal.SIGKILL)
                file.close()
                _, status = os.waitpid(child, 0)
                if not os.WIFSIGNALED(status):
                    continue  # it had ended before
                done[f"{operation.__name__}, killed"] += 1
                try:
                    again, _ = finished(*fork(watched, operation, Path(folder)))
                except RuntimeError as error:
                    again = str(error)
                if again != right:
                    faults.append(f"{operation.__name__}, change {at or 'at random'}: {again} instead of {right}")
                done["the right result after all"] += again == right
    return {"counts": done, "faults": faults}


# Crowds


def write_runs(path: Path, writer: int, first: int, last: int, told: int) -> int:
    for number in range(first, last):
        run = {"key": f"{writer}-{number}", "recipe": {"network": "lenet5"}, "seed": number, "text": "x" * 2_000}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.append(path, run)
        os.write(told, bytes([writer]))  # it is on the disk
    return last


def crowd(count: int, rng: random.Random, writers: int = 8) -> dict:
    """Several processes append to one file of results at once, while they are killed at random moments."""
    with tempfile.TemporaryDirectory() as folder:
        path, each, faults = Path(folder, "runs.jsonl"), count // writers, []
        told, tell = os.pipe()
        os.set_blocking(told, False)
        said, killed, alive = Counter(), 0, {}
        while True:
            with suppress(BlockingIOError):
                said.update(os.read(told, 65_536))
            for writer in range(writers):
                if writer not in alive and said[writer] < each:
                    alive[writer] = fork(write_runs, path, writer, said[writer], each, tell)
            if not alive:
                break
            time.sleep(0.02)
            for writer, (child, file) in list(alive.items()):
                if os.waitpid(child, os.WNOHANG)[0]:
                    file.close()
                    del alive[writer]
            if alive and killed < count // 5:
                victim = rng.choice([*alive])
                os.kill(alive[victim][0], signal.SIGKILL)
                os.waitpid(alive[victim][0], 0)
                alive.pop(victim)[1].close()
                killed += 1
                time.sleep(0.005)
                with suppress(BlockingIOError):
                    said.update(os.read(told, 65_536))
        keys = {run["key"] for run in results.runs(path)}
        missing = {f"{writer}-{number}" for writer in range(writers) for number in range(each)} - keys
        faults += [f"{len(missing)} runs are lost"] if missing else []
        faults += [] if path.read_bytes().endswith(b"\n") else ["the last line is torn"]
        os.close(told), os.close(tell)
    return {"counts": {"processes": writers, "runs in the file": len(keys), "kills": killed}, "faults": faults}


# Damaged files


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return the content with some bytes changed, cut off, put in, repeated or overwritten."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at, length = rng.randrange(len(data) + 1), rng.choice([1, 1, 2, 4, 8, 64])
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = rng.randbytes(length)
        elif kind == 3:
            data[at : at + length] = bytes([rng.choice([0, 1, 127, 128, 255])]) * length
        elif kind == 4:
            data[at:at] = data[at : at + length]
        else:
            del data[at : at + length]
    return bytes(data)


def rezipped(content: bytes, rng: random.Random) -> bytes:
    """Mutate one part inside a zip file, whose checksums then fit again."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
        victim = rng.choice(old.namelist())
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, mutated(part, rng) if name == victim else part)
    return target.getvalue()


def regzipped(content: bytes, rng: random.Random) -> bytes:
    return gzip.compress(mutated(gzip.decompress(content), rng), 1)


def framed(content: bytes, rng: random.Random) -> bytes:
    """Mutate the first record of a TFRecord file, whose checksums then fit again."""
    length = int.from_bytes(content[:8], "little")
    record = mutated(content[12 : 12 + length], rng)
    head = len(record).to_bytes(8, "little")
    return head + tfrecords.checksum(head) + record + tfrecords.checksum(record) + content[16 + length :]


def read_weights(path: Path):
    state = mnistlib.load_weights(path).state_dict()
    assert all(tensor.isfinite().all() for tensor in state.values())


def read_checkpoint(path: Path):
    net = mnistlib.build("lenet5-padded", seed=0)
    callbacks = [lab.Checkpoint(path)]
    mnistlib.fit(net, TINY.train, epochs=1, batch_size=40, callbacks=callbacks, progress=False)


def read_message(path: Path):
    """What a browser sends: a widget takes it over, or leaves it."""
    try:
        state = json.loads(path.read_bytes())
    except ValueError:  # Jupyter itself reads the JSON
        return
    widget = PADS.setdefault("pad", pad.DrawingPad())
    if isinstance(state, dict):
        widget.set_state(state)
        widget.probabilities  # noqa: B018 — a property that computes


PADS = {}


def originals(folder: Path) -> dict:
    """Return {kind: (bytes of a good file, ways to damage it, how the course reads it)}."""
    part = TINY.train.take(3)
    tfrecords.write(part, folder / "records", progress=False)
    mnistlib.fit(
        mnistlib.build("lenet5-padded", seed=0),
        TINY.train,
        epochs=1,
        batch_size=40,
        callbacks=[lab.Checkpoint(folder / "training.pt")],
        progress=False,
    )
    weights = ROOT / "pretrained" / "lenet5.pt"
    run = {"key": "1", "recipe": {"network": "lenet5", "epochs": 3}, "seed": 0, "test_accuracy": 0.5, "errors": "3:4"}
    idx = gzip.compress(bytes([0, 0, 8, 1]) + (40).to_bytes(4, "big") + bytes(40))
    message = json.dumps({"strokes": [[[0.1, 0.2], [0.5, 0.6]], [[0.3, 0.3]]], "width": 0.08}).encode()
    return {
        "IDX": (idx, (mutated, regzipped), lambda path: read_idx(path.read_bytes(), path)),
        "TFRecord": ((folder / "records").read_bytes(), (mutated, framed), lambda path: list(tfrecords.read(path))),
        "weights": (weights.read_bytes(), (mutated, rezipped), read_weights),
        "checkpoint": ((folder / "training.pt").read_bytes(), (mutated,), read_checkpoint),
        "results": ((json.dumps(run) + "\n").encode() * 3, (mutated,), lambda path: results.frame(results.runs(path))),
        "weights for the web": (export.web_bytes(mnistlib.pretrained()), (mutated,), export.load_web),
        "widget message": (message, (mutated,), read_message),
    }


def read_damaged(kind: str, count: int, seed: int, folder: Path) -> dict:
    content, ways, read = originals(folder)[kind]
    rng, path = random.Random(seed), folder / "damaged"

    def trials():
        for number in range(count):
            path.write_bytes(rng.choice(ways)(content, rng))
            yield f"{kind}, seed {seed}, number {number}", read, (path,)

    return counted(trials())


def damaged(count: int, rng: random.Random) -> dict:
    kinds = ("IDX", "TFRecord", "weights", "checkpoint", "results", "weights for the web", "widget message")
    all_counts, faults = {}, []
    for kind in kinds:
        counts = Counter()
        for _ in range(max(1, count // 1_000)):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found = finished(*fork(read_damaged, kind, min(count, 1_000), rng.randrange(10**9), Path(folder)))
                except RuntimeError as error:
                    faults.append(f"{kind}: {error}")
                    continue
            counts.update(found["counts"])
            counts["MiB"] = max(counts["MiB"], found["MiB"])
            faults += found["faults"]
        all_counts[kind] = counts
    return {"counts": all_counts, "faults": faults}


# Nonsense calls

NET = mnistlib.build("lenet5-padded", seed=0)
BAD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from(
        [10**30, -(2**63), float("nan"), float("inf"), -0.5, 1e-300, "", "nonsense", "MNIST", b"bytes", ()]
    ),
    st.sampled_from([{}, [], [None], [1, "a"], [[1], [2, 3]], {"a": 1}, object(), len, print, Path("no/such/file")]),
    st.sampled_from(
        [torch.zeros(0), torch.zeros(2, 3), torch.tensor(float("nan")), torch.ones(3).bool(), torch.tensor(2)]
    ),
    st.sampled_from([nn.Linear(3, 4), nn.Sequential(), TINY.train, TINY, RECIPE, torch.zeros(4, 1, 28, 28)]),
)


def calls(folder: Path) -> dict:
    """Return {name: (function, good arguments)}; a nonsense call replaces one or two of the arguments."""
    quick = {"epochs": 1, "batch_size": 60, "progress": False}
    right = torch.ones(5, dtype=torch.bool)
    runs = results.frame(
        [{"key": "1", "recipe": {"network": "lenet5", "dataset": "MNIST"}, "seed": 0, "test_accuracy": 0.5}]
    )
    evaluation = mnistlib.evaluate(NET, TINY.test)
    weights = shutil.copy(ROOT / "pretrained" / "lenet5.pt", folder)
    return {
        "load": (mnistlib.load, {"name": "MNIST", "download": False}),
        "Split": (Split, {"images": TINY.test.images, "labels": TINY.test.labels, "classes": TINY.classes}),
        "take": (TINY.test.take, {"which": 3}),
        "split": (TINY.test.split, [20, 20]),
        "resized": (TINY.test.take(2).resized, {"size": 32}),
        "augmented": (TINY.test.augmented, {"augmentation": None}),
        "batches": (lambda **options: list(TINY.test.batches(**options)), {"size": 10, "generator": None}),
        "build": (mnistlib.build, {"key": "lenet5", "seed": 0}),
        "layer_table": (mnistlib.layer_table, {"net": NET, "input_shape": (1, 28, 28)}),
        "evaluate": (mnistlib.evaluate, {"net": NET, "split": TINY.test}),
        "roc": (evaluation.roc, {"label": 3}),
        "Augmentation": (
            mnistlib.Augmentation,
            {"degrees": 5, "translate": 0.1, "scale": (0.9, 1.1), "mode": "nearest"},
        ),
        "fit": (
            lambda net, train, valid, epochs, batch_size, lr, seed, callbacks: mnistlib.fit(
                net,
                train,
                valid,
                epochs=epochs if not isinstance(epochs, int) or epochs < 3 else 3,
                batch_size=batch_size,
                lr=lr,
                seed=seed,
                callbacks=callbacks,
                progress=False,
            ),
            {"net": NET, "train": TINY.train, "valid": None, "lr": 0.01, "seed": 0, "callbacks": ()}
            | {"epochs": 1, "batch_size": 60},
        ),
        "fit_seeds": (mnistlib.fit_seeds, {"network": "lenet5-padded", "seeds": [0], "train": TINY.train} | quick),
        "save_weights": (mnistlib.save_weights, {"net": NET, "path": folder / "w.pt", "key": "lenet5-padded"}),
        "load_weights": (mnistlib.load_weights, {"path": ROOT / "pretrained" / "lenet5.pt", "key": "lenet5"}),
        "pretrained": (mnistlib.pretrained, {"key": "lenet5"}),
        "confidence_interval": (confidence_interval, {"values": [0.1, 0.2, 0.4], "level": 0.95}),
        "mcnemar": (mcnemar, {"first": right, "second": ~right}),
        "holm": (holm, {"p_values": [0.1, 0.01]}),
        "Recipe": (lab.Recipe, RECIPE.to_dict()),
        "key": (RECIPE.key, {"seed": 0}),
        "sweep": (
            partial(lab.sweep, datasets={"MNIST": TINY}),
            {
                "recipes": RECIPE,
                "seeds": [0],
                "out": None,
                "workers": 1,
                "progress": False,
            },
        ),
        "read": (lab.read, {"file": "networks"}),
        "table": (lab.table, {"runs": runs, "by": "dataset", "part": "test"}),
        "append": (results.append, {"path": folder / "runs.jsonl", "run": {"key": "1"}}),
        "Checkpoint": (lab.Checkpoint, {"path": folder / "c.pt"}),
        "tfrecords.write": (tfrecords.write, {"split": TINY.test.take(2), "path": folder / "t", "progress": False}),
        "tfrecords.read": (
            lambda **options: list(tfrecords.read(**options)),
            {"path": folder / "none", "batch_size": 5},
        ),
        "ink": (pad.ink, {"strokes": [[[0.1, 0.2], [0.5, 0.6]]], "width": 0.08}),
        "as_mnist": (pad.as_mnist, {"drawn": pad.ink([[[0.1, 0.2], [0.5, 0.6]]])}),
        "DrawingPad": (pad.DrawingPad, {"net": None, "strokes": []}),
        "export_web": (export.export_web, {"weights_path": weights, "out": folder / "x"}),
    }


def nonsense_calls(count: int, seed: int, folder: Path) -> dict:
    os.chdir(folder)
    functions, trials = calls(folder), []
    names = [*functions]

    @from_seed(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def draw(data):
        name = data.draw(st.sampled_from(names))
        function, good = functions[name]
        if isinstance(good, list):
            positional = [data.draw(st.one_of(st.just(value), BAD)) for value in good]
            trials.append((f"{name}{tuple(positional)!r:.150}", function, positional))
            return
        chosen = {key: data.draw(BAD) for key in data.draw(st.sets(st.sampled_from([*good]), min_size=1, max_size=2))}
        arguments = good | chosen
        trials.append((f"{name}({chosen!r:.200})", lambda: function(**arguments), ()))

    draw()
    return counted(trials)


def nonsense(count: int, rng: random.Random) -> dict:
    counts, faults = Counter(), []
    for start in range(0, count, 250):
        with tempfile.TemporaryDirectory() as folder:
            arguments = (min(250, count - start), rng.randrange(10**9), Path(folder))
            try:
                found = finished(*fork(nonsense_calls, *arguments))
            except RuntimeError as error:
                faults.append(f"calls from {start}: {error}")
                continue
        counts.update(found["counts"])
        faults += found["faults"]
    return {"counts": counts, "faults": faults}


PARTS = {
    "kills": (kills, 500),
    "crowd": (crowd, 1_000),
    "damaged files": (damaged, 10_000),
    "nonsense calls": (nonsense, 1_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a twentieth of the trials; nothing is stored")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["MNISTLIB_DEVICE"] = "cpu"
    found, faults, begin = {}, [], time.perf_counter()
    for name in options.only:
        work, count = PARTS[name]
        found[name] = work(count // 20 if options.short else count, random.Random(options.seed))
        faults += found[name]["faults"]
        print(f"{name}: {json.dumps(found[name]['counts'])}; {len(found[name]['faults'])} faults", flush=True)
    print(*dict.fromkeys(faults), sep="\n")
    if not options.short and [*PARTS] == options.only:
        about = {
            "command": "python benchmarks/trust.py",
            "minutes": round((time.perf_counter() - begin) / 60, 1),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "machine": {"machine": platform.machine(), "cores": os.cpu_count()},
        }
        with atomic_write(ROOT.parent / "results" / "trust.json") as file:
            file.write((json.dumps(about | found, indent=1) + "\n").encode())
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
