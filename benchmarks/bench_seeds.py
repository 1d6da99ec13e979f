"""Many seeds of LeNet-5: all networks in each step, or one training after the other."""

import os
import statistics
from contextlib import nullcontext
from unittest.mock import patch

import bench_floor
import torch

import mnistlib
from mnistlib.lab import stacked as stacking

BATCH = 128
NETWORK = "lenet5"
AUGMENTATION = mnistlib.Augmentation(10, 0.07, (0.9, 1.1))


def measure(quick: bool = False) -> dict:
    turns, counts = (2, {1: 2, 3: 2}) if quick else (5, {1: 40, 10: 4, 40: 1})
    network = mnistlib.NETWORKS[NETWORK]
    mult_adds = int(mnistlib.layer_table(network.build(0), network.input_shape).loc["total", "mult-adds"])
    train = mnistlib.load("MNIST").train.take(5000 if quick else 25_600).resized(network.input_shape[-1])
    ways = {"one after the other": {"stacked": False}, "stacked (vmap)": {"stacked": True}}
    result = {
        "what": f"{NETWORK}, batch {BATCH}: milliseconds in which every network takes one step, medians of {turns} "
        "turns, in each all ways and a matrix product; of two epochs the second. The floor: mult-adds × 6 × images "
        "over the operations a second of that product",
        "cpu": on_device("cpu", ways, counts, turns, train, mult_adds, 512 if quick else 2048, augment=None),
        "gpu": None,
    }
    if torch.cuda.is_available():
        ways["stacked (captured graph)"] = {"stacked": True, "captured": True}
        counts = dict.fromkeys(counts, 4 if quick else 200)
        result["gpu"] = on_device("cuda", ways, counts, turns, train, mult_adds, 8192, augment=AUGMENTATION)
        for of_count in result["gpu"].values():
            # Four datasets of 60,000 images, 150 epochs: what `sweep` does with ten seeds on each.
            minutes = 4 * 150 * 469 * of_count["stacked (captured graph)"] / 60_000
            of_count["minutes for four datasets, 150 epochs"] = minutes
    else:
        result["gpu, why not"] = (
            "no GPU on this machine; with one, it is measured too, with augmentation and as captured graph"
        )
    return result


def on_device(device, ways, counts, turns, train, mult_adds, size, augment) -> dict:
    found = {}
    for count, steps in counts.items():
        seen, floors = {way: [] for way in ways}, []
        for _ in range(turns):
            floors.append(1000 * count * BATCH * bench_floor.OPERATIONS * mult_adds / peak(device, size))
            for way, options in ways.items():
                seen[way].append(milliseconds(device, count, train.take(steps * BATCH), augment, **options))
        found[str(count)] = {way: statistics.median(values) for way, values in seen.items()}
        ratios = [one / other for one, other in zip(*(seen[way] for way in list(ways)[:2]), strict=True)]
        found[str(count)] |= {
            "stacking is so many times as fast": statistics.median(ratios),
            "floor": statistics.median(floors),
        }
        print(
            f"  {device}, {count} seeds: " + ", ".join(f"{way} {found[str(count)][way]:.1f} ms" for way in ways),
            flush=True,
        )
    return found


def peak(device: str, size: int) -> float:
    if device == "cpu":
        return bench_floor.peak(size)
    first, second = torch.rand(2, size, size, device=device).unbind()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.mm(first, second)
    start.record()
    torch.mm(first, second)
    end.record()
    torch.cuda.synchronize()
    return 2 * size**3 / (start.elapsed_time(end) / 1000)


def milliseconds(device: str, count: int, train, augment, stacked: bool, captured: bool = False) -> float:
    """Of one step of all networks, in the second of two epochs: in the first, libraries choose their kernels."""
    train = train.augmented(augment)
    plain = patch.object(stacking, "_captured", lambda step, _: step) if stacked and not captured else nullcontext()
    with plain, patch.dict(os.environ, MNISTLIB_DEVICE=device):
        if stacked:
            ensemble = stacking.fit_stacked(NETWORK, range(count), train, epochs=2, batch_size=BATCH)
        else:
            ensemble = mnistlib.fit_seeds(NETWORK, range(count), train, epochs=2, batch_size=BATCH, progress=False)
    return 1000 * sum(history.seconds[1] for history in ensemble.histories) / (len(train) // BATCH)


def rows(part: dict) -> list[tuple[str, str, str]]:
    counts = [count for count in part["cpu"] if count != "1"]
    ratios = " and ".join(f"{part['cpu'][count]['stacking is so many times as fast']:.2f}" for count in counts)
    found = [
        (f"{' and '.join(counts)} seeds of LeNet-5 stacked, speed over one after the other, on the CPU", ratios, "")
    ]
    if part["gpu"]:
        step, minutes = (
            part["gpu"]["10"][key] for key in ("stacked (captured graph)", "minutes for four datasets, 150 epochs")
        )
        found.append(("ten LeNet-5s with augmentation on a GPU", f"{step:.2f} ms a step", "at most 0.8 ms"))
        found.append(("forty such trainings of 150 epochs, from that", f"{minutes:.1f} min", "under 4 min"))
    return found
