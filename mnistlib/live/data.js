// The files of the page: its weights, its examples, and MNIST for training. In the page that is one file, they are
// inside it.

export async function bytesOf(name, progress = () => {}) {
  const inside = globalThis.LENET5_FILES?.[name];
  if (inside) return Uint8Array.from(atob(inside), (letter) => letter.charCodeAt(0));
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`The file ${name} could not be loaded (${response.status}). Is the page complete?`);
  const total = Number(response.headers.get("Content-Length"));
  const parts = [];
  const reader = response.body.getReader();
  let done = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    progress((done += part.value.length), total);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

// Test digits to try: { number, label, hard, pixels }. `hard` ones are misread by the course's network, the surest
// mistakes first.
export async function examples() {
  const list = JSON.parse(new TextDecoder().decode(await bytesOf("examples.json")));
  return list.map((each) => ({
    ...each,
    pixels: Uint8Array.from(atob(each.pixels), (letter) => letter.charCodeAt(0)),
  }));
}

// MNIST as its makers published it: gzipped IDX files. { train: { images, labels }, test: … }, where image i has the
// bytes 784 i to 784 (i + 1).
export async function mnist(progress) {
  const parts = {};
  for (const [part, name] of [
    ["test", "t10k"],
    ["train", "train"],
  ]) {
    const [images, labels] = await Promise.all([
      bytesOf(`data/${name}-images-idx3-ubyte.gz`, progress),
      bytesOf(`data/${name}-labels-idx1-ubyte.gz`),
    ]);
    const [all, digits] = [await unpacked(images), await unpacked(labels)];
    parts[part] = { images: all.subarray(16), labels: digits.subarray(8) }; // after the header
  }
  return parts;
}

async function unpacked(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes; // the server has unpacked it
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
