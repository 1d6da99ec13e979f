"""Checks for the exercises at the end of the notebooks: each prints one line, ✓ or ✗. Introduced in notebook 00.

``check_NAME(NAME)`` calls the student's function on a few cases. A line with ✗ says what was given, what was expected and
what came, and names the mistake where it is a common one. For another check, give `checks.check` the right function, the
cases, what a ✓ stands for, and functions that make the common mistakes, each under the words that help.
"""

import functools
import itertools
import math
import statistics

import torch
from torch import nn
from torch.nn import functional as F

from mnistlib.checks import check, then
from mnistlib.counting import layer_table

TINY = {"parameters": 2_000, "mult-adds": 100_000}  # what a tiny network may have at most


def check_tenth_probability(function) -> None:
    """Notebook 00: the last of ten probabilities follows from the others."""
    mistakes = {
        "That is the sum of the nine; all ten add up to 1": sum,
        "Subtract all nine, not only the largest": lambda nine: 1 - max(nine),
    }
    cases = [([0.05] * 9,), ([0.25, 0.5] + [0.0] * 7,), ([1.0] + [0.0] * 8,)]
    check(function, lambda nine: 1 - sum(nine), cases, "right for three lists of nine", mistakes)


def check_surer(function) -> None:
    """Notebook 00: of which of two images is the network surer?"""

    def ten(digit, largest):  # the rest is for the two digits after it
        return [{0: largest, 1: (1 - largest) / 2, 2: (1 - largest) / 2}.get((i - digit) % 10, 0.0) for i in range(10)]

    name = ("second", "first")
    mistakes = {
        "Compare the largest probabilities, not the digits that have them": lambda a, b: name[a.index(max(a)) > b.index(max(b))],
        "Python compares lists place by place; compare max(first) and max(second)": lambda a, b: name[a > b],
    }
    cases = [(ten(2, 0.6), ten(7, 0.9)), (ten(1, 0.95), ten(8, 0.5)), (ten(0, 0.4), ten(0, 0.98)), (ten(9, 0.7), ten(3, 0.68))]
    check(function, lambda first, second: name[max(first) > max(second)], cases, "right for four pairs of images", mistakes)


def check_mirrored(function) -> None:
    """Notebook 00: images as in a mirror."""
    mistakes = {
        "They are upside down: the rows changed places, not the columns": lambda images: images.flip(2),
        "They are turned by half a turn: rows and columns changed places": lambda images: images.flip(2, 3),
    }
    images = torch.arange(12, dtype=torch.uint8).reshape(2, 1, 2, 3)
    check(function, lambda images: images.flip(3), [(images,)], "left and right changed places, and nothing else", mistakes)


def check_one_hot(function) -> None:
    """Notebook 01: a label as ten numbers."""
    mistakes = {"Places count from 0: the label 0 has its 1 in the first": lambda label: [int(i + 1 == label) for i in range(10)]}
    check(function, lambda label: [int(i == label) for i in range(10)], [(3,), (0,), (9,)], "right for 3, 0 and 9", mistakes)


def check_inked_share(function) -> None:
    """Notebook 01: the share of an image's pixels that have ink."""
    mistakes = {
        "That is how many pixels have ink; divide by the number of all": lambda image: (image > 0).sum().item(),
        "That is the share of paper": lambda image: (image == 0).double().mean().item(),
        "That is the mean ink; here a grey pixel counts as much as a black one": lambda image: image.double().mean().item() / 255,
    }
    grey, black, empty = torch.zeros(3, 28, 28, dtype=torch.uint8)
    grey[:7], black[:14, :6] = 51, 255
    cases, checked = [(grey,), (black,), (empty,)], "right for a grey, a black and an empty image"
    check(function, lambda image: (image > 0).double().mean().item(), cases, checked, mistakes)


def check_nearest_mean(function) -> None:
    """Notebook 01: the digit whose mean picture is nearest."""

    def squares(image, means):
        return (image - means).square().sum((1, 2))

    mistakes = {
        "That is the farthest: argmin, not argmax": lambda image, means: squares(image, means).argmax(),
        "Square them, or differences above and below 0 cancel out": lambda a, b: (a - b).sum((1, 2)).argmin(),
        "Without an axis, sum() makes one number of all ten; take sum((1, 2))": lambda image, means: 0,
        "Square each difference: its size alone is another distance": lambda a, b: (a - b).abs().sum((1, 2)).argmin(),
    }
    means = torch.tensor([100.0, 0, 225, 25, 200, 50, 175, 75, 150, 125])[:, None, None].repeat(1, 28, 28)
    even, mixed = torch.full((28, 28), 190, dtype=torch.uint8), torch.full((28, 28), 50, dtype=torch.uint8)
    mixed[20:] = 225
    cases = [(even, means), (mixed, means)]
    check(function, lambda image, means: squares(image, means).argmin().item(), cases, "right for two images", mistakes)


def check_convolution_parameters(function) -> None:
    """Notebook 02: how many parameters a convolution has."""
    mistakes = {
        "The biases are missing, one for each filter": lambda kernel, channels, filters: kernel**2 * channels * filters,
        "Each filter has a bias of its own": lambda kernel, channels, filters: kernel**2 * channels * filters + 1,
        "A filter has weights for each channel": lambda kernel, channels, filters: (kernel**2 + 1) * filters,
        "^ is no power in Python; write **": lambda kernel, channels, filters: ((kernel ^ 2) * channels + 1) * filters,
    }
    cases, checked = [(3, 32, 64), (5, 1, 6), (1, 3, 2)], "right for three convolutions"
    check(function, lambda kernel, channels, filters: (kernel**2 * channels + 1) * filters, cases, checked, mistakes)


def check_linear_inputs(function) -> None:
    """Notebook 02: how many numbers a linear layer gets after convolutions and pooling."""

    def right(side, kernels, filters, fits=1, pooled=lambda side: side // 2):
        for kernel in kernels:
            side = pooled(side - kernel + fits)
        return side * side * filters

    mistakes = {
        "A kernel fits in side − kernel + 1 places": functools.partial(right, fits=0),
        "Pooling halves the side after each convolution": functools.partial(right, pooled=lambda side: side),
        "A side that is odd loses its last row when it is pooled: // 2": functools.partial(right, pooled=lambda side: side / 2),
        "That is one map; there is one for each filter": lambda side, kernels, filters: right(side, kernels, 1),
        "A map has side × side numbers": lambda side, kernels, filters: round(right(side, kernels, 1) ** 0.5) * filters,
        "return stands inside the loop": lambda side, kernels, filters: right(side, kernels[:1], filters),
    }
    check(function, right, [(32, [5, 5], 16), (28, [3, 3, 3], 128), (30, [3], 2)], "right for three networks", mistakes)


def check_tiny_network(function) -> None:
    """Notebook 02: a network of the student's own, limited in parameters and work."""

    def facts(net):
        if not isinstance(net, nn.Module):
            return {"the result": net}
        totals = layer_table(net, (1, 28, 28)).loc["total"]
        answers, modules = net(torch.zeros(2, 1, 28, 28)), list(net.modules())
        last = modules[-1]
        return {
            "the result": "a network",
            "convolutions, at least": min(1, sum(isinstance(layer, nn.Conv2d) for layer in modules)),
            "the shape of the answers to two images": list(answers.shape),
            "what the last layer gives": type(last).__name__ if isinstance(last, nn.Softmax | nn.ReLU) else "logits",
        } | {f"{what}, at most": max(most, int(totals[what])) for what, most in TINY.items()}

    if isinstance(function, nn.Module):
        print("✗ tiny_network is a network; it must be a function that returns one: def tiny_network(): return …")
        return
    wanted = {"the result": "a network", "convolutions, at least": 1, "the shape of the answers to two images": [2, 10]}
    wanted |= {"what the last layer gives": "logits"}
    wanted |= {f"{what}, at most": most for what, most in TINY.items()}
    checked = "ten logits, a convolution, at most " + " and ".join(f"{most:,} {what}" for what, most in TINY.items())
    check(then(function, facts), lambda: wanted, [()], checked)


def check_loss_floor(function) -> None:
    """Notebook 03: the smallest loss that two softmaxes allow."""
    mistakes = {
        "The minus is missing: a loss is not below 0": lambda classes: -math.log(1 + (classes - 1) / math.e),
        "One class is the right one; the others are classes − 1": lambda classes: math.log(1 + classes / math.e),
        "That is the loss of a network that knows nothing": math.log,
    }
    cases, checked = [(10,), (2,), (100,)], "right for 10, 2 and 100 classes"
    check(function, lambda classes: math.log(1 + (classes - 1) / math.e), cases, checked, mistakes)


def check_cross_entropy(function) -> None:
    """Notebook 03: the loss of a batch from its logits."""
    mistakes = {
        "That is the sum; the loss of a batch is the mean": functools.partial(F.cross_entropy, reduction="sum"),
        "The minus is missing": lambda logits, labels: -F.cross_entropy(logits, labels),
        "The softmax is for each image: softmax(1)": lambda logits, labels: F.nll_loss(logits.log_softmax(0), labels),
        "Only the probability of the right class counts": lambda logits, labels: -logits.log_softmax(1).mean(),
        "One softmax too many: cross_entropy does it": lambda logits, labels: F.cross_entropy(logits.softmax(1), labels),
    }
    logits = torch.tensor([[2.0, 0, -1], [0.5, 1.5, 0], [-1, 0, 3], [1, 1, 0]])
    cases = [(logits, torch.tensor([0, 2, 2, 1])), (torch.eye(10) * 4, torch.arange(10) * 3 % 10)]
    right = lambda logits, labels: F.cross_entropy(logits, labels).item()  # noqa: E731
    check(function, right, cases, "right for two batches, of 3 and of 10 classes", mistakes)


def check_training_step(function) -> None:
    """Notebook 03: a step of training. Two are taken, with a network of six weights."""
    net = nn.utils.skip_init(nn.Linear, 2, 3, bias=False)  # draws no random numbers: the student's stay as they are
    net.weight.data = torch.tensor([[0.5, -0.5], [0.0, 1.0], [-1.0, 0.5]])
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 0.0]])
    case = (net, torch.optim.SGD(net.parameters(), lr=0.5), images, torch.tensor([0, 1, 2, 0]))

    def two(step):
        def steps(net, optimizer, images, labels):
            seen = {"the loss of the first step": step(net, optimizer, images, labels)}
            seen["the weights after it"] = net.weight.detach().clone()
            step(net, optimizer, images, labels)
            return seen | {"the weights after a second step": net.weight.detach().clone()}

        return functools.wraps(step)(steps) if callable(step) else step

    def right(net, optimizer, images, labels, forget=True, move=True, late=False):
        loss = F.cross_entropy(net(images), labels)
        if forget:
            optimizer.zero_grad()
        loss.backward()
        if move:
            optimizer.step()
        return F.cross_entropy(net(images), labels).item() if late else loss.item()

    mistakes = {
        "They do not move: optimizer.step() comes last, right after backward()": two(functools.partial(right, move=False)),
        "The gradient of the first step is still there: optimizer.zero_grad()": two(functools.partial(right, forget=False)),
        "That is the loss after the step, not before it": two(functools.partial(right, late=True)),
    }
    check(two(function), two(right), [case], "the right loss, and the right weights after one step and after two", mistakes)


def check_feature_value(function) -> None:
    """Notebook 04: one number of a feature map."""
    mistakes = {
        "The bias is missing": lambda patch, weights, bias: max((patch * weights).sum().item(), 0),
        "ReLU comes last, after the bias": lambda patch, weights, bias: max((patch * weights).sum().item(), 0) + bias,
        "The bias is added once": lambda patch, weights, bias: max((patch * weights + bias).sum().item(), 0),
        "ReLU is missing: nothing in the map is below 0": lambda patch, weights, bias: (patch * weights).sum().item() + bias,
        "@ is the matrix product; here * is needed": lambda patch, weights, bias: max((patch @ weights).sum().item() + bias, 0),
    }
    patch, weights = torch.arange(25.0).reshape(5, 5) / 25, (torch.arange(25) * 7 % 11 - 4).reshape(5, 5) / 10
    cases = [(patch, weights, 0.25), (patch, -weights, 0.25), (patch, weights, -9.0)]
    checked = "right for a sum above 0 and for two below"
    check(function, lambda patch, weights, bias: max((patch * weights).sum().item() + bias, 0.0), cases, checked, mistakes)


def check_scores_of(function) -> None:
    """Notebook 04: precision and recall of a label from a confusion matrix."""

    def right(confusion, label):
        hits = confusion[label, label].item()
        return hits / confusion[:, label].sum().item(), hits / confusion[label].sum().item()

    def twice(confusion, label):
        hits = confusion[label, label].item()
        return tuple(hits / (hits + hits / share) for share in right(confusion, label))

    mistakes = {
        "Precision divides by the column, recall by the row": lambda confusion, label: right(confusion.T, label),
        "The column and the row hold TP already": twice,
    }
    table = torch.tensor([[5, 1, 0], [2, 7, 1], [0, 3, 6]])
    check(function, right, [(table, 0), (table, 1), (table, 2)], "right for three labels", mistakes)


def check_shifted(function) -> None:
    """Notebook 04: an image moved down and to the right, with paper coming in."""

    def right_answer(image, down, right):
        return F.pad(image, (right, -right, down, -down))

    mistakes = {
        "What leaves on one side must not come in on the other": lambda image, down, right: image.roll((down, right), (0, 1)),
        "Down and right changed places": lambda image, down, right: right_answer(image, right, down),
        "That is the opposite direction": lambda image, down, right: right_answer(image, -down, -right),
    }
    image = torch.arange(1, 21, dtype=torch.uint8).reshape(4, 5)
    cases = [(image, 1, 2), (image, -1, 0), (image, 0, -2), (image, 0, 0)]
    check(function, right_answer, cases, "right for four moves, one of them by nothing", mistakes)


def check_difference_error(function) -> None:
    """Notebook 05: the standard error of the difference of two accuracies, each measured on images of its own."""

    def squared(first, second, images):
        return (first * (1 - first) + second * (1 - second)) / images

    mistakes = {
        "Add the squares of the errors, then take the root": lambda a, b, n: squared(a, 1, n) ** 0.5 + squared(1, b, n) ** 0.5,
        "The root is missing": squared,
    }
    cases, checked = [(0.992, 0.98, 10_000), (0.9, 0.5, 100), (0.75, 0.75, 2_500)], "right for three pairs of networks"
    check(function, lambda first, second, images: squared(first, second, images) ** 0.5, cases, checked, mistakes)


def check_mcnemar_p(function) -> None:
    """Notebook 05: McNemar's exact test."""

    def tail(only_first, only_second):
        both = only_first + only_second
        return sum(math.comb(both, k) for k in range(min(only_first, only_second) + 1)) / 2**both

    mistakes = {
        "As uneven the other way round counts too": tail,
        "A probability is 1 at most": lambda only_first, only_second: 2 * tail(only_first, only_second),
    }
    cases, checked = [(8, 2), (12, 30), (5, 5), (0, 0)], "right for two uneven splits, an even one and an empty one"
    check(function, lambda only_first, only_second: min(1.0, 2 * tail(only_first, only_second)), cases, checked, mistakes)


def check_expected_by_chance(function) -> None:
    """Notebook 05: how many pairs of equally good networks chance alone calls different."""
    mistakes = {
        "Each pair was counted twice": lambda networks, level: networks * (networks - 1) * level,
        "Count the pairs, not the networks": lambda networks, level: networks * level,
    }
    cases, checked = [(13, 0.05), (2, 0.05), (40, 0.01)], "right for 13, 2 and 40 networks"
    check(function, lambda networks, level: networks * (networks - 1) / 2 * level, cases, checked, mistakes)


def check_record_lengths(function) -> None:
    """Notebook 08: the length of each record's content in a TFRecord file."""

    def right(content, order="little", around=8 + 4 + 4):
        lengths, start = [], 0
        while start < len(content):
            lengths.append(int.from_bytes(content[start : start + 8], order))
            start += lengths[-1] + around
        return lengths

    mistakes = {
        "Between two contents lie a checksum, a length and another checksum": functools.partial(right, around=8),
        "The smallest byte comes first: little-endian": functools.partial(right, order="big"),
        "These are whole records; the length is that of the content": lambda content: [16 + n for n in right(content)],
    }
    # A record: length, four bytes of checksum, content, four bytes of checksum. Here the checksums are sevens, as all the rest.
    files = [b"".join(n.to_bytes(8, "little") + b"\7" * (4 + n + 4) for n in sizes) for sizes in [(3, 300), (954, 0, 70_000), ()]]
    check(function, right, [(file,) for file in files], "right for files of two, three and no records", mistakes)


def check_precision_and_recall(function) -> None:
    """Notebook 08: precision and recall of a label."""

    def right(true, said, label):
        hits = ((true == label) & (said == label)).sum().item()
        return hits / (said == label).sum().item(), hits / (true == label).sum().item()

    mistakes = {
        "Precision divides by what was called so, recall by what is so": lambda true, said, label: right(said, true, label)
    }
    true, said = torch.tensor([5, 5, 5, 5, 3, 3, 3, 8, 8, 8]), torch.tensor([5, 5, 3, 3, 5, 3, 3, 8, 8, 8])
    cases = [(true, said, 5), (true, said, 3), (true, said, 8)]
    check(function, right, cases, "right for three labels", mistakes)


def check_interval(function) -> None:
    """Notebook 06: the confidence interval of a mean."""

    def right(accuracies, factor, deviation=statistics.stdev, root=0.5):
        half_width = factor * deviation(accuracies) / len(accuracies) ** root
        return statistics.mean(accuracies) - half_width, statistics.mean(accuracies) + half_width

    mistakes = {
        "That is where single runs fall; divide by the root of their number": functools.partial(right, root=0),
        "Divide by the root of the number of runs, not by the number": functools.partial(right, root=1),
        "Divide the squares by n - 1, as statistics.stdev does": functools.partial(right, deviation=statistics.pstdev),
    }
    cases = [([0.98, 0.99, 1.0], 4.3), ([0.991, 0.993, 0.992, 0.995, 0.99], 2.78), ([0.5, 0.7], 12.7)]
    check(function, right, cases, "right for 3, 5 and 2 runs", mistakes)


def check_seeds_needed(function) -> None:
    """Notebook 06: how many seeds find a difference."""

    def right(sd, difference, least=2, rounded=math.ceil, two=2):
        return max(least, rounded(two * (2.8 * sd / difference) ** 2))

    mistakes = {
        "One run has no spread: at least 2": functools.partial(right, least=1),
        "Round up: a part of a seed is a seed": functools.partial(right, rounded=round),
        "Two methods vary, not one: 2 before the bracket": functools.partial(right, two=1),
    }
    check(function, right, [(0.07, 0.1), (0.07, 0.02), (0.1, 0.5), (0.3, 0.25)], "right for four pairs", mistakes)


def check_never_predicted(function) -> None:
    """Notebook 06: classes that a network never gives."""

    def right(predictions, classes):
        return [label for label in range(classes) if label not in predictions]

    mistakes = {
        "Those are the classes that do occur": lambda predictions, classes: sorted(set(predictions)),
        "Count from 0 to classes - 1": lambda predictions, classes: [c for c in range(1, classes + 1) if c not in predictions],
    }
    cases = [([0, 2, 2, 4], 5), ([1, 1, 1], 3), ([0, 1], 2)]
    check(function, right, cases, "right for three lists", mistakes)


def check_recalls(function) -> None:
    """Notebook 07: the share of each class that was found."""

    def right(confusion):
        return [row[label] / sum(row) for label, row in enumerate(confusion)]

    mistakes = {
        "That is precision: divide by the row's sum, not the column's": lambda confusion: [
            column[label] / sum(column) for label, column in enumerate(zip(*confusion, strict=True))
        ],
        "Divide by the images of the class, not by all images": lambda confusion: [
            row[label] / sum(map(sum, confusion)) for label, row in enumerate(confusion)
        ],
    }
    cases = [([[8, 2], [1, 9]],), ([[3, 1, 0], [2, 6, 2], [0, 0, 5]],)]
    check(function, right, cases, "right for two and for three classes", mistakes)


def check_most_confused(function) -> None:
    """Notebook 07: the two classes that are mixed up most."""

    def right(confusion, total=lambda confusion, i, j: confusion[i][j] + confusion[j][i]):
        return max(itertools.combinations(range(len(confusion)), 2), key=lambda pair: total(confusion, *pair))

    mistakes = {
        "Add both directions": functools.partial(right, total=lambda confusion, i, j: confusion[i][j]),
        "The smaller number comes first": lambda confusion: right(confusion)[::-1],
        "The diagonal counts right answers": lambda confusion: (
            (max(range(len(confusion)), key=lambda label: confusion[label][label]),) * 2
        ),
    }
    cases = [([[5, 1, 2], [0, 6, 1], [3, 2, 4]],), ([[9, 3, 2, 0], [0, 8, 0, 0], [2, 0, 7, 1], [0, 1, 1, 6]],)]
    check(function, right, cases, "right for three and for four classes", mistakes)


def check_writer_split(function) -> None:
    """Notebook 07: nobody's hand on both sides."""

    def right(writers, kept):
        train = [place for place, writer in enumerate(writers) if writer not in kept]
        return train, [place for place, writer in enumerate(writers) if writer in kept]

    mistakes = {
        "The places to train on come first": lambda writers, kept: right(writers, kept)[::-1],
        "Give the places of the digits, not their writers": lambda writers, kept: tuple(
            [writers[place] for place in side] for side in right(writers, kept)
        ),
    }
    cases = [([7, 7, 3, 5], {7}), ([1, 2, 3, 2, 1], {2, 9}), ([4, 4], {5})]
    check(function, right, cases, "right for three lists of writers", mistakes)


def check_roc_point(function) -> None:
    """Notebook 08: one point of an ROC curve."""

    def right(probability, is_five, threshold):
        called = [five for p, five in zip(probability, is_five, strict=True) if p >= threshold]
        return called.count(False) / is_five.count(False), called.count(True) / is_five.count(True)

    mistakes = {
        "A probability of exactly the threshold is called 5: >=": lambda p, five, t: right(p, five, math.nextafter(t, 2)),
        "The false positives come first: they go to the right": lambda p, five, t: right(p, five, t)[::-1],
    }
    first = ([0.9, 0.8, 0.6, 0.4, 0.3, 0.1], [True, True, False, True, False, False])
    second = ([0.9, 0.2, 0.7, 0.7, 0.1], [True, False, False, True, False])
    cases = [(*first, 0.6), (*first, 1.0), (*second, 0.5), (*second, 0.05)]
    check(function, right, cases, "right for four points of two curves", mistakes)


def check_fitted_size(function) -> None:
    """Notebook 09: the size of a drawing in MNIST's box."""

    def right(height, width, side=max, least=1):
        scale = 20 / side(height, width)
        return max(least, round(height * scale)), max(least, round(width * scale))

    mistakes = {
        "The longer side becomes 20": functools.partial(right, side=min),
        "The shape must not change": lambda height, width: (20, 20),
        "No side may vanish": functools.partial(right, least=0),
    }
    check(function, right, [(100, 40), (7, 14), (300, 2)], "right for a high, a wide and a very thin drawing", mistakes)


def check_center_of_mass(function) -> None:
    """Notebook 09: the centre of mass of an image."""

    def right(image):
        rows, columns = (torch.arange(float(n)) for n in image.shape)
        ink = image.double()
        return (ink.sum(1) @ rows.double() / ink.sum()).item(), (ink.sum(0) @ columns.double() / ink.sum()).item()

    mistakes = {
        "The row comes first, then the column": lambda image: right(image)[::-1],
        "Weigh each place by its ink": lambda image: right((image > 0).byte()),
    }
    image = torch.zeros(28, 28, dtype=torch.uint8)
    image[2, 3], image[10:20, 20], image[25, 5:9] = 255, 100, 7
    check(function, right, [(image,), (image[:, :22],)], "right for two images", mistakes)
