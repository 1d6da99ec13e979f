"""The comparison of networks: its numbers can be had again, it goes on where it was, and the stored ones hold together."""

import inspect
import json
import math
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mnistlib import experiments, networks
from mnistlib.datasets import ImageDataset
from mnistlib.evaluation import evaluate
from mnistlib.experiments import GROUPS, PUBLISHED, SETTINGS, compare, predictions, read, table
from mnistlib.files import DataError
from mnistlib.networks import NETWORKS
from mnistlib.training import fit

VALID = 100
STORED = Path(__file__).resolve().parent.parent / "results" / "networks.json"


@pytest.fixture(scope="module", autouse=True)
def small_validation():
    """100 images for validation instead of 5,000. It does not reach other processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments, "VALID", VALID)
        yield


@pytest.fixture(scope="module")
def few(mnist):
    """300 images to train on, 100 for validation, and 200 to test."""
    return ImageDataset("MNIST", mnist.train.take(400), mnist.test.take(200))


@pytest.fixture(scope="module")
def run(few):
    """`compare` on few images, one epoch of two quick networks, unless told otherwise."""

    def run(keys=("mlp", "lenet5-padded"), **options):
        quick = {"groups": ["same"], "seeds": 1, "epochs": 1, "dataset": few, "device": "cpu", "progress": False}
        return compare(keys, **{**quick, **options})

    return run


@pytest.fixture(scope="module")
def results(run):
    """Two networks in both groups with three seeds. Tests must not change it."""
    return run(groups=GROUPS, seeds=3)


@pytest.fixture
def trained(monkeypatch):
    """The (group, key, seed) of every training from here on."""
    seen, real = [], experiments.train_and_measure
    monkeypatch.setattr(experiments, "train_and_measure", lambda *task, **options: seen.append(task) or real(*task, **options))
    return seen


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(experiments, "train_and_measure", lambda *task, **_: pytest.fail(f"{task} was trained"))


def untimed(results):
    """The results without what differs from one time to the next."""
    results = json.loads(json.dumps(results))
    for group in results["groups"].values():
        for entry in group.values():
            for run in entry["runs"]:
                assert run.pop("seconds of the quickest epoch") > 0
    return results


def stored(path):
    return json.loads(path.read_text("utf-8"))


# Settings


def test_every_network_has_a_published_setting():
    assert list(PUBLISHED) == list(NETWORKS)
    assert {published.setting for published in PUBLISHED.values()} | {"same"} == set(SETTINGS)


def test_a_network_without_a_published_accuracy_says_why():
    assert [key for key, published in PUBLISHED.items() if published.accuracy is None and not published.remark] == []


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_does_what_its_words_say(name):
    defaults = {name: parameter.default for name, parameter in inspect.signature(fit).parameters.items()}
    words, options = SETTINGS[name].words, defaults | SETTINGS[name].options
    assert set(options) == set(defaults)
    optimizer = options["optimizer"]([torch.nn.Parameter(torch.zeros(1))], lr=options["lr"])
    assert type(optimizer).__name__ in re.findall(r"\w+", words)
    assert float(re.search(r"(?:Adam|Adadelta|peak) (\d[\d.]*)", words)[1]) == options["lr"]
    assert int(re.search(r"batch (\d+)", words)[1]) == options["batch_size"]
    assert int(re.search(r"(\d+) epochs?", words)[1]) == options["epochs"]
    assert ("one-cycle" in words) == (options["schedule"] == "one-cycle")
    waits = re.search(r"ends after (\d+) epochs", words)
    assert (int(waits[1]) if waits else None) == options["patience"]


def test_adadelta_has_the_defaults_of_keras():
    optimizer = SETTINGS["R2"].options["optimizer"]([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    assert (optimizer.defaults["lr"], optimizer.defaults["rho"], optimizer.defaults["eps"]) == (1.0, 0.95, 1e-7)


# The numbers


def test_the_results_have_each_network_in_each_group_with_each_seed(results):
    assert list(results["groups"]) == ["published", "same"]
    for group in results["groups"].values():
        assert list(group) == ["lenet5-padded", "mlp"]  # in the order of NETWORKS
        assert [[run["seed"] for run in entry["runs"]] for entry in group.values()] == [[0, 1, 2]] * 2


def test_every_network_can_be_compared_in_the_setting_of_its_source(run):
    group = run(NETWORKS, groups=["published"])["groups"]["published"]
    assert list(group) == list(NETWORKS)
    assert len({entry["runs"][0]["mistakes"] for entry in group.values()}) == len(NETWORKS)


def test_mean_and_standard_deviation_are_those_of_the_runs(results):
    for group in results["groups"].values():
        for entry in group.values():
            accuracies = [run["test accuracy"] for run in entry["runs"]]
            assert len(set(accuracies)) > 1  # the seeds differ
            assert entry["mean test accuracy"] == pytest.approx(sum(accuracies) / 3)
            assert entry["standard deviation"] == pytest.approx(torch.tensor(accuracies, dtype=torch.float64).std().item())


def test_one_seed_has_no_standard_deviation(run):
    assert run(["mlp"])["groups"]["same"]["mlp"]["standard deviation"] is None


def test_an_entry_says_what_was_trained_and_how(results):
    entry = results["groups"]["published"]["lenet5-padded"]
    expected = {
        "title": "LeNet-5, padded",
        "source": "antoine-spahr/MNIST-LeNet5-Pytorch",
        "setting": "R3",
        "parameters": 61_706,
        "mult-adds": 416_520,
        "published accuracy": 99.445,
    }
    assert {fact: entry[fact] for fact in expected} == expected
    assert entry["remark"]


def test_what_a_source_published_is_said_only_beside_its_own_setting(results):
    for entry in results["groups"]["same"].values():
        assert (entry["setting"], entry["published accuracy"], entry["remark"]) == ("same", None, "")


def test_the_results_say_how_they_were_made(results):
    images = "300 images to train on, 100 to stop by, 200 to test once"
    assert results["what"] == f"MNIST: {images}; number of epochs set to 1"
    assert results["settings"] == {name: setting.words for name, setting in SETTINGS.items()}
    assert results["versions"]["torch"] == torch.__version__
    assert results["hardware"]["device"] == "cpu"
    assert results["hardware"]["threads a network"] == torch.get_num_threads()
    assert results["command"] == "mnistlib.compare"


def by_hand(key, few, seed, size=28, **options):
    """The history and the measured answers of the same training, written out."""
    train, valid = few.train.resized(size).split(300, VALID, seed=seed)
    net = networks.build(key, seed)
    history = fit(net, train, valid=valid, seed=seed, device="cpu", progress=False, **options)
    return history, evaluate(net, few.test.resized(size))


@pytest.mark.parametrize(
    ("key", "group", "size", "epochs", "options"),
    [
        ("mlp", "same", 28, 1, {"epochs": 1, "lr": 0.003}),
        ("lenet5", "same", 32, 2, {"epochs": 2, "lr": 0.003}),
        ("lenet5-padded", "published", 28, 1, {"epochs": 1, "batch_size": 64, "lr": 0.001, "schedule": None}),
        ("mlp", "published", 28, None, {"epochs": 200, "batch_size": 200, "lr": 0.001, "schedule": None, "patience": 2}),
    ],
)
def test_a_run_is_the_training_that_its_setting_describes(run, few, key, group, size, epochs, options):
    stored_run = run([key], groups=[group], seeds=2, epochs=epochs)["groups"][group][key]["runs"][1]
    history, measured = by_hand(key, few, 1, size, **options)
    assert stored_run["test accuracy"] == measured.accuracy
    assert stored_run["test loss"] == measured.loss
    assert stored_run["epochs"] == len(history.seconds)
    assert stored_run["training accuracy"] == pytest.approx(history.train_accuracy, abs=1e-5)
    assert stored_run["validation accuracy"] == pytest.approx(history.valid_accuracy, abs=1e-5)
    assert torch.equal(predictions(stored_run, few.test.labels), measured.predictions)
    assert len(stored_run["mistakes"].split()) == (~measured.correct).sum() > 0


def test_the_test_images_decide_nothing_but_what_is_measured_on_them(run, few):
    other = ImageDataset("MNIST", few.train, replace(few.test, labels=few.test.labels.flip(0)))
    first, second = (
        run(["mlp"], groups=["published"], epochs=None, dataset=dataset)["groups"]["published"]["mlp"]["runs"][0]
        for dataset in (few, other)
    )
    assert first["test accuracy"] != second["test accuracy"]
    assert first["validation accuracy"] == second["validation accuracy"]
    assert torch.equal(predictions(first, few.test.labels), predictions(second, other.test.labels))


def test_the_same_comparison_gives_the_same_numbers(run, results):
    assert untimed(run(groups=GROUPS, seeds=3)) == untimed(results)


def test_the_callers_random_numbers_are_left_alone(run):
    before = torch.get_rng_state()
    run(["mlp"])
    assert torch.equal(torch.get_rng_state(), before)


def test_predictions_of_a_run_without_mistakes_are_the_labels():
    assert predictions({"mistakes": ""}, torch.tensor([3, 1, 4])).tolist() == [3, 1, 4]


def test_predictions_leave_the_labels_alone():
    labels = torch.tensor([3, 1, 4])
    assert predictions({"mistakes": "0:7 2:9"}, labels).tolist() == [7, 1, 9]
    assert labels.tolist() == [3, 1, 4]


# A comparison that goes on


def test_a_comparison_goes_on_where_it_was(run, tmp_path, trained):
    out = tmp_path / "deep" / "networks.json"
    run(seeds=1, out=out)
    assert trained == [("same", "mlp", 0), ("same", "lenet5-padded", 0)]
    trained.clear()
    continued = run(groups=["same", "published"], seeds=2, out=out)
    rest = [("published", "mlp", 0), ("published", "lenet5-padded", 0)]
    rest += [(group, key, 1) for group in ("published", "same") for key in ("mlp", "lenet5-padded")]
    assert sorted(trained) == sorted(rest)
    assert untimed(continued) == untimed(run(groups=["same", "published"], seeds=2))
    assert stored(out) == continued


def test_a_finished_comparison_trains_nothing_and_leaves_its_file_alone(run, tmp_path, trained):
    out = tmp_path / "networks.json"
    first, before = run(["mlp"], groups=GROUPS, seeds=2, out=out), out.read_bytes()
    trained.clear()
    assert run(["mlp"], groups=GROUPS, seeds=2, out=out) == run(["mlp"], seeds=1, out=out) == first
    assert trained == []
    assert out.read_bytes() == before


def test_what_was_finished_before_an_interruption_is_kept(run, tmp_path, monkeypatch):
    out, real, tasks = tmp_path / "networks.json", experiments.train_and_measure, []

    def interrupted(*task, **options):
        tasks.append(task)
        if len(tasks) == 2:
            raise KeyboardInterrupt
        return real(*task, **options)

    monkeypatch.setattr(experiments, "train_and_measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(out=out)
    assert list(stored(out)["groups"]["same"]) == ["mlp"]
    assert untimed(run(out=out)) == untimed(run())
    assert tasks[2] == tasks[1]
    assert [path.name for path in tmp_path.iterdir()] == ["networks.json"]


@pytest.mark.parametrize("fact", ["what", "settings", "versions", "hardware"])
def test_numbers_that_were_made_in_another_way_are_not_mixed(run, results, tmp_path, no_training, fact):
    out = tmp_path / "networks.json"
    other = {"what": "other images", "settings": {}, "versions": {"torch": "1.0"}, "hardware": {"cores": 999}}[fact]
    out.write_text(json.dumps({**results, fact: other}), "utf-8")
    before = out.read_bytes()
    with pytest.raises(ValueError, match=rf"holds numbers made in another way \({fact}: .*Move that file away, or write to"):
        run(seeds=4, out=out)
    assert out.read_bytes() == before


def test_another_number_of_epochs_is_another_way(run, results, tmp_path, no_training):
    out = tmp_path / "networks.json"
    out.write_text(json.dumps(results), "utf-8")
    for epochs in (2, None):
        with pytest.raises(ValueError, match="made in another way"):
            run(epochs=epochs, out=out)


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"what": "MNIST"', b"[1, 2]", b"3", b"\xff\xfe\x00"], ids=["empty", "brace", "cut", "list", "3", "x"]
)
def test_a_damaged_file_is_named_and_left_as_it_is(run, tmp_path, no_training, content):
    out = tmp_path / "networks.json"
    out.write_bytes(content)
    with pytest.raises(DataError, match=r"networks\.json is no file of results, or it is damaged .*Move it away"):
        run(out=out)
    assert out.read_bytes() == content


def test_a_place_that_cannot_be_written_is_found_before_the_training(run, tmp_path, no_training):
    (tmp_path / "file").write_text("old")
    with pytest.raises(DataError, match="cannot write"):
        run(out=tmp_path / "file" / "networks.json")
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"keys": ["mlp", "lenet"]}, "unknown network 'lenet'; the networks are lenet5, "),
        ({"keys": []}, "at least one network.* got 0 networks"),
        ({"groups": []}, r"groups out of \('published', 'same'\).* groups \[\]"),
        ({"groups": ["same", "other"]}, r"groups out of \('published', 'same'\).* groups \['same', 'other'\]"),
        ({"seeds": 0}, "seeds and workers of at least 1; .* seeds=0"),
        ({"workers": 0}, "seeds and workers of at least 1; .* workers=0"),
        ({"device": "tpu"}, "no device 'tpu' on this machine"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_named_and_nothing_is_written(run, tmp_path, no_training, options, match):
    with pytest.raises(ValueError, match=match):
        run(**{"out": tmp_path / "networks.json", **options})
    assert list(tmp_path.iterdir()) == []


def test_too_few_images_are_named(run, few, no_training):
    with pytest.raises(ValueError, match=r"more than 100 images; ImageDataset\(MNIST: train 100, .* has too few"):
        run(dataset=ImageDataset("MNIST", few.train.take(100), few.test))


def test_two_processes_give_the_same_numbers_as_one(mnist, tmp_path, monkeypatch):
    """The patch of `VALID` does not reach them, so that 5,300 images are needed."""
    monkeypatch.setattr(experiments, "VALID", 5_000)
    dataset = ImageDataset("MNIST", mnist.train.take(5_300), mnist.test.take(200))
    options = {"groups": ["same"], "seeds": 1, "epochs": 1, "dataset": dataset, "device": "cpu", "progress": False}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one, two = (compare(["mlp", "stacked-2d"], workers=n, out=tmp_path / f"{n}.json", **options) for n in (1, 2))
    finally:
        torch.set_num_threads(threads)
    assert untimed(one) == untimed(two)
    assert stored(tmp_path / "2.json") == two


# Tables and files

RESULTS = {
    "groups": {
        "published": {
            "a": {
                "title": "net A",
                "parameters": 1234,
                "mult-adds": 5678,
                "published accuracy": 98.5,
                "runs": [
                    {"test accuracy": 0.98, "epochs": 4, "seconds of the quickest epoch": 2.5},
                    {"test accuracy": 0.99, "epochs": 7, "seconds of the quickest epoch": 1.5},
                ],
            },
            "b": {
                "title": "net B",
                "parameters": 10,
                "mult-adds": 20,
                "published accuracy": None,
                "runs": [{"test accuracy": 0.9, "epochs": 3, "seconds of the quickest epoch": 1.0}],
            },
        }
    }
}


def test_a_table_has_a_row_a_network():
    frame = table(RESULTS, "published")
    assert list(frame.columns) == ["parameters", "mult-adds", "seeds", "accuracy", "sd", "published", "epochs", "s/epoch"]
    assert (frame.index.name, list(frame.index)) == ("network", ["net A", "net B"])
    assert frame.loc["net A"].tolist() == pytest.approx([1234, 5678, 2, 98.5, math.sqrt(0.5), 98.5, 5.5, 1.5])
    assert frame.loc["net B"].tolist() == pytest.approx([10, 20, 1, 90, math.nan, math.nan, 3, 1], nan_ok=True)


def test_a_table_has_nan_where_nothing_was_published(results):
    assert table(results, "same").published.isna().all()
    assert table(results, "published").published.tolist() == [99.445, 98.22]
    assert table(results, "same").published.dtype == table(results, "published").published.dtype == float


def test_a_table_of_a_file_is_the_table_of_what_compare_returned(run, tmp_path):
    made = run(out=tmp_path / "networks.json")
    assert table(stored(tmp_path / "networks.json"), "same").equals(table(made, "same"))


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course's folder of its own, with the package in it."""
    (tmp_path / "mnistlib" / "results").mkdir(parents=True)
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(experiments, "__file__", str(tmp_path / "mnistlib" / "experiments.py"))
    return tmp_path


def test_read_gives_the_results_in_the_courses_folder(course):
    (course / "results" / "networks.json").write_text('{"what": "größer"}', "utf-8")
    assert read() == {"what": "größer"}


def test_read_prefers_the_results_in_the_package(course):
    (course / "results" / "x.json").write_text('{"what": "outside"}')
    (course / "mnistlib" / "results" / "x.json").write_text('{"what": "inside"}')
    assert read("x.json") == {"what": "inside"}


def test_results_that_do_not_exist_are_named(course):
    with pytest.raises(DataError, match=r"no results 'other\.json'"):
        read("other.json")


def test_results_that_are_damaged_are_named(course):
    (course / "results" / "networks.json").write_text('{"what": ')
    with pytest.raises(DataError, match="is no file of results, or it is damaged"):
        read()


def test_what_is_named_twice_is_trained_once(few):
    twice = compare(["mlp", "mlp"], groups=["same", "same"], seeds=1, epochs=1, dataset=few, device="cpu", progress=False)
    assert [run["seed"] for run in twice["groups"]["same"]["mlp"]["runs"]] == [0]


@pytest.mark.parametrize("epochs", [0, -1])
def test_a_wrong_number_of_epochs_leaves_no_file(few, tmp_path, epochs):
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        compare(["mlp"], epochs=epochs, out=tmp_path / "r.json", dataset=few, progress=False)
    assert not (tmp_path / "r.json").exists()


def test_a_first_training_that_fails_leaves_no_file(few, tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "train_and_measure", lambda *task, **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compare(["mlp"], epochs=1, out=tmp_path / "r.json", dataset=few, progress=False)
    assert list(tmp_path.iterdir()) == []


# The numbers that come with the course


@pytest.fixture(scope="module")
def course_results():
    if not STORED.is_file():
        pytest.skip("results/networks.json is not there; `python -m mnistlib compare` makes it")
    return stored(STORED)


@pytest.fixture(scope="module")
def published(course_results):
    return course_results["groups"]["published"]


def all_runs(results):
    return [(key, run) for group in results["groups"].values() for key, entry in group.items() for run in entry["runs"]]


def test_the_course_has_numbers_of_all_networks_with_three_seeds(published):
    assert list(published) == list(NETWORKS)
    seeds = {key: [run["seed"] for run in entry["runs"]] for key, entry in published.items()}
    assert {key: len(set(of)) for key, of in seeds.items() if len(set(of)) < 3 or len(set(of)) < len(of)} == {}


def test_the_stored_means_are_those_of_the_seeds(course_results):
    for group in course_results["groups"].values():
        for entry in group.values():
            accuracies = [run["test accuracy"] for run in entry["runs"]]
            assert entry["mean test accuracy"] == pytest.approx(statistics.mean(accuracies), abs=1e-12)
            assert entry["standard deviation"] == pytest.approx(statistics.stdev(accuracies), abs=1e-12)


def test_the_stored_accuracies_are_those_of_the_stored_answers(course_results, mnist):
    labels = mnist.test.labels
    for _, run in all_runs(course_results):
        assert (predictions(run, labels) == labels).double().mean().item() == pytest.approx(run["test accuracy"], abs=1e-12)
        assert run["epochs"] == len(run["training accuracy"]) == len(run["validation accuracy"])


def test_no_two_stored_runs_are_copies(course_results):
    mistakes = [run["mistakes"] for _, run in all_runs(course_results)]
    assert len(set(mistakes)) == len(mistakes)


def test_lenet5_of_1998_reads_at_least_98_and_a_half_percent(published):
    assert published["lenet5-1998"]["mean test accuracy"] >= 0.985


@pytest.mark.parametrize("key", [key for key, source in PUBLISHED.items() if source.accuracy and not source.remark])
def test_a_network_is_as_good_as_its_source_says_within_the_uncertainty_of_both(published, key):
    """Of 10,000 test images on the source's side, of the seeds on ours."""
    entry, share = published[key], PUBLISHED[key].accuracy / 100
    uncertainty = math.hypot(math.sqrt(share * (1 - share) / 10_000), entry["standard deviation"])
    assert entry["mean test accuracy"] + 1.96 * uncertainty >= share


def test_the_stored_facts_are_those_of_the_networks(course_results):
    for name, group in course_results["groups"].items():
        for key, entry in group.items():
            network, source = NETWORKS[key], PUBLISHED[key]
            assert (entry["title"], entry["source"]) == (network.title, network.source)
            assert entry["parameters"] == sum(p.numel() for p in network.build(0).parameters())
            expected = (source.setting, source.accuracy, source.remark) if name == "published" else ("same", None, "")
            assert (entry["setting"], entry["published accuracy"], entry["remark"]) == expected


def test_the_stored_numbers_say_how_they_were_made(course_results):
    assert course_results["command"].startswith("python -m mnistlib compare")
    assert course_results["what"] == "MNIST: 55,000 images to train on, 5,000 to stop by, 10,000 to test once"
    assert course_results["settings"] == {name: setting.words for name, setting in SETTINGS.items()}
    assert all(course_results["versions"][name] for name in ("python", "torch", "torchvision"))
    assert all(course_results["hardware"][name] for name in ("machine", "cores", "threads a network", "device"))


def test_the_stored_numbers_name_no_folder_of_a_machine(course_results):
    assert re.findall(r"/(?:work|tmp|home|root|Users|usr|mnt|content)\b|[A-Z]:\\", json.dumps(course_results)) == []
