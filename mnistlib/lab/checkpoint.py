"""Resuming: a callback for `fit` that saves the whole state of a training after each epoch."""

import hashlib
import io
import os
import re
import zlib
from functools import partial
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from mnistlib.base.checks import PATH, checked
from mnistlib.base.files import DataError, check_target

BEGINNING = b"mnistlib checkpoint\n"  # of each file; the SHA-256 of the rest follows, and then the rest
REMEDY = "Move it away, and the training starts anew."


class Checkpoint:
    """Save a training to a file after each epoch, and resume it from there: ``callbacks=[Checkpoint("training.pt")]``.

    It must be the first callback. A training that was stopped at any moment, called again with a new network,
    continues after the last epoch in the file, and on the same machine ends with the same weights, bit for bit. A
    finished one is not repeated. A function, such as a loss of your own, is known by its name: use another file after
    you change it. Raises, before the first step, ValueError for the checkpoint of another training, and `DataError`
    for a file that is damaged or cannot be written.
    """

    @checked
    def __init__(self, path: PATH):
        self.path = Path(os.path.realpath(path))
        self.partial = self.path.with_name(f".{self.path.name}.mnistlib-partial")
        self.lock = self.path.with_name(f".{self.path.name}.lock")

    def begin(self, run):
        if run.callbacks[0] is not self:
            raise ValueError("Checkpoint must be the first callback, because it restores the state of the others.")
        self.description = _description(run)
        run.callbacks = [*run.callbacks[1:], self]  # first when a training begins, last after each epoch
        if self.path.is_file():
            self._restore(run)
            return
        check_target(self.path)
        try:
            torch.load(io.BytesIO(self._packed(run)), weights_only=True)
        except Exception:  # what weights_only refuses now, it would refuse when the training is resumed
            raise ValueError(f"a checkpoint can hold only plain numbers and text; got {self.description}.") from None

    def epoch_end(self, run):
        packed = self._packed(run)  # not directly into the file: on a full disk torch would not raise an OSError
        try:
            with FileLock(self.lock, timeout=60):  # two processes may do the same training
                with open(self.partial, "wb") as file:
                    file.write(BEGINNING + hashlib.sha256(packed).digest() + packed)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(self.partial, self.path)
        except (OSError, Timeout) as error:
            raise DataError(f"cannot write {self.path}: {error}. Make room there, or use another path.") from None

    def remove(self):
        """Delete the file, and what killed processes left beside it."""
        for path in (self.path, self.partial, self.lock):
            path.unlink(missing_ok=True)

    def _packed(self, run) -> bytes:
        state = {
            "parts": [part.state_dict() for part in _parts(run)],
            "history": dict(vars(run.history)),
            "step": run.step,
            "stop": run.stop,
            "generator": run.generator.get_state(),
            "random": [source.get_rng_state() for source in _random(run)],
        }
        torch.save({"description": self.description, "state": state}, buffer := io.BytesIO())
        return buffer.getvalue()

    def _restore(self, run):
        (found, state), now = _read(self.path), self.description
        if other := [f"{name}: {found.get(name)}, now {now[name]}" for name in now if found.get(name) != now[name]]:
            raise ValueError(f"{self.path} holds another training ({'; '.join(other)}). {REMEDY}")
        for callback in run.callbacks:
            if hasattr(callback, "load_state_dict") and hasattr(callback, "begin"):
                callback.begin(run)
        for part, its_state in zip(_parts(run), state["parts"], strict=True):
            part.load_state_dict(its_state)
        for name, parameter in run.net.named_parameters():  # also as it lay in memory, on which rounding depends
            parameter.data = state["parts"][0][name].to(run.device)
        vars(run.history).update(state["history"])
        run.step, run.stop = state["step"], state["stop"]
        run.generator.set_state(state["generator"])
        for source, its_state in zip(_random(run), state["random"], strict=True):
            source.set_rng_state(its_state)


def fingerprint(*things) -> str:
    """Return eight hex digits (CRC-32) for each tensor, and for the printed layers of each network."""
    contents = [t.cpu().contiguous().numpy() if isinstance(t, torch.Tensor) else _name(t).encode() for t in things]
    return " ".join(f"{zlib.crc32(content):08x}" for content in contents)


def _name(value) -> str:
    """The name of a function, or the text of another value without the memory address that some texts contain."""
    if isinstance(value, partial):
        return f"{_name(value.func)} {_name(value.args)} {_name(value.keywords)}"
    return getattr(value, "__qualname__", None) or re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _description(run) -> dict[str, str]:
    """The training in words: a checkpoint is used only where all of them are the same."""
    factors = [factor(run.steps_per_epoch) for factor in getattr(run.scheduler, "lr_lambdas", [])]
    facts = {name: getattr(run, name) for name in ("epochs", "batch_size", "lr", "seed")} | {
        "loss": _name(run.loss),
        "optimizer": f"{type(run.optimizer).__name__} {run.optimizer.defaults}",
        "schedule": f"{type(run.scheduler).__name__} {factors}",
        "augmentation": run.train.augmentation,
        "callbacks": [(type(each).__name__, *map(_name, vars(each).values())) for each in run.callbacks[1:]],
        "network": fingerprint(run.net, {name: (t.shape, t.dtype) for name, t in run.net.state_dict().items()}),
        "training images": fingerprint(run.train.images, run.train.labels),
        "validation images": run.valid and fingerprint(run.valid.images, run.valid.labels),
        "device": run.device.type,
        "torch": torch.__version__,
    }
    return {name: str(value) for name, value in facts.items()}


def _parts(run) -> list:
    """All that has a state: the network, the optimizer, the scheduler if there is one, and some callbacks."""
    parts = (run.net, run.optimizer, run.scheduler, *run.callbacks)
    return [part for part in parts if hasattr(part, "load_state_dict")]


def _random(run) -> list:
    """The modules with PyTorch's own random numbers, which dropout uses."""
    return [torch] if run.device.type == "cpu" else [torch, getattr(torch, run.device.type)]


def _read(path: Path) -> tuple[dict[str, str], dict]:
    """Return the description and the state in a checkpoint, on the CPU. Raises `DataError` for any other file."""
    try:
        with open(path, "rb") as file:
            begins, digest, packed = file.read(len(BEGINNING)), file.read(32), b""
            if begins == BEGINNING:  # else it may be longer than the memory
                packed = file.read()
        if hashlib.sha256(packed).digest() != digest:
            raise ValueError("not the bytes that were written")
        content = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
        return content["description"], content["state"]
    except Exception:
        raise DataError(f"{path} is not a checkpoint of mnistlib, or it is damaged. {REMEDY}") from None
