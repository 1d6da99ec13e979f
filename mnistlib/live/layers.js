// Every layer's units as coloured squares. Click one, or move among them with the arrow keys.

import { LAYERS, layerCalled, sourceOf } from "./lenet5.js";
import { nameOf, percent, placeOf, say, seenBy, unitAt } from "./explain.js";
import { frame, h, largest, oncePerFrame, sheet, squares } from "./view.js";

const STAGES = [
  ["conv1", "relu1", "pool1"],
  ["conv2", "relu2", "pool2"],
  ["conv3", "relu3"],
  ["linear1", "relu4"],
  ["linear2", "softmax"],
];
// How the maps of a layer stand: so many in a row, each so large, with a gap. First side by side in columns, then one
// below another.
export const COLUMNS = { 6: [1, 56, 6], 16: [2, 40, 6], 120: [5, 14, 1], 84: [4, 16, 1], 10: [1, 31, 6] };
export const ROWS = { 6: [6, 64, 4], 16: [8, 48, 4], 120: [24, 18, 1], 84: [21, 20, 1], 10: [10, 40, 4] };
export const NEEDED = 600; // pixels for the columns
const [LEAST, FULL, GAPS] = [925, 984, 408]; // the columns stand in one row from LEAST on; they shrink below FULL

export class Layers {
  // With `still` nothing can be chosen: the layers only show what happens.
  constructor(state, palette, names = LAYERS.map((layer) => layer.name), still = false) {
    Object.assign(this, { state, palette, canvases: {}, still });
    this.bars = Array.from({ length: 10 }, (_, digit) =>
      h(
        still ? "div" : "button",
        {
          type: !still && "button",
          role: still && "img",
          class: "bar",
          onclick: () => still || state.select("softmax", digit, "click"),
        },
        h("b", {}, digit),
        h("span", { class: "track" }, h("span", { class: "fill" }), h("span", { class: "percent" })),
      ),
    );
    const stages = STAGES.map((stage) => stage.filter((name) => names.includes(name))).filter((stage) => stage.length);
    this.element = h(
      "div",
      { class: "layers" },
      ...stages.map((stage) => h("div", { class: "stage" }, ...stage.map((name) => this.figure(name)))),
    );
    this.draw = oncePerFrame(() => this.paint());
    for (const event of ["answer", "select"]) state.addEventListener(event, this.draw);
    palette.addEventListener("change", this.draw);
    new ResizeObserver(this.draw).observe(this.element);
  }

  figure(name) {
    const layer = layerCalled(name);
    const { maps, side } = layer;
    const shape = side > 1 ? `${maps}@${side}×${side}` : `${maps}`;
    const units = side > 1 ? `${maps} maps of ${side} by ${side}` : `${maps} units`;
    const title = h("figcaption", {}, h("b", {}, name), " ", h("span", {}, shape));
    if (name === "softmax")
      return h(
        "figure",
        { class: "layer bars", role: "group", "aria-label": "softmax: ten probabilities" },
        title,
        ...this.bars,
      );
    const canvas = (this.canvases[name] = this.still
      ? h("canvas", { role: "img", "aria-label": `${name}: ${units}` })
      : h("canvas", {
          tabindex: 0,
          role: "application",
          "aria-label": `${name}: ${units}. Arrow keys choose a unit.`,
        }));
    if (!this.still) this.listen(canvas, layer);
    return h("figure", { class: "layer" }, title, canvas);
  }

  listen(canvas, layer) {
    const choose = ({ clientX, clientY, pointerType }, by = pointerType) => {
      const box = canvas.getBoundingClientRect();
      const { perRow, side, gap } = this.grid(layer);
      const x = clientX - box.left - 3;
      const y = clientY - box.top - 3;
      const across = Math.floor(Math.max(0, x) / (side + gap));
      const down = Math.floor(Math.max(0, y) / (side + gap));
      const inside = (at, index) =>
        Math.max(0, Math.min(layer.side - 1, Math.floor(((at - index * (side + gap)) / side) * layer.side)));
      const map = down * perRow + Math.min(across, perRow - 1);
      if (map < layer.maps)
        this.state.select(
          layer.name,
          unitAt(layer, { map, row: inside(y, down), column: inside(x, across) }),
          by,
        );
    };
    canvas.addEventListener("click", (event) => choose(event));
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons & 1 && event.pointerType === "mouse") choose(event, "drag");
    });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      if (this.state.layer !== layer) return this.state.select(layer.name, this.last?.[layer.name] ?? 0, "keys");
      // All maps of the layer are one large table for the arrow keys: beyond the edge of a map is the next map.
      const { perRow } = this.grid(layer);
      const { map, row, column } = placeOf(layer, this.state.unit);
      const rows = Math.ceil(layer.maps / perRow);
      const y = Math.floor(map / perRow) * layer.side + row + step[0];
      const x = (map % perRow) * layer.side + column + step[1];
      if (y < 0 || x < 0 || y >= rows * layer.side || x >= perRow * layer.side) return undefined;
      const next = Math.floor(y / layer.side) * perRow + Math.floor(x / layer.side);
      if (next < layer.maps)
        this.state.select(
          layer.name,
          unitAt(layer, { map: next, row: y % layer.side, column: x % layer.side }),
          "keys",
        );
      return undefined;
    });
  }

  grid(layer) {
    if (this.inColumns) {
      const [perRow, side, gap] = COLUMNS[layer.maps];
      const room = this.element.clientWidth;
      const part = room < LEAST || layer.maps === 10 ? 1 : Math.min(1, (room - GAPS) / (FULL - GAPS));
      return { perRow, side: Math.floor(side * part), gap };
    }
    const [perRow, most, gap] = ROWS[layer.maps];
    const room = this.element.clientWidth - 6;
    return { perRow, gap, side: Math.min(most, (room - gap * (perRow - 1)) / perRow) };
  }

  paint() {
    const { state, palette } = this;
    const { layer: chosen, unit } = state;
    const source = sourceOf(chosen);
    this.inColumns = this.element.clientWidth >= NEEDED;
    this.element.classList.toggle("columns", this.inColumns);
    (this.last ??= {})[chosen.name] = unit;
    const place = placeOf(chosen, unit);
    const one = chosen.kind === "relu" || chosen.kind === "pool";
    for (const [name, canvas] of Object.entries(this.canvases)) {
      const layer = layerCalled(name);
      const values = state.net.units[name];
      const { perRow, side, gap } = this.grid(layer);
      const size = layer.side ** 2;
      const rows = Math.ceil(layer.maps / perRow);
      const margin = 3;
      const page = sheet(canvas, perRow * (side + gap) - gap + 2 * margin, rows * (side + gap) - gap + 2 * margin);
      const scale = Math.max(largest(values), 0.2); // what is small everywhere looks pale
      const box = (map) => [margin + (map % perRow) * (side + gap), margin + Math.floor(map / perRow) * (side + gap)];
      for (let map = 0; map < layer.maps; map++) {
        const [left, top] = box(map);
        const own = values.subarray(map * size, map * size + size);
        squares(page, palette.signed, own, layer.side, scale, [left, top, side, side]);
        page.strokeStyle = palette.line;
        page.lineWidth = 1;
        page.strokeRect(left - 0.5, top - 0.5, side + 1, side + 1);
      }
      if (this.still) continue;
      const unitSide = side / layer.side;
      if (name === source && layer.side > 1) {
        // the window, in each map that the unit looks at
        const seen = seenBy(chosen, unit, source);
        for (let map = one ? place.map : 0; map < (one ? place.map + 1 : layer.maps); map++) {
          const [left, top] = box(map);
          frame(
            page,
            palette,
            left + seen.left * unitSide,
            top + seen.top * unitSide,
            seen.width * unitSide,
            seen.height * unitSide,
            1,
          );
        }
      } else if (name === source) {
        const [left, top] = box(one ? place.map : 0);
        if (one) frame(page, palette, left, top, side, side, 1);
        else frame(page, palette, margin, margin, perRow * (side + gap) - gap, rows * (side + gap) - gap, 1);
      }
      if (layer === chosen) {
        const [left, top] = box(place.map);
        frame(page, palette, left + place.column * unitSide, top + place.row * unitSide, unitSide, unitSide, 2);
        canvas.setAttribute("aria-description", `${nameOf(layer, unit)}: ${say(values[unit])}`);
      }
    }
    this.paintBars();
  }

  paintBars() {
    const { state } = this;
    this.element.classList.toggle("blank", state.blank);
    this.bars.forEach((bar, digit) => {
      const p = state.probabilities[digit];
      bar.querySelector(".fill").style.width = `${100 * p}%`;
      bar.querySelector(".percent").textContent = percent(p);
      bar.classList.toggle("most", digit === state.answer && !state.blank);
      bar.classList.toggle("chosen", !this.still && state.layer.name === "softmax" && state.unit === digit);
      bar.setAttribute("aria-label", `digit ${digit}: ${percent(p)}`);
    });
  }
}

// The answer in words, "It reads this as 7 (99 %). Second guess: 2 (1 %).", as an element. It changes while one draws,
// and is read aloud when it has stood for a moment. `more()` may add a sentence.
export function answerLine(state, more = () => "") {
  const shown = h("p", { class: "answer", "aria-hidden": "true" });
  const aloud = h("p", { class: "unseen", role: "status" });
  let timer;
  const write = oncePerFrame(() => {
    shown.textContent = answerOf(state) + more();
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (aloud.textContent !== shown.textContent) aloud.textContent = shown.textContent;
    }, 500);
  });
  state.addEventListener("answer", write);
  write();
  return h("div", {}, shown, aloud);
}

function answerOf(state) {
  if (state.blank) return "Draw a digit. The network answers even to blank paper.";
  const order = [...state.probabilities.keys()].sort((a, b) => state.probabilities[b] - state.probabilities[a]);
  const [first, second] = order.map((digit) => `${digit} (${percent(state.probabilities[digit])})`);
  return `It reads this as ${first}. Second guess: ${second}.`;
}
