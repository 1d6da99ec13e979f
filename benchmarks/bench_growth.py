"""Seconds and memory of load, fit and evaluate, from 10,000 to 1,120,000 images: MNIST, repeated."""

import hashlib
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import torch

import mnistlib
from mnistlib import (
    data,
    lab,  # noqa: F401, its networks too
)
from mnistlib.base.files import atomic_write
from mnistlib.data import Split

SIZES = {10_000: 5, 60_000: 5, 280_000: 1, 1_120_000: 1}  # images, and how often each thing is done
QUICK = {1000: 2, 3000: 1}
NETWORK = "mlp"  # the quickest of all: what the images themselves cost shows most
BATCH = 256


def measure(quick: bool = False) -> dict:
    """Each size in two processes of its own: one loads files, one trains and evaluates on a tensor made in memory."""
    found = {}
    for images, turns in (QUICK if quick else SIZES).items():
        found[str(images)] = {"turns": turns, "the uint8 tensor, MB": images * 784 / 1e6}
        for what in ("load", "train"):
            with tempfile.TemporaryDirectory() as folder:
                if what == "load":
                    write_files(Path(folder), images)
                found[str(images)] |= in_own_process(what, images, turns, folder)
        print(f"  {images:,} images: fit {found[str(images)]['fit, seconds']:.1f} s", flush=True)
    smallest, largest = list(found.values())[1 if len(found) > 2 else 0], list(found.values())[-1]
    times = largest["the uint8 tensor, MB"] / smallest["the uint8 tensor, MB"]
    return {
        "what": f"{NETWORK}; fit: one epoch, batch {BATCH}; seconds: the median of so many turns, and the first one, "
        "when the system still has to give the memory, which the comparison of sizes takes; MB: the most memory of "
        "the process, less what it had before: for load after all imports, for fit and evaluate after a rehearsal "
        "with a thousand images and after the images were made. load reads files in the official format, and the "
        "test set",
        "sizes": found,
        f"{times:.4g} times the images take so many times the seconds": {
            name: largest[f"{name}, first seconds"] / smallest[f"{name}, first seconds"]
            for name in ("load", "fit", "evaluate")
        },
    }


def in_own_process(what: str, images: int, turns: int, folder: str) -> dict:
    command = [sys.executable, __file__, what, str(images), str(turns)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "MNISTLIB_DATA": folder}
    )
    return json.loads(done.stdout)


# In the process of one size


def load(images: int, turns: int) -> dict:
    """`mnistlib.load` of an MNIST with so many training images: only the checksums it expects are ours."""
    folder = Path(os.environ["MNISTLIB_DATA"], "MNIST", "raw")
    before, seconds = most_memory(), []
    expected = [
        (name, hashlib.md5((folder / name).read_bytes()).hexdigest()) if (folder / name).exists() else (name, md5)
        for name, md5 in data.official_files("MNIST")
    ]
    data.official_files = lambda name: expected
    for _ in range(turns):
        start = time.perf_counter()
        loaded = mnistlib.load("MNIST", download=False)
        seconds.append(time.perf_counter() - start)
        assert len(loaded.train) == images
        del loaded
    return {
        "load, seconds": statistics.median(seconds),
        "load, first seconds": seconds[0],
        "load, MB": most_memory() - before,
    }


def train(images: int, turns: int) -> dict:
    few = mnistlib.load("MNIST").test.take(1000)
    net = mnistlib.build(NETWORK, seed=0)
    # A rehearsal: libraries take their memory now.
    mnistlib.fit(net, few, epochs=1, batch_size=BATCH, progress=False)
    mnistlib.evaluate(net, few)
    test = mnistlib.load("MNIST").test
    before = most_memory()
    every = torch.arange(images) % len(test)
    pixels = torch.empty(images, 1, 28, 28, dtype=torch.uint8)
    for begin in range(0, images, 10_000):  # in pieces: the tensor and little more
        pixels[begin : begin + 10_000] = test.images[every[begin : begin + 10_000]]
    split = Split(pixels, test.labels[every])
    result = {"tensor and labels, MB": most_memory() - before}
    for name, work in {
        "fit": lambda: mnistlib.fit(net, split, epochs=1, batch_size=min(BATCH, images), progress=False),
        "evaluate": lambda: mnistlib.evaluate(net, split),
    }.items():
        before, seconds = most_memory(), []
        for _ in range(turns):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        result |= {f"{name}, seconds": statistics.median(seconds), f"{name}, first seconds": seconds[0]}
        result[f"{name}, MB beside the tensor"] = most_memory() - before
    return result


def most_memory() -> float:
    """The most megabytes that this process ever had; Linux's getrusage begins with those of its parent."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        import resource  # not on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts in bytes


def write_files(folder: Path, images: int) -> None:
    """Two files as MNIST's own: the test set, repeated. Its compressed bytes are repeated, which is quick."""
    test = mnistlib.load("MNIST").test
    raw = folder / "MNIST" / "raw"
    pixels = test.images.numpy().tobytes()
    labels = test.labels.to(torch.uint8).numpy().tobytes()
    for name, magic, each, piece in (
        ("images", (0x803, images, 28, 28), 784, pixels),
        ("labels", (0x801, images), 1, labels),
    ):
        rest = images % len(test)
        pieces = [struct.pack(f">{len(magic)}I", *magic), *[piece] * (images // len(test)), piece[: rest * each]]
        with atomic_write(raw / f"train-{name}-idx{len(magic) - 1}-ubyte.gz") as file:
            file.write(gzipped(pieces))


def gzipped(pieces: list[bytes]) -> bytes:
    """One gzip stream of all pieces; equal ones are compressed once."""
    compressed, checksum, length = {}, 0, 0
    for piece in pieces:
        if piece not in compressed:
            packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
            compressed[piece] = packer.compress(piece) + packer.flush(
                zlib.Z_FULL_FLUSH
            )  # ends at a byte, refers to nothing
        checksum, length = zlib.crc32(piece, checksum), length + len(piece)
    end = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS).flush()
    header = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return (
        header
        + b"".join(compressed[piece] for piece in pieces)
        + end
        + struct.pack("<II", checksum, length & 0xFFFFFFFF)
    )


def rows(part: dict) -> list[tuple[str, str, str]]:
    largest, of_largest = list(part["sizes"].items())[-1]
    (times, factors), *_ = [(key, value) for key, value in part.items() if "times the images" in key]
    times = float(times.split()[0])
    slowest = max(factors[name] / times for name in factors)
    extra = max(of_largest[f"{name}, MB beside the tensor"] for name in ("fit", "evaluate"))
    tensor = of_largest["the uint8 tensor, MB"]
    return [
        (
            f"{times:.4g} times the images: time of `load`, `fit` and `evaluate` over {times:.4g}",
            f"at most {slowest:.2f}",
            "1: linear",
        ),
        (
            f"memory of fit and evaluate beside {int(largest):,} images of {tensor:.0f} MB",
            f"{extra:.0f} MB",
            "a small constant",
        ),
        (f"memory of `load` for these, over the {tensor:.0f} MB", f"{of_largest['load, MB'] / tensor:.1f} times", ""),
    ]


if __name__ == "__main__":
    work = {"load": load, "train": train}[sys.argv[1]]
    print(json.dumps(work(int(sys.argv[2]), int(sys.argv[3]))))
