"""Resuming: a callback for `fit` that saves the whole state of a training after each epoch."""

import copy
import glob
import io
import os
import re
import time
import zlib
from collections import defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from mnistlib.files import DataError, atomic_write
from mnistlib.lab.loading import fitted, read
from mnistlib.lab.targets import check_target
from mnistlib.train import Callback

REMEDY = "Move it away, and the training starts anew."


class Checkpoint(Callback):
    """Save a training to a file after each epoch, and resume it from there: ``callbacks=[Checkpoint("training.pt")]``.

    It must be the first callback. A training that was stopped at any moment, called again with a new network,
    continues after the last epoch in the file, and on the same machine ends with the same weights, bit for bit. A
    finished one is not repeated. A function, such as a loss of your own, is known by its name: use another file after
    you change it. Raises, before the first step, ValueError for the checkpoint of another training, and `DataError`
    for a file that is damaged or cannot be written.
    """

    def __init__(self, path):
        self.path = Path(os.path.realpath(path))
        self.partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.mnistlib-partial")

    def begin(self, run):
        if run.callbacks[0] is not self:
            raise ValueError("Checkpoint must be the first callback, because it restores the state of the others.")
        self.description = _description(run)
        run.callbacks = [*run.callbacks[1:], self]  # first when a training begins, last after each epoch
        self._remove_partial()
        if self.path.is_file():
            self._restore(run)
            return
        check_target(self.path)
        try:
            torch.load(self._packed(run), weights_only=True)
        except Exception:  # what weights_only refuses now, it would refuse when the training is resumed
            raise ValueError(f"a checkpoint can hold only plain numbers and text; got {self.description}.") from None

    def epoch_end(self, run):
        packed = self._packed(run)  # not directly into the file: on a full disk torch would not raise an OSError
        with atomic_write(self.partial) as file:
            file.write(packed.getbuffer())
        try:
            os.replace(self.partial, self.path)
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror}. Use another path.") from None

    def remove(self):
        """Delete the file, and what killed processes left of it."""
        self.path.unlink(missing_ok=True)
        self._remove_partial()

    def _remove_partial(self):
        for path in self.path.parent.glob(f".*{glob.escape(self.path.name)}.*.mnistlib-partial*"):
            with suppress(OSError):  # a finished training can be read where nothing can be written
                if time.time() - path.stat().st_mtime > 5:  # else another process may be writing it now
                    path.unlink()

    def _packed(self, run) -> io.BytesIO:
        torch.save({"description": self.description, "state": _state(run)}, buffer := io.BytesIO())
        buffer.seek(0)
        return buffer

    def _restore(self, run):
        """Check all that the file holds against the live objects, and only then change them."""
        content, now = read(self.path), self.description
        found = content["description"]
        if other := [f"{name}: {found.get(name)}, now {now[name]}" for name in now if found.get(name) != now[name]]:
            raise ValueError(f"{self.path} holds another training ({'; '.join(other)}). {REMEDY}")
        try:
            for callback in _stateful(run):
                callback.begin(run)
            live = _state(run) | {"optimizer": _optimizer_after_a_step(run.optimizer)}
            state = fitted(content["state"], live, "state")
            epochs, lengths = state["step"] / run.steps_per_epoch, {k: len(v) for k, v in state["history"].items()}
            expected = dict.fromkeys(lengths, epochs) | {"step_loss": state["step"]}
            expected |= {} if run.valid else {"valid_loss": 0, "valid_accuracy": 0}
            if lengths != expected or epochs not in range(1, run.epochs + 1):
                raise ValueError("state.history")
            for generator in (state["generator"], state["random"][0]):
                torch.Generator().set_state(generator)
        except (ValueError, TypeError, RuntimeError) as error:
            raise DataError(f"{self.path} is damaged or does not fit this training ({error}). {REMEDY}") from None
        run.net.load_state_dict(state["net"])
        for name, parameter in run.net.named_parameters():  # also as it lay in memory, on which rounding depends
            parameter.data = state["net"][name].to(run.device)
        run.optimizer.load_state_dict(state["optimizer"])
        if run.scheduler is not None:
            run.scheduler.load_state_dict(state["scheduler"])
        for callback, its_state in zip(_stateful(run), state["callbacks"], strict=True):
            callback.load_state_dict(its_state)
        vars(run.history).update(state["history"])
        run.step, run.stop = state["step"], state["stop"]
        run.generator.set_state(state["generator"])
        torch.set_rng_state(state["random"][0])
        if run.device.type != "cpu":
            getattr(torch, run.device.type).set_rng_state(state["random"][1])


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
        "callbacks": [
            (type(callback).__name__, *map(_name, vars(callback).values())) for callback in run.callbacks[1:]
        ],
        "network": fingerprint(run.net),
        "training images": fingerprint(run.train.images, run.train.labels),
        "validation images": run.valid and fingerprint(run.valid.images, run.valid.labels),
        "device": run.device.type,
    }
    return {name: str(value) for name, value in facts.items()}


def _state(run) -> dict:
    sources = [torch] if run.device.type == "cpu" else [torch, getattr(torch, run.device.type)]
    return {
        "net": dict(run.net.state_dict()),
        "optimizer": run.optimizer.state_dict(),
        "scheduler": run.scheduler and run.scheduler.state_dict(),
        "callbacks": [callback.state_dict() for callback in _stateful(run)],
        "history": dict(vars(run.history)),
        "step": run.step,
        "stop": run.stop,
        "generator": run.generator.get_state(),
        "random": [source.get_rng_state() for source in sources],  # for dropout
    }


def _stateful(run) -> list:
    return [callback for callback in run.callbacks if hasattr(callback, "load_state_dict")]


def _optimizer_after_a_step(optimizer) -> dict:
    """The state that an optimizer has after its first step, taken with copies of the parameters."""
    twin = copy.copy(optimizer)
    twin.state, twin.param_groups = defaultdict(dict), [dict(group) for group in optimizer.param_groups]
    for group in twin.param_groups:
        group["params"] = [torch.empty_like(parameter).requires_grad_() for parameter in group["params"]]
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    type(twin).step(twin)
    return twin.state_dict()
