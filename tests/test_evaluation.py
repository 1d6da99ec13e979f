"""What a network gets right and wrong, held to numbers worked out by hand."""

from math import comb, exp, log

import numpy as np
import pytest
import sklearn.metrics
import torch
from torch import nn

from mnistlib import networks
from mnistlib.datasets import Split
from mnistlib.evaluation import Evaluation, check_fits, confusion_table, evaluate, mcnemar

# Six images of three classes; the columns are the logits, natural logarithms of easy shares.
SHARES = [(6, 2, 2), (1, 8, 1), (1, 8, 1), (3, 3, 4), (5, 4, 1), (2, 1, 7)]
LABELS = [0, 1, 2, 2, 1, 0]
CLASSES = ("ant", "bee", "cat")


class Table(nn.Module):
    """Gives image number n, which its one pixel holds, the n-th row of logits. It has no parameters."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, x):
        return self.logits[(x * 255).round().long().flatten()]


def split_of(labels, classes):
    return Split(torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1), torch.tensor(labels), classes)


@pytest.fixture
def measured():
    return evaluate(Table(torch.tensor(SHARES).float().log()), split_of(LABELS, CLASSES))


def test_predictions_and_accuracy(measured):
    assert measured.predictions.tolist() == [0, 1, 1, 2, 0, 2]
    assert measured.correct.tolist() == [True, True, False, True, False, False]
    assert measured.accuracy == 0.5


def test_probabilities_are_the_shares(measured):
    torch.testing.assert_close(measured.probabilities, torch.tensor(SHARES) / 10)


def test_loss_is_the_mean_of_minus_the_logarithm_of_the_right_share(measured):
    by_hand = -(log(0.6) + log(0.8) + log(0.1) + log(0.4) + log(0.4) + log(0.2)) / 6
    assert measured.loss == pytest.approx(by_hand, rel=1e-6)


def test_standard_error(measured):
    assert measured.standard_error == pytest.approx((0.5 * 0.5 / 6) ** 0.5)


def test_confusion_counts_true_by_row(measured):
    assert measured.confusion.to_numpy().tolist() == [[1, 0, 1], [1, 1, 0], [0, 1, 1]]
    assert list(measured.confusion.index) == list(measured.confusion.columns) == list(CLASSES)
    assert (measured.confusion.index.name, measured.confusion.columns.name) == ("true", "predicted")


def test_mistakes_come_with_the_most_confident_first(measured):
    assert measured.mistakes().tolist() == [2, 5, 4]  # wrong with 0.8, 0.7 and 0.5


def test_mistakes_with_equal_confidence_keep_their_order():
    wrong = evaluate(Table(torch.tensor([[0.0, 1.0]] * 5)), split_of([0] * 5, ("a", "b")))
    assert wrong.mistakes().tolist() == [0, 1, 2, 3, 4]


def test_the_summary_rounds(measured):
    words = str(measured)
    assert [number in words for number in ("50.00", "20.41", "3 of 6 wrong", "1.080")] == [True] * 4


def test_a_network_without_mistakes():
    perfect = evaluate(Table(torch.eye(3) * 9), split_of([0, 1, 2], CLASSES))
    assert perfect.accuracy == 1
    assert perfect.standard_error == 0
    assert perfect.mistakes().tolist() == []
    assert perfect.confusion.to_numpy().tolist() == np.eye(3, dtype=int).tolist()
    assert perfect.loss == pytest.approx(-log(exp(9) / (exp(9) + 2)), rel=1e-5)


def test_a_class_that_never_occurs_has_its_row_and_column():
    assert evaluate(Table(torch.eye(3)[:1] * 9), split_of([0], CLASSES)).confusion.to_numpy().sum(1).tolist() == [1, 0, 0]


def test_confusion_and_accuracy_agree_with_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(500, 10, generator=generator), torch.randint(0, 10, (500,), generator=generator)
    measured = Evaluation(logits, labels, tuple("0123456789"))
    theirs = sklearn.metrics.confusion_matrix(labels, measured.predictions, labels=range(10))
    np.testing.assert_array_equal(measured.confusion, theirs)
    assert measured.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, measured.predictions))
    assert measured.loss == pytest.approx(
        sklearn.metrics.log_loss(labels, logits.double().softmax(1), labels=range(10)), rel=1e-5
    )


def test_the_confusion_of_bare_answers_is_that_of_the_evaluation(measured):
    table = confusion_table(torch.tensor(LABELS), measured.predictions, CLASSES)
    assert table.equals(measured.confusion)
    assert table.loc["cat", "bee"] == 1  # true: cat, predicted: bee


# McNemar's test


def right(*counts):
    """Which images two classifiers got right: so many both, only the first, only the second, none."""
    answers = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
    return answers.repeat_interleave(torch.tensor(counts), 0).T


@pytest.mark.parametrize(
    ("counts", "p"),
    [
        ((90, 1, 5, 4), 2 * (1 + 6) / 2**6),  # 0 or 1 of 6 coins, on either side
        ((0, 0, 8, 0), 2 / 2**8),
        ((50, 1, 0, 0), 1),
        ((7, 4, 4, 7), 1),
        ((900, 30, 50, 20), 2 * sum(comb(80, n) for n in range(31)) / 2**80),
    ],
)
def test_mcnemar_is_the_chance_of_coins_that_fall_so_unevenly(counts, p):
    first, second = right(*counts)
    assert mcnemar(first, second) == pytest.approx((counts[1], counts[2], p))
    assert mcnemar(second, first) == pytest.approx((counts[2], counts[1], p))


def test_images_that_both_got_right_or_wrong_say_nothing():
    assert mcnemar(*right(5, 2, 9, 0)) == mcnemar(*right(0, 2, 9, 8000))


def test_the_same_answers_are_equally_good():
    assert mcnemar(*right(9, 0, 0, 3)) == (0, 0, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (torch.ones(3, dtype=torch.bool), torch.ones(4, dtype=torch.bool)),
        (torch.ones(3), torch.ones(3)),
        (torch.ones(3, dtype=torch.bool), torch.ones(3, dtype=torch.int64)),
        (torch.ones(3, 1, dtype=torch.bool), torch.ones(3, 1, dtype=torch.bool)),
    ],
    ids=["length", "float", "integer", "shape"],
)
def test_mcnemar_refuses_what_is_not_right_or_wrong_for_the_same_images(first, second):
    with pytest.raises(ValueError, match=r"first and second must be bool of the same shape \[N\]"):
        mcnemar(first, second)


# How a network is measured


@pytest.mark.parametrize("batch_size", [1, 7, 20, 1000])
def test_the_batch_size_does_not_change_the_logits(fake_split, padded_net, batch_size):
    split = fake_split(20)
    measured = evaluate(padded_net, split, batch_size)
    with torch.no_grad():
        expected = padded_net(split.images.float() / 255)
    torch.testing.assert_close(measured.logits, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(measured.labels, split.labels)
    assert measured.logits.dtype == torch.float32


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored(fake_split, training):
    net = networks.build("small-cnn", seed=0).train(training)
    evaluate(net, fake_split(20))
    assert {module.training for module in net.modules()} == {training}


def test_a_part_in_another_mode_is_left_so(fake_split):
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(784, 10))
    net[0].eval()
    evaluate(net, fake_split(20))
    assert [module.training for module in net] == [False, True, True]


def test_the_mode_is_restored_when_measuring_fails(fake_split):
    net = networks.build("small-cnn", seed=0)
    with pytest.raises(ValueError, match="batch size must be 1 to 20"):
        evaluate(net, fake_split(20), batch_size=0)
    assert net.training


def test_dropout_and_batch_norm_do_not_act(fake_split):
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))
    state = torch.get_rng_state()
    first, second = (evaluate(net, fake_split(20)).logits for _ in range(2))
    assert torch.equal(first, second)
    assert net[0].num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_measuring_leaves_weights_and_gradients_alone(fake_split, padded_net, weights_of):
    before = weights_of(padded_net)
    evaluate(padded_net, fake_split(20))
    assert all(torch.equal(tensor, before[name]) for name, tensor in padded_net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in padded_net.parameters())


@pytest.mark.parametrize("before", [torch.contiguous_format, torch.channels_last])
def test_the_weights_lie_in_memory_as_before(fake_split, padded_net, before):
    padded_net.to(memory_format=before)
    order = [parameter.stride() for parameter in padded_net.parameters()]
    evaluate(padded_net, fake_split(20))
    assert [parameter.stride() for parameter in padded_net.parameters()] == order
    with networks.channels_last(padded_net):
        assert padded_net.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    assert [parameter.stride() for parameter in padded_net.parameters()] == order


@pytest.mark.parametrize("use", [evaluate, check_fits])
def test_images_of_a_wrong_size_are_named_with_the_remedy(fake_split, use):
    net = networks.build("lenet5")
    with pytest.raises(ValueError, match=r"cannot take images of 1×28×28.*split\.resized\(32\)"):
        use(net, fake_split(5))
    assert net.training


@pytest.mark.parametrize("use", [evaluate, check_fits])
def test_an_empty_split_is_refused(fake_split, padded_net, use):
    with pytest.raises(ValueError, match="the split has no images"):
        use(padded_net, fake_split(20).take(0))


@pytest.mark.parametrize("use", [evaluate, check_fits])
def test_a_network_with_another_number_of_logits_is_refused(fake_split, use):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 12))
    with pytest.raises(ValueError, match=r"must give 10 logits an image, one a class; it gave \[1, 12\]"):
        use(net, fake_split(5))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_network_on_the_gpu_measures_images_on_the_cpu(fake_split, padded_net):
    split = fake_split(20)
    here, there = evaluate(padded_net, split), evaluate(padded_net.to("cuda"), split)
    assert there.logits.device.type == "cpu"
    torch.testing.assert_close(there.logits, here.logits, rtol=1e-3, atol=1e-3)
