"""One network trained from many seeds: a loop over `fit`. `lab.sweep` also stores them. Notebook 06."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn
from tqdm.auto import tqdm

from mnistlib.base.checks import checked
from mnistlib.data import Split
from mnistlib.evaluation import Evaluation, evaluate
from mnistlib.networks import find
from mnistlib.train import History, fit


@dataclass
class Ensemble:
    """Networks that differ only in their seed, and the `History` of each. Introduced in notebook 06."""

    seeds: list[int]
    nets: list[nn.Module]
    histories: list[History]

    def evaluate(self, split: Split) -> list[Evaluation]:
        """Evaluate each network on a split."""
        return [evaluate(net, split) for net in self.nets]


@checked
def fit_seeds(
    network: str | Callable,
    seeds: Iterable[int],
    train: Split,
    valid: Split | None = None,
    *,
    progress: bool = True,
    **settings,
) -> Ensemble:
    """Build and train ``network``, a key of `NETWORKS` or a function of the seed, once for each seed. Notebook 06.

    ``settings`` are those of `fit`, without ``seed``. Raises ValueError for seeds that repeat, and as `fit` does.
    """
    if isinstance(network, nn.Module):
        raise TypeError("network must be a key or a function of the seed, as each seed needs a new network.")
    seeds = list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different whole numbers, at least one; got {seeds}.")
    nets = [(find(network).build if isinstance(network, str) else network)(seed) for seed in seeds]
    histories = []
    for seed, net in zip(seeds, tqdm(nets, "training", unit="network", disable=not progress), strict=True):
        histories.append(fit(net, train, valid, seed=seed, progress=False, **settings))
    return Ensemble(seeds, nets, histories)
