"""Images a second of `fit` for each network, beside the floor: what its arithmetic alone would take on this machine."""

import json
import os
import statistics
import subprocess
import sys
import time

import torch
from torch.profiler import ProfilerActivity, profile

import mnistlib
from mnistlib import lab  # noqa: F401, its networks too
from mnistlib.networks import NETWORKS

BATCH = 128
# A training step costs three times the mult-adds of a forward pass: the gradients of the layer's input and of its
# weights are as much work each as its output; and a mult-add is two operations.
OPERATIONS = 6
KINDS = {  # of a step, by the names that PyTorch gives to what it does; the first that fits counts
    "optimizer": ("Optimizer.",),
    "convolution, backward": ("ConvolutionBackward",),
    "pooling, backward": ("MaxPool2D",),
    "ReLU, backward": ("ReluBackward",),
    "linear, backward": ("AddmmBackward", "TBackward"),
    "loss, backward": ("NllLoss", "LogSoftmaxBackward"),
    "other, backward": ("autograd::",),
    "convolution, forward": ("aten::conv",),
    "pooling, forward": ("aten::max_pool",),
    "ReLU, forward": ("aten::relu",),
    "linear, forward": ("aten::linear",),
    "loss, forward": ("aten::cross_entropy",),
    "taking the batch": ("aten::index", "aten::slice", "aten::to", "aten::div_", "aten::randperm"),
    "counting correct predictions": ("aten::argmax", "aten::eq", "aten::sum", "aten::add_", "aten::detach"),
}
REST = "rest: Python between these, learning rate, progress bar"


def measure(quick: bool = False) -> dict:
    turns, seconds, size = (2, 0.05, 512) if quick else (5, 0.15, 2048)
    train = mnistlib.load("MNIST").train
    networks, peaks = {}, []
    for key, network in NETWORKS.items():
        images = train.take(2000 if quick else 40_000).resized(network.input_shape[-1])
        mult_adds = int(mnistlib.layer_table(network.build(0), network.input_shape).loc["total", "mult-adds"])
        warm = images.take(5 * BATCH)
        speed_of_fit(network, warm)  # libraries choose their kernels now
        enough = max(BATCH, min(len(images), round(speed_of_fit(network, warm) * seconds / BATCH) * BATCH))
        some, speeds, factors = images.take(enough), [], []
        for _ in range(turns):
            peaks.append(peak(size))
            speeds.append(speed_of_fit(network, some))
            factors.append(peaks[-1] / (OPERATIONS * mult_adds) / speeds[-1])
        networks[key] = {
            "mult-adds": mult_adds,
            "images a second": statistics.median(speeds),
            "floor, images a second": statistics.median(peaks[-turns:]) / (OPERATIONS * mult_adds),
            "times the time of the floor": statistics.median(factors),
            "all turns": factors,
        }
        print(f"  {key}: {networks[key]['images a second']:,.0f} images a second", flush=True)
    return {
        "what": f"fit, batch {BATCH}, an epoch of as many images as it takes in {seconds} s; medians of {turns} "
        f"turns, in each a matrix product of {size} × {size} and a training. The floor: mult-adds × {OPERATIONS} over "
        "the operations a second of that product",
        "peak, operations a second": statistics.median(peaks),
        "networks": networks,
        "where the time goes": where_the_time_goes("lenet5", 640 if quick else 12_800),
    }


def peak(size: int) -> float:
    """Operations a second of one large matrix product."""
    first, second = torch.ones(2, size, size).unbind()
    start = time.perf_counter()
    torch.mm(first, second)
    return 2 * size**3 / (time.perf_counter() - start)


def speed_of_fit(network, images) -> float:
    history = mnistlib.fit(network.build(0), images, epochs=1, batch_size=BATCH, progress=False)
    return len(images) / history.seconds[0]


def where_the_time_goes(key: str, images: int) -> dict:
    """Fractions of an epoch's time, by PyTorch's profiler, in a process of its own."""
    # The profiler takes memory too, and makes glibc give back to the system what the network needs again at once,
    # which without a profiler it keeps. So told, it keeps it with one as well.
    keep = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1073741824", "KINETO_LOG_LEVEL": "5"}
    command = [sys.executable, __file__, key, str(images)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **keep})
    return json.loads(done.stdout)


def profiled(key: str, images: int) -> dict:
    network = NETWORKS[key]
    train = mnistlib.load("MNIST").train.take(images).resized(network.input_shape[-1])
    speed_of_fit(network, train.take(5 * BATCH))
    plain = [images / speed_of_fit(network, train) for _ in range(5)]
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        history = mnistlib.fit(network.build(0), train, epochs=1, batch_size=BATCH, progress=False)
    kinds = dict.fromkeys(KINDS, 0.0)
    for event in profiler.events():
        kind = next((kind for kind, names in KINDS.items() if any(name in event.name for name in names)), None)
        # What another event called is in that one's time already.
        if kind and event.cpu_parent is None:
            kinds[kind] += event.cpu_time_total / 1e6
    steps, seconds = len(history.step_loss), history.seconds[0]
    kinds[REST] = seconds - sum(kinds.values())
    return {
        "network": key,
        "milliseconds a step": 1000 * statistics.median(plain) / steps,
        "milliseconds a step, with the profiler": 1000 * seconds / steps,
        "fractions": {kind: value / seconds for kind, value in sorted(kinds.items(), key=lambda item: -item[1])},
    }


def rows(part: dict) -> list[tuple[str, str, str]]:
    lenet5 = part["networks"]["lenet5"]
    factors = [network["times the time of the floor"] for network in part["networks"].values()]
    return [
        (
            "`fit`, LeNet-5: images a second, and its time over that of the bare arithmetic",
            f"{lenet5['images a second']:,.0f}, {lenet5['times the time of the floor']:.1f} times",
            "at most 3 times",
        ),
        (f"the same of all {len(factors)} networks", f"{min(factors):.1f} to {max(factors):.1f} times", ""),
    ]


if __name__ == "__main__":
    print(json.dumps(profiled(sys.argv[1], int(sys.argv[2]))))
