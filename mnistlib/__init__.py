"""mnistlib: the helper package of the MNIST and LeNet-5 course.

The notebooks introduce each name; every module can be read in one sitting. Names are loaded when
first used, so that ``import mnistlib`` is quick and works even where PyTorch does not (see `doctor`).
"""

from importlib import import_module

_HOME = {
    "load": "datasets",
    "fetch": "datasets",
    "Split": "datasets",
    "DataError": "files",
    "NETWORKS": "networks",
    "build": "networks",
    "save_checkpoint": "checkpoints",
    "load_checkpoint": "checkpoints",
    "pretrained": "checkpoints",
    "layer_table": "counting",
    "fit": "training",
    "History": "training",
    "evaluate": "evaluation",
    "Evaluation": "evaluation",
    "Augmentation": "augmentation",
    "fit_seeds": "ensembles",
    "Ensemble": "ensembles",
    "compare": "experiments",
    "sweep": "sweeps",
}
_MODULES = (
    "augmentation",
    "checkpoints",
    "checks",
    "comparisons",
    "counting",
    "datasets",
    "diagrams",
    "doctor",
    "drawing",
    "ensembles",
    "evaluation",
    "exercises",
    "experiments",
    "files",
    "hiragana",
    "lenet1998",
    "networks",
    "pictures",
    "plots",
    "reports",
    "runs",
    "sweeps",
    "tfrecords",
    "tracing",
    "training",
)
__all__ = [*_HOME, *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return import_module(f"mnistlib.{name}")
    if name in _HOME:
        return getattr(import_module(f"mnistlib.{_HOME[name]}"), name)
    raise AttributeError(f"module 'mnistlib' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__():
    return __all__
