"""A twentieth of benchmarks/trust.py: kills, crowds, damaged files and nonsense calls end as the course promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "trust.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each trial runs in a fork")
def test_nothing_is_lost_nothing_wrong_accepted_and_nothing_silent():
    done = subprocess.run([sys.executable, PROGRAM, "--short"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
