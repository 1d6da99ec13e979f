// LeNet-5 as notebook 02 counts it and notebook 03 trains it, in plain JavaScript: loops over numbers, and no library.
//
// Everything lies in PyTorch's order. A stack of maps is [map][row][column], written as one long row of numbers, and
// the 61,706 parameters are one Float32Array. Sums are made in 64 bits; they agree with PyTorch's to about six
// decimals.

// Each layer takes what the one before it gives: `inputs` maps of `size` × `size`. It gives `maps` maps of `side` ×
// `side`. PyTorch's list has one more layer, flatten, which only writes the 120 maps of 1 × 1 as one row. Here they are
// one already.
export const LAYERS = [
  { name: "conv1", kind: "convolution", inputs: 1, size: 32, maps: 6, side: 28 },
  { name: "relu1", kind: "relu", inputs: 6, size: 28, maps: 6, side: 28 },
  { name: "pool1", kind: "pool", inputs: 6, size: 28, maps: 6, side: 14 },
  { name: "conv2", kind: "convolution", inputs: 6, size: 14, maps: 16, side: 10 },
  { name: "relu2", kind: "relu", inputs: 16, size: 10, maps: 16, side: 10 },
  { name: "pool2", kind: "pool", inputs: 16, size: 10, maps: 16, side: 5 },
  { name: "conv3", kind: "convolution", inputs: 16, size: 5, maps: 120, side: 1 },
  { name: "relu3", kind: "relu", inputs: 120, size: 1, maps: 120, side: 1 },
  { name: "linear1", kind: "linear", inputs: 120, size: 1, maps: 84, side: 1 },
  { name: "relu4", kind: "relu", inputs: 84, size: 1, maps: 84, side: 1 },
  { name: "linear2", kind: "linear", inputs: 84, size: 1, maps: 10, side: 1 },
  { name: "softmax", kind: "softmax", inputs: 10, size: 1, maps: 10, side: 1 },
];
export const KERNEL = { convolution: 5, linear: 1 }; // the side of a filter's window
export const layerCalled = (name) => LAYERS.find((layer) => layer.name === name);
export const sourceOf = (layer) => LAYERS[LAYERS.indexOf(layer) - 1]?.name ?? "input";

// Where each layer's weights and biases stand among the parameters. One filter has inputs × kernel × kernel weights.
let count = 0;
for (const layer of LAYERS.filter((each) => each.kind in KERNEL)) {
  layer.fanIn = layer.inputs * KERNEL[layer.kind] ** 2;
  layer.weightAt = count;
  layer.biasAt = count + layer.maps * layer.fanIn;
  count = layer.biasAt + layer.maps;
}
export const PARAMETERS = count; // 61,706

export class LeNet5 {
  constructor(parameters = new Float32Array(PARAMETERS)) {
    this.parameters = parameters;
    this.gradient = new Float64Array(PARAMETERS); // of the loss, summed over a batch
    this.units = { input: new Float64Array(32 * 32) }; // every number that the last image led to
    this.slopes = { input: new Float64Array(32 * 32) }; // how the loss would change with each of them
    for (const { name, maps, side } of LAYERS) {
      this.units[name] = new Float64Array(maps * side * side);
      this.slopes[name] = new Float64Array(maps * side * side);
    }
  }

  // The ten probabilities for one image: 32 × 32 numbers in 0–1, where 0 is paper and 1 is ink.
  forward(image) {
    this.units.input.set(image);
    for (const layer of LAYERS) {
      const given = this.units[sourceOf(layer)];
      const result = this.units[layer.name];
      if (layer.kind === "relu") for (let i = 0; i < result.length; i++) result[i] = Math.max(0, given[i]);
      else if (layer.kind === "pool") pool(given, layer, result);
      else if (layer.kind === "softmax") softmax(given, result);
      else if (layer.side === 1)
        linear(given, this.parameters, layer, result); // conv3 too: its window has one place only
      else convolve(given, this.parameters, layer, result);
    }
    return this.units.softmax;
  }

  // Add this image's part to the gradient, from the last layer back to the first, and return its loss. Needs `forward`
  // first. `twice` is the famous mistake of notebook 03: softmax in the network, and once more in the loss.
  backward(label, part = 1, twice = false) {
    const { units, slopes, parameters, gradient } = this;
    const outputs = twice ? units.softmax : units.linear2;
    const probabilities = softmax(outputs, new Float64Array(10));
    let slope = probabilities.map((p, digit) => part * (p - (digit === label ? 1 : 0)));
    if (twice) {
      // through the softmax that should not be there
      const mean = slope.reduce((sum, s, digit) => sum + s * outputs[digit], 0);
      slope = slope.map((s, digit) => outputs[digit] * (s - mean));
    }
    slopes.linear2.set(slope);
    for (const layer of LAYERS.slice(0, -1).reverse()) {
      const source = sourceOf(layer);
      const given = units[source];
      const above = slopes[layer.name];
      const below = slopes[source].fill(0);
      if (layer.kind === "relu") for (let i = 0; i < above.length; i++) below[i] = given[i] > 0 ? above[i] : 0;
      else if (layer.kind === "pool") poolBackward(given, above, layer, below);
      else if (layer.side === 1) linearBackward(given, above, parameters, layer, gradient, below);
      else convolveBackward(given, above, parameters, layer, gradient, below);
    }
    return -Math.log(Math.max(probabilities[label], 1e-300));
  }
}

// A sum for each place of the window, in each map that the layer gives: weights × numbers below the window, and the
// bias.
function convolve(given, parameters, { inputs, size, maps, side, weightAt, biasAt }, result) {
  for (let map = 0, w = weightAt; map < maps; map++) {
    const first = map * side * side;
    result.fill(parameters[biasAt + map], first, first + side * side);
    for (let channel = 0; channel < inputs; channel++) {
      for (let row = 0; row < 5; row++, w += 5) {
        // one row of five weights at a time, for all places
        const a = parameters[w];
        const b = parameters[w + 1];
        const c = parameters[w + 2];
        const d = parameters[w + 3];
        const e = parameters[w + 4];
        for (let y = 0; y < side; y++) {
          let i = (channel * size + y + row) * size;
          for (let at = first + y * side, end = at + side; at < end; at++, i++) {
            result[at] += a * given[i] + b * given[i + 1] + c * given[i + 2] + d * given[i + 3] + e * given[i + 4];
          }
        }
      }
    }
  }
}

function convolveBackward(given, above, parameters, { inputs, size, maps, side, weightAt, biasAt }, gradient, below) {
  for (let map = 0, at = 0; map < maps; map++) {
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++, at++) {
        const slope = above[at];
        if (slope === 0) continue; // most: pooling let one of four through, and ReLU only those above zero
        gradient[biasAt + map] += slope;
        for (let channel = 0, w = weightAt + map * inputs * 25; channel < inputs; channel++) {
          for (let row = 0; row < 5; row++) {
            for (let i = (channel * size + y + row) * size + x, end = i + 5; i < end; i++, w++) {
              gradient[w] += slope * given[i];
              below[i] += slope * parameters[w];
            }
          }
        }
      }
    }
  }
}

function linear(given, parameters, { maps, fanIn, weightAt, biasAt }, result) {
  for (let map = 0, w = weightAt; map < maps; map++) {
    let sum = parameters[biasAt + map];
    for (let i = 0; i < fanIn; i++, w++) sum += parameters[w] * given[i];
    result[map] = sum;
  }
}

function linearBackward(given, above, parameters, { maps, fanIn, weightAt, biasAt }, gradient, below) {
  for (let map = 0; map < maps; map++) {
    const slope = above[map];
    if (slope === 0) continue;
    gradient[biasAt + map] += slope;
    for (let i = 0, w = weightAt + map * fanIn; i < fanIn; i++, w++) {
      gradient[w] += slope * given[i];
      below[i] += slope * parameters[w];
    }
  }
}

// The place of the largest of the four numbers below a unit of a pooling layer; the first of them, if several are.
export function largestOfFour(given, { size, side }, unit) {
  const map = Math.floor(unit / (side * side));
  const y = Math.floor(unit / side) % side;
  const x = unit % side;
  const corner = (map * size + 2 * y) * size + 2 * x;
  let best = corner;
  if (given[corner + 1] > given[best]) best = corner + 1;
  if (given[corner + size] > given[best]) best = corner + size;
  if (given[corner + size + 1] > given[best]) best = corner + size + 1;
  return best;
}

function pool(given, layer, result) {
  for (let unit = 0; unit < result.length; unit++) result[unit] = given[largestOfFour(given, layer, unit)];
}

function poolBackward(given, above, layer, below) {
  for (let unit = 0; unit < above.length; unit++) below[largestOfFour(given, layer, unit)] = above[unit];
}

export function softmax(logits, result) {
  let most = -Infinity;
  let sum = 0;
  for (const logit of logits) most = Math.max(most, logit);
  for (let i = 0; i < logits.length; i++) sum += result[i] = Math.exp(logits[i] - most); // never too large for a number
  for (let i = 0; i < logits.length; i++) result[i] /= sum;
  return result;
}

// Adam (Kingma and Ba 2015) as torch.optim.Adam(parameters, lr) does it.
export class Adam {
  constructor(parameters, lr = 0.001) {
    Object.assign(this, { parameters, lr, steps: 0 });
    this.mean = new Float64Array(parameters.length);
    this.square = new Float64Array(parameters.length);
  }

  step(gradient) {
    const { parameters, mean, square } = this;
    this.steps += 1;
    const size = this.lr / (1 - 0.9 ** this.steps);
    const correction = Math.sqrt(1 - 0.999 ** this.steps);
    for (let i = 0; i < parameters.length; i++) {
      mean[i] += 0.1 * (gradient[i] - mean[i]);
      square[i] += 0.001 * (gradient[i] * gradient[i] - square[i]);
      parameters[i] -= (size * mean[i]) / (Math.sqrt(square[i]) / correction + 1e-8);
    }
  }
}

// One step of notebook 03: forget the gradient, forward, backward, move. Returns the mean loss of the batch before the
// move.
export function trainingStep(net, optimizer, images, labels, twice = false) {
  let loss = 0;
  net.gradient.fill(0);
  for (let i = 0; i < images.length; i++) {
    net.forward(images[i]);
    loss += net.backward(labels[i], 1 / images.length, twice) / images.length;
  }
  optimizer.step(net.gradient);
  return loss;
}

// Random numbers in 0–1 that a seed decides (mulberry32, by Tommy Ettinger): the same in every browser.
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// New parameters, spread as PyTorch spreads them: evenly between −1/√n and 1/√n, where n is the number of weights of a
// filter.
export function randomParameters(seed) {
  const random = randomNumbers(seed);
  const parameters = new Float32Array(PARAMETERS);
  for (const { fanIn, maps, weightAt } of LAYERS.filter((layer) => layer.fanIn)) {
    for (let i = 0; i < maps * (fanIn + 1); i++) parameters[weightAt + i] = (2 * random() - 1) / Math.sqrt(fanIn);
  }
  return parameters;
}

// The numbers 0 … count − 1 in a random order (Fisher and Yates).
export function shuffled(count, random) {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
