// The parts of the page as widgets: for notebooks (anywidget calls `render`), and for lessons on the website
// (mount.js).

import { Explorer } from "./explorer.js";
import { asMnist, ink } from "./images.js";
import { Layers, answerLine } from "./layers.js";
import { layerCalled } from "./lenet5.js";
import { placeOf, unitAt } from "./explain.js";
import { Pad } from "./pad.js";
import { State } from "./state.js";
import { Palette, h, oncePerFrame, picture } from "./view.js";
import { readWeights } from "./weights.js";

// `model` holds what Python and the page share: get, set, on, off, save_changes.
async function render({ model, el }) {
  const root = el.appendChild(h("div", { class: "lenet5 widget" }));
  const { parameters, network } = await readWeights(new Blob([model.get("_weights")]));
  const palette = new Palette(root);
  const state = new State(parameters, network === "lenet5-padded");
  return (model.get("_kind") === "pad" ? drawing : exploring)(model, root, state, palette);
}

// DrawingPad: the drawing, the 28 × 28 pixels, the first maps and the ten probabilities.
function drawing(model, root, state, palette) {
  let timer = null;
  const seen = h("canvas", { class: "small", role: "img", "aria-label": "The drawing as 28 by 28 pixels" });
  const layers = new Layers(state, palette, ["relu1", "softmax"], true);
  const look = oncePerFrame(() => state.look(asMnist(ink(pad.strokes, pad.width))));
  const pad = new Pad(palette, () => {
    look();
    timer ??= setTimeout(() => {
      // Python hears of it at most ten times a second
      timer = null;
      model.set(
        "strokes",
        pad.strokes.filter((stroke) => stroke.length).map((stroke) => [...stroke]),
      );
      model.set("width", pad.width);
      model.save_changes();
    }, 100);
  });
  const load = () => {
    // Python, or another view of this pad, set the strokes
    if (pad.drawing || pad.down || timer) return;
    pad.set(model.get("strokes"), model.get("width"));
    look();
  };
  const show = oncePerFrame(() => picture(seen, palette, state.pixels, 112));
  state.addEventListener("answer", show);
  palette.addEventListener("change", show);
  root.append(
    h(
      "div",
      { class: "beside" },
      pad.element,
      h(
        "div",
        {},
        h(
          "div",
          { class: "row" },
          seen,
          h("div", {}, answerLine(state), h("p", { class: "note" }, "The network gets 28 × 28 pixels.")),
        ),
        layers.element,
      ),
    ),
  );
  for (const name of ["strokes", "width"]) model.on(`change:${name}`, load);
  load();
  return () => {
    for (const name of ["strokes", "width"]) model.off(`change:${name}`, load);
  };
}

// ConvolutionWindow (the window of the first convolution) and UnitExplorer (every unit of every layer).
function exploring(model, root, state, palette) {
  const names = ["layer", "map", "row", "column"];
  const all = model.get("_kind") === "units";
  if (all) {
    root.append(answerLine(state), new Layers(state, palette).element);
  }
  root.append((all ? new Explorer(state, palette) : new Explorer(state, palette, ["conv1"], 6)).element);
  const load = () => {
    const layer = layerCalled(model.get("layer"));
    const { map, row, column } = Object.fromEntries(names.map((name) => [name, model.get(name)]));
    if (layer !== state.layer || unitAt(layer, { map, row, column }) !== state.unit)
      state.select(layer.name, unitAt(layer, { map, row, column }));
  };
  state.addEventListener("select", () => {
    const now = { layer: state.layer.name, ...placeOf(state.layer, state.unit) };
    if (names.every((name) => model.get(name) === now[name])) return;
    for (const name of names) model.set(name, now[name]);
    model.save_changes();
  });
  const image = () => {
    const { buffer, byteOffset } = model.get("_image");
    state.look(new Uint8Array(buffer, byteOffset, 784));
  };
  for (const name of names) model.on(`change:${name}`, load);
  model.on("change:_image", image);
  image();
  load();
  return () => {
    for (const name of names) model.off(`change:${name}`, load);
    model.off("change:_image", image);
  };
}

export default { render };
