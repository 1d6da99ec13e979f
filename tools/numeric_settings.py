"""Run the notebooks under strict nbval in thirteen numeric settings: ``python tools/numeric_settings.py [OPTION …]``.

PyTorch rounds differently with another number of threads and on another CPU. Each setting imitates one kind of machine:
OMP_NUM_THREADS is 1 or 2; ATEN_CPU_CAPABILITY lets PyTorch's kernels use no AVX, AVX2 or AVX-512; ONEDNN_MAX_CPU_ISA
leaves oneDNN, which convolves, all that this CPU has ("full") or less ("limited"). The last runs two notebooks at once.

Each notebook in each setting is one line of results/numeric_settings.jsonl. What is there and passed is not run again
while the notebook's code, mnistlib, Python and PyTorch are the same. Another PyTorch is another Python: --python. A
setting that this machine cannot have is named and skipped. The exit status is 1 when a cell was not as stored.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "results" / "numeric_settings.jsonl"
LIMITED = {"default": "SSE41", "avx2": "AVX2", "avx512": "AVX2"}  # what oneDNN may use beside each of PyTorch's
SETTINGS = {
    f"{threads}-{capability}-{isa}": {
        "OMP_NUM_THREADS": threads,
        "ATEN_CPU_CAPABILITY": capability,
        **({"ONEDNN_MAX_CPU_ISA": LIMITED[capability]} if isa == "limited" else {}),
    }
    for threads in "12"
    for capability in LIMITED
    for isa in ("full", "limited")
}
SETTINGS["two-at-once"] = {"OMP_NUM_THREADS": "1"}
ROW = ("setting", "notebook", "digest", "code", "python", "torch")  # what a row is about
PROBE = """
import json, platform, torch
torch.nn.functional.conv2d(torch.rand(8, 1, 28, 28), torch.rand(6, 1, 5, 5))
capability = torch.backends.cpu.get_cpu_capability().lower()
print(json.dumps([capability, [platform.python_version(), torch.__version__]]))
"""


def probe(python: str, setting: dict[str, str]) -> tuple[str, str, list[str]]:
    """PyTorch's instructions in a setting, oneDNN's, and the versions of Python and PyTorch."""
    environment = {**os.environ, **setting, "ONEDNN_VERBOSE": "1"}
    output = subprocess.run([python, "-c", PROBE], env=environment, capture_output=True, text=True, check=True).stdout
    onednn = re.search(r"info,cpu,isa:(.+)", output)
    capability, versions = json.loads(output.splitlines()[-1])
    return capability if capability in LIMITED else "", onednn[1] if onednn else "", versions


def possible(python: str, setting: dict[str, str], best: tuple) -> bool:
    """Whether PyTorch does what the setting says; asked for more than the CPU has, it would crash."""
    wanted, known = setting.get("ATEN_CPU_CAPABILITY", best[0]), ["", *LIMITED]
    if known.index(wanted) > known.index(best[0]):
        return False
    capability, onednn, _ = probe(python, setting)
    return capability == wanted and not ("ONEDNN_MAX_CPU_ISA" in setting and onednn == best[1])


def digest(*paths: Path) -> str:
    texts = [path.read_text("utf-8") for path in paths]
    if paths[0].suffix == ".ipynb":  # its prose may change
        texts = [cell for cell in json.loads(texts[0])["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def run(python: str, setting: str, notebooks: list[str]) -> dict[str, dict]:
    """What pytest says of each notebook."""
    with tempfile.TemporaryDirectory() as folder:
        report, data = Path(folder, "report.xml"), Path(folder, "data")
        command = [python, "-m", "pytest", "--nbval", "-q", "--tb=short", f"--rootdir={ROOT}", f"--junit-xml={report}"]
        together = ["-n", "2", "--dist", "loadscope"] if setting == "two-at-once" else []
        environment = {**os.environ, **SETTINGS[setting], "MNISTLIB_DATA": str(data), "PYTHONPATH": str(ROOT)}
        subprocess.run([*command, *together, *notebooks], env=environment, cwd=ROOT, capture_output=True)
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314, pytest's own report
    found = {}
    for name in notebooks:
        cells = [case for case in cases if case.get("classname") == name.replace("/", ".")]
        seconds = sum(float(case.get("time")) for case in cells)
        failed = [case.get("name") for case in cells if len(case)]
        found[name] = {"cells": len(cells), "failed": failed, "seconds": round(seconds, 1)}
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="run the notebooks with this Python")
    parser.add_argument("--notebooks", nargs="+", metavar="PATH", help="some, such as notebooks/03_train_lenet5.ipynb")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE")
    options = parser.parse_args(arguments)
    every = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").rglob("[0-9][0-9]_*.ipynb"))
    names = options.notebooks or every
    best, failed = probe(options.python, {}), 0
    code = digest(ROOT / "conftest.py", ROOT / "notebooks" / "sanitize.cfg", *sorted((ROOT / "mnistlib").rglob("*.py")))
    rows = [json.loads(line) for line in options.out.read_text("utf-8").splitlines()] if options.out.exists() else []
    passed = [{name: row[name] for name in ROW} for row in rows if row["cells"] and not row["failed"]]
    for setting in options.settings:
        if not possible(options.python, SETTINGS[setting], best):
            print(f"{setting}: not possible on this machine", flush=True)
            continue
        new = {n: dict(zip(ROW, (setting, n, digest(ROOT / n), code, *best[2]), strict=True)) for n in names}
        todo = [name for name, row in new.items() if row not in passed]
        found = run(options.python, setting, todo) if todo else {}
        with options.out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({**new[name], **row}) + "\n" for name, row in found.items())
        bad = {name: row["failed"] for name, row in found.items() if row["failed"] or not row["cells"]}
        print(f"{setting}: {len(found)} notebooks run, {len(bad)} failed", bad or "", flush=True)
        failed += len(bad)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
