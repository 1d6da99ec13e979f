"""Fixtures that the tests share."""

import os
import socket
import tempfile
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # no window, before matplotlib is imported anywhere

import pytest
import torch
from hypothesis import configuration, settings

from mnistlib import data, networks

# The same examples every time: what passed yesterday passes today. Nothing is written into the repository.
configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "mnistlib-hypothesis")
settings.register_profile("course", derandomize=True, deadline=None, database=None, print_blob=True)
settings.load_profile("course")


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    """An empty data folder of each test's own; it does not exist yet."""
    folder = tmp_path / "data"
    monkeypatch.setenv("MNISTLIB_DATA", str(folder))
    return folder


@pytest.fixture(autouse=True)
def environment_kept():
    """Dask's workers set OMP_NUM_THREADS and more in the process that starts them."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def no_network(monkeypatch):
    """A machine without a network; yields the list of what was tried."""
    tried = []

    def refuse(*arguments, **_):
        tried.append(arguments)
        raise OSError(101, "Network is unreachable")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    return tried


@pytest.fixture(scope="session")
def mnist(tmp_path_factory):
    """The real MNIST. Tests must not change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNISTLIB_DATA", str(tmp_path_factory.mktemp("session-data")))
        return data.load("MNIST")


@pytest.fixture(scope="session")
def small(mnist):
    """2,000 training and 1,000 test images of MNIST."""
    return data.ImageDataset("MNIST", mnist.train.take(2000), mnist.test.take(1000))


@pytest.fixture
def fake_split():
    """A function that makes a split of random pixels; labels go round 0 … 9."""

    def make(count=20, size=28, classes=data.DIGITS, seed=0, **fields):
        generator = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (count, 1, size, size), generator=generator, dtype=torch.uint8)
        return data.Split(images, torch.arange(count) % len(classes), classes, **fields)

    return make


@pytest.fixture
def weights_of():
    """A function that copies a network's whole state, to compare later."""
    return lambda net: {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


@pytest.fixture
def padded_net():
    """A new LeNet-5 for 28×28 images."""
    return networks.build("lenet5-padded", seed=1)
