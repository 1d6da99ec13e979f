"""What experiments add to `fit`: early stopping, averaged weights, a decaying learning rate, and a famous mistake."""

import torch
from torch.nn import functional as F

from mnistlib.base.checks import is_whole
from mnistlib.evaluation import evaluate
from mnistlib.train import constant


class EarlyStopping:
    """End training after ``patience`` epochs in a row without a lower validation loss. Introduced in notebook 05.

    The weights stay those of the last epoch, as in Keras. Raises ValueError without a validation split.
    """

    def __init__(self, patience: int):
        if not is_whole(patience) or patience < 1:
            raise ValueError(f"patience must be a whole number of epochs, at least 1; got {patience!r}.")
        self.patience = patience

    def begin(self, run):
        if run.valid is None:
            raise ValueError("EarlyStopping needs a validation split. Give fit one: valid=…")
        self.epoch_end(run)  # a checkpoint may have restored a training that is at its end

    def epoch_end(self, run):
        losses = run.history.valid_loss
        if losses and len(losses) - 1 - losses.index(min(losses)) >= self.patience:
            run.stop = True


class WeightAverage:
    """Keep a moving average of the weights, and put it into the network at the end. Introduced in notebook 06.

    After each batch, average = decay × average + (1 − decay) × weights; during the first steps the decay is smaller,
    (1 + step) / (10 + step), as in TensorFlow's ExponentialMovingAverage. ``valid_accuracy`` has the accuracy of the
    average after each epoch (0–1), when there is a validation split. Source: Polyak and Juditsky 1992.
    """

    def __init__(self, decay: float = 0.999):
        if not 0 < decay < 1:
            raise ValueError(f"decay must be between 0 and 1, such as 0.999; got {decay!r}.")
        self.decay, self.average, self.valid_accuracy = decay, None, []

    def begin(self, run):
        if self.average is None:  # else a checkpoint has restored it
            self.average = [parameter.detach().clone() for parameter in run.net.parameters()]

    @torch.no_grad()
    def batch_end(self, run):
        decay = min(self.decay, (1 + run.step) / (10 + run.step))
        torch._foreach_lerp_(self.average, list(run.net.parameters()), 1 - decay)

    def epoch_end(self, run):
        if run.valid is not None:
            self.end(run)
            self.valid_accuracy.append(evaluate(run.net, run.valid).accuracy)
            self.end(run)

    @torch.no_grad()
    def end(self, run):
        """Swap the weights and their average."""
        for average, parameter in zip(self.average, run.net.parameters(), strict=True):
            weights = parameter.clone()
            parameter.copy_(average)
            average.copy_(weights)

    def state_dict(self):
        return {"average": self.average, "valid_accuracy": self.valid_accuracy}

    def load_state_dict(self, state):
        self.valid_accuracy = state["valid_accuracy"]
        self.average = [new.to(old.device) for new, old in zip(state["average"], self.average, strict=True)]


def decay(factor: float, kind=torch.optim.Adam, **options):
    """Return an ``optimizer`` for `fit` that multiplies the learning rate by ``factor`` each epoch. Notebook 07."""
    if not 0 < factor <= 1:
        raise ValueError(f"factor must be above 0 and at most 1; got {factor!r}.")

    def make(parameters, lr, steps, steps_per_epoch):
        optimizer, _ = constant(parameters, lr, steps, steps_per_epoch, kind, **options)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor ** (step // steps_per_epoch))

    return make


def softmax_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The famous mistake, for experiments: softmax first, then cross-entropy, which applies the softmax once more.

    logits: float ``[B, classes]``; labels: int64 ``[B]``; returns the mean ``[]``, in nats. With ten classes it cannot
    fall below ln(e + 9) - 1 = 1.4612. Found in Peachypie98/mnist-lenet and antoine-spahr/MNIST-LeNet5-Pytorch.
    Introduced in notebook 06.
    """
    return F.cross_entropy(logits.softmax(-1), labels)
