"""How fast the live page is, in the system's Chromium: ``python benchmarks/bench_live.py``. Writes results/live.json."""  # noqa: E501

import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import live_page  # noqa: E402

from mnistlib.live import build  # noqa: E402

TIMES = 3
FORWARD = """async () => {
    const { mnist } = await import("./data.js"), { LeNet5, randomParameters } = await import("./lenet5.js");
    const { asInput } = await import("./images.js"), { images } = (await mnist()).test, net = new LeNet5(randomParameters(0));
    const inputs = Array.from({ length: 500 }, (_, i) => asInput(images.subarray(784 * i, 784 * i + 784)));
    for (const input of inputs) net.forward(input);
    const begin = performance.now();
    for (const input of inputs) net.forward(input);
    return (performance.now() - begin) / inputs.length;
}"""  # noqa: E501
TRAIN = """async (seconds) => {
    const { mnist } = await import("./data.js"), { Adam, LeNet5, randomNumbers, randomParameters, shuffled, trainingStep } = await import("./lenet5.js");
    const { asInput } = await import("./images.js"), { train, test } = await mnist(), random = randomNumbers(1), net = new LeNet5(randomParameters(0));
    const image = ({ images }, i) => asInput(images.subarray(784 * i, 784 * i + 784));
    const accuracy = () => {
        let correct = 0;
        for (let i = 0; i < 1000; i++) { const p = net.forward(image(test, i)); correct += p.indexOf(Math.max(...p)) === test.labels[i]; }
        return correct / 1000;
    };
    const adam = new Adam(net.parameters, 0.002), order = shuffled(60000, random);
    let at = 0, time = 0, ninety = null, next = 1600;
    while (time < 1000 * seconds) {
        const batch = [...order.subarray(at, at += 32)], begin = performance.now();
        trainingStep(net, adam, batch.map((i) => image(train, i)), batch.map((i) => train.labels[i]));
        time += performance.now() - begin;
        if (at >= next && ninety === null) { next += 800; if (accuracy() >= 0.9) ninety = time / 1000; }
    }
    return { rate: 1000 * at / time, ninety, accuracy: accuracy() };
}"""  # noqa: E501


def measure(browser, address) -> dict:
    """Numbers of one visit to the page."""
    with live_page.opened(browser, address) as page:
        ready = page.evaluate("Number(document.body.dataset.ready)")
        forward, trained = page.evaluate(FORWARD), page.evaluate(TRAIN, 20)
    return {"first answer, ms": ready, "one image, ms": forward, "training, images a second": trained["rate"],
            "seconds to 90 %": trained["ninety"], "accuracy after 20 s": trained["accuracy"]}  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, live_page.chromium() as browser:
        build.write(folder)
        page = sum(path.stat().st_size for path in Path(folder).glob("*.*"))
        single = build.write_single(Path(folder, "single.html")).stat().st_size
        with live_page.served(folder) as address:
            runs = [measure(browser, f"{address}/index.html") for _ in range(TIMES)]
        found = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
        found |= {"page, bytes": page, "page in one file, bytes": single}
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Chromium {browser.version}"
    for name, value in found.items():
        print(f"{name:28} {value:,}")
    result = {"machine": machine, "medians of": TIMES, "measured": found, "runs": runs}
    (ROOT / "results" / "live.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
