"""Compare a student's function with the right one, and say in one line what came of it. What `exercises` is made of.

``✓`` when it is right, ``✗`` with what was given, what was expected and what came, or ``·`` when there is no answer yet.
Whatever the function does, the line is all that happens: no traceback. Introduced in notebook 00.
"""

import copy
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence

import torch

NOT_SOLVED = "· not solved yet: write your answer in the cell above, run it, then run this cell again."


def check(
    function, right: Callable, cases: Sequence[tuple], checked: str, mistakes: Mapping[str, Callable] | None = None
) -> None:
    """Print the line for ``function``: called on each of ``cases``, a tuple of arguments, it must give what ``right`` gives.

    ``checked`` says what a ✓ stands for. ``mistakes`` are functions that go wrong in a common way, each under the words that
    help; they are added when the answer is that of such a function. All work on copies of the arguments.
    """
    if not callable(function):
        print(f"✗ the check needs your function itself: its name, without brackets behind it. It got {short(function)}.")
        return
    name, parameters = getattr(function, "__name__", "your function"), inspect.signature(right).parameters
    for case in cases:
        try:
            problem = _problem(function, right, case, mistakes or {})
        except Exception as error:  # whatever a student's function does must become a line
            if isinstance(error, NotImplementedError) and not error.args:  # PyTorch raises it too, with words
                print(NOT_SOLVED)
                return
            problem = f"stopped with {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if problem:
            given = ", ".join(f"{key}={short(value)}" for key, value in zip(parameters, case, strict=False))
            print(f"✗ {name}({given}): {problem.rstrip('.')}.")
            return
    print(f"✓ {name}: {checked}.")


def _problem(function: Callable, right: Callable, case: tuple, mistakes: Mapping[str, Callable]) -> str:
    """What is wrong with the function's answer to one case, and why; empty when it is right."""
    got = _answer(function, case)
    problem = difference(_answer(right, case), got)
    hints = (hint for hint, wrong in mistakes.items() if problem and not difference(_answer(wrong, case), got))
    return ". ".join(filter(None, [problem, next(hints, "")]))


def then(function: Callable, look: Callable) -> Callable:
    """``look`` at what ``function`` returns: for answers that cannot be compared as they are."""
    return functools.wraps(function)(lambda *given: look(function(*given))) if callable(function) else function


def difference(expected, got) -> str:
    """Empty when ``got`` will do for ``expected``; else both of them, and what differs.

    Numbers agree to four digits, and numbers, NumPy's numbers and tensors of no axis are the same. A dictionary
    holds named results; the first that differs is described.
    """
    both = f"expected {short(expected)}, got {short(got)}"
    if got is None:
        return f"{both}. A function without `return` gives None, also when it prints its answer"
    if isinstance(expected, dict):
        parts = ((name, difference(value, got.get(name))) for name, value in expected.items())
        return next((f"{name}: {problem}" for name, problem in parts if problem), "")
    if isinstance(expected, torch.Tensor):
        return _tensors(expected, got, both)
    if isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple):
            return f"{both}, which is a {type(got).__name__} and not a {type(expected).__name__}"
        return both if len(expected) != len(got) or any(map(difference, expected, got)) else ""
    if isinstance(expected, str):
        return "" if isinstance(got, str) and got == expected else both
    return _numbers(expected, got, both)


def short(value) -> str:
    """A value in a few words, on one line."""
    value = _plain(value)
    if isinstance(value, torch.Tensor):
        values = f": {short(value.tolist())}" if value.numel() <= 10 else ""
        return f"{str(value.dtype).removeprefix('torch.')} tensor {list(value.shape)}{values}"
    if isinstance(value, float):
        return f"{value:.1f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.6g}"
    if isinstance(value, list | tuple):
        inside = ", ".join([*map(short, value[:10]), *["…"][: len(value) > 10]])
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if value is None or isinstance(value, int | str):
        return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}…"
    return f"a {type(value).__name__}"


def _answer(function: Callable, case: tuple):
    return function(*copy.deepcopy(case))  # in one piece: an optimizer's copy belongs to its network's copy


def _plain(value):
    """The number of a tensor, or of NumPy, that has no axis; everything else as it is."""
    return value.item() if getattr(value, "shape", None) == () else value


def _numbers(expected: int | float, got, both: str) -> str:
    number = _plain(got)
    if isinstance(number, bool) or not isinstance(number, int | float):
        one = ". `.item()` takes the number out of it" if getattr(got, "shape", None) == (1,) else ""
        return f"{both}, which is a {type(got).__name__} and not a number{one}"
    if isinstance(expected, int):
        if number == expected and isinstance(number, float):
            return f"{both}. A count is a whole number, an int; // divides without a remainder"
        return "" if number == expected else both
    if math.isclose(number, expected, rel_tol=1e-4, abs_tol=1e-7):
        return ""
    percent = 0 < expected <= 1 and math.isclose(number, 100 * expected, rel_tol=1e-4)
    return f"{both}. Give a share of 1, not percent" if percent else both


def _tensors(expected: torch.Tensor, got, both: str) -> str:
    if not isinstance(got, torch.Tensor):
        return f"{both}, which is a {type(got).__name__} and not a tensor"
    got = got.detach().cpu()
    kinds = {got.dtype, expected.dtype} if not got.is_floating_point() or not expected.is_floating_point() else {"floats"}
    if got.shape != expected.shape or len(kinds) > 1:
        return both
    wrong = ~torch.isclose(got.double(), expected.double(), rtol=1e-4, atol=1e-7)
    if not wrong.any():
        return ""
    place = tuple(wrong.nonzero()[0].tolist())
    first = f"at {list(place)} expected {short(expected[place].item())}, got {short(got[place].item())}"
    return f"{first} ({wrong.sum()} of {wrong.numel()} numbers differ)"
