"""The exercises: every one has a solution that its check accepts, and the check says what is wrong with the usual mistakes."""

import ast
import functools
import importlib.util
import inspect
import math
import random
import re
import statistics as stats
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mnistlib import checks, exercises

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("notebooks_tool", ROOT / "tools" / "notebooks.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

CHECKS = {name.removeprefix("check_"): check for name, check in vars(exercises).items() if name.startswith("check_")}
WITH_EXERCISES = [tool.lesson_of(path) for path in tool.solutions()]


def cells(path, end):
    """The source of the cells exercise-01-END, exercise-02-END, … of a notebook, in its order."""
    found = [cell for cell in tool.read(path)["cells"] if cell["id"].startswith("exercise-") and cell["id"].endswith(f"-{end}")]
    assert [cell["id"] for cell in found] == [f"exercise-{n:02}-{end}" for n in range(1, len(found) + 1)]
    return ["".join(cell["source"]) for cell in found]


def function_of(source):
    """The one function that a cell defines, as a syntax tree."""
    (function,) = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return function


def signatures(path):
    return [(function.name, ast.unparse(function.args)) for function in map(function_of, cells(path, "code"))]


def defined(path):
    """{name: function} of a notebook's exercise cells, with everything that the notebook imports."""
    sources = ["".join(cell["source"]) for cell in tool.read(path)["cells"] if cell["cell_type"] == "code"]
    trees = [ast.parse(source) for source in sources if not source.startswith("# On Colab")]  # that cell is IPython, not Python
    imports = [node for tree in trees for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    module = ast.Module([*imports, *map(function_of, cells(path, "code"))], type_ignores=[])
    namespace = {}
    exec(compile(module, path.name, "exec"), namespace)
    return {name: namespace[name] for name, _ in signatures(path)}


def _pairs(confusion):
    return list(combinations(range(len(confusion)), 2))


SOLVED = {name: function for path in tool.solutions() for name, function in defined(path).items()}


def line(capsys, name, function):
    """What the check of ``name`` prints about a function: one line."""
    assert CHECKS[name](function) is None
    out, err = capsys.readouterr()
    assert out.endswith("\n")
    assert out.count("\n") == 1, out
    assert err == ""
    return out.removesuffix("\n")


# Lessons and solutions


@pytest.mark.parametrize("lesson", WITH_EXERCISES, ids=lambda path: path.stem)
def test_lesson_and_solution_have_the_same_exercises(lesson):
    solution = lesson.parent / "solutions" / lesson.name
    assert signatures(lesson) == signatures(solution)
    assert cells(lesson, "check") == cells(solution, "check")
    assert 2 <= len(signatures(lesson)) == len(cells(lesson, "task")) == len(cells(lesson, "check"))
    headings = [
        [text.partition("**Exercise ")[2].partition("**")[0] for text in cells(path, "task")] for path in (lesson, solution)
    ]
    assert headings[0] == headings[1]
    assert [heading.partition(":")[0] for heading in headings[0]] == [str(n) for n in range(1, len(headings[0]) + 1)]


@pytest.mark.parametrize("lesson", WITH_EXERCISES, ids=lambda path: path.stem)
def test_each_exercise_is_a_task_with_a_hint_a_stub_and_its_check(lesson):
    for task, stub, check in zip(*(cells(lesson, end) for end in ("task", "code", "check")), strict=True):
        name = function_of(stub).name
        assert task.startswith("**Exercise ")
        assert "\n\n<details><summary>Hint</summary>\n\n" in task
        assert ast.unparse(function_of(stub).body) == "raise NotImplementedError"
        assert re.search(rf"\b{name}\b", task), "the task shows no example"
        assert check.splitlines()[-1] == f"exercises.check_{name}({name})"
        assert inspect.getdoc(CHECKS[name]).startswith(f"Notebook {lesson.name[:2]}: ")


@pytest.mark.parametrize("solution", tool.solutions(), ids=lambda path: path.stem)
def test_each_solution_gives_its_reason(solution):
    assert len(cells(solution, "reason")) == len(cells(solution, "code"))
    assert all(len(reason) > 150 for reason in cells(solution, "reason"))


def test_each_check_belongs_to_one_exercise():
    used = [name for path in WITH_EXERCISES for name, _ in signatures(path)]
    assert sorted(used) == sorted(CHECKS)


def test_nothing_in_the_package_imports_the_exercises():
    importers = [path.name for path in (ROOT / "mnistlib").glob("*.py") if "import exercises" in path.read_text("utf-8")]
    assert importers == []


# Checks and answers


@pytest.mark.parametrize("name", CHECKS)
def test_the_solution_is_right(name, capsys):
    assert line(capsys, name, SOLVED[name]).startswith(f"✓ {name}: ")


@pytest.mark.parametrize("name", CHECKS)
def test_the_stub_is_not_solved_yet(name, capsys):
    (stub,) = [function[name] for function in map(defined, WITH_EXERCISES) if name in function]
    assert line(capsys, name, stub) == checks.NOT_SOLVED


def forgetful(net, optimizer, images, labels):
    loss = F.cross_entropy(net(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def too_late(net, optimizer, images, labels):
    loss = F.cross_entropy(net(images), labels)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def backwards(net, optimizer, images, labels):
    loss = F.cross_entropy(net(images), labels)
    optimizer.zero_grad()
    optimizer.step()
    loss.backward()
    return loss.item()


def accuracy_step(net, optimizer, images, labels):
    training_step(net, optimizer, images, labels)
    return (net(images).argmax(1) == labels).float().mean().item()


def softmax_step(net, optimizer, images, labels):
    loss = F.cross_entropy(net(images).softmax(1), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def training_step(net, optimizer, images, labels):
    loss = F.cross_entropy(net(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def exercises_center(image):
    places = image.nonzero().double()
    weights = image[image > 0].double()
    return tuple(((places * weights[:, None]).sum(0) / weights.sum()).tolist())


def network(*layers):
    return lambda: torch.nn.Sequential(*layers)


def conv(filters=4, kernel=5):
    return torch.nn.Conv2d(1, filters, kernel)


def shift_by_slices(image, down, right):
    new = torch.zeros_like(image)
    new[down:, right:] = image[: len(image) - down, : image.shape[1] - right]
    return new


def lengths(content, header=12, end=4, order="little", whole=0):
    found, start = [], 0
    while start < len(content):
        found.append(int.from_bytes(content[start : start + 8], order))
        start += header + found[-1] + end
    return [length + whole for length in found]


def of_right(probabilities, labels):
    return probabilities[torch.arange(len(labels)), labels]


def sides(side, kernels, change):
    for kernel in kernels:
        side = change(side, kernel)
    return side


WRONG = {  # exercise: wrong answers, each with words that the check must say about it
    "tenth_probability": [
        (sum, "That is the sum of the nine"),
        (lambda nine: 1 - max(nine), "Subtract all nine"),
        (lambda nine: 0.1, "expected 0.55, got 0.1"),
        (lambda nine: 100 * (1 - sum(nine)), "not percent"),
        (lambda nine: 1 - sum(nine) / 9, "expected 0.55, got 0.95"),
    ],
    "surer": [
        (lambda first, second: "first" if first > second else "second", "compares lists place by place"),
        (lambda first, second: "first" if np.argmax(first) > np.argmax(second) else "second", "not the digits"),
        (lambda first, second: "first" if max(first) < max(second) else "second", "expected 'second', got 'first'"),
        (lambda first, second: max(first) > max(second), "expected 'second', got False"),
        (lambda first, second: "First" if max(first) > max(second) else "Second", "expected 'second', got 'Second'"),
        (lambda first, second: first.max() > second.max(), "AttributeError: 'list' object has no attribute 'max'"),
    ],
    "mirrored": [
        (lambda images: images.flip(2), "upside down"),
        (lambda images: images.flip(2, 3), "half a turn"),
        (lambda images: images.flip(0), "numbers differ"),
        (lambda images: images, "numbers differ"),
        (lambda images: images.transpose(2, 3), "got uint8 tensor [2, 1, 3, 2]"),
        (lambda images: images[:, :, :, ::-1], "stopped with ValueError"),
        (lambda images: images.flip(3) / 255, "expected uint8 tensor [2, 1, 2, 3], got float32 tensor [2, 1, 2, 3]"),
        (lambda images: images.numpy()[..., ::-1], "which is a ndarray and not a tensor"),
        (lambda images: images.flip(4), "stopped with IndexError"),
    ],
    "one_hot": [
        (lambda label: [int(place == label) for place in range(1, 11)], "Places count from 0"),
        (lambda label: [label * (place == label) for place in range(10)], "got [0, 0, 0, 3, 0, 0, 0, 0, 0, 0]"),
        (lambda label: [int(place == label) for place in range(9)], "expected [0, 0, 0, 1, 0, 0, 0, 0, 0, 0], got [0, 0, 0, 1"),
        (lambda label: F.one_hot(torch.tensor(label), 10), "which is a Tensor and not a list"),
        (lambda label: "0001000000", "which is a str and not a list"),
        (lambda label: [0] * 10, "got [0, 0, 0, 0"),
    ],
    "inked_share": [
        (lambda image: (image > 0).sum(), "divide by the number of all"),
        (lambda image: (image == 0).float().mean(), "the share of paper"),
        (lambda image: image.float().mean() / 255, "the mean ink"),
        (lambda image: (image > 0).sum() / len(image), "expected 0.25, got 7.0"),
        (lambda image: (image == 255).float().mean(), "expected 0.25, got 0.0"),
        (lambda image: 100 * (image > 0).float().mean(), "not percent"),
        (lambda image: (image > 0).mean(), ": mean(): could not infer output dtype"),
    ],
    "nearest_mean": [
        (lambda image, means: (image - means).square().sum((1, 2)).argmax(), "That is the farthest"),
        (lambda image, means: (image - means).sum((1, 2)).argmin(), "Square them, or differences above and below 0"),
        (lambda image, means: (image - means).abs().sum((1, 2)).argmin(), "Square each difference"),
        (lambda image, means: (image - means).square().sum().argmin(), "Without an axis"),
        (lambda image, means: (image - means).square().sum((1, 2)).min(), "expected 4, got 78400.0"),
        (lambda image, means: (image - means).square().sum((1, 2)).argmin() + 1, "expected 4, got 5"),
        (lambda image, means: (image - means).square().argmin(), "expected 4, got 3136"),
    ],
    "convolution_parameters": [
        (lambda kernel, channels, filters: kernel * kernel * channels * filters, "The biases are missing"),
        (lambda kernel, channels, filters: kernel * kernel * channels * filters + 1, "a bias of its own"),
        (lambda kernel, channels, filters: (kernel * kernel + 1) * filters, "weights for each channel"),
        (lambda kernel, channels, filters: (kernel * channels + 1) * filters, "expected 18496, got 6208"),
        (lambda kernel, channels, filters: (kernel * kernel + 1) * channels * filters, "expected 18496, got 20480"),
        (lambda kernel, channels, filters: (kernel * kernel * filters + 1) * channels, "expected 18496, got 18464"),
        (lambda kernel, channels, filters: (kernel**2 * channels + 1) * filters / 1, "A count is a whole number"),
        (lambda kernel, channels, filters: ((kernel ^ 2) * channels + 1) * filters, "^ is no power"),
        (lambda: 156, "stopped with TypeError"),
    ],
    "linear_inputs": [
        (lambda side, kernels, filters: sides(side, kernels, lambda s, k: (s - k) // 2) ** 2 * filters, "side − kernel + 1"),
        (lambda side, kernels, filters: sides(side, kernels, lambda s, k: s - k + 1) ** 2 * filters, "Pooling halves"),
        (lambda side, kernels, filters: sides(side, kernels, lambda s, k: (s - k + 1) / 2) ** 2 * filters, "loses its last row"),
        (lambda side, kernels, filters: sides(side, kernels, lambda s, k: (s - k + 1) // 2) ** 2, "one for each filter"),
        (lambda side, kernels, filters: sides(side, kernels, lambda s, k: (s - k + 1) // 2) * filters, "A map has side × side"),
        (lambda side, kernels, filters: ((side - kernels[0] + 1) // 2) ** 2 * filters, "return stands inside the loop"),
        (lambda side, kernels, filters: sides(side, kernels, lambda s, k: -(-(s - k + 1) // 2)) ** 2 * filters, "got 512"),
        (lambda side, kernels, filters: side - kernels + 1, "stopped with TypeError"),
    ],
    "tiny_network": [
        (network(conv(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(576, 10)), "expected 2000, got 5874"),
        (network(conv(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(144, 10)), "cannot be multiplied"),
        (network(conv(), torch.nn.MaxPool2d(4), torch.nn.Flatten(), torch.nn.Linear(144, 9)), "expected [2, 10], got [2, 9]"),
        (
            network(torch.nn.AvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(49, 10)),
            "convolutions, at least: expected 1, got 0",
        ),
        (
            network(conv(7), conv2 := torch.nn.Conv2d(7, 1, 3), torch.nn.Flatten(), torch.nn.Linear(484, 10)),
            "parameters, at most",
        ),
        (network(conv(9), torch.nn.MaxPool2d(8), torch.nn.Flatten(), torch.nn.Linear(81, 10)), "mult-adds, at most"),
        (
            network(conv(), torch.nn.MaxPool2d(4), torch.nn.Flatten(), torch.nn.Linear(144, 10), torch.nn.Softmax(1)),
            "got 'Softmax'",
        ),
        (network(conv(), torch.nn.MaxPool2d(4), torch.nn.Flatten(), torch.nn.Linear(144, 10), torch.nn.ReLU()), "got 'ReLU'"),
        (torch.nn.Sequential(conv()), "tiny_network is a network; it must be a function"),
        (lambda: network(conv()), "the result: expected 'a network', got a function"),
        (lambda: torch.nn.Sequential, "the result: expected 'a network', got a type"),
    ],
    "loss_floor": [
        (lambda classes: math.log(math.e / (math.e + classes - 1)), "The minus is missing"),
        (lambda classes: -math.log(math.e / (math.e + classes)), "the others are classes − 1"),
        (lambda classes: -math.log10(math.e / (math.e + classes - 1)), "expected 1.46115, got 0.634"),
        (lambda classes: -math.log(math.e / (math.e + 9)), "expected 0.313262, got 1.46115"),
        (lambda classes: -math.log(1 / classes), "a network that knows nothing"),
        (lambda classes: math.e / (math.e + classes - 1), "expected 1.46115, got 0.231969"),
        (lambda classes: 1.46, "expected 1.46115, got 1.46"),
    ],
    "cross_entropy": [
        (lambda logits, labels: -of_right(logits.softmax(1), labels).log().sum(), "the mean"),
        (lambda logits, labels: of_right(logits.softmax(1), labels).log().mean(), "The minus is missing"),
        (lambda logits, labels: -of_right(logits.softmax(0), labels).log().mean(), "The softmax is for each image"),
        (lambda logits, labels: -logits.softmax(1).log().mean(), "Only the probability of the right class"),
        (lambda logits, labels: F.cross_entropy(logits.softmax(1), labels), "One softmax too many"),
        (lambda logits, labels: -of_right(logits.softmax(1), labels).log10().mean(), "expected 0.765523, got 0.332"),
        (lambda logits, labels: -of_right(logits.softmax(1), labels).log(), "which is a Tensor and not a number"),
        (lambda logits, labels: 1 - of_right(logits.softmax(1), labels).mean(), "expected 0.765523, got 0.414351"),
        (lambda logits, labels: logits.softmax(1)[labels].log().mean(), "expected 0.765523"),
    ],
    "training_step": [
        (forgetful, "the weights after a second step: at [0, 0] expected"),
        (forgetful, "optimizer.zero_grad()"),
        (too_late, "They do not move: optimizer.step() comes last"),
        (backwards, "They do not move"),
        (accuracy_step, "the loss of the first step: expected 0.99602"),
        (softmax_step, "the loss of the first step: expected 0.99602"),
        (lambda *batch: F.cross_entropy(batch[0](batch[2]), batch[3]), "They do not move"),
        (
            lambda *batch: [training_step(*batch), F.cross_entropy(batch[0](batch[2]), batch[3])][1],
            "That is the loss after the step",
        ),
        (lambda *batch: (training_step(*batch), None)[1], "A function without `return`"),
        (lambda net, images, labels: 1.0, "stopped with TypeError"),
    ],
    "feature_value": [
        (lambda patch, weights, bias: (patch * weights).sum().relu(), "The bias is missing"),
        (lambda patch, weights, bias: (patch * weights).sum() + bias, "ReLU is missing"),
        (lambda patch, weights, bias: ((patch @ weights).sum() + bias).relu(), "@ is the matrix product"),
        (lambda patch, weights, bias: ((patch * weights).mean() + bias).relu(), "expected 1.09, got 0.2836"),
        (lambda patch, weights, bias: (patch * weights).relu().sum() + bias, "expected 1.09"),
        (lambda patch, weights, bias: (patch * weights).sum().relu() + bias, "ReLU comes last"),
        (lambda patch, weights, bias: ((patch * weights.flip(0, 1)).sum() + bias).relu(), "expected 1.09"),
        (lambda patch, weights, bias: (patch * weights + bias).sum().relu(), "The bias is added once"),
        (lambda patch, weights, bias: (patch * weights + bias).relu(), "which is a Tensor and not a number"),
    ],
    "scores_of": [
        (lambda confusion, label: scores(confusion.T, label), "Precision divides by the column"),
        (lambda confusion, label: (confusion[label, label] / confusion.sum(),) * 2, "expected (0.714286, 0.833333)"),
        (lambda confusion, label: scores(confusion, label)[0], "which is a Tensor and not a tuple"),
        (lambda confusion, label: scores(confusion, label)[:1], "expected (0.714286, 0.833333), got (0.714286)"),
        (lambda confusion, label: tuple(100 * share for share in scores(confusion, label)), "got (71.4286, 83.3333)"),
        (lambda confusion, label: scores(confusion, 0), "expected (0.636364, 0.7)"),
        (lambda confusion, label: tuple(s / (1 + s) for s in scores(confusion, label)), "hold TP already"),
    ],
    "shifted": [
        (lambda image, down, right: image.roll((down, right), (0, 1)), "must not come in on the other"),
        (lambda image, down, right: F.pad(image, (down, -down, right, -right)), "Down and right changed places"),
        (lambda image, down, right: F.pad(image, (-right, right, -down, down)), "That is the opposite direction"),
        (lambda image, down, right: F.pad(image, (right, 0, down, 0)), "got uint8 tensor [5, 7]"),
        (lambda image, down, right: F.pad(image, (right, -right, down, -down)).float(), "got float32 tensor [4, 5]"),
        (shift_by_slices, "(image=uint8 tensor [4, 5], down=-1, right=0): stopped with RuntimeError"),
        (lambda image, down, right: image, "numbers differ"),
    ],
    "difference_error": [
        (lambda p, q, n: (p * (1 - p) / n) ** 0.5 + (q * (1 - q) / n) ** 0.5, "Add the squares"),
        (lambda p, q, n: (p * (1 - p) + q * (1 - q)) / n, "The root is missing"),
        (lambda p, q, n: abs(p * (1 - p) - q * (1 - q)) ** 0.5 / n**0.5, "expected 0.0016594"),
        (lambda p, q, n: (p * (1 - p) / n) ** 0.5, "expected 0.0016594, got 0.000890"),
        (lambda p, q, n: ((p * (1 - p) + q * (1 - q)) / (2 * n)) ** 0.5, "expected 0.0016594, got 0.00117"),
        (lambda p, q, n: 100 * ((p * (1 - p) + q * (1 - q)) / n) ** 0.5, "not percent"),
    ],
    "mcnemar_p": [
        (lambda a, b: sum(math.comb(a + b, k) for k in range(min(a, b) + 1)) / 2 ** (a + b), "the other way round counts too"),
        (lambda a, b: 2 * sum(math.comb(a + b, k) for k in range(min(a, b) + 1)) / 2 ** (a + b), "A probability is 1 at most"),
        (lambda a, b: 2 * math.comb(a + b, a) / 2 ** (a + b), "expected 0.109375, got 0.0878906"),
        (lambda a, b: min(1, 2 * sum(math.comb(a + b, k) for k in range(a + 1)) / 2 ** (a + b)), "expected 0.109375, got 1"),
        (lambda a, b: min(1, 2 * sum(math.comb(a + b, k) for k in range(min(a, b))) / 2 ** (a + b)), "got 0.0214844"),
        (lambda a, b: math.erfc(abs(a - b) / (2 * (a + b)) ** 0.5), "expected 0.109375, got 0.0577"),
    ],
    "interval": [
        (lambda a, f: (stats.mean(a) - f * stats.stdev(a), stats.mean(a) + f * stats.stdev(a)), "divide by the root"),
        (lambda a, f: tuple(stats.mean(a) + s * f * stats.stdev(a) / len(a) for s in (-1, 1)), "not by the number"),
        (lambda a, f: tuple(stats.mean(a) + s * f * stats.pstdev(a) / len(a) ** 0.5 for s in (-1, 1)), "by n - 1"),
        (lambda a, f: tuple(stats.mean(a) + s * 1.96 * stats.stdev(a) / len(a) ** 0.5 for s in (-1, 1)), "expected"),
        (lambda a, f: (min(a), max(a)), "expected"),
    ],
    "seeds_needed": [
        (lambda sd, d: math.ceil(2 * (2.8 * sd / d) ** 2), "at least 2"),
        (lambda sd, d: max(2, round(2 * (2.8 * sd / d) ** 2)), "Round up"),
        (lambda sd, d: max(2, math.ceil((2.8 * sd / d) ** 2)), "Two methods vary"),
        (lambda sd, d: max(2, math.ceil(2 * 2.8 * sd / d)), "expected 8, got 4"),
    ],
    "never_predicted": [
        (lambda predictions, classes: sorted(set(predictions)), "that do occur"),
        (lambda predictions, classes: [c for c in range(1, classes + 1) if c not in predictions], "Count from 0"),
        (lambda predictions, classes: len(set(range(classes)) - set(predictions)), "expected"),
    ],
    "recalls": [
        (lambda c: [column[i] / sum(column) for i, column in enumerate(zip(*c, strict=True))], "That is precision"),
        (lambda c: [row[i] / sum(map(sum, c)) for i, row in enumerate(c)], "not by all images"),
        (lambda c: sum(row[i] for i, row in enumerate(c)) / sum(map(sum, c)), "expected"),
    ],
    "most_confused": [
        (lambda c: max(_pairs(c), key=lambda pair: c[pair[0]][pair[1]]), "Add both directions"),
        (
            lambda c: max(_pairs(c), key=lambda pair: c[pair[0]][pair[1]] + c[pair[1]][pair[0]])[::-1],
            "smaller number comes first",
        ),
        (lambda c: (max(range(len(c)), key=lambda i: c[i][i]),) * 2, "The diagonal"),
        (lambda c: min(_pairs(c), key=lambda pair: c[pair[0]][pair[1]] + c[pair[1]][pair[0]]), "expected (0, 2)"),
    ],
    "writer_split": [
        (
            lambda w, kept: ([i for i, x in enumerate(w) if x in kept], [i for i, x in enumerate(w) if x not in kept]),
            "come first",
        ),
        (lambda w, kept: ([x for x in w if x not in kept], [x for x in w if x in kept]), "not their writers"),
        (lambda w, kept: (list(range(len(w) // 2)), list(range(len(w) // 2, len(w)))), "expected"),
    ],
    "expected_by_chance": [
        (lambda networks, level: networks * (networks - 1) * level, "Each pair was counted twice"),
        (lambda networks, level: networks * level, "Count the pairs"),
        (lambda networks, level: networks**2 / 2 * level, "expected 3.9, got 4.225"),
        (lambda networks, level: networks * (networks - 1) / 2, "expected 3.9, got 78.0"),
        (lambda networks, level: round(networks * (networks - 1) / 2 * level), "expected 3.9, got 4"),
    ],
    "fitted_size": [
        (lambda height, width: (20, 20), "The shape must not change"),
        (lambda height, width: (round(height * 20 / min(height, width)), round(width * 20 / min(height, width))), "becomes 20"),
        (lambda height, width: (round(height * 20 / max(height, width)), round(width * 20 / max(height, width))), "vanish"),
        (lambda height, width: (20, width), "expected (20, 8), got (20, 40)"),
    ],
    "center_of_mass": [
        (lambda image: tuple(reversed(exercises_center(image))), "The row comes first"),
        (lambda image: tuple(image.nonzero().double().mean(0).tolist()), "Weigh each place by its ink"),
        (lambda image: exercises_center(image)[0], "and not a tuple"),
        (lambda image: (14.0, 14.0), "got (14.0, 14.0)"),
    ],
    "record_lengths": [
        (lambda content: lengths(content, header=8, end=0), "Between two contents lie a checksum"),
        (lambda content: lengths(content, order="big"), "little-endian"),
        (lambda content: lengths(content, whole=16), "These are whole records"),
        (lambda content: lengths(content, end=0), "expected [3, 300], got [3, "),
        (lambda content: lengths(content)[:1], "expected [3, 300], got [3]."),
        (lambda content: sum(lengths(content)), "which is a int and not a list"),
        (lambda content: [content[0]], "expected [3, 300], got [3]."),
        (lambda content: [3, *lengths(content[19:])], "expected [954, 0, 70000], got [3, "),
    ],
    "precision_and_recall": [
        (lambda true, said, label: both(said, true, label), "Precision divides by what was called so"),
        (lambda true, said, label: both(true, said, label)[0], "which is a float and not a tuple"),
        (lambda true, said, label: ((true == said).float().mean(),) * 2, "expected (0.666667, 0.5), got (0.7, 0.7)"),
        (lambda true, said, label: both(true, said, 5), "label=3): expected"),
        (lambda true, said, label: (both(true, said, label)[0], 5 / 6), "expected (0.666667, 0.5)"),
        (lambda true, said, label: list(true).count(5) / 0, "stopped with ZeroDivisionError"),
    ],
    "roc_point": [
        (lambda p, five, t: point(p, five, lambda x: x > t), "exactly the threshold is called 5"),
        (lambda p, five, t: point(p, five, lambda x: x >= t)[::-1], "The false positives come first"),
        (lambda p, five, t: point(p, five, lambda x: x < t), "expected (0.333333, 0.666667), got (0.666667, 0.333333)"),
        (lambda p, five, t: [sum(x >= t and f is k for x, f in zip(p, five, strict=True)) for k in (False, True)], "got [1, 2]"),
        (
            lambda p, five, t: [sum(x >= t and f is k for x, f in zip(p, five, strict=True)) / len(p) for k in (False, True)],
            "got",
        ),
        (lambda p, five, t: p >= t, "stopped with TypeError: '>=' not supported"),
    ],
}


def scores(confusion, label):
    hits = confusion[label, label]
    return hits / confusion[:, label].sum(), hits / confusion[label].sum()


def both(true, said, label):
    hits = ((true == label) & (said == label)).sum().item()
    return hits / (said == label).sum().item(), hits / (true == label).sum().item()


def point(probability, is_five, called):
    fives = [p for p, five in zip(probability, is_five, strict=True) if five]
    others = [p for p, five in zip(probability, is_five, strict=True) if not five]
    return sum(map(called, others)) / len(others), sum(map(called, fives)) / len(fives)


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [(name, *wrong) for name, wrongs in WRONG.items() for wrong in wrongs],
    ids=lambda part: str(part)[:50],
)
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, words, capsys):
    said = line(capsys, name, answer)
    assert said.startswith("✗ ")
    assert words in said, said


def test_every_check_meets_its_mistakes():
    assert set(WRONG) == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_each_hint_can_be_seen(name, capsys, monkeypatch):
    """No case before it, and no hint before it, hides the words that a common mistake has."""
    seen = {}
    monkeypatch.setattr(exercises, "check", lambda *given: seen.update(given=given))
    CHECKS[name](SOLVED[name])
    monkeypatch.undo()
    _, right, cases, checked, *mistakes = seen["given"]
    for hint, wrong in (mistakes[0] if mistakes else {}).items():
        checks.check(wrong, right, cases, checked, *mistakes)
        assert capsys.readouterr().out.endswith(f"{hint}.\n")


RECURSIVE = []
RECURSIVE.append(RECURSIVE)
STRANGE = [
    None, 0, -1, math.nan, math.inf, 10**400, 10**6000, "", "a\nb", b"", [], [None] * 3, (), (None, None), {}, {1: 2}, object(),
    int, True, 1j, range(3), RECURSIVE, np.zeros(3), np.float32(2), np.array("text"), torch.tensor([]), torch.zeros(10, 28, 28),
    torch.tensor(1j), torch.zeros(2, 1, 2, 3).to_sparse(), torch.zeros(3, device="meta"), torch.nn.Linear(3, 4), torch.nn.ReLU(),
]  # fmt: skip


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("answer", STRANGE, ids=lambda answer: type(answer).__name__)
def test_no_answer_makes_a_check_raise_or_pass(name, answer, capsys):
    assert line(capsys, name, lambda *_: answer).startswith("✗ ")


def recurse(*given):
    return recurse(*given)


def deny(*_):
    assert False, "two\nlines"  # noqa: B011, PT015


def raises(error):
    def function(*_):
        raise error

    return function


@pytest.mark.parametrize("name", CHECKS)
def test_an_error_in_the_answer_becomes_a_line(name, capsys):
    assert "stopped with KeyError: 'x'." in line(capsys, name, raises(KeyError("x")))
    assert "stopped with AssertionError: two lines" in line(capsys, name, deny)
    assert "stopped with RecursionError" in line(capsys, name, recurse)
    assert "stopped with NotImplementedError: no kernel" in line(capsys, name, raises(NotImplementedError("no kernel")))


@pytest.mark.parametrize("name", CHECKS)
def test_a_result_in_place_of_the_function_is_told_so(name, capsys):
    for given in (None, 3, "first", torch.zeros(3)):
        assert line(capsys, name, given).startswith("✗ the check needs your function itself: its name, without brackets")


@pytest.mark.parametrize("name", CHECKS)
def test_a_forgotten_return_is_told_so(name, capsys):
    assert line(capsys, name, lambda *_: None).endswith("A function without `return` gives None, also when it prints its answer.")


def test_checks_draw_no_random_numbers(capsys):
    states = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    for name in CHECKS:
        if name != "tiny_network":  # the student's own network draws its first weights
            assert line(capsys, name, SOLVED[name]).startswith("✓")
    assert states == [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]


def test_an_answer_that_changes_its_arguments_changes_copies(capsys):
    def largest(numbers):
        numbers.sort()
        return numbers[-1]

    checks.check(largest, lambda numbers: numbers[1], [([1, 3, 2],)], "right for three numbers", {"A hint": lambda numbers: 0})
    assert capsys.readouterr().out == "✓ largest: right for three numbers.\n"


# The machinery


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (3, 3), (3, torch.tensor(3)), (3, np.int64(3)), (0.5, 0.50001), (0.5, torch.tensor(0.5)), (0.0, 1e-9), (1.0, 1),
        ([1, 2], [1, 2]), ([1, 2], (1, 2)), ((0.5, 1), [torch.tensor(0.5), 1]), ([], []), ("a", "a"), ({"x": 1}, {"x": 1}),
        (torch.arange(3), torch.arange(3)), (torch.ones(2), torch.ones(2, dtype=torch.float64)),
        (torch.ones(2), torch.ones(2, requires_grad=True)), (torch.ones(0), torch.ones(0)),
    ],
)  # fmt: skip
def test_what_will_do(expected, got):
    assert checks.difference(expected, got) == ""


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        (3, 4, "expected 3, got 4"),
        (3, 3.0, "got 3.0. A count is a whole number"),
        (3, True, "which is a bool and not a number"),
        (3, torch.tensor([3]), "got int64 tensor [1]: [3], which is a Tensor and not a number. `.item()` takes"),
        (0.5, 50, "not percent"),
        (0.5, 0.501, "expected 0.5, got 0.501"),
        ([1, 2], [2, 1], "expected [1, 2], got [2, 1]"),
        ([1, 2], [1], "expected [1, 2], got [1]"),
        ([0] * 11, None, "expected [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, …], got None. A function without"),
        ({"x": 1, "y": 2}, {"x": 1, "y": 3}, "y: expected 2, got 3"),
        (torch.zeros(2, 3), torch.eye(2, 3), "at [0, 0] expected 0.0, got 1.0 (2 of 6 numbers differ)"),
        (torch.zeros(2), torch.zeros(3), "expected float32 tensor [2]: [0.0, 0.0], got float32 tensor [3]"),
        (torch.zeros(2), torch.zeros(2).long(), "got int64 tensor [2]: [0, 0]"),
        (torch.zeros(1), torch.tensor([math.nan]), "at [0] expected 0.0, got nan"),
        (torch.zeros(2), [0, 0], "which is a list and not a tensor"),
    ],
)
def test_what_will_not_do_is_described(expected, got, words):
    assert words in checks.difference(expected, got)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 3, "0.333333"), (2.0, "2.0"), (-0.25, "-0.25"), (1e-12, "1e-12"), (math.inf, "inf"), (7, "7"), (None, "None"),
        ("a\nb", r"'a\nb'"), ("x" * 100, "'" + "x" * 59 + "…"), (b"abc", "3 bytes"), ((1, 2.5), "(1, 2.5)"), ({}, "a dict"),
        (torch.tensor(4), "4"), (torch.zeros(3, 4), "float32 tensor [3, 4]"), (torch.tensor([True]), "bool tensor [1]: [True]"),
        (list(range(20)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …]"),
    ],
)  # fmt: skip
def test_values_are_short_and_on_one_line(value, text):
    assert checks.short(value) == text


def test_the_function_keeps_its_name_in_every_line(capsys):
    def doubled(number):
        return number

    checks.check(doubled, lambda number: 2 * number, [(0,), (4,)], "right for 0 and 4")
    assert capsys.readouterr().out == "✗ doubled(number=4): expected 8, got 4.\n"
    checks.check(doubled, lambda number: number, [(0,)], "right for 0")
    assert capsys.readouterr().out == "✓ doubled: right for 0.\n"
    checks.check(functools.partial(doubled), lambda number: number, [(0,)], "right for 0")
    assert capsys.readouterr().out == "✓ your function: right for 0.\n"
