// The other side of models/lpdif/view/packing.py: base64, deflate, byte planes, differences.

/** The bytes of a text in base64. */
export function bytesOfBase64(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** The bytes that were deflated. */
export async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Numbers of which all lowest bytes come first, then all next ones. */
export function wholeNumbers(planes) {
  const count = planes.length / 4;
  const numbers = new Uint32Array(count);
  for (let plane = 0; plane < 4; plane++) {
    const shift = 8 * plane;
    for (let i = 0, at = plane * count; i < count; i++, at++) numbers[i] |= planes[at] << shift;
  }
  return numbers;
}

/** Positions in steps, as [x, y, z, x, ...]: of each axis the differences from one to the next, 2 d or -2 d - 1. */
export function positions(planes) {
  const coded = wholeNumbers(planes);
  const steps = new Int32Array(coded.length);
  for (let axis = 0, at = 0; axis < 3; axis++) {
    let value = 0;
    for (let i = axis; i < steps.length; i += 3, at++) {
      const code = coded[at];
      value += (code >>> 1) ^ -(code & 1);
      steps[i] = value;
    }
  }
  return steps;
}

/** The corners of faces, three a face: the growth of the first ones, and how much larger the two others are. */
export function corners(planes) {
  const coded = wholeNumbers(planes);
  const count = coded.length / 3;
  const corner = new Uint32Array(coded.length);
  let first = 0;
  for (let f = 0; f < count; f++) {
    first += coded[f];
    corner[3 * f] = first;
    corner[3 * f + 1] = first + coded[count + f];
    corner[3 * f + 2] = first + coded[2 * count + f];
  }
  return corner;
}

/** Bytes as [a, b, c, a, ...]: of each channel the differences from one to the next, modulo 256. */
export function channels(bytes, width) {
  const values = new Uint8Array(bytes.length);
  for (let channel = 0, at = 0; channel < width; channel++) {
    let value = 0;
    for (let i = channel; i < values.length; i += width, at++) {
      value = (value + bytes[at]) & 255;
      values[i] = value;
    }
  }
  return values;
}

/** Colours as [red, green, blue, red, ...]: green, red less green and blue less green. */
export function colours(bytes) {
  const values = channels(bytes, 3);
  for (let i = 0; i < values.length; i += 3) {
    const green = values[i];
    values[i] = values[i + 1] + green;
    values[i + 1] = green;
    values[i + 2] += green;
  }
  return values;
}
