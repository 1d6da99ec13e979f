"""Checks for the exercises of notebook 03."""

from functools import partial

import torch
from torch.nn.functional import cross_entropy

from mnistlib.exercises.check import Without, exercise, mistake

ENTRIES = "right for a matrix and for a vector, in all entries (whether it goes to both sides is not checked)"
TWO_STEPS = "the right loss, and the right weights after one step and after two, with SGD and with Adam"
LOGITS = "right for batches of 3 and of 10 classes, and for logits of 1,000"
DIAGNOSES = ["softmax too many", "rate too large", "labels shuffled", "healthy", "rate too small"]  # of A to E
PATIENTS = {"A": {"twice": True}, "B": {"lr": 6}, "C": {"shuffled": True}, "D": {}, "E": {"lr": 0.0005}}
squares = (lambda w: (w**2).sum(), torch.tensor([1.0, 2.0, 3.0]).double())
mixed = (lambda w: w[0, 0] * w[1, 1] ** 2 + w[0, 1].exp(), torch.tensor([[0.5, -1.0], [0.0, 2.0]]).double())
logits = torch.tensor([[2.0, 0, -1], [0.5, 1.5, 0], [-1, 0, 3], [1, 1, 0]])
batches = (logits, torch.tensor([0, 2, 2, 1])), (torch.eye(10) * 4, torch.arange(10) * 3 % 10)
large = (torch.tensor([[1000.0, 0.0], [-1000.0, 0.0]]), torch.tensor([1, 1]))
net = torch.nn.utils.skip_init(torch.nn.Linear, 2, 3, bias=False)  # draws no random numbers
net.weight.data = torch.tensor([[0.5, -0.5], [0.0, 1.0], [-1.0, 0.5]])
without_help = Without("cross_entropy", "nll_loss", "log_softmax", "logsumexp", "backward", "grad")
images, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 0.0]]), torch.tensor([0, 1, 2, 0])
case = (net, torch.optim.SGD(net.parameters(), lr=0.5), images, labels)
with_adam = (net, torch.optim.Adam(net.parameters(), lr=0.1), images, labels)


@exercise(ENTRIES, mixed, squares, observed=without_help)
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


def of_each(logits, labels, of_label=1, of_sum=1):
    """The loss of each image; 0 for ``of_label`` or ``of_sum`` forgets to subtract the largest logit there."""
    z, largest = logits[torch.arange(len(labels)), labels], logits.max(1).values
    return (logits - of_sum * largest[:, None]).exp().sum(1).log() - (z - of_label * largest)


TOO_LATE = [
    ("got inf", "A probability became 0, and its logarithm −∞: compute log Σ e^z − z_c instead"),
    (r"expected 500\.0, got \d", "A probability kept away from 0 gives too small a loss: compute log Σ e^z − z_c"),
]


@exercise(LOGITS, *batches, large, observed=without_help, hints=TOO_LATE)
@mistake("That is the sum; the loss of a batch is the mean", lambda logits, labels: of_each(logits, labels).sum())
@mistake("That is the loss of each image; return their mean", of_each)
@mistake("The minus is missing", lambda logits, labels: -of_each(logits, labels).mean())
@mistake("The softmax is for each image: softmax(1)", lambda z, y: -z.softmax(0)[range(len(y)), y].log().mean())
@mistake("Only the probability of the correct class counts", lambda logits, labels: -logits.softmax(1).log().mean())
@mistake("That is one softmax too many", lambda logits, labels: of_each(logits.softmax(1), labels).mean())
@mistake("Subtract from each row its own largest logit", lambda z, y: of_each(z - z.max(), y, 0, 0).mean())
@mistake("Subtract the largest logit from z_c, too", of_label=0)
@mistake("Subtract the largest logit inside the sum, too", of_sum=0)
def check_cross_entropy(logits, labels, of_label=1, of_sum=1):
    return of_each(logits, labels, of_label, of_sum).mean().item()


def two_steps(net, *case, step):
    """What the exercise asks about a step: the first loss, and the weights after one step and after two."""
    loss = step(net, *case)
    seen = {"the result": "a tensor" if isinstance(loss, torch.Tensor) else "a number"}
    seen |= {"the loss of the first step": loss, "the weights after it": net.weight.detach().clone()}
    step(net, *case)
    return seen | {"the weights after a second step": net.weight.detach().clone()}


@exercise(TWO_STEPS, case, with_adam, observed=lambda step: partial(two_steps, step=step))
@mistake("They do not move: optimizer.step() comes last, right after backward()", move=False)
@mistake("The slopes are there only after backward(): optimizer.step() comes after it", early=True)
@mistake("The gradient of the first step is still there: optimizer.zero_grad()", forget=False)
@mistake("That is the loss after the step, not before it", late=True)
@mistake("cross_entropy takes logits: that is one softmax too many", twice=True)
@mistake("Return the number in it: loss.item()", lambda *case: torch.tensor(check_training_step.right(*case)))
def check_training_step(net, optimizer, images, labels, forget=True, move=True, early=False, late=False, twice=False):
    logits = net(images)
    loss = cross_entropy(logits.softmax(1) if twice else logits, labels)
    if early:
        optimizer.step()
    if forget:
        optimizer.zero_grad()
    loss.backward()
    if move and not early:
        optimizer.step()
    return cross_entropy(net(images), labels).item() if late else loss.item()


def count_correct(diagnose):
    """Return how many of the five diagnoses are correct, so that the check does not tell which."""
    found = diagnose()
    if found is None:
        return None
    given = [found[letter] for letter in "ABCDE" if letter in found] if isinstance(found, dict) else []
    unknown = [word for word in given if word not in DIAGNOSES]
    correct = sum(found.get(letter) == word for letter, word in zip("ABCDE", DIAGNOSES, strict=True)) if given else 0
    return {"words that are not in the task": unknown, "correct diagnoses": correct}


@exercise("all five are correct", (), observed=lambda diagnose: partial(count_correct, diagnose))
@mistake("Return a dictionary with the keys A to E and the words of the task", list)
def check_diagnose():
    return dict(zip("ABCDE", DIAGNOSES, strict=True))
