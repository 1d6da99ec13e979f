// A pad to draw a digit on, with mouse, finger, pen or keyboard.

import { h } from "./view.js";

const HELP =
  "Drawing area. Draw with mouse, finger or pen. Or with the keyboard: arrow keys move the pen, Space puts it down " +
  "and lifts it. Control and Z take the last change back.";

export class Pad {
  // `changed(pad)` is called after each change, with `strokes` and `width` as mnistlib.live.pad.ink takes them.
  constructor(palette, changed) {
    Object.assign(this, {
      palette,
      changed,
      strokes: [],
      past: [], // { strokes, picture } before each change, for Undo
      width: 0.08,
      picture: null,
      drawing: false,
      pen: [0.5, 0.25],
      down: false,
      keys: false,
    });
    this.paper = h("canvas", {
      class: "paper",
      width: 560,
      height: 560,
      tabindex: 0,
      role: "application",
      "aria-label": HELP,
    });
    this.slider = h("input", {
      type: "range",
      min: 0.03,
      max: 0.16,
      step: 0.01,
      value: this.width,
      "aria-label": "Pen width",
    });
    this.dot = h("i"); // as wide as the pen
    this.back = h("button", { type: "button", onclick: () => this.undo() }, "Undo");
    this.hint = h("span", { class: "hint", "aria-hidden": "true" }, "Draw a digit here");
    this.element = h(
      "div",
      { class: "pad", "data-lm-suppress-shortcuts": "true" },
      h("div", { class: "sheet" }, this.paper, this.hint),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", onclick: () => this.clear() }, "Clear"),
        this.back,
      ),
      h("label", { class: "row" }, "Pen", this.slider, h("span", { class: "dot" }, this.dot)),
    );
    this.listen();
    palette.addEventListener("change", () => this.draw());
    this.draw();
  }

  listen() {
    const { paper } = this;
    const place = ({ clientX, clientY }) => {
      const box = paper.getBoundingClientRect();
      return [(clientX - box.left) / box.width, (clientY - box.top) / box.height].map(
        (n) => Math.round(n * 1000) / 1000,
      );
    };
    paper.addEventListener("pointerdown", (event) => {
      if (event.button || !event.isPrimary) return;
      paper.setPointerCapture(event.pointerId);
      Object.assign(this, { drawing: true, keys: false, down: false });
      this.begin([place(event)]);
    });
    paper.addEventListener("pointermove", (event) => {
      if (!this.drawing || !event.isPrimary) return;
      this.strokes.at(-1).push(place(event));
      this.update();
    });
    for (const name of ["pointerup", "pointercancel"])
      paper.addEventListener(name, () => {
        this.drawing = false;
      });
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "z" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.undo();
    });
    paper.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step && event.key !== " ") return undefined;
      event.preventDefault();
      event.stopPropagation();
      this.keys = true;
      if (step) this.pen = this.pen.map((n, i) => Math.round(1000 * Math.min(1, Math.max(0, n + step[i] / 28))) / 1000);
      else if ((this.down = !this.down)) this.begin([]);
      if (!this.down) return this.draw(); // the pen only moves
      this.strokes.at(-1).push(this.pen);
      return this.update();
    });
    paper.addEventListener("blur", () => {
      this.keys = this.down = false;
      this.draw();
    });
    this.slider.addEventListener("input", () => {
      this.width = Number(this.slider.value);
      this.update();
    });
  }

  begin(stroke) {
    this.keep();
    this.picture = null;
    this.strokes = [...this.strokes, stroke];
    this.update();
  }

  // Remember what is on the pad, before it changes.
  keep() {
    this.past.push({ strokes: this.strokes, picture: this.picture });
  }

  clear() {
    if (this.empty) return;
    this.keep();
    this.set([]);
    this.changed(this);
  }

  undo() {
    const before = this.past.pop();
    if (!before) return;
    this.set(before.strokes, this.width, before.picture);
    this.changed(this);
  }

  get empty() {
    return !this.picture && !this.strokes.length;
  }

  // Strokes from elsewhere, or a finished picture of 28 × 28 pixels to show instead.
  set(strokes, width = this.width, picture = null) {
    Object.assign(this, {
      strokes: strokes.filter((stroke) => stroke.length).map((stroke) => [...stroke]),
      width,
      picture,
      down: false,
      drawing: false,
    });
    this.slider.value = width;
    this.draw();
  }

  update() {
    this.draw();
    this.changed(this);
  }

  draw() {
    const side = this.paper.width;
    const page = this.paper.getContext("2d");
    const { palette } = this;
    page.clearRect(0, 0, side, side);
    this.hint.hidden = !this.empty || this.keys;
    this.back.setAttribute("aria-disabled", !this.past.length); // not `disabled`: the focus stays on it
    this.dot.style.width = `${100 * this.width}cqw`;
    if (this.picture) {
      page.fillStyle = palette.ink;
      this.picture.forEach((grey, i) => {
        page.globalAlpha = grey / 255;
        page.fillRect((i % 28) * 20, Math.floor(i / 28) * 20, 20, 20);
      });
      page.globalAlpha = 1;
    }
    Object.assign(page, {
      lineCap: "round",
      lineJoin: "round",
      strokeStyle: palette.ink,
      lineWidth: this.width * side,
    });
    for (const stroke of this.strokes.filter((each) => each.length)) {
      page.beginPath();
      for (const [x, y] of [stroke[0], ...stroke]) page.lineTo(x * side, y * side);
      page.stroke();
    }
    if (!this.keys) return;
    Object.assign(page, { lineWidth: 6, strokeStyle: this.down ? palette.warm : palette.accent });
    page.beginPath(); // the pen of those who draw with the keyboard
    page.arc(this.pen[0] * side, this.pen[1] * side, 14, 0, 7);
    page.stroke();
  }
}
