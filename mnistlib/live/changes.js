// Sliders that change the digit, and what the network would read at every place of each slider: so one sees where it
// breaks.

import { asInput, changed } from "./images.js";
import { LeNet5 } from "./lenet5.js";
import { h } from "./view.js";

const SLIDERS = [
  { name: "right", text: "Move right", values: range(-10, 10, 1), unit: " px" },
  { name: "down", text: "Move down", values: range(-10, 10, 1), unit: " px" },
  { name: "turn", text: "Turn", values: range(-180, 180, 15), unit: "°" },
  { name: "thicken", text: "Stroke width", values: range(-5, 10, 1), unit: " px", part: 0.25 },
];

function range(from, to, step) {
  return Array.from({ length: (to - from) / step + 1 }, (_, i) => from + i * step);
}
const written = ({ part = 1, unit }, number) => `${number > 0 ? "+" : ""}${number * part}${unit}`.replace("-", "−");

export class Changes {
  // `changed()` is called after each change; `of(pixels)` gives the changed digit.
  constructor(state, onchange) {
    Object.assign(this, { state, net: new LeNet5(), now: { invert: false }, rows: {} });
    for (const slider of SLIDERS) {
      this.now[slider.name] = 0;
      const input = h("input", {
        type: "range",
        min: slider.values[0],
        max: slider.values.at(-1),
        step: slider.values[1] - slider.values[0],
        value: 0,
        oninput: () => {
          this.now[slider.name] = Number(input.value);
          onchange();
        },
      });
      const value = h("b");
      const strip = h("div", { class: "strip", "aria-hidden": "true" }, ...slider.values.map(() => h("span")));
      const words = h("p", { class: "note" });
      this.rows[slider.name] = { slider, input, value, strip, words };
    }
    this.invert = h("input", {
      type: "checkbox",
      onchange: () => {
        this.now.invert = this.invert.checked;
        onchange();
      },
    });
    this.element = h(
      "div",
      { class: "changes" },
      h(
        "p",
        { class: "words" },
        "Under each slider you see what the network would read at each position. Orange marks the current one.",
      ),
      ...Object.values(this.rows).map(({ slider, input, value, strip, words }) =>
        h("div", { class: "change" }, h("label", {}, h("span", {}, `${slider.text}: `, value), input), strip, words),
      ),
      h(
        "div",
        { class: "row" },
        h("label", { class: "control" }, this.invert, " Invert: swap ink and paper"),
        h(
          "button",
          {
            type: "button",
            onclick: () => {
              this.reset();
              onchange();
            },
          },
          "Reset",
        ),
      ),
    );
    state.addEventListener("answer", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.survey(), 120);
    });
  }

  reset() {
    for (const { slider, input } of Object.values(this.rows)) this.now[slider.name] = Number((input.value = 0));
    this.now.invert = this.invert.checked = false;
  }

  of(pixels) {
    this.base = pixels;
    for (const { slider, input, value } of Object.values(this.rows)) {
      value.textContent = written(slider, this.now[slider.name]);
      input.setAttribute("aria-valuetext", value.textContent);
    }
    return pixels && changed(pixels, this.now);
  }

  survey() {
    // read every place of every slider; only while somebody looks
    const { state } = this;
    if (!this.element.offsetParent) return;
    if (!this.base) {
      for (const { strip, words } of Object.values(this.rows)) {
        for (const each of strip.children) Object.assign(each, { textContent: "", className: "" });
        words.textContent = "No digit yet.";
      }
      return;
    }
    this.net.parameters = state.net.parameters;
    const read = (pixels) => {
      const probabilities = this.net.forward(asInput(pixels, state.padded));
      return probabilities.indexOf(Math.max(...probabilities));
    };
    const digit = read(changed(this.base, this.now));
    for (const { slider, strip, words } of Object.values(this.rows)) {
      const { name, values } = slider;
      const here = values.indexOf(this.now[name]);
      const digits = values.map((value) => read(changed(this.base, { ...this.now, [name]: value })));
      digits.forEach((each, i) => {
        strip.children[i].textContent = each;
        strip.children[i].className = `${each === digit ? "same" : "other"} ${i === here ? "here" : ""}`;
      });
      let [first, last] = [here, here];
      while (digits[first - 1] === digit) first -= 1;
      while (digits[last + 1] === digit) last += 1;
      const [from, to] = [first, last].map((i) => written(slider, values[i]));
      const where = first === last ? `only at ${to}` : `from ${from.replace(" px", "")} to ${to}`;
      words.textContent = `Read as ${digit} ${where}.`;
    }
  }
}
