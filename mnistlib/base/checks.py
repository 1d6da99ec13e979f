"""Check arguments against the types in a signature, so that a mistake ends in one clear sentence."""

import os
from collections.abc import Iterable, Sized
from functools import cache, wraps
from inspect import Parameter, signature
from types import UnionType
from typing import get_args, get_origin, get_type_hints

PATH = str | os.PathLike
WORDS = {
    "int": "a whole number",
    "float": "a real number",
    "str": "a string",
    "PathLike": "a path",
    "NoneType": "None",
    "Callable": "a function",
    "Tensor": "a torch.Tensor (torch.as_tensor makes one)",
    "Module": "a network, such as mnistlib.build('lenet5')",
    "Split": "a Split, such as mnistlib.load('MNIST').train",
}


def checked(function):
    """Make a function, or a class, raise TypeError for an argument that is not of the type in its signature.

    An ``int`` may be a whole number of Python, NumPy or torch, and a ``float`` any real number of theirs; booleans are
    neither. Parameters without a type are not checked.
    """
    if isinstance(function, type):
        function.__init__ = checked(function.__init__)
        return function
    hints, parameters = cache(lambda: get_type_hints(function)), signature(function)

    @wraps(function)
    def call(*args, **kwargs):
        for name, value in parameters.bind(*args, **kwargs).arguments.items():
            several = parameters.parameters[name].kind is Parameter.VAR_POSITIONAL
            if name in hints() and not all(fits(each, hints()[name]) for each in (value if several else [value])):
                kinds = get_args(hints()[name]) if get_origin(hints()[name]) is UnionType else [hints()[name]]
                wanted = " or ".join(WORDS.get(getattr(kind, "__name__", ""), str(kind)) for kind in kinds)
                where, got = function.__qualname__.removesuffix(".__init__"), " ".join(repr(value).split())
                raise TypeError(f"{where}: {name} must be {wanted}; got {got:.80}.")
        return function(*args, **kwargs)

    return call


def fits(value, hint) -> bool:
    """Say whether a value is of the type of a hint, and so are the items of a list or tuple."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is UnionType:
        return any(fits(value, each) for each in inner)
    if kind is bool:
        return getattr(value, "ndim", 0) == 0  # whatever else is given, it is true or false
    if kind in (int, float):
        real = "float" in str(getattr(value, "dtype", type(value))) and getattr(value, "ndim", 0) == 0
        return is_whole(value) or (kind is float and real)
    if inner:  # of a sequence; an array of numbers is one, an iterator would be used up
        if not (isinstance(value, kind) or hasattr(value, "__array__")) or getattr(value, "ndim", 1) != 1:
            return False
        if kind is tuple and Ellipsis not in inner and len(value) != len(inner):
            return False
        return not isinstance(value, Sized) or all(fits(each, inner[0]) for each in value)
    return isinstance(value, kind) and (kind is not Iterable or getattr(value, "ndim", 1) > 0)


def is_whole(number) -> bool:
    """Say whether this is a whole number of Python, NumPy or torch; True and False do not count."""
    kind = str(getattr(number, "dtype", type(number)))  # <class 'int'>, int64, torch.int64, …
    return "int" in kind and hasattr(number, "__index__") and getattr(number, "ndim", 0) == 0
