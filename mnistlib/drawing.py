"""Draw a digit yourself: a pad for notebooks, and how a drawing becomes a picture like MNIST's. Notebook 09.

Needs anywidget, which makes the pad work in JupyterLab, VS Code and Colab alike. Nothing else in mnistlib imports this module.
"""

import numpy as np
import torch
import traitlets
from PIL import Image, ImageDraw
from torch import nn

from mnistlib.checkpoints import pretrained
from mnistlib.datasets import Split
from mnistlib.networks import evaluating

try:
    from anywidget import AnyWidget
except ImportError:
    raise ImportError("mnistlib.drawing needs anywidget. In the course's folder run: pip install -r requirements.txt") from None

SIDE = 280  # pixels of a drawing: ten for each of MNIST's


def ink(strokes: list, width: float = 0.08) -> np.ndarray:
    """Strokes of a round pen as a picture: uint8 ``[280, 280]``, 0 is paper and 255 is ink.

    A stroke is a list of points ``(x, y)``, from (0, 0) at the top left to (1, 1) at the bottom right; ``width`` is the pen's, in
    the same unit. Raises ValueError for points that are not pairs of numbers or far off, a width outside 0.01–0.5. Notebook 09.
    """
    if not 0.01 <= width <= 0.5:
        raise ValueError(f"the pen's width must be 0.01 to 0.5 of the side; got {width}.")
    picture = Image.new("L", (SIDE, SIDE))
    pen, radius = ImageDraw.Draw(picture), width * SIDE / 2
    for stroke in strokes:
        try:
            points = [(int(x * 1000) * SIDE / 1000, int(y * 1000) * SIDE / 1000) for x, y in stroke]  # int refuses inf and nan
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"a stroke is a list of points (x, y), finite numbers; got {stroke!r}.") from None
        if any(abs(number) > 1000 * SIDE for point in points for number in point):  # Pillow would draw them somewhere
            raise ValueError(f"a stroke's points are on the page or near it, from 0 to 1; got {stroke!r}.")
        pen.line(points, fill=255, width=round(2 * radius))
        for x, y in points:  # round ends and corners
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.array(picture)


def crop(picture) -> np.ndarray:
    """The part of a picture that holds its ink, at full strength: uint8 ``[h, w]``, at least one pixel 255.

    ``picture``: ``[H, W]`` or ``[1, H, W]`` of numbers, NumPy or torch, where 0 is paper and more is ink. Its strongest ink
    becomes 255, as it is in nearly every picture of MNIST. Raises ValueError for another shape, for what is no number, is
    negative or not finite, and when there is no ink. Notebook 09.
    """
    try:
        if isinstance(picture, torch.Tensor):
            picture = picture.detach().cpu()
            picture = picture.double() if picture.is_floating_point() else picture  # NumPy has no bfloat16
        picture = np.asarray(picture)
    except (TypeError, ValueError, RuntimeError):  # rows of different lengths, or a sparse tensor
        raise ValueError(f"a picture is a rectangle of numbers; got a {type(picture).__name__} that is none.") from None
    if picture.ndim == 3 and picture.shape[0] == 1:
        picture = picture[0]
    if picture.ndim != 2:
        raise ValueError(f"a picture is [height, width] or [1, height, width]; got {list(picture.shape)}.")
    if picture.dtype.kind not in "buif":
        raise ValueError(f"a picture holds numbers; got {picture.dtype}.")
    picture = picture.astype(np.float64)
    if not np.isfinite(picture).all() or (picture < 0).any():
        raise ValueError("a picture's numbers must be finite and not negative: 0 is paper, more is ink.")
    rows, columns = (picture > 0).any(1).nonzero()[0], (picture > 0).any(0).nonzero()[0]
    if not len(rows):
        raise ValueError("there is no ink in the picture: every number is 0.")
    picture = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.round(picture / picture.max() * 255).astype(np.uint8)


def fit(picture: np.ndarray) -> np.ndarray:
    """A uint8 picture made smaller or larger, so that its longer side has 20 pixels; the shape of the digit stays. Notebook 09.

    A new pixel is the mean of those it covers, so edges become grey: *anti-aliasing*.
    """
    height, width = picture.shape
    scale = 20 / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def center(picture: np.ndarray) -> torch.Tensor:
    """A picture of at most 20×20 on 28×28, the centre of mass of its ink on pixel (14, 14): uint8 ``[1, 28, 28]``. Notebook 09.

    It moves by whole pixels, so the centre of mass comes within half a pixel of there (as in all of MNIST's test digits), unless
    ink would be pushed off the page. Raises ValueError when there is no ink.
    """
    mass = picture.sum(dtype=np.float64)
    if not mass:
        raise ValueError("the ink is so thin that none is left on 20×20 pixels. Draw thicker lines, or a smaller picture.")
    height, width = picture.shape
    y = (picture.sum(1) * np.arange(height)).sum() / mass
    x = (picture.sum(0) * np.arange(width)).sum() / mass
    top = min(max(round(14 - y), 0), 28 - height)
    left = min(max(round(14 - x), 0), 28 - width)
    page = torch.zeros(1, 28, 28, dtype=torch.uint8)
    page[0, top : top + height, left : left + width] = torch.from_numpy(picture)
    return page


def as_mnist(drawn) -> torch.Tensor:
    """A drawing as MNIST would show it: uint8 ``[1, 28, 28]``, 0 is paper and 255 is ink.

    ``drawn``: a list of strokes (see `ink`), or a picture of any size (see `crop`). It is cropped to its ink, scaled to fit 20×20
    with grey edges, and placed on 28×28 by its centre of mass: LeCun, Cortes and Burges, "The MNIST database of handwritten
    digits", and LeCun et al. 1998, section III A. Raises ValueError as `ink`, `crop` and `center` do. Notebook 09.
    """
    return center(fit(crop(ink(drawn) if isinstance(drawn, list) else drawn)))


class DrawingPad(AnyWidget):
    """A pad to draw a digit on, with what a LeNet-5 makes of it. Show it as the last line of a cell. Notebook 09.

    ``net``: a network for one 32×32 image in 0–1 whose first convolution has six maps of 28×28; by default
    ``mnistlib.pretrained("lenet5")``. ``strokes`` (see `ink`; a program may set them) and ``width``: what was drawn; from
    them ``image`` uint8 ``[1, 28, 28]`` and ``probabilities`` float32 ``[10]``; all 0, and None, while nothing is drawn.
    """

    strokes = traitlets.List().tag(sync=True)
    width = traitlets.Float(0.08).tag(sync=True)
    _pictures = traitlets.Bytes().tag(sync=True)  # seven of 28×28: the image and six feature maps
    _shares = traitlets.List().tag(sync=True)
    _text = traitlets.Unicode().tag(sync=True)

    def __init__(self, net: nn.Module | None = None, **traits):
        self.net = pretrained("lenet5") if net is None else net
        super().__init__(**traits)
        self.observe(lambda _: self._read(), ["strokes", "width"])
        self._read()

    @torch.no_grad()
    def _read(self) -> None:
        picture = ink(self.strokes, self.width)
        drawn = bool(picture.any())
        self.image = as_mnist(picture) if drawn else torch.zeros(1, 28, 28, dtype=torch.uint8)
        pixels = Split(self.image[None], torch.zeros(1, dtype=torch.int64)).resized(32).images / 255
        first = next(layer for layer in self.net.modules() if isinstance(layer, nn.Conv2d))
        maps = first(pixels)[0].relu()
        maps = (maps / maps.max().clamp(min=1e-9) * 255).to(torch.uint8) * drawn
        with evaluating(self.net):
            self.probabilities = self.net(pixels)[0].softmax(0) if drawn else None
        with self.hold_sync():  # all in one message
            self._pictures = torch.cat([self.image, maps]).numpy().tobytes()
            self._shares = self.probabilities.tolist() if drawn else []
            self._text = "Draw a digit."
            if drawn:
                (sure, second), (digit, other) = (numbers.tolist() for numbers in self.probabilities.topk(2))
                self._text = f"It reads: {digit} ({100 * sure:.0f} %). Next: {other} ({100 * second:.0f} %)."

    _esm = """
const HTML = `<div class="mnist-pad" data-lm-suppress-shortcuts="true"><div class="box"><span>Draw a digit here</span>
    <canvas class="paper" width="560" height="560" tabindex="0" role="application" aria-label="Drawing area. Draw with mouse,
      finger or pen. Or with the keyboard: arrow keys move the pen, Space puts it down and lifts it."></canvas>
    <div class="row"><button type="button">Clear</button>
      <label class="row">Pen <input type="range" min="0.03" max="0.16" step="0.01" aria-label="Pen width"></label></div></div>
  <div class="box"><span>What it sees: 28 × 28</span>
    <canvas class="seen" width="28" height="28" role="img" aria-label="The drawing as 28 by 28 pixels"></canvas></div>
  <div class="box"><span>Probability of each digit</span><ul class="bars"></ul></div>
  <strong class="wide answer" role="status" aria-live="polite"></strong>
  <div class="wide"><span>The six maps of the first convolution (darker: more)</span><div class="maps"></div></div></div>`;
function render({ model, el }) {
  el.innerHTML = HTML;
  const find = (name) => el.querySelector(name);
  const paper = find(".paper"), page = paper.getContext("2d"), slider = find("input"), answer = find(".answer");
  find(".bars").innerHTML = [...Array(10).keys()].map((digit) =>
    `<li><b>${digit}</b><span class="track"><span class="bar"></span></span><span class="share"></span></li>`).join("");
  find(".maps").innerHTML = [1, 2, 3, 4, 5, 6].map((map) =>
    `<canvas width="28" height="28" role="img" aria-label="feature map ${map} of 6"></canvas>`).join("");
  let strokes = [], drawing = false, timer = null, pen = [0.5, 0.25], down = false, keys = false;
  const copy = (all) => all.filter((stroke) => stroke.length).map((stroke) => [...stroke]);
  function draw() {  // the strokes, and the pen of those who draw with the keyboard
    const side = paper.width;
    page.clearRect(0, 0, side, side);
    Object.assign(page, { lineCap: "round", lineJoin: "round", strokeStyle: "black", lineWidth: slider.value * side });
    for (const stroke of strokes) {
      page.beginPath();
      for (const [x, y] of [stroke[0], ...stroke]) page.lineTo(x * side, y * side);
      page.stroke();
    }
    Object.assign(page, { strokeStyle: down ? "#C43E00" : "#0072B2", lineWidth: 5 });
    if (keys) { page.beginPath(); page.arc(pen[0] * side, pen[1] * side, 14, 0, 7); page.stroke(); }
  }
  function send() {  // at most ten times a second
    timer ??= setTimeout(() => {
      timer = null; model.set("strokes", copy(strokes)); model.set("width", Number(slider.value)); model.save_changes();
    }, 100);
  }
  function load() {  // Python, or another view of this pad, set the strokes
    if (drawing || down || timer) return;
    strokes = copy(model.get("strokes")); slider.value = model.get("width"); draw();
  }
  function show() {  // what Python made of it
    const view = model.get("_pictures"), bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    [find(".seen"), ...find(".maps").children].forEach((canvas, i) => {
      const image = new ImageData(28, 28);  // black, with the ink as opacity: the page below is white
      for (let j = 0; j < 784; j++) image.data[4 * j + 3] = bytes[784 * i + j];
      canvas.getContext("2d").putImageData(image, 0, 0);
    });
    const shares = model.get("_shares"), most = Math.max(...shares);
    el.querySelectorAll(".bars li").forEach((row, i) => {
      row.classList.toggle("most", shares[i] === most);
      row.querySelector(".bar").style.width = `${100 * (shares[i] ?? 0)}%`;
      row.querySelector(".share").textContent = shares.length ? `${(100 * shares[i]).toFixed(0)} %` : "–";
    });
    if (!drawing && answer.textContent !== model.get("_text")) answer.textContent = model.get("_text");  // is read aloud
  }
  function place(event) {
    const box = paper.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((n) => Math.round(n * 1e3) / 1e3);
  }
  const on = (element, names, react) => names.split(" ").forEach((name) => element.addEventListener(name, react));
  on(paper, "pointerdown", (event) => {
    if (event.button || !event.isPrimary) return;
    paper.setPointerCapture(event.pointerId); drawing = true; keys = down = false;
    strokes.push([place(event)]); draw(); send();
  });
  on(paper, "pointermove", (event) => {
    if (!drawing || !event.isPrimary) return;
    strokes.at(-1).push(place(event)); draw(); send();
  });
  on(paper, "pointerup pointercancel", () => { drawing = false; send(); show(); });
  on(paper, "keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step && event.key !== " ") return;
    event.preventDefault(); event.stopPropagation(); keys = true;
    if (step) pen = pen.map((n, i) => Math.min(1, Math.max(0, n + step[i] / 28)));
    else if ((down = !down)) strokes.push([]);
    if (down) { strokes.at(-1).push(pen); send(); } draw();
  });
  on(paper, "blur", () => { keys = down = false; draw(); });
  on(find("button"), "click", () => { strokes = []; down = false; draw(); send(); });
  on(slider, "input", () => { draw(); send(); });
  const drawn = "change:strokes change:width", seen = "change:_pictures change:_shares change:_text";
  model.on(drawn, load); model.on(seen, show); load(); show();
  return () => { model.off(drawn, load); model.off(seen, show); };
}
export default { render };
"""
    _css = """
.mnist-pad { display: flex; flex-wrap: wrap; gap: 14px 28px; padding: 8px; max-width: 800px; font: 14px/1.4 system-ui, sans-serif;
  color: var(--jp-ui-font-color1, var(--vscode-foreground, inherit)); }
.mnist-pad .box { display: flex; flex-direction: column; gap: 8px; } .mnist-pad .wide { flex-basis: 100%; }
.mnist-pad .row { display: flex; justify-content: space-between; align-items: center; gap: 6px; }
.mnist-pad canvas { background: white; border: 1px solid #888; image-rendering: pixelated; width: 112px; height: 112px; }
.mnist-pad canvas.paper { width: 280px; height: 280px; touch-action: none; cursor: crosshair; image-rendering: auto; }
.mnist-pad .paper:focus-visible { outline: 3px solid #0072B2; outline-offset: 2px; }
.mnist-pad canvas.seen { width: 168px; height: 168px; } .mnist-pad .answer { font-size: 18px; }
.mnist-pad .maps { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 6px; }
.mnist-pad button { font: inherit; padding: 4px 16px; } .mnist-pad ul { list-style: none; margin: 0; padding: 0; }
.mnist-pad li { display: flex; align-items: center; gap: 8px; width: 236px; margin: 0; line-height: 26px; }
.mnist-pad .track { flex: 1; height: 15px; border: 1px solid #888; }
.mnist-pad .bar { display: block; height: 100%; background: #0072B2; } .mnist-pad .most .bar { background: #E69F00; }
.mnist-pad .share { width: 54px; text-align: right; white-space: nowrap; } .mnist-pad .most .share { font-weight: bold; }
"""
