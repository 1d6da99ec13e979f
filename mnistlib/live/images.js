// Pictures of digits as rows of grey levels, 0 (paper) to 255 (ink): how a drawing becomes one like MNIST's, and how to
// change it.
//
// `ink`, `crop`, `fit`, `center` and `asMnist` are those of notebook 09 (mnistlib/live/pad.py) and give the same
// pixels.

export const SIDE = 280; // pixels of a drawing: ten for each of MNIST's
const clamp = (number, least, most) => Math.min(most, Math.max(least, number));
const roundEven = (n) => (Math.abs(n % 1) === 0.5 ? 2 * Math.round(n / 2) : Math.round(n)); // as Python rounds a half

// Strokes of a round pen as 280 × 280 pixels. A stroke is a list of points [x, y] in 0–1 from the top left, width the
// pen's. A pixel is ink if its middle is at most half the pen's width from a stroke.
export function ink(strokes, width) {
  const picture = new Uint8Array(SIDE * SIDE);
  const radius = (width * SIDE) / 2;
  for (const stroke of strokes) {
    const points = stroke.map(([x, y]) => [x * SIDE, y * SIDE]);
    points.forEach(([bx, by], i) => {
      const [ax, ay] = points[Math.max(0, i - 1)];
      const dx = bx - ax;
      const dy = by - ay;
      const square = dx * dx + dy * dy;
      const top = clamp(Math.floor(Math.min(ay, by) - radius), 0, SIDE);
      const left = clamp(Math.floor(Math.min(ax, bx) - radius), 0, SIDE);
      const end = clamp(Math.ceil(Math.max(ay, by) + radius), 0, SIDE);
      const right = clamp(Math.ceil(Math.max(ax, bx) + radius), 0, SIDE);
      for (let row = top; row < end; row++) {
        for (let column = left; column < right; column++) {
          const x = column + 0.5 - ax;
          const y = row + 0.5 - ay;
          const along = square ? clamp((x * dx + y * dy) / square, 0, 1) : 0; // the nearest point between a and b
          const across = x - along * dx;
          const down = y - along * dy;
          if (across * across + down * down <= radius * radius) picture[row * SIDE + column] = 255;
        }
      }
    });
  }
  return picture;
}

// The part of a drawing that holds its ink, as { pixels, width, height }; null if there is none.
export function crop(pixels, width = SIDE, height = SIDE) {
  let top = height;
  let bottom = -1;
  let left = width;
  let right = -1;
  for (let i = 0; i < pixels.length; i++) {
    if (!pixels[i]) continue;
    const row = Math.floor(i / width);
    const column = i % width;
    [top, bottom, left, right] = [Math.min(top, row), row, Math.min(left, column), Math.max(right, column)];
  }
  if (bottom < 0) return null;
  const cut = { width: right - left + 1, height: bottom - top + 1 };
  cut.pixels = new Uint8Array(cut.width * cut.height);
  for (let row = 0; row < cut.height; row++) {
    const start = (top + row) * width + left;
    cut.pixels.set(pixels.subarray(start, start + cut.width), row * cut.width);
  }
  return cut;
}

// Smaller or larger, so that the longer side has 20 pixels. A new pixel is the mean of those it covers, so edges become
// grey.
export function fit({ pixels, width, height }) {
  const scale = 20 / Math.max(width, height);
  const size = [Math.max(1, roundEven(width * scale)), Math.max(1, roundEven(height * scale))];
  return { pixels: resample(pixels, width, height, ...size, box), width: size[0], height: size[1] };
}

// On 28 × 28 pixels, with the centre of mass of the ink on pixel (14, 14), unless ink would be pushed off; null without
// ink.
export function center({ pixels, width, height }) {
  let mass = 0;
  let x = 0;
  let y = 0;
  pixels.forEach((grey, i) => {
    mass += grey;
    x += grey * (i % width);
    y += grey * Math.floor(i / width);
  });
  if (!mass) return null;
  const top = clamp(roundEven(14 - y / mass), 0, 28 - height);
  const left = clamp(roundEven(14 - x / mass), 0, 28 - width);
  const page = new Uint8Array(28 * 28);
  for (let row = 0; row < height; row++)
    page.set(pixels.subarray(row * width, (row + 1) * width), (top + row) * 28 + left);
  return page;
}

// A drawing of 280 × 280 pixels as MNIST would show it: 28 × 28 pixels, or null if it holds no ink.
export function asMnist(drawing) {
  const cut = crop(drawing);
  return cut && center(fit(cut));
}

// A drawing of 280 × 280 pixels as it stands on its page: each pixel of 28 × 28 is the mean of 10 × 10.
export const asItIs = (drawing) => (drawing.some(Boolean) ? resample(drawing, SIDE, SIDE, 28, 28, box) : null);

// Pillow's and PyTorch's way to another size: rows first, then columns. A new pixel is a mean of the old ones near it,
// weighted by their distance, and rounded to a whole grey level each time.
const box = (distance) => (distance > -0.5 && distance <= 0.5 ? 1 : 0); // Pillow's BOX: all alike
const triangle = (distance) => Math.max(0, 1 - Math.abs(distance)); // bilinear, as torchvision's resize
box.reach = 0.5;
triangle.reach = 1;

function resample(pixels, width, height, newWidth, newHeight, kernel) {
  const wide = new Uint8Array(newWidth * height);
  const result = new Uint8Array(newWidth * newHeight);
  stretch(pixels, wide, kernel, width, newWidth, 1, height, width, newWidth);
  stretch(wide, result, kernel, height, newHeight, newWidth, newWidth, 1, 1);
  return result;
}

// One direction: each of `lines` lines, which begin `fromLine` (`toLine`) apart and whose pixels are `step` apart.
function stretch(from, to, kernel, size, newSize, step, lines, fromLine, toLine) {
  means(kernel, size, newSize).forEach(({ first, parts }, place) => {
    for (let line = 0; line < lines; line++) {
      let sum = 2 ** 21; // one half: the result is rounded, not cut off
      for (let i = 0; i < parts.length; i++) sum += parts[i] * from[line * fromLine + (first + i) * step];
      to[line * toLine + place * step] = sum >> 22;
    }
  });
}

// For each new pixel the first old one that it covers, and how much of each it takes, in parts of 2²² as Pillow counts.
const known = new Map();
function means(kernel, size, newSize) {
  const key = `${kernel.reach} ${size} ${newSize}`;
  const scale = size / newSize;
  const spread = Math.max(scale, 1);
  const reach = kernel.reach * spread;
  if (!known.has(key)) {
    known.set(
      key,
      Array.from({ length: newSize }, (_, place) => {
        const middle = (place + 0.5) * scale;
        const weights = [];
        const first = Math.max(0, Math.trunc(middle - reach + 0.5));
        const end = Math.min(size, Math.trunc(middle + reach + 0.5));
        for (let i = first; i < end; i++) weights.push(kernel((i + 0.5 - middle) / spread));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        return { first, parts: weights.map((weight) => Math.floor((weight / total) * 2 ** 22 + 0.5)) };
      }),
    );
  }
  return known.get(key);
}

// 28 × 28 pixels as LeNet-5 takes them: 32 × 32 numbers in 0–1, stretched as `mnist.test.resized(32)` does it. The
// variant "lenet5-padded" gets two rows of paper on each side instead.
export function asInput(pixels, padded = false) {
  let page = new Uint8Array(32 * 32);
  if (padded) for (let row = 0; row < 28; row++) page.set(pixels.subarray(row * 28, row * 28 + 28), (row + 2) * 32 + 2);
  else page = resample(pixels, 28, 28, 32, 32, triangle);
  const input = new Float32Array(32 * 32);
  for (let i = 0; i < input.length; i++) input[i] = page[i] / 255;
  return input;
}

// The digit moved, turned (degrees, clockwise), made thicker (in quarters of a pixel on each side; negative: thinner),
// inverted.
export function changed(pixels, { right = 0, down = 0, turn = 0, thicken = 0, invert = false }) {
  let page = thicken ? thicker(pixels, thicken) : pixels;
  if (right || down || turn) page = moved(page, right, down, turn);
  return invert ? page.map((grey) => 255 - grey) : page;
}

function moved(pixels, right, down, turn) {
  // each new pixel asks where in the old picture it comes from
  const page = new Uint8Array(28 * 28);
  const cos = Math.cos((turn * Math.PI) / 180);
  const sin = Math.sin((turn * Math.PI) / 180);
  const grey = (row, column) => (row < 0 || row > 27 || column < 0 || column > 27 ? 0 : pixels[row * 28 + column]);
  for (let i = 0; i < 28 * 28; i++) {
    const x = (i % 28) - 13.5 - right;
    const y = Math.floor(i / 28) - 13.5 - down;
    const fromX = cos * x + sin * y + 13.5;
    const fromY = cos * y - sin * x + 13.5;
    const column = Math.floor(fromX);
    const row = Math.floor(fromY);
    const a = fromX - column;
    const b = fromY - row;
    page[i] = Math.round(
      (1 - b) * ((1 - a) * grey(row, column) + a * grey(row, column + 1)) +
        b * ((1 - a) * grey(row + 1, column) + a * grey(row + 1, column + 1)),
    );
  }
  return page;
}

function thicker(pixels, quarters) {
  // four times as large, the darkest (or lightest) pixel near by, and small again: notebook 09
  const side = 112;
  const choose = quarters > 0 ? Math.max : Math.min;
  const reach = Math.abs(quarters);
  let large = new Uint8Array(side * side).map(
    (_, i) => pixels[Math.floor(i / side / 4) * 28 + Math.floor((i % side) / 4)],
  );
  for (const step of [1, side]) {
    // along the rows, then along the columns
    large = large.map((grey, i) => {
      const place = step === 1 ? i % side : Math.floor(i / side);
      for (let k = Math.max(-reach, -place); k <= Math.min(reach, side - 1 - place); k++)
        grey = choose(grey, large[i + k * step]);
      return grey;
    });
  }
  return resample(large, side, side, 28, 28, box);
}
