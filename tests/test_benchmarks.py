"""benchmarks/bench.py: each part runs, its file holds together, and the README shows what it says. No time is judged here."""

import gzip
import importlib
import json
import os
import re
import statistics
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from torch import nn

import mnistlib

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))  # as Python itself does for `python benchmarks/bench.py`
bench, bench_course, bench_floor, bench_growth, bench_race = map(
    importlib.import_module, ("bench", "bench_course", "bench_floor", "bench_growth", "bench_race")
)


@pytest.fixture(scope="module")
def stored():
    return json.loads((ROOT / "results" / "benchmarks.json").read_text("utf-8"))


@pytest.fixture
def settings_kept(monkeypatch):
    """The number of threads, which the benchmark sets, as it was."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", str(threads)))
    yield
    torch.set_num_threads(threads)


def numbers(value):
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from numbers(each)
    elif isinstance(value, int | float):
        yield value


# What is stored


def test_the_file_has_all_parts_and_says_with_what_they_were_measured(stored):
    assert list(stored["parts"]) == list(bench.PARTS)
    assert stored["quick"] is False
    assert stored["command"] == "make bench"
    assert all(stored["versions"].values())
    assert stored["hardware"]["threads"] == min(2, stored["hardware"]["cores"])
    for name, part in stored["parts"].items():
        assert part["command"] == f"python benchmarks/bench.py --only {name}"
        assert part["what"]
        assert all(number >= 0 for number in numbers(part))


def test_the_readme_shows_the_table(stored):
    assert bench.table(stored) in (ROOT / "README.md").read_text("utf-8")


def test_seconds_to_99_percent_follow_from_the_runs(stored):
    race = stored["parts"]["race"]
    fit = race["fit"]
    assert fit["settings"] == bench_race.SETTINGS | {"label smoothing": bench_race.SMOOTHING}
    assert fit["network"] == bench_race.NETWORK
    assert [run["seed"] for run in fit["runs"]] == list(range(10))
    assert fit["seconds"] == pytest.approx(statistics.median(run["seconds"] for run in fit["runs"]), rel=1e-3)
    assert fit["seeds above the goal"] == sum(run["test accuracy"] > race["goal"] for run in fit["runs"])
    for name in ("the usual way", "PyTorch's official example"):
        other = race[name]
        assert len(other["parts"]) >= 5
        assert other["seconds"] == pytest.approx(sum(other["parts"]), rel=1e-2)
        assert other["times the seconds of fit"] == pytest.approx(other["seconds"] / fit["seconds"], rel=1e-2)
        assert other["reached the goal"] == (other["test accuracy after an epoch"][-1] >= race["goal"])
    *earlier, _ = race["PyTorch's official example"]["test accuracy after an epoch"]
    assert all(accuracy < race["goal"] for accuracy in earlier)  # it stopped as soon as it could


def test_the_floor_follows_from_the_peak(stored):
    floor = stored["parts"]["floor"]
    assert list(floor["networks"]) == list(mnistlib.NETWORKS)
    for key, network in floor["networks"].items():
        table = mnistlib.layer_table(mnistlib.build(key, 0), mnistlib.NETWORKS[key].input_size)
        assert network["mult-adds"] == table.loc["total", "mult-adds"]
        assert len(network["all turns"]) >= 5
        assert network["times the time of the floor"] == pytest.approx(statistics.median(network["all turns"]), rel=1e-3)
    assert sum(floor["where the time goes"]["shares"].values()) == pytest.approx(1, abs=1e-2)


def text_of_notebook_03():
    notebook = nbformat.read(ROOT / "notebooks" / "03_train_lenet5.ipynb", as_version=4)
    return next(cell.source for cell in notebook.cells if cell.id == "text-19")


def paragraph_of_the_readme():
    return (ROOT / "README.md").read_text("utf-8").partition("Where the time of `fit` goes")[2].partition("\n\n")[0]


@pytest.mark.parametrize("text", [text_of_notebook_03, paragraph_of_the_readme])
def test_the_prose_on_where_the_time_goes_matches(stored, text):
    shares = stored["parts"]["floor"]["where the time goes"]["shares"]
    kinds = ["convolution", "pooling", "ReLU", "optimizer", "taking the batch"]  # in the order in which the prose names them
    said = [int(percent) for percent in re.findall(r"(\d+) %", text())]
    measured = [100 * sum(share for name, share in shares.items() if name.startswith(kind)) for kind in kinds]
    assert said == pytest.approx(measured, abs=0.6)


def test_notebook_03_says_how_long_the_usual_way_takes(stored):
    times = stored["parts"]["race"]["the usual way"]["times the seconds of fit"]
    assert f"{times:.1f} times as long" in text_of_notebook_03()


def test_seeds_are_measured_where_the_machine_can(stored):
    seeds = stored["parts"]["seeds"]
    assert list(seeds["cpu"]) == ["1", "10", "40"]
    assert seeds["gpu"] or seeds["gpu, why not"]


def test_every_lesson_was_measured(stored):
    course = stored["parts"]["course"]
    parts = ("start-up", "imports", "cells")
    assert course["all seconds"] == pytest.approx(sum(course["seconds of all"][part] for part in parts), rel=1e-2)
    for part in parts:
        total = sum(notebook[part] for notebook in course["notebooks"].values())
        assert course["seconds of all"][part] == pytest.approx(total, rel=1e-2)
    cells = [cell["seconds"] for cell in course["slowest cells"]]
    assert cells == sorted(cells, reverse=True)


def test_growth_was_measured_at_four_sizes(stored):
    growth = stored["parts"]["growth"]
    assert list(growth["sizes"]) == ["10000", "60000", "280000", "1120000"]
    for images, size in growth["sizes"].items():
        assert size["the uint8 tensor, MB"] == pytest.approx(int(images) * 28 * 28 / 1e6, rel=1e-3)


# The program, with a few images


def test_parts_run_and_later_ones_join_earlier(tmp_path, settings_kept):
    out = tmp_path / "benchmarks.json"
    for parts in (["seeds"], ["race", "floor"]):
        bench.main(["--quick", "--threads", "1", "--out", str(out), "--only", *parts])
    results = json.loads(out.read_text("utf-8"))
    assert list(results["parts"]) == ["race", "floor", "seeds"]
    assert results["quick"] is True
    assert bench.table(results).count("\n") == 1 + sum(
        len(bench.PARTS[name].rows(part)) for name, part in results["parts"].items()
    )
    shares = results["parts"]["floor"]["where the time goes"]["shares"]
    assert set(shares) == {*bench_floor.KINDS, bench_floor.REST}
    assert all(shares[kind] > 0 for kind in bench_floor.KINDS)  # PyTorch still calls them by these names


def test_growth_runs(tmp_path, monkeypatch, settings_kept):
    monkeypatch.setattr(bench_growth, "QUICK", {300: 1, 600: 1})
    measured = bench_growth.measure(quick=True)
    assert list(measured["sizes"]) == ["300", "600"]
    assert len(bench_growth.rows(measured)) == 3


@pytest.mark.parametrize("change", [{"command": "another"}, {"versions": {"torch": "1.0"}}, {"quick": True}])
def test_parts_measured_otherwise_are_dropped(tmp_path, change):
    out, header = tmp_path / "benchmarks.json", bench.header(1, quick=False)
    out.write_text(json.dumps({**header, "parts": {"race": {}}}))
    assert bench.earlier_parts(out, header) == {"race": {}}
    out.write_text(json.dumps({**header, "parts": {"race": {}}, **change}))
    assert bench.earlier_parts(out, header) == {}


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"parts": 1'])
def test_a_damaged_file_of_results_is_made_anew(tmp_path, content):
    out = tmp_path / "benchmarks.json"
    if content is not None:
        out.write_text(content)
    assert bench.earlier_parts(out, bench.header(1, quick=False)) == {}


@pytest.mark.parametrize("arguments", [["--quick"], ["--threads", "0"], ["--threads", "100000"], ["--only", "rest"]])
def test_options_that_make_no_sense_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        bench.main(arguments)
    assert stopped.value.code == 2
    assert "error" in capsys.readouterr().err


def test_numbers_are_rounded_and_texts_stay():
    assert bench.rounded({"a": [1.23456, 7], "b": "1.23456", "c": None}) == {"a": [1.235, 7], "b": "1.23456", "c": None}


# The parts


def test_the_official_network_has_its_known_size():
    net = bench_race.official_network()
    assert sum(parameter.numel() for parameter in net.parameters()) == 1_199_882
    assert net(torch.zeros(2, 1, 28, 28)).exp().sum(1).tolist() == pytest.approx([1, 1])


def test_an_epoch_in_parts_takes_each_batch_once():
    net, seen = nn.Linear(1, 2), []
    loader = [(torch.ones(2, 1), torch.tensor([0, 1]))] * 7
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    parts = list(bench_race.train_in_parts(net, loader, optimizer, nn.CrossEntropyLoss(), 1, lambda: seen.append(1), parts=3))
    assert len(parts) == 3
    assert len(seen) == 7
    images = [part["images a second"] * part["seconds"] for part in parts]
    assert images == pytest.approx([6, 6, 2])


def test_a_notebook_is_timed_cell_by_cell_and_not_written(tmp_path):
    path = tmp_path / "few.ipynb"
    cells = [nbformat.v4.new_markdown_cell("# Few")]
    cells += [nbformat.v4.new_code_cell(code) for code in ("import json", "json.dumps(1)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    before = path.read_bytes()
    seconds, of_cells = bench_course.run_notebook(path)
    assert set(seconds) == {"start-up", "imports", "cells"}
    assert [cell["cell"] for cell in of_cells] == [cell["id"] for cell in cells[1:]]
    assert path.read_bytes() == before


def test_imports_of_a_notebook_are_found():
    codes = [
        "%pip install something",
        "import math\nfrom pathlib import Path\nmnistlib.load('MNIST')",
        "import math\nif True:\n    import os\nmnistlib.fit(mnistlib.build('mlp'))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in codes])
    expected = "import math\nfrom pathlib import Path\nmnistlib.build\nmnistlib.fit\nmnistlib.load"
    assert bench_course.imports_of(notebook) == expected


def test_repeated_pieces_make_one_gzip_stream():
    pieces = [b"head", *[b"abc" * 1000] * 3, b"tail", b""]
    assert gzip.decompress(bench_growth.gzipped(pieces)) == b"".join(pieces)


def test_the_files_of_a_size_hold_the_test_set_repeated(tmp_path, mnist):
    bench_growth.write_files(tmp_path, 12_000)
    content = {path.name: gzip.decompress(path.read_bytes()) for path in (tmp_path / "MNIST" / "raw").iterdir()}
    pixels = mnist.test.images.numpy().tobytes()
    assert (
        content["train-images-idx3-ubyte.gz"]
        == bytes.fromhex("00000803 00002ee0 0000001c 0000001c") + pixels + pixels[: 2000 * 784]
    )
    labels = bytes(mnist.test.labels.tolist())
    assert content["train-labels-idx1-ubyte.gz"] == bytes.fromhex("00000801 00002ee0") + labels + labels[:2000]
