"""Checks for the exercises of notebook 03."""

from functools import partial

import torch
from torch.nn.functional import cross_entropy, nll_loss

from mnistlib.exercises.check import exercise, mistake

TWO_STEPS = "the right loss, and the right weights after one step and after two"
DIAGNOSES = ["softmax too many", "rate too large", "labels shuffled", "healthy", "rate too small"]  # of A to E
squares = (lambda w: (w**2).sum(), torch.tensor([1.0, 2.0, 3.0]).double())
mixed = (lambda w: w[0, 0] * w[1, 1] ** 2 + w[0, 1].exp(), torch.tensor([[0.5, -1.0], [0.0, 2.0]]).double())
logits = torch.tensor([[2.0, 0, -1], [0.5, 1.5, 0], [-1, 0, 3], [1, 1, 0]])
batches = (logits, torch.tensor([0, 2, 2, 1])), (torch.eye(10) * 4, torch.arange(10) * 3 % 10)
large = (torch.tensor([[1000.0, 0.0], [-1000.0, 0.0]]), torch.tensor([1, 1]))
net = torch.nn.utils.skip_init(torch.nn.Linear, 2, 3, bias=False)  # draws no random numbers
net.weight.data = torch.tensor([[0.5, -0.5], [0.0, 1.0], [-1.0, 0.5]])
images, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 0.0]]), torch.tensor([0, 1, 2, 0])
case = (net, torch.optim.SGD(net.parameters(), lr=0.5), images, labels)


@exercise("right for a matrix and for a vector, in all entries", mixed, squares)
@mistake("The two points are 2 * h apart, so divide by 2 * h", divide=1)
@mistake("The sign is wrong: take the loss above minus the loss below", divide=-2)
@mistake("Nudge a new copy of w for each entry, or all earlier entries stay nudged", copy=False)
def check_numerical_gradient(loss, w, divide=2, copy=True, h=1e-5):
    gradient, up, down = torch.zeros_like(w), w.clone(), w.clone()
    for i in range(w.numel()):
        if copy:
            up, down = w.clone(), w.clone()
        up.view(-1)[i] += h
        down.view(-1)[i] -= h
        gradient.view(-1)[i] = (loss(up) - loss(down)) / (divide * h)
    return gradient


def too_late(logits, labels):
    return -logits.softmax(1)[torch.arange(len(labels)), labels].log().mean()


@exercise("right for batches of 3 and of 10 classes, and for logits of 1,000", *batches, large)
@mistake("That is the sum; the loss of a batch is the mean", partial(cross_entropy, reduction="sum"))
@mistake("The minus is missing", lambda logits, labels: -cross_entropy(logits, labels))
@mistake("The softmax is for each image: softmax(1)", lambda logits, labels: nll_loss(logits.log_softmax(0), labels))
@mistake("Only the probability of the correct class counts", lambda logits, labels: -logits.log_softmax(1).mean())
@mistake("That is one softmax too many", lambda logits, labels: cross_entropy(logits.softmax(1), labels))
@mistake("A probability became 0, and its logarithm −∞: compute log Σ e^z − z_c instead", too_late)
def check_cross_entropy(logits, labels):
    return cross_entropy(logits, labels).item()


def two_steps(net, *case, step):
    """What the exercise asks about a step: the first loss, and the weights after one step and after two."""
    seen = {"the loss of the first step": step(net, *case), "the weights after it": net.weight.detach().clone()}
    step(net, *case)
    return seen | {"the weights after a second step": net.weight.detach().clone()}


@exercise(TWO_STEPS, case, observed=lambda step: partial(two_steps, step=step))
@mistake("They do not move: optimizer.step() comes last, right after backward()", move=False)
@mistake("The gradient of the first step is still there: optimizer.zero_grad()", forget=False)
@mistake("That is the loss after the step, not before it", late=True)
def check_training_step(net, optimizer, images, labels, forget=True, move=True, late=False):
    loss = cross_entropy(net(images), labels)
    if forget:
        optimizer.zero_grad()
    loss.backward()
    if move:
        optimizer.step()
    return cross_entropy(net(images), labels).item() if late else loss.item()


def count_correct(diagnose):
    """Return how many of the five diagnoses are correct, so that the check does not tell which."""
    found = diagnose()
    if found is None:
        return None
    given = [found.get(letter) for letter in "ABCDE"] if isinstance(found, dict) else []
    return {"correct diagnoses": sum(a == b for a, b in zip(given, DIAGNOSES, strict=False))}


@exercise("all five are correct", (), observed=lambda diagnose: partial(count_correct, diagnose))
@mistake("Return a dictionary with the keys A to E and the words of the task", list)
def check_diagnose():
    return dict(zip("ABCDE", DIAGNOSES, strict=True))
