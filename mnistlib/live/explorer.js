// One unit under the magnifying glass: the window, the pixels × weights below it, the sum, the bias, ReLU; and the same
// in words.

import { KERNEL, LAYERS, layerCalled, sourceOf } from "./lenet5.js";
import { aboutLayer, explain, fromTo, inWords, nameOf, percent, placeOf, say, seenBy, unitAt } from "./explain.js";
import { COLUMNS, NEEDED, ROWS } from "./layers.js";
import { cells, frame, h, largest, line, oncePerFrame, sheet, squares } from "./view.js";

export class Explorer {
  // `zoom`: pixels of the screen for one of the image.
  constructor(state, palette, names = LAYERS.map((layer) => layer.name), zoom = 4) {
    Object.assign(this, { state, palette, zoom, channel: null, playing: null });
    this.layerChoice = h(
      "select",
      { onchange: () => state.select(this.layerChoice.value, 0) },
      ...names.map((name) => h("option", { value: name }, name)),
    );
    this.map = h("input", { type: "range", min: 0, oninput: () => this.choose() });
    this.place = h("input", { type: "range", min: 0, oninput: () => this.choose() });
    this.mapText = h("output");
    this.placeText = h("output");
    this.mapName = h("span");
    this.play = h("button", { type: "button", onclick: () => this.slide() }, "Slide");
    this.placeRow = h(
      "span",
      { class: "control place" },
      h("label", {}, "Window ", this.place),
      this.placeText,
      this.play,
    );
    this.words = h("p", { class: "words", "aria-hidden": "true" });
    this.aloud = h("p", { class: "unseen", role: "status" });
    this.count = h("p", { class: "note" });
    this.title = h("h2", {});
    this.figures = h("div", { class: "figures" });
    this.element = h(
      "div",
      { class: "explorer" },
      h(
        "div",
        { class: "controls" },
        this.title,
        h("label", { class: "control", hidden: names.length === 1 }, "Layer ", this.layerChoice),
        h("span", { class: "control" }, h("label", {}, this.mapName, " ", this.map), this.mapText),
        this.placeRow,
      ),
      this.words,
      this.aloud,
      this.figures,
      this.count,
    );
    this.draw = oncePerFrame(() => this.paint());
    state.addEventListener("answer", this.draw);
    state.addEventListener("select", () => {
      this.channel = null;
      this.draw();
    });
    palette.addEventListener("change", this.draw);
    new ResizeObserver(this.draw).observe(this.element);
    this.draw();
  }

  choose() {
    const layer = layerCalled(this.layerChoice.value);
    const place = layer.side > 1 ? Number(this.place.value) : 0;
    const { channel } = this;
    this.state.select(layer.name, Number(this.map.value) * layer.side ** 2 + place);
    this.channel = channel; // the window moves; the map that is looked at stays
  }

  slide() {
    // the window over the whole picture, place by place
    if (this.playing) {
      clearInterval(this.playing);
      this.playing = null;
    } else {
      this.playing = setInterval(() => {
        if (!this.element.isConnected || this.placeRow.hidden) return this.slide();
        this.place.value = (Number(this.place.value) + 1) % (Number(this.place.max) + 1);
        return this.choose();
      }, 60);
    }
    this.play.textContent = this.playing ? "Stop" : "Slide";
  }

  paint() {
    const { state } = this;
    const { layer, unit } = state;
    const { map, row, column } = placeOf(layer, unit);
    const size = layer.side ** 2;
    const found = explain(state.net, layer, unit);
    this.layerChoice.value = layer.name;
    Object.assign(this.map, { max: layer.maps - 1, value: map });
    this.mapName.textContent = layer.side > 1 ? "Map" : layer.maps === 10 ? "Digit" : "Unit";
    this.mapText.textContent = map;
    this.placeRow.hidden = size === 1;
    Object.assign(this.place, { max: size - 1, value: unit % size });
    this.place.setAttribute("aria-valuetext", `row ${row}, column ${column}`);
    this.placeText.textContent = `row ${row}, column ${column}`;
    this.title.replaceChildren(
      nameOf(layer, unit),
      ...(layer.kind === "softmax"
        ? [": ", h("b", {}, percent(found.value))]
        : [" = ", h("b", {}, say(found.value))]),
    );
    this.say(`${nameOf(layer, unit)}: `, inWords(found));
    this.count.textContent = aboutLayer(layer);
    const drawn =
      layer.kind in KERNEL
        ? this.sums(found)
        : layer.kind === "pool"
          ? this.pool(found)
          : layer.kind === "relu"
            ? this.relu(found)
            : this.softmax(found);
    this.figures.replaceChildren(this.seen(found), ...drawn);
  }

  say(name, text) {
    // shown at once; read aloud, with the name that stands above, when it has stood for a moment
    this.words.textContent = text;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.aloud.textContent !== name + text) this.aloud.textContent = name + text;
    }, 150);
  }

  // A named part of the picture; parts are kept from one picture to the next, so that the focus stays where it is.
  part(name, caption, make) {
    const part = ((this.parts ??= {})[name] ??= h("figure", { class: `part ${name}` }, h("figcaption"), ...make()));
    part.firstChild.textContent = caption;
    return part;
  }

  table(name, caption, values, columns, scale, cell, colours = this.palette.signed) {
    const part = this.part(name, caption, () => [h("canvas", { role: "img" })]);
    part.lastChild.setAttribute("aria-label", caption);
    cells(part.lastChild, this.palette, colours, values, columns, scale, cell);
    return part;
  }

  // A part with the sign that stands before it.
  after(sign, part) {
    part.dataset.sign = sign;
    return part;
  }

  // The image, and how much of it the unit sees. In the first layers, pressing there moves the window.
  seen({ layer, unit }) {
    const box = seenBy(layer, unit);
    const part = this.part("seen", `sees ${box.height} × ${box.width} of the 32 × 32 pixels`, () => {
      const canvas = h("canvas", { role: "img" });
      const move = ({ clientX, clientY }) => {
        const { layer: now, map: inMap } = { layer: this.state.layer, ...placeOf(this.state.layer, this.state.unit) };
        if (now.side === 1) return;
        const { left, top } = canvas.getBoundingClientRect();
        const { width, top: first } = seenBy(now, 0);
        const next = seenBy(now, 1).left;
        const at = (pixel) =>
          Math.max(0, Math.min(now.side - 1, Math.round((pixel / this.zoom - first - width / 2) / next)));
        this.state.select(now.name, unitAt(now, { map: inMap, row: at(clientY - top), column: at(clientX - left) }));
      };
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        move(event);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (event.buttons & 1) move(event);
      });
      return [canvas];
    });
    const canvas = part.lastChild;
    const { palette, zoom } = this;
    canvas.classList.toggle("moves", layer.side > 1);
    canvas.setAttribute(
      "aria-label",
      `The image. This unit sees rows ${fromTo(box.top, box.height)}, columns ${fromTo(box.left, box.width)}.`,
    );
    const page = sheet(canvas, 32 * zoom + 6, 32 * zoom + 6);
    const at = (pixel) => 3 + pixel * zoom;
    squares(page, palette.grey, this.state.net.units.input, 32, 1, [3, 3, 32 * zoom, 32 * zoom]);
    frame(page, palette, at(box.left), at(box.top), box.width * zoom, box.height * zoom, 2);
    return part;
  }

  // Where the unit stands in its map.
  inMap({ layer, map, row, column }) {
    if (layer.side === 1) return [];
    const cell = Math.floor((32.5 * this.zoom) / layer.side);
    const width = cell * layer.side;
    const units = this.state.net.units[layer.name];
    const part = this.part("map", `map ${map} of ${layer.name}`, () => [h("canvas", { role: "img" })]);
    const canvas = part.lastChild;
    canvas.setAttribute("aria-label", `Map ${map} of ${layer.name}, with a frame around row ${row}, column ${column}`);
    const page = sheet(canvas, width + 6, width + 6);
    const own = units.subarray(map * layer.side ** 2, (map + 1) * layer.side ** 2);
    squares(page, this.palette.signed, own, layer.side, largest(units), [3, 3, width, width]);
    page.strokeStyle = this.palette.line;
    page.strokeRect(2.5, 2.5, width + 1, width + 1);
    frame(page, this.palette, 3 + column * cell, 3 + row * cell, cell, cell, 2);
    return [this.after("→", part)];
  }

  // Convolution and linear layers: values × weights = products, their sum, the bias.
  sums(found) {
    const { layer, terms, sum, bias, value } = found;
    const convolution = layer.kind === "convolution";
    const source = sourceOf(layer);
    const products = terms.map((term) => term.value * term.weight);
    const most = Math.max(largest(products), 1e-9);
    const channels = convolution ? layer.inputs : 1;
    const per = terms.length / channels;
    const parts = [];
    const sums = Array.from({ length: channels }, (_, i) =>
      products.slice(per * i, per * i + per).reduce((total, each) => total + each, 0),
    );
    this.channel ??= sums.findIndex((each) => Math.abs(each) === largest(sums)); // the map that matters most
    if (channels > 1) parts.push(this.channels(products, sums, most, source));
    const shown = terms.slice(this.channel * per, this.channel * per + per);
    const columns = convolution ? 5 : (this.element.clientWidth < NEEDED ? ROWS : COLUMNS)[per][0]; // as in the layers
    const cell = convolution ? 26 : 11;
    const grey = source === "input" ? this.palette.grey : this.palette.signed;
    const given = convolution
      ? source === "input"
        ? "pixels in the window"
        : `window in map ${this.channel} of ${source}`
      : `${per} numbers of ${source}`;
    parts.push(
      this.table(
        "values",
        given,
        shown.map((term) => term.value),
        columns,
        source === "input" ? 1 : Math.max(largest(terms.map((t) => t.value)), 1e-9),
        cell,
        grey,
      ),
      this.after(
        "×",
        this.table(
          "weights",
          channels > 1 ? `weights for map ${this.channel}` : "weights",
          shown.map((term) => term.weight),
          columns,
          largest(terms.map((t) => t.weight)),
          cell,
        ),
      ),
      this.after(
        "=",
        this.table(
          "products",
          "products",
          shown.map((term) => term.value * term.weight),
          columns,
          most,
          cell,
        ),
      ),
      this.after("→", this.result(sum, bias, value, layer, terms.length)),
      ...this.inMap(found),
    );
    return parts;
  }

  // One button for each map that the unit looks at, with its 25 products and their sum.
  channels(products, sums, most, source) {
    const count = sums.length;
    const part = this.part(`channels${count}`, `products with each map of ${source}`, () => [
      h(
        "div",
        { class: "chips" },
        ...Array.from({ length: count }, (_, i) =>
          h(
            "button",
            {
              type: "button",
              class: "chip",
              onclick: () => {
                this.channel = i;
                this.paint();
              },
            },
            h("canvas"),
            h("span"),
          ),
        ),
      ),
    ]);
    [...part.lastChild.children].forEach((chip, i) => {
      cells(
        chip.firstChild,
        this.palette,
        this.palette.signed,
        products.slice(25 * i, 25 * i + 25),
        5,
        most,
        count > 6 ? 5 : 8,
      );
      chip.lastChild.textContent = say(sums[i], 2);
      chip.setAttribute("aria-label", `map ${i} of ${source}: ${say(sums[i], 2)}`);
      chip.setAttribute("aria-pressed", i === this.channel);
    });
    return part;
  }

  result(sum, bias, value, layer, count) {
    const row = (name, number, kind = "") =>
      h("tr", { class: kind }, h("th", { scope: "row" }, name), h("td", {}, say(number)));
    const next = LAYERS[LAYERS.indexOf(layer) + 1];
    const part = this.part("result", "add them up", () => [h("table")]);
    part.lastChild.replaceChildren(
      row(`sum of ${count} products`, sum),
      row("+ bias", bias),
      row(`= ${layer.name}`, value, "total"),
      ...(next.kind === "relu" ? [row(`ReLU → ${next.name}`, Math.max(0, value), "after")] : []),
    );
    return part;
  }

  pool(found) {
    const { terms, layer } = found;
    const values = terms.map((term) => term.value);
    const source = sourceOf(layer);
    const cell = 56;
    const scale = Math.max(largest(this.state.net.units[source]), 1e-9);
    const part = this.table("four", `2 × 2 units of map ${found.map} of ${source}`, values, 2, scale, cell);
    const at = terms.findIndex((term) => term.weight);
    frame(
      part.lastChild.getContext("2d"),
      this.palette,
      (at % 2) * cell + 2,
      Math.floor(at / 2) * cell + 2,
      cell - 4,
      cell - 4,
      2,
    );
    return [part, this.after("→", this.single("the largest", found.value, scale)), ...this.inMap(found)];
  }

  single(caption, value, scale) {
    return this.table("single", caption, [value], 1, scale, 56);
  }

  relu(found) {
    const before = found.terms[0].value;
    const { palette } = this;
    const source = sourceOf(found.layer);
    const scale = Math.max(largest(this.state.net.units[source]), 1e-9);
    const part = this.part("hinge", "max(0, sum)", () => [
      h("canvas", { role: "img", "aria-label": "ReLU: below zero it is flat, above it rises" }),
    ]);
    const page = sheet(part.lastChild, 130, 112);
    const x = (number) => 65 + (60 * number) / scale;
    const y = (number) => 92 - (80 * Math.max(0, number)) / scale;
    page.strokeStyle = palette.line;
    line(page, 0, 92, 130, 92);
    line(page, 65, 4, 65, 110);
    Object.assign(page, { strokeStyle: palette.text, lineWidth: 2 });
    line(page, x(-scale), y(-scale), 65, 92);
    line(page, 65, 92, x(scale), y(scale));
    page.fillStyle = palette.accent;
    page.beginPath();
    page.arc(x(before), y(before), 5, 0, 7);
    page.fill();
    const from = this.table("before", `the sum in ${source}`, [before], 1, scale, 56);
    return [
      from,
      this.after("→", part),
      this.after("→", this.single("after ReLU", found.value, scale)),
      ...this.inMap(found),
    ];
  }

  softmax(found) {
    const { terms, unit } = found;
    const sum = terms.reduce((total, term) => total + term.value, 0);
    const lines = [
      ["digit", ...terms.keys()],
      ["logit (linear2)", ...terms.map((term) => say(term.logit, 2))],
      ["e to the power of (logit − largest)", ...terms.map((term) => say(term.value))],
      [`divided by their sum, ${say(sum)}`, ...terms.map((term) => percent(term.value / sum))],
    ];
    const upright = this.element.clientWidth < 760; // too narrow for ten columns
    const rows = upright ? lines[0].map((_, i) => lines.map((each) => each[i])) : lines;
    const part = this.part("powers", "from logits to probabilities", () => [h("table")]);
    const cell = (text, i, j) => {
      const [tag, scope] = i === 0 ? ["th", "col"] : j === 0 ? ["th", "row"] : ["td"];
      return h(tag, { scope, class: (upright ? i : j) === unit + 1 && "chosen" }, text);
    };
    part.lastChild.replaceChildren(...rows.map((row, i) => h("tr", {}, ...row.map((text, j) => cell(text, i, j)))));
    return [part];
  }
}
