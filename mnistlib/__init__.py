"""mnistlib: the helper package of the MNIST and LeNet-5 course.

Read it in this order: data (01), networks, layers (02), train, evaluation, weights (03, 04), stats (05),
augment, seeds (06). Each subfolder is a room for readers who need more. Names are loaded when they are first used.
"""

from importlib import import_module

_MODULE_OF = {
    "load": "data",
    "Split": "data",
    "ImageDataset": "data",
    "DataError": "base.files",
    "NETWORKS": "networks",
    "build": "networks",
    "layer_table": "layers",
    "fit": "train",
    "History": "train",
    "evaluate": "evaluation",
    "Evaluation": "evaluation",
    "save_weights": "weights",
    "load_weights": "weights",
    "pretrained": "weights",
    "Augmentation": "augment",
    "fit_seeds": "seeds",
}
__all__ = list(_MODULE_OF)


def __getattr__(name):
    if name in _MODULE_OF:
        return getattr(import_module(f"mnistlib.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'mnistlib' has no attribute {name!r}. It offers {', '.join(__all__)}.")


def __dir__():
    return __all__
