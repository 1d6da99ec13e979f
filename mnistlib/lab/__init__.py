"""The laboratory: more networks, recipes, sweeps, resuming, and many seeds at once on a GPU. See README.md."""

from mnistlib.lab import networks  # noqa: F401 — registers its networks
from mnistlib.lab.checkpoint import Checkpoint
from mnistlib.lab.recipes import Recipe
from mnistlib.lab.results import confusion, predictions, read, table
from mnistlib.lab.sources import SOURCES, modern, plain, published
from mnistlib.lab.sweep import sweep

__all__ = ["SOURCES", "Checkpoint", "Recipe", "modern", "plain", "published", "sweep"]
__all__ += ["confusion", "predictions", "read", "table"]  # of files of results
