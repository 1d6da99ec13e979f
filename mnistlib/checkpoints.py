"""Trained weights as files that cannot run code. Introduced in notebook 03."""

import io
import zipfile
from pathlib import Path

import torch
from torch import nn

from mnistlib.files import DataError, atomic_write
from mnistlib.networks import NETWORKS, find

WEIGHTS = Path(__file__).parent / "weights"


def save_checkpoint(net: nn.Module, path, key: str, **facts) -> None:
    """Write the weights of a network of `NETWORKS` and plain ``facts`` about them to a checkpoint file.

    Raises ValueError when ``net`` is not the network that ``key`` names or a fact is not plain (numbers,
    text, lists and dicts of them), and `DataError` when the file cannot be written. Notebook 03.
    """
    state = {name: tensor.detach().cpu() for name, tensor in net.state_dict().items()}
    try:
        _fill(find(key).build(seed=0), state, f"this {type(net).__name__}", key)
    except DataError as error:
        raise ValueError(str(error)) from None
    buffer = io.BytesIO()
    torch.save({"network": key, "state": state, "facts": facts}, buffer)
    try:
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    except Exception:  # what weights_only refuses, nobody could load again
        raise ValueError(f"facts must be plain numbers, text, lists or dicts of them; got {facts}.") from None
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path, key: str | None = None) -> nn.Module:
    """The network in a checkpoint that `save_checkpoint` wrote, in evaluation mode. Introduced in notebook 03.

    With ``key``, it must be that network. Read with ``weights_only=True``: a file from someone
    else cannot run code. Raises `DataError` when the file is not such a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no checkpoint {path}. Give the path of a file that mnistlib.save_checkpoint wrote.")
    try:
        if zipfile.ZipFile(path).testzip():  # compares each part with its checksum, which torch.load does not
            raise ValueError("damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, state = NETWORKS[content["network"]], content["state"]
    except Exception:  # foreign bytes make torch.load fail in a dozen ways, all meaning the same
        raise DataError(
            f"{path} is not a checkpoint of this course, or it is damaged. Give one that mnistlib.save_checkpoint wrote."
        ) from None
    if key is not None and found.key != key:
        raise DataError(f"{path} holds the network {found.key!r}, not {key!r}. Ask for {found.key!r}, or give another file.")
    net = found.build(seed=0)  # a seed, so that the caller's random numbers stay as they are
    _fill(net, state, str(path), found.key)
    return net.eval()


def pretrained(key: str = "lenet5") -> nn.Module:
    """The trained network that ships with the course, in evaluation mode. Introduced in notebook 00.

    Made by ``make weights``. Raises ValueError for an unknown key and `DataError` for one that does not ship.
    """
    path = WEIGHTS / f"{find(key).key}.pt"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in WEIGHTS.glob("*.pt")))
        raise DataError(f"no trained {key!r} ships, only {shipped}. Train one: python -m mnistlib train --network {key}")
    return load_checkpoint(path, key)


def _fill(net: nn.Module, state: dict, what: str, key: str) -> None:
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DataError(f"{what} does not have the weights of {key!r}: {str(error).splitlines()[-1].strip()}") from None
