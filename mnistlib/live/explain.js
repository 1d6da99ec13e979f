// What one unit computes: its terms as numbers, what it sees of the image, and both in words. Nothing here draws.

import { KERNEL, LAYERS, PARAMETERS, largestOfFour, sourceOf } from "./lenet5.js";

// Where a unit is in its layer: unit 0 … maps × side × side − 1, as [map][row][column].
export function placeOf(layer, unit) {
  const within = unit % (layer.side * layer.side);
  return {
    map: Math.floor(unit / (layer.side * layer.side)),
    row: Math.floor(within / layer.side),
    column: within % layer.side,
  };
}
export const unitAt = (layer, { map, row, column }) => (map * layer.side + row) * layer.side + column;

// How a unit comes about. `terms` are { from: a unit of the layer before, value, weight }; the sum of all value ×
// weight, and the bias, is the unit's value. ReLU and pooling choose (weight 1 or 0); softmax divides e to the power of
// each logit by their sum.
export function explain(net, layer, unit) {
  const given = net.units[sourceOf(layer)];
  const { map, row, column } = placeOf(layer, unit);
  const terms = [];
  let bias = 0;
  if (layer.kind in KERNEL) {
    const kernel = layer.side === 1 ? layer.size : KERNEL[layer.kind]; // conv3 and the linear layers look at everything
    bias = net.parameters[layer.biasAt + map];
    for (let i = 0; i < layer.fanIn; i++) {
      const channel = Math.floor(i / kernel ** 2);
      const y = row + (Math.floor(i / kernel) % kernel);
      const x = column + (i % kernel);
      const from = (channel * layer.size + y) * layer.size + x;
      terms.push({ from, value: given[from], weight: net.parameters[layer.weightAt + map * layer.fanIn + i] });
    }
  } else if (layer.kind === "pool") {
    const largest = largestOfFour(given, layer, unit);
    const corner = (map * layer.size + 2 * row) * layer.size + 2 * column;
    for (const from of [corner, corner + 1, corner + layer.size, corner + layer.size + 1]) {
      terms.push({ from, value: given[from], weight: from === largest ? 1 : 0 });
    }
  } else if (layer.kind === "relu") {
    terms.push({ from: unit, value: given[unit], weight: given[unit] > 0 ? 1 : 0 });
  } else {
    const most = Math.max(...given);
    const sum = given.reduce((total, logit) => total + Math.exp(logit - most), 0);
    given.forEach((logit, from) =>
      terms.push({ from, value: Math.exp(logit - most), weight: from === unit ? 1 / sum : 0, logit }),
    );
  }
  const sum = terms.reduce((total, { value, weight }) => total + value * weight, 0);
  return { layer, unit, map, row, column, terms, sum, bias, value: net.units[layer.name][unit] };
}

// The part of a layer, or of the image, that a unit depends on: { top, left, height, width } in each of its maps.
export function seenBy(layer, unit, target = "input") {
  let { row: top, column: left } = placeOf(layer, unit);
  let side = 1;
  for (const each of LAYERS.slice(0, LAYERS.indexOf(layer) + 1).reverse()) {
    const kernel = each.kind === "convolution" ? 5 : each.kind === "pool" ? 2 : 1;
    const step = each.kind === "pool" ? 2 : 1;
    if (each.side === 1 && each.kind === "linear") [top, left, side] = [0, 0, 1];
    [top, left, side] = [top * step, left * step, (side - 1) * step + kernel];
    if (sourceOf(each) === target) return { top, left, height: side, width: side };
  }
  return null;
}

// Numbers as the page writes them, with a true minus sign.
export const say = (number, digits = 3) =>
  (Math.abs(number) < 0.5 * 10 ** -digits ? 0 : number).toFixed(digits).replace("-", "−");
export const percent = (p) =>
  p >= 0.9995
    ? "> 99.9\u00a0%"
    : p >= 0.0995 && p < 0.995
      ? `${(100 * p).toFixed(0)}\u00a0%`
      : p < 0.0005
        ? "< 0.1\u00a0%"
        : `${(100 * p).toFixed(1)}\u00a0%`;
export const thousands = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");

// The name of a unit: "conv2, map 5, row 3, column 7". Everything is counted from 0, as in the notebooks.
export function nameOf(layer, unit) {
  const { map, row, column } = placeOf(layer, unit);
  if (layer.side > 1) return `${layer.name}, map ${map}, row ${row}, column ${column}`;
  return layer.maps === 10 ? `${layer.name}, digit ${map}` : `${layer.name}, unit ${map}`;
}

// What a layer is, and how its parameters are counted in notebook 02.
export function aboutLayer({ name, kind, inputs, maps, side, fanIn }) {
  if (kind === "relu") return `${name} keeps what is above zero and makes the rest 0. It has no parameters.`;
  if (kind === "pool")
    return (
      `${name} keeps the largest of every 2 × 2 units, so each map is half as wide and half as high. ` +
      "It has no parameters."
    );
  if (kind === "softmax")
    return "softmax turns the ten logits into ten probabilities that add up to 1. It has no parameters.";
  const filter = side > 1 ? "One filter makes a whole map" : "Each unit has its own weights";
  const window = kind === "linear" ? `${inputs}` : `(5 × 5 × ${inputs})`;
  const all = `(${window} + 1) × ${maps} = ${thousands((fanIn + 1) * maps)}`;
  return (
    `${name} is a ${kind === "linear" ? "linear layer" : "convolution"}. ${filter}: ${thousands(fanIn)} weights ` +
    `and a bias. In all, ${all} of the network’s ${thousands(PARAMETERS)} parameters.`
  );
}

export const fromTo = (from, size) => `${from} to ${from + size - 1}`;

// The same in words, for those who do not see the picture, and for those who do.
export function inWords(found) {
  const { layer, unit, terms, sum, bias, value, map } = found;
  const source = sourceOf(layer);
  const logits = terms.map((t) => t.logit);
  const next = LAYERS[LAYERS.indexOf(layer) + 1];
  const below = source === "input" ? "the input" : source;
  if (layer.kind === "relu") {
    return value > 0
      ? `The sum ${say(sum)} is above zero, so ReLU keeps it.`
      : `The sum ${say(terms[0].value)} is not above zero, so ReLU makes it 0.`;
  }
  if (layer.kind === "pool") {
    return `The largest of four numbers of ${below}, ${terms.map((t) => say(t.value)).join(", ")}, is ${say(value)}.`;
  }
  if (layer.kind === "softmax") {
    return (
      `The logit, the score of this digit in linear2, is ${say(logits[map], 2)}. Raise e to this logit and divide by ` +
      `the sum of the same for all ten digits: the probability is ${percent(value)}.`
    );
  }
  const { top, left, height, width } = seenBy(layer, unit, source);
  const many = layer.inputs > 1 ? `of all ${layer.inputs} maps of ${below}` : `of ${below}`;
  const where =
    layer.kind === "linear"
      ? `It is a weighted sum of all ${layer.inputs} numbers from ${below}.`
      : layer.side === 1
        ? `Its window covers the whole 5 × 5 ${many}.`
        : `Its window covers rows ${fromTo(top, height)} and columns ${fromTo(left, width)} ${many}.`;
  const then =
    next?.kind !== "relu"
      ? "This is the logit of the digit: the larger, the more probable."
      : value > 0
        ? `It is above zero, so ${next.name} keeps it.`
        : `It is not above zero, so ${next.name} makes it 0.`;
  const sums = `The ${terms.length} products add up to ${say(sum)}`;
  return `${where} ${sums}; with the bias, ${say(bias)}, the unit is ${say(value)}. ${then}`;
}
