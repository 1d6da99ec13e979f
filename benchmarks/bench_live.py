"""How fast the live page is, in the system's Chromium: ``python benchmarks/bench_live.py`` writes results/live.json."""

import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "site" / "live")]

import live_page  # noqa: E402
import publish  # noqa: E402

TIMES = 3
SECONDS = 20
SCRIPT = """async (seconds) => {
    const [network, { asInput }, { mnist }] = await Promise.all(
        ["lenet5", "images", "data"].map((name) => import(`./${name}.js`)));
    const { train, test } = await mnist(), net = new network.LeNet5(network.randomParameters(0));
    const image = ({ images }, i) => asInput(images.subarray(784 * i, 784 * i + 784));
    const inputs = Array.from({ length: 500 }, (_, i) => image(test, i));
    for (const input of inputs) net.forward(input);
    const begin = performance.now();
    for (const input of inputs) net.forward(input);
    const forward = (performance.now() - begin) / inputs.length;

    const accuracy = () => {
        let correct = 0;
        for (let i = 0; i < 1000; i++) {
            const probabilities = net.forward(image(test, i));
            correct += probabilities.indexOf(Math.max(...probabilities)) === test.labels[i];
        }
        return correct / 1000;
    };
    const adam = new network.Adam(net.parameters, 0.002), order = network.shuffled(60000, network.randomNumbers(1));
    let at = 0, time = 0, ninety = null, next = 1600;
    while (time < 1000 * seconds) {
        const batch = [...order.subarray(at, at += 32)], start = performance.now();
        network.trainingStep(net, adam, batch.map((i) => image(train, i)), batch.map((i) => train.labels[i]));
        time += performance.now() - start;
        if (at >= next && ninety === null) {
            next += 800;
            if (accuracy() >= 0.9) ninety = time / 1000;
        }
    }
    return [forward, 1000 * at / time, ninety, accuracy()];
}"""
NAMES = ("one image, ms", "training, images a second", "seconds to 90 %", f"accuracy after {SECONDS} s")


def measure(browser, address) -> dict:
    """Numbers of one visit to the page."""
    with live_page.opened(browser, address) as page:
        ready = page.evaluate("Number(document.body.dataset.ready)")
        return {"first answer, ms": ready} | dict(zip(NAMES, page.evaluate(SCRIPT, SECONDS), strict=True))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, live_page.chromium() as browser:
        publish.write(folder)
        page = sum(path.stat().st_size for path in Path(folder).glob("*.*"))
        single = publish.write_single(Path(folder, "single.html")).stat().st_size
        with live_page.served(folder) as address:
            runs = [measure(browser, f"{address}/index.html") for _ in range(TIMES)]
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Chromium {browser.version}"
    found = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    found |= {"page, bytes": page, "page in one file, bytes": single}
    for name, value in found.items():
        print(f"{name:28} {value:,}")
    result = {"machine": machine, "medians of": TIMES, "measured": found, "runs": runs}
    (ROOT / "results" / "live.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
