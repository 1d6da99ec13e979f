// Weights as files: the safetensors format, which holds names, shapes and numbers, and nothing that could run.
//
// Eight bytes say how long the header is. The header is JSON: {"conv1.weight": {"dtype": "F32", "shape": [6, 1, 5, 5],
// "data_offsets": [0, 600]}, …, "__metadata__": {…}}. Then follow the numbers. Python: mnistlib/live/export.py.

import { PARAMETERS } from "./lenet5.js";

const LARGEST = 1_000_000; // bytes; a LeNet-5 has about 248,000
const SHAPES = {
  // both networks hold the same numbers in the same order; the padded one names its layers otherwise
  lenet5: { conv1: [6, 1, 5, 5], conv2: [16, 6, 5, 5], conv3: [120, 16, 5, 5], linear1: [84, 120], linear2: [10, 84] },
  "lenet5-padded": {
    conv1: [6, 1, 5, 5],
    conv2: [16, 6, 5, 5],
    linear1: [120, 400],
    linear2: [84, 120],
    linear3: [10, 84],
  },
};
const shapesOf = (network) =>
  Object.fromEntries(
    Object.entries(SHAPES[network]).flatMap(([name, shape]) => [
      [`${name}.weight`, shape],
      [`${name}.bias`, [shape[0]]],
    ]),
  );
const sizeOf = (shape) => shape.reduce((product, n) => product * n, 1);

// The weights in a file (a Blob), as { network, parameters, facts }. Whatever is wrong with it is one sentence, as an
// Error.
export async function readWeights(file) {
  if (file.size > LARGEST) {
    throw new Error(
      `This file is too large: it has ${(file.size / 1e6).toFixed(1)} MB, and the weights of a LeNet-5 have 0.25 MB.`,
    );
  }
  const bytes = new DataView(await file.arrayBuffer());
  if (bytes.byteLength > 4 && bytes.getUint32(0) === 0x504b0304) {
    // "PK": a zip archive, as torch.save makes them
    throw new Error(
      "This is a file of PyTorch's. Make one for this page: python -m mnistlib export --web my-lenet5.pt",
    );
  }
  const length = bytes.byteLength < 8 ? Infinity : Number(bytes.getBigUint64(0, true));
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(bytes.buffer, 8, length)));
  } catch {
    throw new Error(
      "This is not a weights file, or it is damaged. Make one with: python -m mnistlib export --web my-lenet5.pt",
    );
  }
  const { __metadata__: facts = {}, ...tensors } = header ?? {};
  const network = Object.keys(SHAPES).find((key) => sameNames(shapesOf(key), tensors));
  if (!network) {
    throw new Error("This file holds another network. This page runs LeNet-5, the network that notebook 02 counts.");
  }
  const parameters = new Float32Array(PARAMETERS);
  let at = 0;
  for (const [name, shape] of Object.entries(shapesOf(network))) {
    const { dtype, shape: found, data_offsets: place } = tensors[name] ?? {};
    if (dtype !== "F32")
      throw new Error(`The numbers of ${name} must be of type F32 (float32); in this file they are ${dtype}.`);
    if (String(found) !== String(shape)) {
      throw new Error(
        `The shape of ${name} must be [${shape.join(", ")}]; in this file it is [${[found].flat().join(", ")}].`,
      );
    }
    const [start, end] = Array.isArray(place) ? place : [];
    if (!(Number.isInteger(start) && start >= 0 && end - start === 4 * sizeOf(shape))) {
      throw new Error(`This file is damaged: it does not say where the numbers of ${name} are.`);
    }
    if (8 + length + end > bytes.byteLength)
      throw new Error(`This file is cut off: the numbers of ${name} are missing.`);
    for (let i = 8 + length + start; i < 8 + length + end; i += 4, at++) parameters[at] = bytes.getFloat32(i, true);
    if (!parameters.subarray(at - sizeOf(shape), at).every(Number.isFinite)) {
      throw new Error(
        `Some numbers of ${name} are not finite (NaN or infinity), so this network cannot compute anything.`,
      );
    }
  }
  return { network, parameters, facts };
}

const sameNames = (shapes, tensors) => String(Object.keys(shapes).sort()) === String(Object.keys(tensors).sort());

// A file with these weights, as a Blob. Facts are texts: { trained: "in the page", … }.
export function writeWeights(parameters, network = "lenet5", facts = {}) {
  const tensors = { __metadata__: { ...facts, network } };
  let at = 0;
  for (const [name, shape] of Object.entries(shapesOf(network))) {
    tensors[name] = { dtype: "F32", shape, data_offsets: [at, (at += 4 * sizeOf(shape))] };
  }
  let header = new TextEncoder().encode(JSON.stringify(tensors));
  const space = " ".repeat(7 - ((header.length + 7) % 8)); // the numbers begin at a multiple of 8
  header = new TextEncoder().encode(JSON.stringify(tensors) + space);
  const file = new DataView(new ArrayBuffer(8 + header.length + at));
  file.setBigUint64(0, BigInt(header.length), true);
  new Uint8Array(file.buffer).set(header, 8);
  parameters.forEach((number, i) => file.setFloat32(8 + header.length + 4 * i, number, true));
  return new Blob([file.buffer], { type: "application/octet-stream" });
}
