"""Compare a student's function with the right one, and print one line about it: never a traceback.

It starts with ``✓`` (right), ``✗`` (what was given, expected and got) or ``·`` (no answer yet). Used from notebook 00.
"""

import copy
import inspect
import math
import re
from collections.abc import Callable
from contextlib import ContextDecorator
from dataclasses import dataclass
from functools import partial

import torch
from torch.overrides import TorchFunctionMode

NOT_SOLVED = "· not solved yet: write your answer in the cell above, run it, then run this cell again."


def exercise(passed: str, *cases: tuple, observed: Callable = lambda function: function, hints=()) -> Callable:
    """Turn the right answer below into its check. ``observed`` makes functions whose results can be compared.

    ``hints`` are pairs: words of a line (a regular expression), and what to add to such a line.
    """
    return lambda right: Check(right, cases, passed, observed, hints, getattr(right, "mistakes", {}))


def mistake(hint: str, wrong: Callable | None = None, **options) -> Callable:
    """What to say to an answer like that of ``wrong``, or like that of the right function below with these options."""

    def with_mistake(right):
        right.mistakes = {hint: wrong or partial(right, **options), **getattr(right, "mistakes", {})}
        return right

    return with_mistake


class Without(ContextDecorator, TorchFunctionMode):
    """For ``observed``: while the function runs, those of PyTorch with these names stop with an error."""

    def __init__(self, *names: str):
        super().__init__()
        self.names = names

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in self.names:
            raise RuntimeError(f"write it without PyTorch's {function.__name__}")
        return function(*args, **(kwargs or {}))


@dataclass(frozen=True, repr=False)
class Check:
    """The check of one exercise: call it with the student's function, and it prints its line."""

    right: Callable
    cases: tuple[tuple, ...]  # the arguments of each call; each function gets copies of its own
    passed: str  # what a ✓ stands for
    observed: Callable
    hints: tuple[tuple[str, str], ...]
    mistakes: dict[str, Callable]

    def __call__(self, function: Callable) -> None:
        print(self.line(function))

    def line(self, function: Callable) -> str:
        """What the check says about the function: one line, whatever the function is or does."""
        if not callable(function):
            return f"✗ the check needs your function itself: its name, without brackets. It got {short(function)}."
        name, parameters = getattr(function, "__name__", "your function"), inspect.signature(self.right).parameters
        for case in self.cases:
            problem = self.problem(function, case)
            if problem == NOT_SOLVED:
                return problem
            if problem:
                given = ", ".join(f"{key}={short(value)}" for key, value in zip(parameters, case, strict=False))
                line = f"✗ {name}({given}): {problem.rstrip('.')}."
                return next((f"{line} {hint}." for words, hint in self.hints if re.search(words, line)), line)
        return f"✓ {name}: {self.passed}."

    def problem(self, function: Callable, case: tuple) -> str:
        """What is wrong with the function's answer to one case, with a hint; empty when the answer is right."""
        try:
            got = self.answer(function, case)
            problem = difference(self.answer(self.right, case), got)
            hints = (hint for hint, wrong in self.mistakes.items() if not difference(self.answer(wrong, case), got))
            return problem and ". ".join(filter(None, [problem, next(hints, "")]))
        except (Exception, SystemExit) as error:  # whatever a student's function does must become a line
            if isinstance(error, NotImplementedError) and not error.args:  # PyTorch raises it too, with words
                return NOT_SOLVED
            return f"stopped with {type(error).__name__}: {' '.join(str(error).split())[:300]}"

    def answer(self, function: Callable, case: tuple):
        return self.observed(function)(*copy.deepcopy(case))  # copied as a whole: an optimizer keeps its network


def difference(expected, got) -> str:
    """Empty when ``got`` is ``expected``, numbers to four digits; else both, and what differs first."""
    both, value = f"expected {short(expected)}, got {short(got)}", _plain(got)
    if got is None:
        return f"{both}. A function without `return` gives None, also when it prints its answer"
    if isinstance(expected, dict):
        problems = {name: difference(part, got.get(name)) for name, part in expected.items()}
        return next((f"{name}: {problem}" for name, problem in problems.items() if problem), "")
    if isinstance(expected, torch.Tensor) and isinstance(got, torch.Tensor):
        return _difference_of_tensors(expected, got.detach().cpu(), both)
    if isinstance(expected, list | tuple) and isinstance(got, list | tuple):
        return both if len(expected) != len(got) or any(map(difference, expected, got)) else ""
    if isinstance(expected, complex) or (isinstance(expected, str) and isinstance(got, str)):
        return both if got != expected else ""  # a mistake gives the root of a negative number
    if isinstance(expected, torch.Tensor | list | tuple | str):
        return f"{both}, of type {type(got).__name__}; it must be a {type(expected).__name__.lower()}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        item = ". `.item()` takes the number out of it" if getattr(got, "shape", None) == (1,) else ""
        return f"{both}, of type {type(got).__name__}; it must be a number{item}"
    if isinstance(expected, int):
        count = ". A count is a whole number, an int; // divides without a remainder" if value == expected else ""
        return both + count if value != expected or isinstance(value, float) else ""
    right, percent = (math.isclose(value, number, rel_tol=1e-4, abs_tol=1e-7) for number in (expected, 100 * expected))
    return "" if right else f"{both}. Give a fraction of 1, not percent" if percent and 0 < expected <= 1 else both


def _difference_of_tensors(expected: torch.Tensor, got: torch.Tensor, both: str) -> str:
    kinds = {tensor.dtype if not tensor.is_floating_point() else "floats" for tensor in (expected, got)}
    if got.shape != expected.shape or len(kinds) > 1:
        return both
    wrong = (~torch.isclose(got.double(), expected.double(), rtol=1e-4, atol=1e-7)).nonzero().tolist()
    if not wrong:
        return ""
    first = f"expected {short(expected[tuple(wrong[0])])}, got {short(got[tuple(wrong[0])])}"
    return f"at {wrong[0]} {first} ({len(wrong)} of {got.numel()} numbers differ)"


def short(value) -> str:
    """A value in a few words, on one line."""
    value = _plain(value)
    if isinstance(value, torch.Tensor):
        values = f": {short(value.tolist())}" if value.numel() <= 10 else ""
        return f"{str(value.dtype).removeprefix('torch.')} tensor {list(value.shape)}{values}"
    if isinstance(value, float):
        return f"{value:.1f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.6g}"
    if isinstance(value, list | tuple):
        inside = ", ".join(map(short, value[:10])) + (", …" if len(value) > 10 else "")
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if value is None or isinstance(value, int | str):
        return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}…"
    return f"a {type(value).__name__}"


def _plain(value):
    """The number in a tensor or NumPy value without axes; everything else as it is."""
    return value.item() if getattr(value, "shape", None) == () else value
