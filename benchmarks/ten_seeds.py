"""Train LeNet-5 as notebook 03 does, with ten seeds: ``OMP_NUM_THREADS=2 python benchmarks/ten_seeds.py``.

Adds a line per run to results/lenet5_ten_seeds.jsonl; the runs that are there are not done again. Accuracy is on the
test set, which chose nothing here: network, epochs and learning rate are those of the notebook.
"""

from pathlib import Path

from mnistlib.lab import Recipe, sweep, table

OUT = Path(__file__).resolve().parent.parent / "results" / "lenet5_ten_seeds.jsonl"

if __name__ == "__main__":
    runs = sweep(Recipe("lenet5"), range(10), OUT, command="OMP_NUM_THREADS=2 python benchmarks/ten_seeds.py")
    print(table(runs).T)
