"""How fast the course is: against what a student would otherwise run, and against what the machine can do.

    make bench                                           # all of it, on two threads, in under ten minutes
    python benchmarks/bench.py --only growth floor       # some parts; the file's others stay, if made in the same way

writes results/benchmarks.json and prints the table that the README shows. The parts, each a file beside this one:

race     seconds to 99 % test accuracy: `fit`, the usual way, and the network and schedule of PyTorch's official example
floor    images a second of `fit` for each network, beside what the arithmetic alone would take; where the time goes
seeds    many seeds at once against one after the other
course   seconds of each notebook, start-up and imports apart; seconds that `import mnistlib` adds
growth   seconds and memory of load, fit and evaluate, from 10,000 to 1,120,000 images

Contenders take turns, so that whatever else the machine does meets all alike, and numbers are medians of at least five
turns; where there are fewer, the file says so. `python benchmarks/bench_race.py` chose the settings of `fit`.
"""

import argparse
import json
import os
import platform
import re
import shlex
import sys
import time
from pathlib import Path

import bench_course
import bench_floor
import bench_growth
import bench_race
import bench_seeds
import numpy
import torch
import torchvision

from mnistlib.base.files import DataError, atomic_write

OUT = Path(__file__).resolve().parent.parent / "results" / "benchmarks.json"
PARTS = {"race": bench_race, "floor": bench_floor, "seeds": bench_seeds, "course": bench_course, "growth": bench_growth}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--threads", type=int, default=min(2, cores()), help="default: two, or the one there is")
    parser.add_argument(
        "--quick", action="store_true", help="few images, to see that it runs; the numbers mean nothing. Needs --out"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: results/benchmarks.json")
    options = parser.parse_args(arguments)
    if options.quick and options.out is None:
        parser.error("--quick needs --out: results/benchmarks.json is for real measurements")
    if not 1 <= options.threads <= cores():
        parser.error(f"--threads must be 1 to {cores()}, the number of cores; got {options.threads}")
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # of the processes that parts start
    os.environ["MNISTLIB_DEVICE"] = "cpu"  # where fit trains
    torch.set_num_threads(options.threads)
    out = options.out or OUT
    try:
        results = header(options.threads, options.quick)
        results["parts"] = earlier_parts(out, results)
        for part in options.only:
            start = time.perf_counter()
            load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
            print(f"{part} …", flush=True)
            measured = PARTS[part].measure(quick=options.quick)
            seconds = time.perf_counter() - start
            print(f"{part}: {seconds:.0f} s", flush=True)
            about = {"command": command(part, options), "seconds": seconds, "load average before": load}
            results["parts"][part] = rounded(about | measured)
            results["parts"] = {name: results["parts"][name] for name in PARTS if name in results["parts"]}
            with atomic_write(out) as file:
                file.write((json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
    except DataError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"\n{table(results)}\n")


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def command(part: str, options) -> str:
    more = ["--threads", str(options.threads)] if options.threads != 2 else []
    return shlex.join(["python", "benchmarks/bench.py", "--only", part, *more, *(["--quick"] if options.quick else [])])


def header(threads: int, quick: bool) -> dict:
    """What was measured with, and on."""
    return {
        "command": "make bench",
        "quick": quick,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "numpy": numpy.__version__,
        },
        "hardware": {
            "machine": platform.machine(),
            "processor": processor(),
            "cores": cores(),
            "threads": threads,
            "device": "cpu",
            "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def processor() -> str:
    """The processor's name and what vector instructions PyTorch uses; Python alone does not know the name on Linux."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return f"{found[1] if found else platform.processor()}, {torch.backends.cpu.get_cpu_capability()}"


def earlier_parts(out: Path, header: dict) -> dict:
    """What the file has already, measured with the same versions on the same hardware; else nothing."""
    try:
        stored = json.loads(out.read_text("utf-8"))
        return stored["parts"] if all(stored[key] == value for key, value in header.items()) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def rounded(value):
    """Numbers with four digits, which is more than they are exact to."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value


def table(results: dict) -> str:
    """The README's table, in Markdown: what was measured, and the goal."""
    rows = [row for name, part in results["parts"].items() for row in PARTS[name].rows(part)]
    return "\n".join(["| what | measured | goal |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    sys.exit(main())
