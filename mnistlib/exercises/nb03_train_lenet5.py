"""Checks for the exercises of notebook 03."""

from functools import partial
from math import e, log

import torch
from torch.nn.functional import cross_entropy, nll_loss

from mnistlib.exercises.check import exercise, mistake

TWO_STEPS = "the right loss, and the right weights after one step and after two"
logits = torch.tensor([[2.0, 0, -1], [0.5, 1.5, 0], [-1, 0, 3], [1, 1, 0]])
batches = (logits, torch.tensor([0, 2, 2, 1])), (torch.eye(10) * 4, torch.arange(10) * 3 % 10)
net = torch.nn.utils.skip_init(torch.nn.Linear, 2, 3, bias=False)  # draws no random numbers
net.weight.data = torch.tensor([[0.5, -0.5], [0.0, 1.0], [-1.0, 0.5]])
images, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 0.0]]), torch.tensor([0, 1, 2, 0])
case = (net, torch.optim.SGD(net.parameters(), lr=0.5), images, labels)


@exercise("right for 10, 2 and 100 classes", (10,), (2,), (100,))
@mistake("The minus is missing: a loss is never below 0", lambda classes: -log(1 + (classes - 1) / e))
@mistake("One class is the right one; the others are classes − 1", lambda classes: log(1 + classes / e))
@mistake("That is the loss of a network that knows nothing", log)
def check_loss_floor(classes):
    return log(1 + (classes - 1) / e)


@exercise("right for two batches, of 3 and of 10 classes", *batches)
@mistake("That is the sum; the loss of a batch is the mean", partial(cross_entropy, reduction="sum"))
@mistake("The minus is missing", lambda logits, labels: -cross_entropy(logits, labels))
@mistake("The softmax is for each image: softmax(1)", lambda logits, labels: nll_loss(logits.log_softmax(0), labels))
@mistake("Only the probability of the right class counts", lambda logits, labels: -logits.log_softmax(1).mean())
@mistake("That is one softmax too many: cross_entropy contains one", lambda a, b: cross_entropy(a.softmax(1), b))
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
