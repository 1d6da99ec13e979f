// What the page shows at the moment: a network, an image, and the unit that is looked at. Parts of the page listen to
// changes.

import { LAYERS, LeNet5, layerCalled } from "./lenet5.js";
import { asInput } from "./images.js";

export class State extends EventTarget {
  constructor(parameters, padded = false) {
    super();
    Object.assign(this, {
      net: new LeNet5(parameters),
      padded,
      blank: true,
      pixels: new Uint8Array(28 * 28),
      layer: LAYERS[0],
      unit: 0,
    });
    this.compute();
  }

  // Show 28 × 28 pixels to the network; null is an empty page.
  look(pixels) {
    this.blank = pixels === null;
    this.pixels = pixels ?? new Uint8Array(28 * 28);
    this.compute();
  }

  // Another network of the same kind.
  use(parameters, padded = false) {
    this.net.parameters = parameters;
    this.padded = padded;
    this.compute();
  }

  compute() {
    this.net.forward(asInput(this.pixels, this.padded));
    this.dispatchEvent(new Event("answer"));
  }

  // Look at one unit of a layer; `by` says who asked ("touch", …), for those who scroll there.
  select(name, unit, by = "") {
    this.layer = layerCalled(name);
    this.unit = Math.max(0, Math.min(this.layer.maps * this.layer.side ** 2 - 1, unit));
    this.dispatchEvent(Object.assign(new Event("select"), { by }));
  }

  get probabilities() {
    return this.net.units.softmax;
  }

  // The digit with the largest probability.
  get answer() {
    return this.probabilities.indexOf(Math.max(...this.probabilities));
  }
}

// The ten probabilities for 784 numbers in 0–1, which are rounded to 256 grey levels first, as pictures store them.
export function predict(net, pixels, padded = false) {
  const numbers = Array.from(pixels ?? []);
  if (numbers.length !== 784 || !numbers.every((number) => number >= 0 && number <= 1)) {
    throw new TypeError("predict takes 28 × 28 = 784 numbers in 0–1, row by row; 0 is paper and 1 is ink.");
  }
  return Float32Array.from(
    net.forward(
      asInput(
        Uint8Array.from(numbers, (number) => Math.round(number * 255)),
        padded,
      ),
    ),
  );
}
