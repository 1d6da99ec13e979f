"""Print how long each part of the course is, beside its limit; ends with 1 where a part is longer: ``make lines``."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {"cli.py", "doctor.py", "__main__.py"}  # beside the core, and not part of it
LIMITS = {"core": 1200, "longest file of the core": 250, "mnistlib": 3500, "tests": 6000, "tools": 400}


def counts() -> dict[str, int]:
    """The lines of Python of each part that has a limit."""
    files = {name: [*(ROOT / name).rglob("*.py")] for name in ("mnistlib", "tests", "tools")}
    length = {path: path.read_text("utf-8").count("\n") for paths in files.values() for path in paths}
    core = [length[path] for path in (ROOT / "mnistlib").glob("*.py") if path.name not in COMMANDS]
    parts = {name: sum(length[path] for path in paths) for name, paths in files.items()}
    return {"core": sum(core), "longest file of the core": max(core), **parts}


if __name__ == "__main__":
    found = counts()
    for name, lines in found.items():
        print(f"{name:<25}{lines:>6,} lines, at most {LIMITS[name]:>5,}{'  TOO LONG' * (lines > LIMITS[name])}")
    sys.exit(any(lines > LIMITS[name] for name, lines in found.items()))
