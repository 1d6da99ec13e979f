"""What a network gets right and wrong, the statistics, and trained weights as files."""

import io
import os
import pickle
import zipfile
from math import comb, log

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import torch
from torch import nn

import mnistlib.lab  # noqa: F401 — registers its networks
from mnistlib import networks, weights
from mnistlib.base.files import DataError
from mnistlib.data import DIGITS
from mnistlib.evaluation import Evaluation, evaluate
from mnistlib.stats import confidence_interval, holm, mcnemar
from mnistlib.weights import load_weights, pretrained, save_weights


def test_an_evaluation_has_the_numbers_worked_out_by_hand():
    tenths = torch.tensor([(6, 2, 2), (1, 8, 1), (1, 8, 1), (3, 3, 4), (5, 4, 1), (2, 1, 7)])
    measured = Evaluation(tenths.float().log(), torch.tensor([0, 1, 2, 2, 1, 0]), ("ant", "bee", "cat"))
    assert measured.predictions.tolist() == [0, 1, 1, 2, 0, 2]
    assert measured.correct.tolist() == [True, True, False, True, False, False]
    assert measured.loss == pytest.approx(-(log(0.6) + log(0.8) + log(0.1) + log(0.4) + log(0.4) + log(0.2)) / 6)
    assert (measured.accuracy, measured.standard_error) == (0.5, pytest.approx((0.5 * 0.5 / 6) ** 0.5))
    assert measured.errors().tolist() == [2, 5, 4]  # wrong with 0.8, 0.7 and 0.5
    assert measured.confusion.to_numpy().tolist() == [[1, 0, 1], [1, 1, 0], [0, 1, 1]]
    assert measured.confusion.loc["cat", "bee"] == 1  # true: cat, predicted: bee
    assert str(measured) == "accuracy ≈ 50.00 ± 20.41 %, ≈ 3 of 6 wrong, loss ≈ 1.080"


def test_everything_agrees_with_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 10, generator=generator)
    labels = torch.where(torch.rand(500, generator=generator) < 0.5, logits.argmax(1), torch.arange(500) % 10)
    measured, metrics = Evaluation(logits, labels, DIGITS), sklearn.metrics
    predictions, scores = measured.predictions, measured.scores()
    np.testing.assert_array_equal(measured.confusion, metrics.confusion_matrix(labels, predictions))
    assert measured.accuracy == pytest.approx(metrics.accuracy_score(labels, predictions))
    assert measured.loss == pytest.approx(metrics.log_loss(labels, logits.double().softmax(1)))
    theirs = metrics.precision_recall_fscore_support(labels, predictions)
    for column, expected in zip(("precision", "recall", "F1"), theirs, strict=False):
        np.testing.assert_allclose(scores[column], expected)
    for label in range(10):
        tn, fp, fn, tp = metrics.confusion_matrix(labels == label, predictions == label).ravel()
        assert scores.loc[str(label), ["TP", "FP", "FN", "TN"]].tolist() == [tp, fp, fn, tn]
        assert scores.loc[str(label), ["specificity", "accuracy"]].tolist() == [tn / (tn + fp), (tp + tn) / 500]
        area = metrics.roc_auc_score(labels == label, measured.probabilities[:, label].double())
        assert measured.roc(label)[2] == pytest.approx(area)
    absent = Evaluation(torch.eye(3)[:1] * 9, torch.tensor([0]), ("a", "b", "c"))  # two classes do not occur
    assert absent.scores().loc["b", ["precision", "recall", "F1"]].isna().all()
    assert np.isnan([absent.roc(0)[2], absent.roc(1)[2]]).all()


def test_evaluating_changes_nothing_and_does_not_depend_on_the_batch_size(fake_split, weights_of):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(2704, 10))
    net[1].eval()  # frozen by its owner, as in fine-tuning
    before, layout, state = weights_of(net), [p.stride() for p in net.parameters()], torch.get_rng_state()
    split = fake_split(20)
    with torch.no_grad(), networks.evaluating(net):
        expected = net(split.images.float() / 255)
    for batch_size in (1, 7, 1000):
        torch.testing.assert_close(evaluate(net, split, batch_size).logits, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="batch size must be 1 to 20"):
        evaluate(net, split, batch_size=0)
    for images, match in ((split.take(0), "at least one image"), (split.resized(32), "cannot take images of 1×32×32")):
        with pytest.raises(ValueError, match=match):
            evaluate(net, images)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert [p.stride() for p in net.parameters()] == layout
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert [module.training for module in net] == [True, False, True, True, True]
    assert torch.equal(torch.get_rng_state(), state)


def test_mcnemar_is_the_chance_of_coins_that_fall_so_unevenly():
    for both, first, second, neither, p in (
        (90, 1, 5, 4, 2 * (1 + 6) / 2**6),  # 0 or 1 of 6 coins, on either side
        (0, 0, 8, 0, 2 / 2**8),
        (7, 4, 4, 7, 1),
        (9, 0, 0, 3, 1),
        (900, 30, 50, 20, 2 * sum(comb(80, n) for n in range(31)) / 2**80),
    ):
        answers = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
        one, other = answers.repeat_interleave(torch.tensor([both, first, second, neither]), 0).T
        assert mcnemar(one, other) == pytest.approx((first, second, p))
    three = torch.ones(3, dtype=torch.bool)
    for one, other in ((three, three[:2]), (three.float(), three.float()), (three, three.long()), (three[None],) * 2):
        with pytest.raises(ValueError, match=r"first and second must be bool tensors of the same shape \[N\]"):
            mcnemar(one, other)


def test_holms_values_are_those_of_his_rule():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert (holm([0.5, 0.6]), holm([]), holm([0.02])) == ([1, 1], [], [0.02])
    p_values = [0.001, 0.012, 0.02, 0.3, 0.0004, 0.9]
    for level in (0.01, 0.05, 0.5):  # step down: reject the smallest as long as it is at most level / (tests left)
        ordered = sorted(p_values)
        rejected = next((i for i, p in enumerate(ordered) if p > level / (6 - i)), 6)
        assert [adjusted <= level for adjusted in holm(p_values)] == [p in ordered[:rejected] for p in p_values]


def test_the_confidence_interval_is_students():
    values = [0.981, 0.984, 0.986, 0.99, 0.983]
    for level in (0.95, 0.5):
        mean, half = confidence_interval(values, level)
        theirs = scipy.stats.t.interval(level, 4, loc=np.mean(values), scale=scipy.stats.sem(values))
        assert (mean - half, mean + half) == pytest.approx(theirs)
    for few in ([], [0.98]):
        with pytest.raises(ValueError, match="give at least two values"):
            confidence_interval(few)


@pytest.fixture
def path(tmp_path):
    """The file of a good LeNet-5."""
    save_weights(networks.build("lenet5", seed=3), tmp_path / "net.pt", "lenet5")
    return tmp_path / "net.pt"


def test_every_network_comes_back_as_it_was_saved(path):
    for key in ("lenet5-padded", "lenet5-1998", "multi-tower"):
        net, before = networks.build(key, seed=3), torch.get_rng_state()
        save_weights(net, path, key)
        loaded = load_weights(str(path), key)
        assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in net.state_dict().items())
        assert (loaded.training, net.training) == (False, True)
        assert torch.equal(torch.get_rng_state(), before)


def test_facts_are_plain_and_what_could_not_be_read_again_is_not_written(path):
    net, facts = networks.build("lenet5", seed=3), {"epochs": 3, "valid": None, "rates": [0.1, 0.2]}
    save_weights(net, path, "lenet5", accuracy=np.float64(0.5), **facts)
    load_weights(path)
    assert torch.load(path, weights_only=True)["facts"] == {**facts, "accuracy": 0.5}
    content = path.read_bytes()
    for fact in (np.int64(3), torch.tensor(1), object, path):
        with pytest.raises(TypeError):
            save_weights(net, path, "lenet5", fact=fact)
    for wrong in (networks.build("lenet5-padded"), net.double()):
        with pytest.raises(ValueError, match="does not have the weights of 'lenet5'"):
            save_weights(wrong, path, "lenet5")
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]


def test_the_weights_that_ship_read_the_test_set(mnist):
    assert evaluate(pretrained(), mnist.test.resized(32)).accuracy >= 0.989
    facts = torch.load(weights.SHIPPED / "lenet5.pt", weights_only=True)["facts"]
    assert {"epochs", "seed", "dataset", "test_accuracy"} <= set(facts)
    with pytest.raises(DataError, match=r"no trained 'small-cnn' ships.*mnistlib train --network small-cnn"):
        pretrained("small-cnn")


class Trap:
    """When unpickled without care, this makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_weights_that_do_not_fit_are_refused(path, tmp_path):
    good = torch.load(path, weights_only=True)
    weight = good["state"]["conv1.weight"]
    changes = [{"state": {**good["state"], "conv9.weight": torch.zeros(1)}}, {"state": {}}]
    for wrong in (weight * torch.nan, weight / 0, weight.double(), weight.half(), weight.to(torch.int8), weight > 0):
        changes.append({"state": {**good["state"], "conv1.weight": wrong}})
    for wrong in (weight.to(torch.complex64), weight[:5], weight.tolist(), None):
        changes.append({"state": {**good["state"], "conv1.weight": wrong}})
    for change in (*changes, {"network": "lenet5-padded"}, {"network": "resnet"}, {"network": ["lenet5"]}):
        torch.save({**good, **change}, path)
        with pytest.raises(DataError, match=r"does not have the weights of|holds the network|is not a file of"):
            load_weights(path)
    torch.save(good, path)
    load_weights(path)
    with pytest.raises(DataError, match="holds the network 'lenet5', not 'small-cnn'"):
        load_weights(path, "small-cnn")


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, about the tensor that it was given
def test_files_that_are_damaged_or_foreign_are_refused_and_run_no_code(path, tmp_path):
    good, trap = path.read_bytes(), Trap(tmp_path / "trapped")
    wrong = [good[:kept] for kept in (0, 1, 100, 5000, -1, -1000)] + [
        b"text" * 99,
        pickle.dumps({}),
        pickle.dumps(trap),
    ]
    wrong += [good[:i] + bytes([good[i] ^ 16]) + good[i + 1 :] for i in range(len(good) // 2, len(good) - 3000, 20_000)]
    state = torch.load(path, weights_only=True)
    for content in ([1, 2], torch.zeros(3), state["state"], {"network": "lenet5"}, trap, {**state, "facts": trap}):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        wrong.append(buffer.getvalue())
    for content in wrong:
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{path} is not a file of mnistlib.save_weights, or is damaged"):
            load_weights(path)
    for place in (tmp_path, tmp_path / "nothing.pt"):
        with pytest.raises(DataError, match="there is no file"):
            load_weights(place)
    assert not (tmp_path / "trapped").exists()


def test_a_zip_bomb_is_refused_by_its_declared_size_before_it_is_unpacked(path, monkeypatch):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data.pkl", "w") as part:
        for _ in range(300):
            part.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda archive: pytest.fail("it was unpacked"))
    with pytest.raises(DataError, match="is not a file of"):
        load_weights(path)
