// The widgets of the lessons on the website, alive without Python. Each stands below the cell whose code makes it:
// DrawingPad(), ConvolutionWindow() or UnitExplorer(); or in <div data-lenet5="pad">, "window" or "units".

const KINDS = { DrawingPad: "pad", ConvolutionWindow: "window", UnitExplorer: "units" };
const places = [...document.querySelectorAll("[data-lenet5]")].map((element) => [element, element.dataset.lenet5, ""]);
for (const cell of document.querySelectorAll("div.cell")) {
  const code = cell.querySelector(".cell_input")?.textContent ?? "";
  const made = code.match(/\b(DrawingPad|ConvolutionWindow|UnitExplorer)\(/);
  if (made) places.push([cell.appendChild(document.createElement("div")), KINDS[made[1]], code]);
}

// The number that the code gives this parameter, as in row=16.
const given = (code, name, otherwise) => Number(code.match(`\\b${name}=(\\d+)`)?.[1] ?? otherwise);

if (places.length) {
  const [{ default: widget }, { bytesOf, examples }] = await Promise.all([import("./widget.js"), import("./data.js")]);
  const style = Object.assign(document.createElement("link"), {
    rel: "stylesheet",
    href: new URL("./live.css", import.meta.url),
  });
  const styled = new Promise((resolve) => {
    style.onload = style.onerror = resolve;
  });
  document.head.append(style);
  const [weights, digits] = await Promise.all([bytesOf("lenet5.safetensors"), examples(), styled]);
  const seven = digits.find((digit) => digit.label === 7).pixels;
  for (const [el, kind, code] of places) {
    const values = {
      _kind: kind,
      _weights: weights,
      _image: seven,
      strokes: [],
      width: 0.08,
      layer: code.match(/\blayer="(\w+)"/)?.[1] ?? "conv1",
      map: given(code, "map", 3),
      row: given(code, "row", 14),
      column: given(code, "column", 17),
    };
    const model = {
      get: (name) => values[name],
      set: (name, value) => {
        values[name] = value;
      },
      save_changes() {},
      on() {},
      off() {},
    };
    await widget.render({ model, el });
  }
}
