"""Write the live page, as a folder and as one file in it: ``python site/live/publish.py FOLDER``."""

import base64
import gzip
import json
import re
import sys
from pathlib import Path

import torch

from mnistlib.data import find_files, load, official_files
from mnistlib.live.bundle import HERE, bundle, modules
from mnistlib.live.export import web_bytes
from mnistlib.weights import pretrained

WORKER = re.compile(r'new Worker\(new URL\("\./(\w+\.js)", import\.meta\.url\), \{ type: "module" \}\)')
LINKS = re.compile(r'<link rel="stylesheet".*\n|<script type="module".*\n| *<a id="home".*\n')


def write(folder, home: str = "../index.html") -> Path:
    """Write the whole page with its modules, weights and MNIST to a folder; ``home`` is its link to the course."""
    folder, page = Path(folder), (HERE / "index.html").read_text("utf-8").replace("HOME", home)
    preload = "".join(f'<link rel="modulepreload" href="{name}">\n' for name in modules("page.js"))
    files = own_files() | {path.name: path.read_bytes() for path in HERE.glob("*.[jc]s*")}
    files |= {f"data/{path.name}": content for path, content in find_files("MNIST", official_files("MNIST"))[0]}
    files["index.html"] = page.replace("</head>", preload + "</head>").encode()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / "index.html"


def write_single(path, train: int = 8_000, test: int = 1_000) -> Path:
    """Write the page as one HTML file that works from a disk, with so many digits to train and to test on."""
    files, mnist = own_files(), load("MNIST")
    for part, split in (("train", mnist.train.take(train)), ("t10k", mnist.test.take(test))):
        files[f"data/{part}-images-idx3-ubyte.gz"] = idx(split.images[:, 0])
        files[f"data/{part}-labels-idx1-ubyte.gz"] = idx(split.labels.byte())
    inside = json.dumps({name: base64.b64encode(content).decode() for name, content in files.items()})
    head = f"<style>\n{(HERE / 'live.css').read_text('utf-8')}</style>\n</head>"
    script = f'<script type="module">\n{WORKER.sub(worker_inside, bundle("page.js"))}</script>\n</body>'
    page = LINKS.sub("", (HERE / "index.html").read_text("utf-8")).replace("</head>", head)
    page = page.replace("</body>", f"<script>LENET5_FILES = {inside};</script>\n{script}")
    Path(path).write_text(page, "utf-8", newline="\n")
    return Path(path)


def worker_inside(found: re.Match) -> str:
    """A worker that needs no file: its script is a text in the page's own."""
    script = json.dumps(bundle(found[1])).replace("</", "<\\/")
    return f'new Worker(URL.createObjectURL(new Blob([{script}], {{ type: "text/javascript" }})))'


@torch.no_grad()
def own_files() -> dict[str, bytes]:
    """The course's weights, and test digits to try: a sure one of each kind, and the ten surest errors."""
    net, test = pretrained("lenet5"), load("MNIST").test
    certainty, predictions = torch.cat([net(i).softmax(1) for i, _ in test.resized(32).batches(1000)]).max(1)
    correct = predictions == test.labels
    easy = [int((correct & (test.labels == digit) & (certainty > 0.999)).nonzero()[0]) for digit in range(10)]
    hard = (certainty * ~correct).argsort(descending=True)[:10].tolist()
    pixels = [base64.b64encode(image.numpy().tobytes()).decode() for image in test.images[easy + hard]]
    tries = [
        {"number": number, "label": int(test.labels[number]), "hard": number in hard, "pixels": text}
        for number, text in zip(easy + hard, pixels, strict=True)
    ]
    return {"lenet5.safetensors": web_bytes(net), "examples.json": json.dumps(tries).encode()}


def idx(tensor: torch.Tensor) -> bytes:
    """Bytes as a gzipped IDX file, MNIST's own format."""
    header = bytes([0, 0, 8, tensor.ndim]) + b"".join(size.to_bytes(4, "big") for size in tensor.shape)
    return gzip.compress(header + tensor.numpy().tobytes(), 9, mtime=0)


if __name__ == "__main__":
    write_single(write(sys.argv[1]).with_name("lenet5.html"))
