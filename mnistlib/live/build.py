"""Write the live page: as a folder for a website, as one HTML file, and as the one module that a widget needs."""

import base64
import gzip
import json
import re
from pathlib import Path

import torch

from mnistlib.data import find_files, load, official_files
from mnistlib.live.export import web_bytes
from mnistlib.weights import pretrained

HERE = Path(__file__).parent
IMPORT = re.compile(r'^import [^;]*? from "\./(\w+\.js)";\n', re.M)
EXPORT = re.compile(r"^export (?!default)", re.M)
NAME = re.compile(r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", re.M)
WORKER = re.compile(r'new Worker\(new URL\("\./(\w+\.js)", import\.meta\.url\), \{ type: "module" \}\)')
LINKS = re.compile(r'<link rel="stylesheet".*\n|<script type="module".*\n| *<a id="home".*\n')


def bundle(name: str) -> str:
    """Return one script of a module and all that it imports; a worker's file becomes a text in the script.

    Raises ValueError when two of the modules give one name to different things.
    """
    modules = _modules(name)
    names = [found for text in modules.values() for found in NAME.findall(text)]
    if twice := sorted({found for found in names if names.count(found) > 1}):
        raise ValueError(f"the modules of {name} use these names twice: {', '.join(twice)}. Rename them.")
    script = "\n".join(EXPORT.sub("", IMPORT.sub("", text)) for text in modules.values())
    quoted = (json.dumps(bundle(worker)).replace("</", "<\\/") for worker in WORKER.findall(script))
    blob = 'new Worker(URL.createObjectURL(new Blob([{}], {{ type: "text/javascript" }})))'
    return WORKER.sub(lambda _: blob.format(next(quoted)), script)


def _modules(name: str) -> dict[str, str]:
    """The texts of all modules that a module imports, those that are needed first, and its own."""
    text = (HERE / name).read_text("utf-8")
    imported = [_modules(needed) for needed in IMPORT.findall(text)]
    return {module: content for each in imported for module, content in each.items()} | {name: text}


def write(folder, home: str = "../index.html") -> Path:
    """Write the whole page with its modules, weights and MNIST to a folder; ``home`` is its link to the course."""
    folder, page = Path(folder), (HERE / "index.html").read_text("utf-8").replace("HOME", home)
    preload = "".join(f'<link rel="modulepreload" href="{name}">\n' for name in _modules("page.js"))
    files = _own_files() | {path.name: path.read_bytes() for path in HERE.glob("*.[jc]s*")}
    files |= {f"data/{path.name}": content for path, content in find_files("MNIST", official_files("MNIST"))[0]}
    files["index.html"] = page.replace("</head>", preload + "</head>").encode()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / "index.html"


def write_single(path, train: int = 8_000, test: int = 1_000) -> Path:
    """Write the page as one HTML file that works from a disk, with so many digits to train and to test on."""
    files, mnist = _own_files(), load("MNIST")
    for part, split in (("train", mnist.train.take(train)), ("t10k", mnist.test.take(test))):
        files[f"data/{part}-images-idx3-ubyte.gz"] = _idx(split.images[:, 0])
        files[f"data/{part}-labels-idx1-ubyte.gz"] = _idx(split.labels.byte())
    inside = json.dumps({name: base64.b64encode(content).decode() for name, content in files.items()})
    head = f"<style>\n{(HERE / 'live.css').read_text('utf-8')}</style>\n</head>"
    foot = f'<script>LENET5_FILES = {inside};</script>\n<script type="module">\n{bundle("page.js")}</script>\n</body>'
    page = LINKS.sub("", (HERE / "index.html").read_text("utf-8"))
    Path(path).write_text(page.replace("</head>", head).replace("</body>", foot), "utf-8", newline="\n")
    return Path(path)


@torch.no_grad()
def _own_files() -> dict[str, bytes]:
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


def _idx(tensor) -> bytes:
    """Bytes as a gzipped IDX file, MNIST's own format."""
    header = bytes([0, 0, 8, tensor.ndim]) + b"".join(size.to_bytes(4, "big") for size in tensor.shape)
    return gzip.compress(header + tensor.numpy().tobytes(), 9, mtime=0)
