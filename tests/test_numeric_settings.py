"""The tool that runs the notebooks in many numeric settings, and the kernels that notebooks run in."""

import json

import numeric_settings as tool
import pytest

NOTEBOOK = "notebooks/solutions/04_look_inside.ipynb"


@pytest.mark.slow
def test_a_run_is_a_row_and_what_passed_is_not_run_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "OUT", tmp_path / "rows.jsonl")
    arguments = ["--settings", "1-default-full", "--notebooks", NOTEBOOK, "--out", str(tool.OUT)]
    assert tool.main(arguments) == 0
    (row,) = map(json.loads, tool.OUT.read_text("utf-8").splitlines())
    assert (row["setting"], row["notebook"], row["failed"]) == ("1-default-full", NOTEBOOK, [])
    assert row["cells"] > 5
    assert tool.main(arguments) == 0
    assert "0 notebooks run" in capsys.readouterr().out

    tool.OUT.write_text(json.dumps({**row, "failed": ["Cell 1"]}) + "\n", "utf-8")
    monkeypatch.setattr(tool, "run", lambda *_: {NOTEBOOK: {"cells": 8, "failed": ["Cell 1"], "seconds": 1}})
    assert tool.main(arguments) == 1


def test_a_kernel_that_dies_at_its_start_is_started_again(pytestconfig):
    (conftest,) = (plugin for plugin in pytestconfig.pluginmanager.get_plugins() if hasattr(plugin, "started_again"))
    said = ["Kernel died before replying to kernel_info"] * 2  # jupyter_client's words

    def start(**options):
        if said:
            raise RuntimeError(said.pop())
        return options["env"]

    assert conftest.started_again(start, {"A": "1"})() == {"A": "1"}
    said += ["Kernel didn't respond in 60 seconds"]
    with pytest.raises(RuntimeError, match="respond"):
        conftest.started_again(start, {})()
