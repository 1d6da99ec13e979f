"""Weights to the live page and back, in the safetensors format: names, shapes, numbers, and nothing that could run."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mnistlib.base.checks import PATH, checked
from mnistlib.base.files import DataError, atomic_write
from mnistlib.networks import build
from mnistlib.weights import load_weights

KEYS = ("lenet5", "lenet5-padded")  # the networks that the page runs
LARGEST = 1_000_000  # bytes; a LeNet-5 has about 248,000


@checked
def export_web(weights_path: PATH, out: PATH | None = None) -> Path:
    """Turn a file that `save_weights` wrote into one that the live page opens, and return its path. Notebook 09.

    ``out`` is by default the same name with the ending ``.safetensors``. Raises ValueError when the network is not a
    LeNet-5, and `DataError` when a file cannot be read or written.
    """
    content, out = web_bytes(load_weights(weights_path)), Path(out or Path(weights_path).with_suffix(".safetensors"))
    with atomic_write(out) as file:
        file.write(content)
    return out


def web_bytes(net: nn.Module) -> bytes:
    """Return the weights of one of `KEYS` as a safetensors file. Raises ValueError for another network."""
    state = {name: tensor.detach().cpu().float() for name, tensor in net.state_dict().items()}
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    fits = [k for k in KEYS if shapes == {name: list(t.shape) for name, t in build(k, seed=0).state_dict().items()}]
    if not fits:
        raise ValueError(f"the live page runs {' and '.join(KEYS)}; this {type(net).__name__} is another network.")
    header, at = {"__metadata__": {"network": fits[0]}}, 0
    for name, tensor in state.items():
        header[name] = {"dtype": "F32", "shape": shapes[name], "data_offsets": [at, at := at + 4 * tensor.numel()]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(tensor.numpy().tobytes() for tensor in state.values())


@checked
def load_web(path: PATH) -> nn.Module:
    """Return the network in a file that the live page saved, in evaluation mode. Notebook 09.

    Raises `DataError` when the file is missing or damaged, or does not hold the finite weights of a LeNet-5.
    """
    try:
        if Path(path).stat().st_size > LARGEST:
            raise ValueError("too large")
        content = Path(path).read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:end])
        net, state = build(KEYS[KEYS.index(header.pop("__metadata__")["network"])], seed=0), {}
        for name, tensor in header.items():
            start, stop = tensor["data_offsets"]
            numbers = np.frombuffer(content[end + start : end + stop], "<f4").reshape(tensor["shape"])
            if tensor["dtype"] != "F32" or start < 0 or not np.isfinite(numbers).all():
                raise ValueError("other numbers, or not finite")
            state[name] = torch.tensor(numbers)
        net.load_state_dict(state)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}. Give a file that the live page saved.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        problem = "does not hold the finite weights of a LeNet-5. Give one that the page saved."
        raise DataError(f"{path} {problem}") from None
    return net.eval()
