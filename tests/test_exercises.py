"""The exercises: checks accept solutions and say what is wrong with other answers; stated examples come out."""

import ast
import builtins
import functools
import inspect
import json
import math
import random
import re
import statistics as stats
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mnistlib import exercises
from mnistlib.exercises.check import NOT_SOLVED, Check, difference, exercise, mistake, short

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LESSONS = sorted(path for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
SOLUTIONS = {lesson: lesson.parent / "solutions" / lesson.name for lesson in LESSONS}
CHECKS = {name.removeprefix("check_"): check for name, check in vars(exercises).items() if isinstance(check, Check)}
lessons = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
checks = pytest.mark.parametrize("name", CHECKS)


# Notebooks


@functools.cache
def cells(path):
    """[(id, type, source)] of a notebook."""
    found = json.loads(path.read_text("utf-8"))["cells"]
    return [(cell["id"], cell["cell_type"], "".join(cell["source"])) for cell in found]


def exercise_cells(path, end):
    """The sources of the cells exercise-01-END, exercise-02-END, … of a notebook."""
    found = {name: source for name, _, source in cells(path) if re.fullmatch(rf"exercise-\d\d-{end}", name)}
    assert list(found) == [f"exercise-{n:02}-{end}" for n in range(1, len(found) + 1)]
    return list(found.values())


def function_of(source):
    """The one function that a cell defines, as a syntax tree."""
    (function,) = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return function


def signatures(path):
    return [(f.name, ast.unparse(f.args)) for f in map(function_of, exercise_cells(path, "code"))]


@functools.cache
def units(path):
    """What a notebook runs, in order, as (names bound, names read, code): each import, and the rest of each cell."""
    found = []
    for _, kind, source in cells(path):
        if kind == "code" and not source.startswith("# On Colab"):  # that cell is IPython, not Python
            body = ast.parse(source).body
            imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
            for nodes in [*([node] for node in imports), [node for node in body if node not in imports]]:
                walked = [inner for node in nodes for inner in ast.walk(node)]
                names = [node for node in walked if isinstance(node, ast.Name)]
                bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
                bound |= {node.name for node in walked if isinstance(node, ast.FunctionDef)}
                bound |= {(node.asname or node.name).split(".")[0] for node in walked if isinstance(node, ast.alias)}
                read = {node.id for node in names if isinstance(node.ctx, ast.Load)} - set(dir(builtins))
                read -= {node.arg for node in walked if isinstance(node, ast.arg)}
                found.append((bound, read, compile(ast.Module(nodes, []), path.name, "exec")))
    return found


@functools.cache
def values(path, *names):
    """{name: value} of some names of a notebook, or None where it does not bind them all; runs only what they need."""
    needed, chosen = set(names), []
    for bound, read, code in reversed(units(path)):
        if bound & needed:
            chosen.append(code)
            needed = (needed | read) - bound
    if needed & set(names):
        return None
    namespace = {}
    for code in reversed(chosen):
        exec(code, namespace)
    return {name: namespace[name] for name in names}


def solved(lesson):
    """{name: function} of the solutions of a lesson's exercises."""
    return values(SOLUTIONS[lesson], *[name for name, _ in signatures(lesson)])


@lessons
def test_lesson_and_solution_have_the_same_exercises(lesson):
    solution, tasks = SOLUTIONS[lesson], exercise_cells(lesson, "task")
    assert signatures(lesson) == signatures(solution)
    assert exercise_cells(lesson, "check") == exercise_cells(solution, "check")
    titles = [re.match(r"\*\*Exercise (\d+: [^*]+)\*\*", text)[1] for text in tasks]
    assert titles == [re.match(r"\*\*Exercise (\d+: [^*]+)\*\*", text)[1] for text in exercise_cells(solution, "task")]
    assert [title.partition(":")[0] for title in titles] == [str(n) for n in range(1, len(titles) + 1)]
    assert len(exercise_cells(solution, "reason")) == len(titles) >= 2


@lessons
def test_each_exercise_is_a_task_with_a_hint_a_stub_and_its_check(lesson):
    module = vars(__import__(f"mnistlib.exercises.nb{lesson.stem}", fromlist=["check"]))
    for task, stub, check in zip(*(exercise_cells(lesson, end) for end in ("task", "code", "check")), strict=True):
        name = function_of(stub).name
        assert "\n\n<details><summary>Hint</summary>\n\n" in task
        assert re.search(rf"\b{name}\b", task), "the task shows no example"
        assert ast.unparse(function_of(stub).body) == "raise NotImplementedError"
        assert check.splitlines()[-1] == f"exercises.check_{name}({name})"
        assert module[f"check_{name}"] is CHECKS[name]  # in the file of its notebook
        namespace = {}
        exec(stub, namespace)
        assert CHECKS[name].line(namespace[name]) == NOT_SOLVED
        parameters = list(inspect.signature(CHECKS[name].right).parameters)
        assert parameters[: len(CHECKS[name].cases[0])] == list(inspect.signature(namespace[name]).parameters)


def test_each_check_belongs_to_one_exercise():
    assert sorted(name for lesson in LESSONS for name, _ in signatures(lesson)) == sorted(CHECKS)
    assert {name for name, _, _ in WRONG} == set(CHECKS)


# Examples stated in the tasks, as "`f(x)` gives y"

NUMBER = r"-?\d[\d_]*(?:\.\d+)?"
VALUE = rf"`[^`]+`|{NUMBER}(?: and {NUMBER})?|[\[(].*?[\])]+(?=[.:]|, [a-z])"
EXAMPLE = re.compile(rf"`(\w+\([^`]*\))`[^`.]*?\sgives\s(≈ ?)?({VALUE})(, rounded)?")
WITH_A_VALUE = re.compile(r"gives\s[≈`\d\[(]")
PROSE = {  # notebook: (what its task says, an expression, its value)
    "09_draw_your_own": [
        ("row 2, column 3 has ink, `center_of_mass` gives `(2.0, 3.0)`", "center_of_mass(one)", "(2.0, 3.0)"),
        ("a third of that ink is added, it gives `(1.5, 2.25)`", "center_of_mass(two)", "(1.5, 2.25)"),
    ],
}
one = torch.zeros(28, 28, dtype=torch.uint8)
one[2, 3] = 255
two = one.clone()
two[0, 0] = 85
GIVEN = {"torch": torch, "one": one, "two": two}


def tasks(lesson):
    """The text of a lesson's tasks, without their hints, on one line each."""
    return [" ".join(text.partition("<details>")[0].split()) for text in exercise_cells(lesson, "task")]


def examples():
    for lesson in LESSONS:
        found = [match.groups() for text in tasks(lesson) for match in EXAMPLE.finditer(text)]
        found = [(call, value.strip("`"), about or rounded) for call, about, value, rounded in found]
        for call, value, about in [*found, *((call, value, True) for _, call, value in PROSE.get(lesson.stem, []))]:
            name = f"{lesson.stem}: {call}"
            yield pytest.param(lesson, call, value, about, id=name)


def flat(value):
    value = value.tolist() if isinstance(value, torch.Tensor) else value
    return [number for part in value for number in flat(part)] if isinstance(value, list | tuple) else [value]


@pytest.mark.parametrize(("lesson", "call", "value", "about"), list(examples()))
def test_a_stated_example_comes_out(lesson, call, value, about):
    """The solution's function gives it, with the variables of the lesson or, failing these, of the solution."""
    functions = solved(lesson)
    names = [node for node in ast.walk(ast.parse(call)) if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)}  # such as p in "for p in …"
    read = {node.id for node in names} - {*own, *functions, *GIVEN, *dir(builtins)}
    places = [found for path in (lesson, SOLUTIONS[lesson]) if (found := values(path, *sorted(read))) is not None]
    assert places, f"neither notebook has {read}"
    got = eval(call, {**GIVEN, **functions, **places[0]})
    if isinstance(got, str):
        assert got == ast.literal_eval(value)
        return
    stated = [text.replace("_", "") for text in re.findall(NUMBER, value)]
    for text, number in zip(stated, flat(got), strict=True):
        digits = len(text.partition(".")[2])
        assert math.isclose(number, float(text), rel_tol=1e-9, abs_tol=0.51 * 10**-digits if about else 1e-9), got


@lessons
def test_every_stated_example_is_one_that_is_run(lesson):
    stated = [(text, WITH_A_VALUE.findall(text)) for text in tasks(lesson)]
    run = len([match for text in tasks(lesson) for match in EXAMPLE.finditer(text)]) + len(PROSE.get(lesson.stem, []))
    assert sum(len(found) for _, found in stated) == run, 'write an example as "`f(x)` gives y"'
    for sentence, _, _ in PROSE.get(lesson.stem, []):
        assert any(sentence in text for text in tasks(lesson)), sentence


# Checks and answers


def step(order, softmax=False):
    """A training step that does z(ero_grad), b(ackward) and s(tep) in this order."""

    def training_step(net, optimizer, images, labels):
        logits = net(images).softmax(1) if softmax else net(images)
        loss = F.cross_entropy(logits, labels)
        for letter in order:
            {"z": optimizer.zero_grad, "b": loss.backward, "s": optimizer.step}[letter]()
        return loss.item()

    return training_step


def network(*layers):
    return lambda: nn.Sequential(*layers)


def lengths(content, end=4):
    found, start = [], 0
    while start < len(content):
        found.append(int.from_bytes(content[start : start + 8], "little"))
        start += 12 + found[-1] + end
    return found


def point(p, five, called):
    return tuple(
        stats.mean(float(called(x)) for x, f in zip(p, five, strict=True) if f is kind) for kind in (False, True)
    )


def both(c):
    return lambda pair: c[pair[0]][pair[1]] + c[pair[1]][pair[0]]


def answered_by(rows, labels, threshold, read):
    given = [(read(row), label) for row, label in zip(rows, labels, strict=True) if max(row) >= threshold]
    return len(given), sum(guess != label for guess, label in given)


def sliced(images, right, down):
    moved = torch.zeros_like(images)
    moved[..., down:, right:] = images[..., :-down, :-right]
    return moved


def shifted_from_zero(images, right, down):
    moved = torch.zeros_like(images)
    moved[..., down:, right:] = images[..., : images.shape[2] - down, : images.shape[3] - right]
    return moved


class Identity(nn.Sequential):
    def forward(self, x):
        return x


class WithoutFirst(nn.Sequential):
    def forward(self, x):
        return nn.Sequential(*[*self][1:])(x)


def lenet5(out=6, dilation=1, kind=nn.Sequential):
    layers = [nn.Conv2d(1, out, 5, dilation=dilation), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU()]
    layers += [nn.MaxPool2d(2), nn.Conv2d(16, 120, 5), nn.ReLU(), nn.Flatten(), nn.Linear(120, 84), nn.ReLU()]
    return kind(*layers, nn.Linear(84, 10))


CONV = nn.Conv2d(1, 4, 5)
WRONG = [  # an exercise, a wrong answer, and words that the check must say about it
    ("answered", lambda rows, labels, threshold: sum(max(row) >= threshold for row in rows), "it must be a tuple"),
    ("answered", lambda rows, labels, threshold: (len(rows), 2), "threshold=0.7): expected ("),
    ("answered", lambda rows, y, t: answered_by(rows, y, t, lambda row: int(row[0] <= row[1])), "got (5, 3)"),
    ("answered", lambda rows, y, t: answered_by(rows, y, t, lambda row: row.index(max(row)))[::-1], "Exchange the two"),
    ("shift_images", lambda images, right, down: images, "numbers differ"),
    ("shift_images", sliced, "A slice such as [:-0] is empty"),
    ("shift_images", shifted_from_zero, "Negative numbers move to the left and upwards"),
    ("shift_images", lambda images, right, down: images.float(), "got float32 tensor [2, 1, 4, 5]"),
    (
        "convolve",
        lambda image, kernel: (image[: len(kernel), : len(kernel[0])] * kernel).sum(),
        "expected float32 tensor",
    ),
    ("convolve", lambda image, kernel: image @ kernel, "stopped with RuntimeError"),
    ("convolve", lambda x, w: F.conv2d(x[None, None], w[None, None])[0, 0], "write it without PyTorch's conv2d"),
    ("my_lenet5", network(CONV), "layer 1: expected 'Conv2d(1, 6, kernel_size=5, stride=1)', got 'Conv2d(1, 4"),
    ("my_lenet5", lambda: lenet5()[:11], "out_features=10, bias=True)', got 'nothing'"),
    ("my_lenet5", lambda: nn.Sequential(*lenet5(), nn.Softmax(1)), "the number of layers: expected 12, got 13"),
    ("my_lenet5", lambda: lenet5(out=8), "got 'Conv2d(1, 8, kernel_size=5, stride=1)'"),
    ("my_lenet5", lambda: lenet5(dilation=2), "got 'Conv2d(1, 6, kernel_size=5, stride=1, dilation=2)'"),
    ("my_lenet5", lambda: lenet5(kind=Identity), "32 × 32: expected [1, 10], got [1, 1, 32, 32]"),
    ("my_lenet5", lambda: [*lenet5()], "the result: expected 'a network', got 'a list'"),
    ("my_lenet5", nn.Sequential(CONV), "got 'a network, not a function that returns one'"),
    ("mirrored", lambda images: images.transpose(2, 3), "got uint8 tensor [2, 1, 3, 2]"),
    ("mirrored", lambda images: images.flip(3) / 255, "got float32 tensor [2, 1, 2, 3]"),
    ("mirrored", lambda images: images[..., ::-1], "PyTorch has no negative steps; use flip"),
    ("mirrored", lambda images: images.numpy()[..., ::-1], "of type ndarray; it must be a tensor"),
    ("nearest_mean", lambda image, means: (image - means).square().sum((1, 2)).min(), "expected 6, got "),
    ("nearest_mean", lambda image, means: (image - means).square().argmin(), "expected 6, got "),
    ("nearest_mean", lambda image, means: (image.float().mean() - means.mean((1, 2))).abs().argmin(), "how much ink"),
    ("nearest_mean", lambda i, m: (i - m.byte()).float().square().sum((1, 2)).argmin(), "expected 6, got 3"),
    ("linear_inputs", lambda side, kernels, filters: side - kernels + 1, "stopped with TypeError"),
    ("linear_inputs", lambda side, kernels, filters: ((side - kernels[0] + 1) // 2) ** 2 * filters, "inside the loop"),
    ("tiny_network", network(CONV, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 10)), "expected 2000, got 5874"),
    ("tiny_network", network(CONV, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 10)), "cannot be multiplied"),
    ("tiny_network", network(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(49, 10)), "uses, at least: expected 1"),
    ("tiny_network", network(CONV, nn.MaxPool2d(4), nn.Flatten(), nn.Linear(144, 10), nn.Softmax(1)), "got 'prob"),
    ("tiny_network", network(CONV, nn.MaxPool2d(4), nn.Flatten(), nn.Linear(144, 10), nn.LogSoftmax(1)), "got 'logar"),
    ("tiny_network", lambda: WithoutFirst(CONV, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(49, 10)), "expected 1, got 0"),
    ("tiny_network", nn.Sequential(CONV), "got 'a network, not a function that returns one'"),
    ("numerical_gradient", lambda loss, w: loss(w), "expected float64 tensor [2, 2]: "),
    ("numerical_gradient", lambda loss, w: torch.ones_like(w), "at [0, 0] expected 4, got 1.0 (4 of 4 numbers differ)"),
    ("numerical_gradient", lambda loss, w: loss(w.requires_grad_()).backward(), "write it without PyTorch's backward"),
    ("cross_entropy", F.cross_entropy, "write it without PyTorch's cross_entropy"),
    ("cross_entropy", lambda x, y: -x.log_softmax(1)[range(len(y)), y].mean(), "without PyTorch's log_softmax"),
    ("cross_entropy", lambda x, y: x.logsumexp(1).mean(), "without PyTorch's logsumexp"),
    ("cross_entropy", lambda x, y: 0.7655 / math.log(10), "expected 0.765523, got 0.332"),
    ("cross_entropy", lambda x, y: -(x.softmax(1)[range(len(y)), y] + 1e-12).log().mean(), "kept away from 0"),
    ("cross_entropy", lambda x, y: -(x.exp() / x.exp().sum(1)[:, None])[range(len(y)), y].log().mean(), "became 0"),
    ("diagnose", lambda: {"A": "healthy", "D": "healthy"}, "correct diagnoses: expected 5, got 1"),
    ("diagnose", lambda: {"A": "learning rate too large"}, "words that are not in the task: expected [], got ['learn"),
    ("diagnose", lambda: ["healthy"] * 5, "Return a dictionary with the keys A to E"),
    ("receptive_field", lambda layers: sum(kernel for kernel, _ in layers), "expected 14, got 12"),
    ("receptive_field", lambda layers: 5.0, "A count is a whole number"),
    ("scores_of", lambda table, label: (table[label, label] / table.sum(),) * 2, "expected (0.714286, 0.833333)"),
    ("scores_of", lambda table, label: 5 / 7, "it must be a tuple. Return two numbers"),
    ("scores_of", lambda table, label: (5 / 7, 5 / 6), "label=1): expected (0.636364, 0.7)"),
    ("calibration_error", lambda p, c, groups: (p.mean() - c.double().mean()).abs(), "expected 0.1, got 0.05"),
    ("calibration_error", lambda p, c, groups: p[:0].mean(), "an empty group has no mean: leave it out"),
    ("calibration_error", lambda p, c, groups: 10, "Give a fraction of 1, not percent"),
    ("ask_below", lambda asking, error: max(0.0, round(1 - asking / error, 2)), "expected 0.666667, got 0.67"),
    ("ask_below", lambda asking, error: 96, "Give a fraction of 1, not percent"),
    ("ask_below", lambda asking, error: asking / (asking + error), "expected 0.96, got 0.0384615"),
    ("dead_filters", lambda weights, biases: biases <= 0, "of type Tensor; it must be a number"),
    ("dead_filters", lambda weights, biases: 7, "got 7"),
    ("accepted_by_holm", lambda p_values, level: len(p_values), "expected 3, got 4"),
    ("accepted_by_holm", lambda p_values, level: sorted(p_values), "of type list; it must be a number"),
    ("welch_error", lambda a, b: stats.mean(a) - stats.mean(b), "of type float; it must be a tuple"),
    ("welch_error", lambda a, b: (0.0, 9.0), "got (0.0, 9.0)"),
    ("expected_best", lambda a, k: sorted(a)[-k], "got 0.97"),
    ("expected_best", lambda a, k: list(a), "of type list; it must be a number"),
    ("seed_sd", lambda a, b: stats.stdev(a), "got 0.0152753"),
    ("seed_sd", lambda a, b: [0.01], "of type list; it must be a number"),
    ("training_step", step("bs"), "the weights after a second step: at [0, 0] expected"),
    ("training_step", step("szb"), "optimizer.step() comes after it"),
    ("training_step", lambda *case: torch.tensor(step("zbs")(*case)), "expected 'a number', got 'a tensor'. Return"),
    ("training_step", step("bzs"), "They do not move: optimizer.step() comes last"),
    ("training_step", step("zbs", softmax=True), "the loss of the first step: expected 0.99602"),
    ("mcnemar_p", lambda a, b: 2 * math.comb(a + b, a) / 2 ** (a + b), "expected 0.109375, got 0.0878906"),
    ("mcnemar_p", lambda a, b: math.erfc(abs(a - b) / (2 * (a + b)) ** 0.5), "expected 0.109375, got 0.0577"),
    ("leaked", lambda w, train, test: any(w[i] in {w[j] for j in train} for i in test), "of type bool"),
    ("leaked", lambda w, train, test: len(set(train) & set(test)) / len(test), "expected 0.5, got 0.0"),
    ("z_of_two_tests", lambda e, n, f, m: f / m - e / n, "expected 2.56567, got 0.0026"),
    ("z_of_two_tests", lambda e, n, f, m: (f / m - e / n) / ((e + f) / (n + m) ** 2) ** 0.5, "got 6.25"),
    (
        "folds_by_writer",
        lambda w, folds: [i % folds for i in range(len(w))],
        "expected [2, 2, 1, 1, 1, 2, 2, 0, 0, 0, …], got [0, 1, 2",
    ),
    ("folds_by_writer", lambda w, folds: [sorted(set(w)).index(x) % folds for x in w], "got [1, 1, 1, 1, 1, 0, 0, 2"),
    ("record_lengths", lambda content: lengths(content, end=0), "expected [3, 300], got [3, "),
    ("record_lengths", lambda content: sum(lengths(content)), "of type int; it must be a list"),
    ("record_lengths", lambda content: [3, *lengths(content[19:])], "expected [954, 0, 70000], got [3, "),
    ("cheapest_threshold", lambda p, five, miss, alarm: alarm / (alarm + miss), "expected 0.4, got 0.0909"),
    ("cheapest_threshold", lambda p, five, miss, alarm: p, "of type list; it must be a number"),
    ("area_by_pairs", lambda p, five: 8 / 9, "expected 0.25, got 0.888889"),
    ("area_by_pairs", lambda p, five: 8, "expected 0.888889, got 8"),
    ("fitted_size", lambda height, width: (20, width), "expected (20, 10), got (20, 48)"),
    ("fitted_size", lambda h, w: tuple(max(1, 20 * side // max(h, w)) for side in (h, w)), "with round()"),
    ("fitted_size", lambda h, w: tuple(max(1, math.ceil(20 * s / max(h, w))) for s in (h, w)), "expected (8, 20)"),
    ("digits_needed", lambda p, width: 100, "width=0.2): expected 40, got 100"),
    ("digits_needed", lambda p, width: (20, 40), "of type tuple; it must be a number"),
    ("center_of_mass", lambda image: (14.0, 14.0), "got (14.0, 14.0)"),
    ("center_of_mass", lambda image: tuple(image.nonzero().double().mean(0).tolist()), "Weight each place by its ink"),
]
RECURSIVE = []
RECURSIVE.append(RECURSIVE)
STRANGE = [None, 0, -1, math.nan, math.inf, 10**400, 10**6000, "", "a\nb", b"", [], [None] * 3, (), (None, None), {}]
STRANGE += [{1: 2}, object(), int, True, 1j, range(3), RECURSIVE, np.zeros(3), np.float32(2), np.array("text")]
STRANGE += [torch.tensor([]), torch.zeros(10, 28, 28), torch.tensor(1j), torch.zeros(2, 1, 2, 3).to_sparse()]
STRANGE += [torch.zeros(3, device="meta"), nn.Linear(3, 4), nn.ReLU()]


def raises(error):
    def function(*_):
        raise error

    return function


@checks
def test_a_check_accepts_its_solution_and_says_what_is_wrong_with_wrong_answers(name, capsys):
    check, (solution,) = CHECKS[name], [found[name] for found in map(solved, LESSONS) if name in found]
    states = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    assert check(solution) is None
    assert capsys.readouterr() == (f"✓ {name}: {check.passed}.\n", "")
    if name not in ("tiny_network", "my_lenet5"):  # the student's own network draws its first weights
        assert states == [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    for hint, wrong in check.mistakes.items():  # no case and no hint before it hides it
        assert check.line(wrong).endswith(f"{hint}."), check.line(wrong)
    wrong = [(answer, words) for exercise, answer, words in WRONG if exercise == name]
    assert len(wrong) >= 2
    for answer, words in wrong:
        said = check.line(answer)
        assert said.startswith("✗ ")
        assert words in said, said


@checks
def test_whatever_a_function_is_or_does_the_check_says_one_line(name):
    check, recursive = CHECKS[name], lambda *given: recursive(*given)
    for answer in STRANGE:
        said = check.line(lambda *_, answer=answer: answer)
        assert said.startswith("✗ "), said
        assert len(said.splitlines()) == 1
    assert "stopped with KeyError: 'x'." in check.line(raises(KeyError("x")))
    assert "stopped with AssertionError: two lines." in check.line(raises(AssertionError("two\nlines")))
    assert "stopped with SystemExit: 1." in check.line(raises(SystemExit(1)))
    assert "stopped with NotImplementedError: no kernel." in check.line(raises(NotImplementedError("no kernel")))
    assert "stopped with RecursionError" in check.line(recursive)
    assert check.line(lambda *_: None).endswith(
        "A function without `return` gives None, also when it prints its answer."
    )
    for given in (None, 3, "first", torch.zeros(3)):
        assert check.line(given).startswith("✗ the check needs your function itself: its name, without brackets.")


# The machinery


SAME = [(3, torch.tensor(3)), (3, np.int64(3)), (0.5, 0.50001), (0.5, torch.tensor(0.5)), (0.0, 1e-9), (1.0, 1)]
SAME += [([1, 2], (1, 2)), ((0.5, 1), [torch.tensor(0.5), 1]), ([], []), ("a", "a"), ({"x": 1}, {"x": 1})]
SAME += [(torch.ones(2), torch.ones(2, dtype=torch.float64, requires_grad=True)), (torch.arange(3), torch.arange(3))]
OTHER = [
    (3, 3.0, "got 3.0. A count is a whole number"),
    (3, True, "of type bool; it must be a number"),
    (3, torch.tensor([3]), "got int64 tensor [1]: [3], of type Tensor; it must be a number. `.item()` takes"),
    (0.5, 50, "not percent"),
    (0.5, 0.501, "expected 0.5, got 0.501"),
    ([0] * 11, [], "expected [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, …], got []"),
    ({"x": 1, "y": 2}, {"x": 1, "y": 3}, "y: expected 2, got 3"),
    (torch.zeros(2, 3), torch.eye(2, 3), "at [0, 0] expected 0.0, got 1.0 (2 of 6 numbers differ)"),
    (torch.zeros(2), torch.zeros(2).long(), "expected float32 tensor [2]: [0.0, 0.0], got int64 tensor [2]: [0, 0]"),
    (torch.zeros(1), torch.tensor([math.nan]), "at [0] expected 0.0, got nan"),
]


def test_what_differs_is_described():
    assert [difference(expected, got) for expected, got in SAME] == [""] * len(SAME)
    for expected, got, words in OTHER:
        assert words in difference(expected, got)


def test_values_are_short_and_on_one_line():
    given = [1 / 3, 2.0, 1e-12, None, "a\nb", "x" * 100, b"abc", (1, 2.5), {}, torch.tensor(4), torch.zeros(3, 4)]
    said = ["0.333333", "2.0", "1e-12", "None", r"'a\nb'", "'" + "x" * 59 + "…", "3 bytes", "(1, 2.5)", "a dict", "4"]
    assert [short(value) for value in given] == [*said, "float32 tensor [3, 4]"]


def test_the_check_in_the_readme_is_one():
    (source,) = re.findall(
        r"```python\n(.*?)```", Path(exercises.__file__).with_name("README.md").read_text("utf-8"), re.S
    )
    namespace = {"exercise": exercise, "mistake": mistake}
    exec(source, namespace)
    check = namespace["check_average"]
    assert check.line(stats.mean) == "✓ mean: right for three lists."
    assert [check.line(wrong).rpartition("got ")[2] for wrong in check.mistakes.values()] == [
        f"{got}. {hint}." for got, hint in zip(("9", "4.5"), check.mistakes, strict=True)
    ]
