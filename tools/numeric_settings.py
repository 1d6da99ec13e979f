"""Run the whole course under strict nbval in many numeric settings: ``python tools/numeric_settings.py [OPTION …]``.

PyTorch rounds differently with another number of threads, with the vector instructions of another processor, and in
another way of convolving. Each setting imitates one kind of machine: OMP_NUM_THREADS is 1 or 2; ATEN_CPU_CAPABILITY
lets PyTorch's own kernels use no AVX, AVX2 or AVX-512; ONEDNN_MAX_CPU_ISA leaves oneDNN, which convolves, what this
processor has ("full"), or less ("limited": SSE4.1 beside no AVX, else AVX2). One more runs two notebooks at once.

Each run ends in a row of results/numeric_settings.json. A notebook that went well is not run again, so this can be stopped,
and goes on where it was; one that failed or was changed is, and the row keeps what failed before. When mnistlib, the results
that notebooks show, or the machine are others than those of the file, it begins anew. The rows of several versions of PyTorch
(--python) stand in one file. A setting that cannot be had on this machine is listed as not possible, never as passed. The
exit status is 0 when every cell of every run was as stored, 1 when not, 2 when something kept it from running.
"""

import argparse
import glob
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from mnistlib.files import DataError, atomic_write

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "results" / "numeric_settings.json"
NOTEBOOKS = ("notebooks/*.ipynb", "notebooks/solutions/*.ipynb")
CAPABILITIES = ("DEFAULT", "AVX2", "AVX512")  # PyTorch's names, each with more instructions than the one before
LIMITS = {"DEFAULT": "SSE41", "AVX2": "AVX2", "AVX512": "AVX2"}  # oneDNN's name for what it may use beside each
READABLE = {"default": "no AVX", "avx2": "AVX2", "avx512": "AVX-512"}
IMPOSSIBLE = "not possible here"

SETTINGS = {
    f"{threads}-{capability.lower()}-{isa}": {
        "OMP_NUM_THREADS": str(threads),
        "ATEN_CPU_CAPABILITY": capability.lower(),
        **({"ONEDNN_MAX_CPU_ISA": LIMITS[capability]} if isa == "limited" else {}),
    }
    for threads in (1, 2)
    for capability in CAPABILITIES
    for isa in ("full", "limited")
}
SETTINGS["xdist"] = {"OMP_NUM_THREADS": "1"}
OPTIONS = {"xdist": ["-n", "2", "--dist", "loadscope"]}  # whole notebooks go to each of two processes

# What would change the numbers, or pytest, without being written down in a row.
OTHERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
OTHERS += ("ONEDNN_DEFAULT_FPMATH_MODE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "PYTEST_ADDOPTS", "PYTEST_PLUGINS")

# Run in the environment of a setting: does it hold there? The convolution makes oneDNN name its instructions.
PROBE = """
import json, platform, torch
from importlib import metadata
torch.nn.functional.conv2d(torch.rand(8, 1, 28, 28), torch.rand(6, 1, 5, 5))
installed = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
print(json.dumps({
    "capability": torch.backends.cpu.get_cpu_capability(),
    "threads": torch.get_num_threads(),
    "xdist": installed.get("pytest-xdist"),
    "versions": {"python": platform.python_version(), "torch": torch.__version__, "nbval": installed.get("nbval")},
}))
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", metavar="KEY", help=f"some of: {', '.join(SETTINGS)}")
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="run the notebooks with this Python")
    parser.add_argument("--notebooks", nargs="+", metavar="GLOB", help="other notebooks than all; needs --out")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="settings run at once")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: results/numeric_settings.json")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.settings or ()) - set(SETTINGS))
    if unknown:
        parser.error(f"unknown setting {', '.join(unknown)}; they are {', '.join(SETTINGS)}")
    if options.notebooks and not options.out:
        parser.error(f"give --out too: {OUT.relative_to(ROOT)} is for the whole course")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1; got {options.jobs}")
    patterns = options.notebooks or NOTEBOOKS
    notebooks = sorted({ROOT / name for pattern in patterns for name in glob.glob(pattern, root_dir=ROOT)})
    if not notebooks:
        parser.error(f"no notebook is called {' or '.join(patterns)} in {ROOT}")
    # Without --python and --out: their paths mean nothing on another machine.
    command = shlex.join(["python", "tools/numeric_settings.py", *(["--notebooks", *patterns] if options.notebooks else [])])
    try:
        return run(options.settings or list(SETTINGS), notebooks, options.python, options.out or OUT, options.jobs, command)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return 130


def run(keys: list[str], notebooks: list[Path], python: str, out: Path, jobs: int, command: str) -> int:
    """Run the settings that the file does not have yet; return the exit status."""
    files = {path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name: path for path in notebooks}
    header = {
        "command": command,
        "what": "each code cell of the notebooks run and compared with what is stored, in one row for each numeric setting",
        "notebooks": list(files),
        "digest": digest(out),
        "hardware": {"machine": platform.machine(), "processor": processor(), "cores": os.cpu_count()},
    }
    digests = {name: checksum(path) for name, path in files.items()}
    native = probe(python, {})

    def name(row):
        return (row["setting"], row["versions"]["python"], row["versions"]["torch"])

    rows = {name(row): joined(row, {**row, "by notebook": {}}, digests) for row in stored_rows(out, header)}  # less what changed
    mine = {key: name({"setting": key, "versions": native["versions"]}) for key in keys}

    def to_run(key):
        """The notebooks of which the file does not say that they are as stored in this setting."""
        parts = rows.get(mine[key], {}).get("by notebook", {})
        return {of: path for of, path in files.items() if not (of in parts and green(parts[of]))}

    def store(row):
        if digest(out) != header["digest"] or {of: checksum(path) for of, path in files.items()} != digests:
            raise DataError("the notebooks or mnistlib changed during a run, which counts for nothing. Run this again.")
        old = rows.pop(name(row), {})
        rows[name(row)] = joined(old, row, digests)
        with atomic_write(out) as file:
            file.write((json.dumps({**header, "rows": list(rows.values())}, indent=1, ensure_ascii=False) + "\n").encode())
        return rows[name(row)]

    print(f"notebooks: {len(notebooks)}, Python {native['versions']['python']}, torch {native['versions']['torch']}")
    print(f"{'setting':<20}{'cells':>7}{'failed':>8}{'seconds':>9}")
    waiting = {key: todo for key in keys if (todo := to_run(key))}
    for key in keys:
        if key not in waiting:
            print(f"{line(rows[mine[key]])}  (from {out})", flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(one, key, todo, python, native, jobs) for key, todo in waiting.items()]
        try:
            for future in as_completed(running):
                print(line(store(future.result())), flush=True)
        finally:
            pool.shutdown(cancel_futures=True)
    found = [rows[place] for place in mine.values()]
    good, missing = sum(map(green, found)), sum(IMPOSSIBLE in row for row in found)
    print(f"\n{table({'rows': rows.values()})}\n")
    print(f"{good} of {len(found)} settings as stored" + (f", {missing} not possible here" if missing else "") + f": {out}")
    return 0 if good + missing == len(found) else 1


def one(key: str, notebooks: dict[str, Path], python: str, native: dict, jobs: int) -> dict:
    """The row of one setting for some notebooks, by name; `joined` adds it to the others."""
    row = {"setting": key, "environment": SETTINGS[key], "versions": native["versions"]}
    reason = impossible(key, python, native)
    if reason:
        return {**row, IMPOSSIBLE: reason}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [python, "-m", "pytest", "--nbval", f"--rootdir={ROOT}", f"--junit-xml={report}", "--tb=short", "-q"]
        # An empty data folder: nothing that an earlier run left can help.
        variables = environment(key) | {"MNISTLIB_DATA": str(Path(folder) / "data")}
        if jobs > 1:  # or threads that wait would keep a processor busy that another run needs
            variables["OMP_WAIT_POLICY"] = "PASSIVE"
        run = subprocess.run(
            [*command, *OPTIONS.get(key, []), *map(str, notebooks.values())],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
        )
        if run.returncode not in (0, 1):  # 2 is an interruption; a part of the cells means nothing
            said = (run.stdout + run.stderr).strip().splitlines()[-5:]
            raise DataError("\n".join([f"pytest did not come to its end in setting {key} (status {run.returncode}):", *said]))
        cases = list(ElementTree.parse(report).iter("testcase"))
    by_notebook = {
        name: counted(path, [case for case in cases if case.get("classname") == name.replace("/", ".")])
        for name, path in notebooks.items()
    }
    return {**row, "settings at once": jobs, "by notebook": by_notebook}


def counted(path: Path, cases: list) -> dict:
    """What pytest's report says of one notebook's cells."""
    cells = code_cells(path)
    ignored = sum("nbval-ignore-output" in cell["metadata"].get("tags", []) for cell in cells)
    skipped = sum("nbval-skip" in cell["metadata"].get("tags", []) for cell in cells)
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    left_out = [case for case in cases if case.find("skipped") is not None]
    return {
        "digest": checksum(path),
        "seconds": round(sum(float(case.get("time", 0)) for case in cases), 1),
        "cells": len(cells) - ignored - skipped,
        "compared": len(cases) - len(left_out) - ignored,
        "failed": len(failed),
        "failures": [f"{case.get('classname')}: {case.get('name')}: {why(case)}" for case in failed],
    }


def why(case: ElementTree.Element) -> str:
    """What pytest says of a cell that failed, in a line."""
    found = case.find("failure") if case.find("error") is None else case.find("error")
    said = re.sub(r"#x1B\[\d+m|\x1b\[\d+m", "", found.get("message") or "no message").strip().splitlines()
    return said[min(1, len(said) - 1)].removeprefix(f"{case.get('name')}: ")  # nbval's first line is the same for all


def joined(old: dict, new: dict, digests: dict[str, str]) -> dict:
    """A new row with what the old one of the same setting has of other notebooks, as far as these are as they were."""
    if IMPOSSIBLE in new:
        return new
    kept = {name: part for name, part in old.get("by notebook", {}).items() if part["digest"] == digests.get(name)}
    parts = kept | new["by notebook"]
    total = {what: sum(part[what] for part in parts.values()) for what in ("seconds", "cells", "compared", "failed")}
    total["seconds"] = round(total["seconds"], 1)
    total["failures"] = [failure for part in parts.values() for failure in part["failures"]]
    before = list(dict.fromkeys(failures(old)))
    parts = {name: parts[name] for name in digests if name in parts}
    return {**new, **total, **({"failed before": before} if before else {}), "by notebook": parts}


def green(row: dict) -> bool:
    """Every cell that the notebooks have was compared, and was as stored."""
    return IMPOSSIBLE not in row and row["failed"] == 0 and row["compared"] == row["cells"] > 0


def failures(row: dict) -> list[str]:
    """The cells that ever failed in a row's setting."""
    return row.get("failed before", []) + row.get("failures", [])


def line(row: dict) -> str:
    if IMPOSSIBLE in row:
        return f"{row['setting']:<20}{IMPOSSIBLE}: {row[IMPOSSIBLE]}"
    few = "" if row["compared"] == row["cells"] else f"  only {row['compared']} of {row['cells']} cells were compared"
    text = f"{row['setting']:<20}{row['compared']:>7}{row['failed']:>8}{row['seconds']:>9.1f}{few}"
    return "\n".join([text, *(f"    {failure}" for failure in row["failures"])])


def table(stored: dict) -> str:
    """A file's rows as a table for the README: how many cells each run compared, and how many of them were not as stored."""
    places = list(SETTINGS)
    cells: dict[tuple, dict[str, str]] = {}

    def place(row):
        """The newest PyTorch first."""
        return [-int(number) for number in row["versions"]["torch"].split(".")[:2]], places.index(row["setting"])

    for row in sorted(stored["rows"], key=place):
        if IMPOSSIBLE not in row:
            threads, _, instructions = row["setting"].rpartition("-")[0].partition("-")
            limited = row["setting"].endswith("limited")
            kind = f"{READABLE[instructions]}, oneDNN {'less' if limited else 'all'}" if instructions else "two notebooks at once"
            found = cells.setdefault((row["versions"]["torch"].partition("+")[0], kind), {})
            found[threads or "1"] = f"{row['compared']}, {row['failed']} failed"
    lines = [f"| {version} | {kind} | {found.get('1', '')} | {found.get('2', '')} |" for (version, kind), found in cells.items()]
    return "\n".join(["| PyTorch | instructions | cells compared, 1 thread | 2 threads |", "|---|---|---|---|", *lines])


def impossible(key: str, python: str, native: dict) -> str:
    """Why a setting cannot be had here, or nothing; what it would be is measured, not believed."""
    if key in OPTIONS:
        return "" if native["xdist"] else "pytest-xdist is not installed"
    setting = SETTINGS[key]
    wanted = setting["ATEN_CPU_CAPABILITY"].upper()
    if rank(wanted) > rank(native["capability"]):  # PyTorch would believe the variable, and the kernel would die
        return f"on this processor PyTorch uses {native['capability']} at most, not {wanted}"
    found = probe(python, setting)
    if rank(wanted) != rank(found["capability"]):
        return f"PyTorch uses {found['capability']}, not {wanted}"
    if str(found["threads"]) != setting["OMP_NUM_THREADS"]:
        return f"PyTorch uses {found['threads']} threads"
    if "ONEDNN_MAX_CPU_ISA" in setting and found["onednn"] == native["onednn"]:
        return f"with this limit and without, oneDNN uses {found['onednn'] or 'no vectors of x86'}"
    return ""


def rank(capability: str) -> int:
    """The place in `CAPABILITIES`; what is not there, as "NO AVX" of an older PyTorch and all of ARM, is without AVX."""
    return CAPABILITIES.index(capability) if capability in CAPABILITIES else 0


def probe(python: str, setting: dict[str, str]) -> dict:
    """What PyTorch says of itself in this setting."""
    variables = environment(None) | setting | {"ONEDNN_VERBOSE": "1"}
    try:
        run = subprocess.run([python, "-c", PROBE], env=variables, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise DataError(f"{python} cannot run the course: {said[-1] if said else error}. Is it set up for it?") from None
    isa = re.search(r"info,cpu,isa:(.+)", run.stdout)
    return {**json.loads(run.stdout.strip().splitlines()[-1]), "onednn": isa[1].strip() if isa else None}


def environment(key: str | None) -> dict[str, str]:
    """The variables of a run: the setting's, and mnistlib from this folder, whatever that Python has installed."""
    kept = {name: value for name, value in os.environ.items() if name not in OTHERS}
    return {**kept, "PYTHONPATH": str(ROOT), **(SETTINGS[key] if key else {})}


def stored_rows(out: Path, header: dict) -> list[dict]:
    """The rows of the file, none if there is none or it is about something else. Raises `DataError` when it is damaged."""
    if not out.exists():
        return []
    try:
        stored = json.loads(out.read_text("utf-8"))
        for row in stored["rows"]:
            row["setting"], row["versions"]["python"], row["versions"]["torch"]
            if IMPOSSIBLE not in row:
                line(row)
                for part in row["by notebook"].values():
                    part["digest"], part["seconds"], green(part), failures(part)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{out} is damaged ({error!r}). Remove it, and it is made anew.") from None
    for fact, what in {"digest": "of another state of mnistlib or its results", "hardware": "from another machine"}.items():
        if stored.get(fact) != header[fact]:
            print(f"The rows of {out} are {what}: beginning anew.", flush=True)
            return []
    return stored["rows"]


def digest(out: Path) -> str:
    """One for all that decides what every notebook shows: how they are compared, mnistlib and its results."""
    paths = {ROOT / "conftest.py", ROOT / "notebooks" / "sanitize.cfg"}
    paths |= {path for path in (ROOT / "mnistlib").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    paths |= {path for path in (ROOT / "results").glob("*.json") if path not in (OUT, out.resolve())}
    total = hashlib.sha256()
    for path in sorted(path for path in paths if path.exists()):
        total.update(path.as_posix().removeprefix(ROOT.as_posix()).encode() + b"\0" + checksum(path).encode())
    return total.hexdigest()


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def code_cells(path: Path) -> list[dict]:
    return [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def processor() -> str:
    """The processor's name; Python alone does not know it on Linux."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found[1] if found else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
