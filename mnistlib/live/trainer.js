// Training in the page: settings, buttons, and two curves. The work is done in worker.js.

import { mnist } from "./data.js";
import { h, largest, line, oncePerFrame, sheet } from "./view.js";
import { thousands } from "./explain.js";

// Below it no loss can fall with a softmax too many (notebook 03): 1.4612.
const FLOOR = -Math.log(Math.E / (Math.E + 9));

export class Trainer {
  // `learned(parameters)` is called whenever the network has changed.
  constructor(palette, learned) {
    Object.assign(this, {
      palette,
      learned,
      losses: [],
      accuracies: [],
      step: 0,
      seen: 0,
      rate: 0,
      running: false,
      worker: null,
    });
    const choice = (values, chosen) =>
      h(
        "select",
        { onchange: () => this.settings() },
        ...values.map((value) => h("option", { selected: value === chosen }, value)),
      );
    const box = (checked, text, title) => {
      const input = h("input", { type: "checkbox", checked, onchange: () => this.settings() });
      return [input, h("label", { class: "control", title }, input, ` ${text}`)];
    };
    this.lr = choice([0.0001, 0.0005, 0.002, 0.005, 0.02, 0.1], 0.002);
    this.batch = choice([1, 8, 32, 128], 32);
    const [shuffle, shuffleRow] = box(true, "shuffle the digits", "Another order in each epoch, from the next one on");
    const [twice, twiceRow] = box(false, "softmax twice (the mistake of notebook 03)");
    this.mistake = h(
      "p",
      { class: "note", hidden: true },
      "Softmax twice: the loss applies softmax itself, so the network must not do it too. If it does, the correct " +
        "digit gets at most e / (e + 9) = 0.232, and the loss cannot fall below −ln 0.232 = 1.46: its floor.",
    );
    Object.assign(this, { shuffle, twice });
    this.seed = h("input", {
      type: "number",
      min: 0,
      max: 999999,
      value: 0,
      onchange: () => {
        this.seed.value = Math.max(0, Math.min(999999, Math.trunc(Number(this.seed.value)))); // a whole number from 0
      },
    });
    this.start = h("button", { type: "button", class: "main", onclick: () => this.toggle() }, "Train");
    this.one = h("button", { type: "button", onclick: () => this.send("step") }, "One step");
    this.again = h("button", { type: "button", onclick: () => this.send("reset") }, "Reset");
    this.status = h(
      "p",
      { class: "words" },
      "A new network knows nothing. Press Train, and watch the layers above as it learns.",
    );
    this.aloud = h("p", { class: "unseen", role: "status" });
    this.lossChart = h("canvas", { role: "img", "aria-label": "Loss: no step yet" });
    this.accuracyChart = h("canvas", { role: "img", "aria-label": "Accuracy: not measured yet" });
    this.charts = h(
      "div",
      { class: "charts" },
      h("figure", {}, h("figcaption", {}, "loss. Grey: each step; blue: mean of the last 20"), this.lossChart),
      h("figure", {}, h("figcaption", {}, "accuracy on 500 test digits. Dashed: 90 %, to compare"), this.accuracyChart),
    );
    this.element = h(
      "div",
      { class: "trainer" },
      h(
        "div",
        { class: "controls" },
        this.start,
        this.one,
        this.again,
        h("label", { class: "control" }, "learning rate ", this.lr),
        h("label", { class: "control" }, "batch size ", this.batch),
        h(
          "label",
          { class: "control" },
          "seed ",
          this.seed,
          h("span", { class: "note" }, "a new seed begins anew, at Reset"),
        ),
        shuffleRow,
        twiceRow,
      ),
      this.status,
      this.aloud,
      this.mistake,
      this.charts,
      h(
        "p",
        { class: "note" },
        "Loss: how wrong the network is; 0 is perfect. Learning rate: how far each step moves the weights. " +
          "Batch size: how many digits a step looks at. You can change these while it trains. Seed: it decides the " +
          "random weights and the order of the digits, so the same settings give the same curves.",
      ),
    );
    this.draw = oncePerFrame(() => this.paint());
    palette.addEventListener("change", this.draw);
    new ResizeObserver(this.draw).observe(this.element);
  }

  // The worker, once the digits are here.
  async ready() {
    if (this.worker) return this.worker;
    this.start.disabled = this.one.disabled = this.again.disabled = true;
    try {
      const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
      const digits = await mnist((done, total) => {
        const of = total ? ` of ${megabytes(total)}` : "";
        this.tell(`Loading MNIST: ${megabytes(done)}${of} MB.`);
      });
      this.count = digits.train.labels.length;
      this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
      this.worker.onmessage = ({ data }) => this.hear(data);
      this.worker.onerror = ({ message }) => {
        this.tell(`Training stopped: ${message || "this browser starts no worker for this page"}.`, true);
      };
      this.worker.postMessage({ type: "data", ...digits });
      this.settings();
      this.send("reset");
    } catch (error) {
      this.tell(`MNIST could not be loaded, so nothing can be trained here: ${error.message}`, true);
    }
    this.start.disabled = this.one.disabled = this.again.disabled = false;
    return this.worker;
  }

  settings() {
    this.worker?.postMessage({
      type: "settings",
      lr: Number(this.lr.value),
      batch: Number(this.batch.value),
      shuffle: this.shuffle.checked,
      twice: this.twice.checked,
    });
    this.mistake.hidden = !this.twice.checked;
    this.draw();
  }

  async send(type) {
    (await this.ready())?.postMessage({ type, seed: Number(this.seed.value) });
  }

  toggle() {
    return this.send(this.running ? "pause" : "start");
  }

  hear({ step, seen, losses, accuracies, parameters, rate, running }) {
    if (step === 0) Object.assign(this, { losses: [], accuracies: [] }); // a new network
    this.losses.push(...losses);
    this.accuracies.push(...accuracies);
    Object.assign(this, { step, seen, rate, running, parameters });
    this.start.textContent = running ? "Pause" : "Train";
    this.learned(parameters);
    this.draw();
  }

  // Shown at once, and read aloud now or every few seconds.
  tell(text, now = false) {
    this.status.textContent = text;
    if (!now && performance.now() - (this.told ?? 0) < 5000) return;
    this.told = performance.now();
    this.aloud.textContent = text;
  }

  paint() {
    const { losses, accuracies } = this;
    const last = accuracies.at(-1);
    const width = Math.max(
        240,
        Math.min(560, (this.charts.clientWidth - 24) / (this.charts.clientWidth > 620 ? 2 : 1)),
      ),
      lossEnd = Math.max(30, this.step);
    let tick = 0.5; // the axis grows with the loss
    while (5 * tick < largest(losses.filter(Number.isFinite))) tick *= 2;
    const smooth = losses.map((_, i) => mean(losses.slice(Math.max(0, i - 19), i + 1)));
    this.curve(
      this.lossChart,
      width,
      lossEnd,
      [0, 1, 2, 3, 4, 5].map((i) => i * tick),
      (y) => (tick < 1 ? y.toFixed(1) : thousands(y)),
      [
        { points: losses.map((y, i) => [i + 1, y]), colour: this.palette.muted },
        { points: smooth.map((y, i) => [i + 1, y]), colour: this.palette.accent, width: 2 },
      ],
      this.twice.checked ? [FLOOR, "floor 1.46"] : null,
    );
    this.curve(
      this.accuracyChart,
      width,
      lossEnd,
      [0, 0.25, 0.5, 0.75, 1],
      (y) => `${100 * y} %`,
      [{ points: accuracies, colour: this.palette.warm, width: 2, dots: true }],
      [0.9, "90 %"],
    );
    if (!this.worker || !last) return;
    const loss = losses.length ? `, loss ${mean(losses.slice(-20)).toFixed(3)}` : "";
    const rate = this.rate ? ` ${thousands(Math.round(this.rate))} digits a second.` : "";
    this.tell(
      `Step ${thousands(this.step)}: ${thousands(this.seen)} of ${thousands(this.count)} digits seen${loss}; ` +
        `${(100 * last[1]).toFixed(1)} % of the 500 test digits correct ` +
        `(measured at step ${thousands(last[0])}).${rate}`,
      !this.running,
    );
    this.lossChart.setAttribute("aria-label", `Loss${loss || ": no step yet"} after step ${this.step}`);
    this.accuracyChart.setAttribute("aria-label", `Accuracy: ${(100 * last[1]).toFixed(1)} % after step ${last[0]}`);
  }

  curve(canvas, width, end, ticks, write, curves, mark) {
    const height = 170;
    const page = sheet(canvas, width, height);
    const { palette } = this;
    const top = ticks.at(-1);
    const x = (step) => 44 + ((width - 54) * step) / end;
    const y = (value) => 8 + (height - 34) * (1 - Math.min(value, top) / top);
    Object.assign(page, {
      font: "12px system-ui, sans-serif",
      textAlign: "right",
      textBaseline: "middle",
      fillStyle: palette.muted,
      strokeStyle: palette.line,
      lineWidth: 1,
    });
    for (const tick of ticks) {
      page.fillText(write(tick), 38, y(tick));
      line(page, 44, y(tick), width - 10, y(tick));
    }
    Object.assign(page, { textAlign: "center", textBaseline: "alphabetic" });
    page.fillText("0", 44, height - 6);
    page.fillText(`step ${thousands(end)}`, width - 34, height - 6);
    if (mark) {
      page.setLineDash([5, 4]);
      page.strokeStyle = palette.text;
      line(page, 44, y(mark[0]), width - 10, y(mark[0]));
      page.setLineDash([]);
      Object.assign(page, { fillStyle: palette.text, textAlign: "right" });
      page.fillText(mark[1], width - 12, y(mark[0]) + 14);
    }
    for (const { points, colour, width: thick = 1, dots } of curves) {
      Object.assign(page, { strokeStyle: colour, fillStyle: colour, lineWidth: thick, lineJoin: "round" });
      page.beginPath();
      const every = Math.max(1, Math.floor(points.length / 600));
      points.forEach(([step, value], i) => {
        if (i % every === 0 || i === points.length - 1) page.lineTo(x(step), y(value));
      });
      page.stroke();
      if (dots)
        for (const [step, value] of points) {
          page.beginPath();
          page.arc(x(step), y(value), 2.5, 0, 7);
          page.fill();
        }
    }
  }
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
