// What all parts of the page draw with: elements, colours that follow the theme, and numbers as coloured squares.

// An element: h("p", { class: "note", onclick: … }, "text", …children).
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Colours from live.css. Signed numbers: orange above zero, purple below, paper at zero, as in the notebooks, and safe
// for colour-blind readers. Grey levels of a picture: from paper to ink.
export class Palette extends EventTarget {
  constructor(element) {
    super();
    this.probe = element.appendChild(h("i", { hidden: true }));
    const again = () => {
      this.read();
      this.dispatchEvent(new Event("change"));
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    const theme = {
      attributes: true,
      attributeFilter: ["data-theme", "class", "data-jp-theme-light", "data-vscode-theme-kind", "theme"],
    };
    for (const place of [document.documentElement, document.body]) new MutationObserver(again).observe(place, theme);
    this.read();
  }

  read() {
    const [zero, plus, plusMost, minus, minusMost, paper, ink] = [
      "zero",
      "plus",
      "plus-most",
      "minus",
      "minus-most",
      "paper",
      "ink",
    ].map((name) => this.colour(name));
    this.signed = new Uint32Array(511).map((_, i) => {
      const part = Math.abs(i - 255) / 255;
      const [half, most] = i > 255 ? [plus, plusMost] : [minus, minusMost];
      return pack(part < 0.5 ? mix(zero, half, 2 * part) : mix(half, most, 2 * part - 1));
    });
    this.grey = new Uint32Array(511).map((_, i) => pack(mix(paper, ink, Math.max(0, i - 255) / 255)));
    for (const name of ["accent", "text", "muted", "line", "card", "ink", "warm"])
      this[name] = `rgb(${this.colour(name)})`;
  }

  colour(name) {
    this.probe.style.color = `var(--${name})`;
    return getComputedStyle(this.probe)
      .color.match(/[\d.]+/g)
      .slice(0, 3)
      .map(Number);
  }
}
const mix = (from, to, part) => from.map((value, i) => Math.round(value + (to[i] - value) * part));
const pack = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const shade = (colours, value, scale) =>
  colours[255 + Math.round(255 * Math.max(-1, Math.min(1, value / (scale || 1))))];

// Prepare a canvas for drawing in CSS pixels, sharp on every screen; it is cleared.
export function sheet(canvas, width, height) {
  const ratio = globalThis.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    Object.assign(canvas, { width: w, height: h });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  }
  const page = canvas.getContext("2d");
  page.setTransform(ratio, 0, 0, ratio, 0, 0);
  page.clearRect(0, 0, width, height);
  page.imageSmoothingEnabled = false;
  return page;
}

// Numbers as squares of colour: `columns` in a row, in a box [left, top, width, height] of the page.
const small = document.createElement("canvas");
export function squares(page, colours, values, columns, scale, box) {
  const rows = values.length / columns;
  if (small.width !== columns || small.height !== rows) Object.assign(small, { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < values.length; i++) pixels[i] = shade(colours, values[i], scale);
  small.getContext("2d").putImageData(image, 0, 0);
  page.drawImage(small, ...box);
}

// A picture of 28 × 28 pixels, `side` pixels of the screen wide.
export function picture(canvas, palette, pixels, side) {
  const greys = Float32Array.from(pixels, (grey) => grey / 255);
  squares(sheet(canvas, side, side), palette.grey, greys, 28, 1, [0, 0, side, side]);
}

// A frame around a box; `wide` frames have a rim of the page's own colour, to be seen on any ground.
export function frame(page, palette, left, top, width, height, line = 2) {
  page.lineWidth = line + 2;
  page.strokeStyle = palette.card;
  page.strokeRect(left - line / 2, top - line / 2, width + line, height + line);
  page.lineWidth = line;
  page.strokeStyle = palette.accent;
  page.strokeRect(left - line / 2, top - line / 2, width + line, height + line);
}

// A table of numbers in coloured cells, with the numbers written where there is room: two digits, or two decimals.
export function cells(canvas, palette, colours, values, columns, scale, cell) {
  const rows = values.length / columns;
  const page = sheet(canvas, columns * cell, rows * cell);
  squares(page, colours, values, columns, scale, [0, 0, columns * cell, rows * cell]);
  page.strokeStyle = palette.line;
  page.lineWidth = cell > 8 ? 1 : 0.5;
  for (let i = 0; i <= rows; i++) line(page, 0, i * cell, columns * cell, i * cell);
  for (let i = 0; i <= columns; i++) line(page, i * cell, 0, i * cell, rows * cell);
  if (cell < 26) return;
  Object.assign(page, {
    font: `${Math.min(13, cell * 0.38)}px system-ui, sans-serif`,
    textAlign: "center",
    textBaseline: "middle",
  });
  values.forEach((value, i) => {
    const colour = shade(colours, value, scale);
    const [red, green, blue] = [0, 8, 16].map((shift) => (((colour >> shift) & 255) / 255) ** 2.2);
    const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue; // as WCAG has it; the contrast is 4.5 or more
    page.fillStyle = light > 0.179 ? "#000000" : "#ffffff";
    const size = Math.abs(value);
    const digits = cell > 40 || size < 0.995 ? 2 : size < 9.95 ? 1 : 0;
    const text = size < 0.005 ? "0" : value.toFixed(digits).replace(/^(-?)0\./, "$1.").replace("-", "−");
    page.fillText(text, ((i % columns) + 0.5) * cell, (Math.floor(i / columns) + 0.54) * cell);
  });
}

export function line(page, fromX, fromY, toX, toY) {
  page.beginPath();
  page.moveTo(fromX, fromY);
  page.lineTo(toX, toY);
  page.stroke();
}

export const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

// Call `work` before the next picture of the screen, once, however often it is asked for.
export function oncePerFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}
