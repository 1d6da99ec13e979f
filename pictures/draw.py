"""Draw the picture of predictions in the README again; it trains LeNet-5 first: ``python course.py pictures``."""

from pathlib import Path

from mnistlib import build, evaluate, fit, load, plots
from mnistlib.show import figures

mnist, net = load("MNIST"), build("lenet5", seed=0)
train, valid = mnist.train.resized(32).split(55_000, 5_000, seed=0)
fit(net, train, valid)  # as in notebook 03
test = mnist.test.resized(32)
plots.save(figures.predictions(test, evaluate(net, test)), Path(__file__).with_name("predictions.png"))
