"""benchmarks/bench.py: each part runs. No time is judged here."""

import json

import bench
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("part", bench.PARTS)
def test_each_part_runs_and_has_rows_for_the_table(part, tmp_path, capsys):
    out = tmp_path / "benchmarks.json"
    bench.main(["--quick", "--only", part, "--threads", "1", "--out", str(out)])
    assert list(json.loads(out.read_text("utf-8"))["parts"]) == [part]
    assert "| what | measured | goal |" in capsys.readouterr().out
