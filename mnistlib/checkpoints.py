"""Trained weights, and trainings that were stopped, as files that cannot run code. Introduced in notebook 03."""

import glob
import io
import zipfile
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from mnistlib.files import DataError, atomic_write, check_writable
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
    content = _content(path, ("network", "state"))
    found, state = NETWORKS.get(str(content["network"])), content["state"]
    if found is None:
        raise DataError(f"{path} holds a network {content['network']!r} that the course does not have.")
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


def save_training(path, about: dict, device: torch.device, **parts) -> None:
    """Write the whole state of a training: what `load_training` needs to go on with the same bits.

    ``about`` says in plain values which training it is; ``parts`` are objects with a ``state_dict`` (network, optimizer,
    scheduler), generators, a history, or None. Raises `DataError` when it cannot be written: the last state stays.
    """
    packed = _packed(about, device, parts)  # not into the file: on a full disk torch would not raise an OSError
    with atomic_write(path) as file:
        file.write(packed)


def load_training(path, about: dict, device: torch.device, **parts) -> bool:
    """Put the state of a training that was stopped back into its parts; False when there is none at ``path``.

    Raises ValueError when it is the state of another training, or this one could not be kept in a file, and `DataError`
    when it is damaged or cannot be written.
    """
    path = Path(path)
    for left_behind in path.parent.glob(f".{glob.escape(path.name)}.{8 * '?'}"):  # by a kill while `atomic_write` wrote
        with suppress(OSError):  # a training that is finished can be read where nothing can be written
            left_behind.unlink()
    if not path.is_file():
        _check_can_begin(path, about, device, parts)
        return False
    content = _content(path, ("training", "parts", "random"))
    if not isinstance(content["training"], dict):
        raise DataError(f"{path} is not a checkpoint of this course. Move it away, and the training begins anew.")
    other = [fact for fact in about if repr(content["training"].get(fact)) != repr(about[fact])]  # a file may hold tensors there
    if content["training"].keys() != about.keys() or other:
        listed = "; ".join(f"{fact}: {content['training'].get(fact)}, now {about[fact]}" for fact in other)
        raise ValueError(f"{path} holds another training ({listed}). Move it away, or name another checkpoint.")
    try:
        for name, part in parts.items():
            _restore(part, content["parts"][name])
        _set_random_states(content["random"], device)
    except (KeyError, IndexError, AttributeError, RuntimeError, ValueError, TypeError) as error:
        raise DataError(f"{path} does not fit this network: {str(error).splitlines()[-1].strip()}") from None
    return True


def _check_can_begin(path: Path, about: dict, device: torch.device, parts: dict) -> None:
    """Find now, not after the first epoch, that a state cannot be written, or could not be read again."""
    if path.is_dir():
        raise DataError(f"the checkpoint {path} is a folder, and must be a file. Name a file.")
    check_writable(path.parent)
    try:
        torch.load(io.BytesIO(_packed(about, device, parts)), weights_only=True)
    except Exception:  # what weights_only refuses, nobody could load again
        raise ValueError(f"a checkpoint holds plain numbers, text and tensors only; got the settings {about}.") from None


def _packed(about: dict, device: torch.device, parts: dict) -> bytes:
    state = {name: _state_of(part) for name, part in parts.items()}
    buffer = io.BytesIO()
    torch.save({"training": about, "parts": state, "random": _random_states(device)}, buffer)
    return buffer.getvalue()


def _fill(net: nn.Module, state: dict, what: str, key: str) -> None:
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DataError(f"{what} does not have the weights of {key!r}: {str(error).splitlines()[-1].strip()}") from None


def _content(path: Path, names: tuple[str, ...]) -> dict:
    """What a checkpoint file holds under these names, on the CPU."""
    try:
        if zipfile.ZipFile(path).testzip():  # compares each part with its checksum, which torch.load does not
            raise ValueError("damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
        return {name: content[name] for name in names}
    except Exception:  # foreign bytes make torch.load fail in a dozen ways, all meaning the same
        writer = "mnistlib.save_checkpoint" if "state" in names else "a training with checkpoint="
        raise DataError(
            f"{path} is not a checkpoint of this course, or it is damaged. Give one that {writer} wrote"
            + ("." if "state" in names else ", or move it away, and the training begins anew.")
        ) from None


def _state_of(part):
    if isinstance(part, list):
        return [_state_of(each) for each in part]
    if isinstance(part, torch.Generator):
        return part.get_state()
    if hasattr(part, "state_dict"):
        return part.state_dict()
    if part is None or isinstance(part, torch.Tensor):
        return part
    return dict(vars(part))  # a history


def _restore(part, state) -> None:
    if isinstance(part, list):
        for each, its_state in zip(part, state, strict=True):
            _restore(each, its_state)
    elif isinstance(part, torch.Generator):
        part.set_state(state)
    elif hasattr(part, "load_state_dict"):
        part.load_state_dict(state)
    elif isinstance(part, torch.Tensor):
        with torch.no_grad():
            part.copy_(state)
    elif part is not None:
        vars(part).update(state)


def _random_states(device: torch.device) -> list[torch.Tensor]:
    """The states of PyTorch's own generators, which dropout draws from."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def _set_random_states(states: list[torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states[1])
