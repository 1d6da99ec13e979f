"""Trained weights as files that hold numbers and text alone. Introduced in notebook 03."""

import io
import json
import zipfile
from pathlib import Path

import torch
from torch import nn

from mnistlib.base.checks import PATH, checked
from mnistlib.base.files import DataError, atomic_write
from mnistlib.networks import NETWORKS, find

SHIPPED = Path(__file__).parent / "pretrained"
LARGEST = 2**28  # bytes: ten times the largest network of the course


@checked
def save_weights(net: nn.Module, path: PATH, key: str, **facts) -> None:
    """Write the weights of a network of `NETWORKS`, and plain ``facts`` about them, to a file.

    Raises ValueError when ``net`` is not the network that ``key`` names, TypeError when a fact is not plain (numbers,
    text, lists and dicts of them), and `DataError` when the file cannot be written. Introduced in notebook 03.
    """
    state = {name: tensor.detach().cpu() for name, tensor in net.state_dict().items()}
    _fill(find(key).build(seed=0), state, f"this {type(net).__name__}", key, ValueError)
    facts = json.loads(json.dumps(facts))  # TypeError for what is not plain, which load_weights would refuse
    buffer = io.BytesIO()
    torch.save({"network": key, "state": state, "facts": facts}, buffer)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


@checked
def load_weights(path: PATH, key: str | None = None) -> nn.Module:
    """Return the network in a file that `save_weights` wrote, in evaluation mode. Introduced in notebook 03.

    With ``key``, it must be that network. ``weights_only=True`` keeps a file from running code. Raises
    `DataError` when the file is missing, damaged, or holds other weights.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}. Give the path of a file that mnistlib.save_weights wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > LARGEST or archive.testzip():
                raise ValueError("too large, or damaged")  # testzip compares checksums, which torch.load does not
        content = torch.load(path, map_location="cpu", weights_only=True)
        network, state = str(content["network"]), dict(content["state"])
    except Exception:  # foreign bytes make torch.load fail in a dozen ways, which all mean the same
        raise DataError(f"{path} is not a file of mnistlib.save_weights, or is damaged. Give another file.") from None
    if network not in NETWORKS or key not in (None, network):
        wanted = "a known one (`import mnistlib.lab` adds more)" if key is None else repr(key)
        raise DataError(f"{path} holds the network {network!r}, not {wanted}. Give another file.")
    net = find(network).build(seed=0)  # a seed, so that the caller's random numbers stay as they are
    _fill(net, state, str(path), network, DataError)
    return net.eval()


def pretrained(key: str = "lenet5") -> nn.Module:
    """Return a trained network that ships with the course, in evaluation mode, or raise DataError. Notebook 00."""
    shipped = sorted(file.stem for file in SHIPPED.glob("*.pt"))
    if find(key).key not in shipped:
        raise DataError(f"no trained {key!r} ships, only {shipped}. Run: python -m mnistlib train --network {key}")
    return load_weights(SHIPPED / f"{key}.pt", key)


def _fill(net: nn.Module, state: dict, what: str, key: str, error: type[Exception]) -> None:
    """Copy ``state`` into ``net``; raise ``error`` unless names, shapes and dtypes fit and all numbers are finite."""
    for name, wanted in net.state_dict().items():
        tensor = state.get(name)
        fits = isinstance(tensor, torch.Tensor) and (tensor.shape, tensor.dtype) == (wanted.shape, wanted.dtype)
        if not fits or not tensor.isfinite().all() or len(state) != len(net.state_dict()):
            raise error(f"{what} does not have the weights of {key!r}: look at {name}.")
    net.load_state_dict(state)
