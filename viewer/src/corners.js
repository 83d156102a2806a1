// Vertices as they are drawn: one for each place, but several where faces meet at a crease or have different patterns.

const CREASE = Math.cos((40 * Math.PI) / 180); // faces that meet at a greater angle are not shaded as one smooth surface

/** The normals of faces, as long as twice their areas. */
export function faceNormals(places, corner) {
  const normals = new Float32Array(corner.length);
  for (let i = 0; i < corner.length; i += 3) {
    const a = 3 * corner[i], b = 3 * corner[i + 1], c = 3 * corner[i + 2];
    const ux = places[b] - places[a], uy = places[b + 1] - places[a + 1], uz = places[b + 2] - places[a + 2];
    const vx = places[c] - places[a], vy = places[c + 1] - places[a + 1], vz = places[c + 2] - places[a + 2];
    normals[i] = uy * vz - uz * vy;
    normals[i + 1] = uz * vx - ux * vz;
    normals[i + 2] = ux * vy - uy * vx;
  }
  return normals;
}

/** The corners around each vertex: those of vertex v are list[first[v]] to list[first[v + 1] - 1]. */
function cornersAround(corner, count) {
  const first = new Uint32Array(count + 2);
  for (let i = 0; i < corner.length; i++) first[corner[i] + 2]++;
  for (let v = 2; v < first.length; v++) first[v] += first[v - 1];
  const list = new Uint32Array(corner.length);
  for (let i = 0; i < corner.length; i++) list[first[corner[i] + 1]++] = i;
  return { first, list };
}

/**
 * Splits vertices. places: coordinates of the vertices; corner: their numbers, three a face; pattern: of each face, or null.
 * Gives the new numbers of the corners, the old vertex and the face of each new vertex, and normals as signed bytes, four a vertex.
 */
export function splitVertices(places, corner, pattern) {
  const count = places.length / 3;
  const normals = faceNormals(places, corner);
  const lengths = new Float32Array(normals.length / 3);
  for (let f = 0; f < lengths.length; f++) lengths[f] = Math.hypot(normals[3 * f], normals[3 * f + 1], normals[3 * f + 2]);
  const { first, list } = cornersAround(corner, count);
  const index = new Uint32Array(corner.length);
  const source = new Uint32Array(corner.length);
  const face = new Uint32Array(corner.length);
  const shade = new Int8Array(4 * corner.length);
  let made = 0;

  const smooth = (f, g) => {
    const dot = normals[3 * f] * normals[3 * g] + normals[3 * f + 1] * normals[3 * g + 1] + normals[3 * f + 2] * normals[3 * g + 2];
    return dot >= CREASE * lengths[f] * lengths[g];
  };
  const add = (vertex, f, x, y, z) => {
    const scale = 127 / (Math.hypot(x, y, z) || 1);
    shade[4 * made] = Math.round(x * scale);
    shade[4 * made + 1] = Math.round(y * scale);
    shade[4 * made + 2] = Math.round(z * scale);
    source[made] = vertex;
    face[made] = f;
    return made++;
  };

  for (let v = 0; v < count; v++) {
    const begin = first[v], end = first[v + 1];
    let x = 0, y = 0, z = 0, whole = true;
    const own = (list[begin] / 3) | 0;
    for (let i = begin; i < end; i++) {
      const f = (list[i] / 3) | 0;
      x += normals[3 * f];
      y += normals[3 * f + 1];
      z += normals[3 * f + 2];
      if (pattern && pattern[f] !== pattern[own]) whole = false;
    }
    const size = Math.hypot(x, y, z);
    for (let i = begin; whole && i < end; i++) { // faces that are all near the mean are near enough to each other
      const f = (list[i] / 3) | 0;
      whole = normals[3 * f] * x + normals[3 * f + 1] * y + normals[3 * f + 2] * z >= CREASE * lengths[f] * size;
    }
    if (whole) {
      const number = add(v, own, x, y, z);
      for (let i = begin; i < end; i++) index[list[i]] = number;
      continue;
    }
    for (let i = begin; i < end; i++) {
      const f = (list[i] / 3) | 0;
      let nx = 0, ny = 0, nz = 0;
      for (let j = begin; j < end; j++) {
        const g = (list[j] / 3) | 0;
        if (!smooth(f, g)) continue;
        nx += normals[3 * g];
        ny += normals[3 * g + 1];
        nz += normals[3 * g + 2];
      }
      index[list[i]] = add(v, f, nx, ny, nz);
    }
  }
  return { index, source: source.slice(0, made), face: face.slice(0, made), normals: shade.slice(0, 4 * made), count: made };
}
