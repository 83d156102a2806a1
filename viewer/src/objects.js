// What is drawn: the mesh, its edges, and the points of the scan. Their colours are filled in later.

import { BufferAttribute, BufferGeometry, DoubleSide, Mesh, MeshBasicMaterial, MeshLambertMaterial, Points, PointsMaterial, Vector3 } from "three";

const INSIDE = "vec3(0.90, 0.62, 0.45)"; // of the mesh: another colour, so that holes and flipped faces show
const POINT_SIZE = 2; // pixels

/** A geometry of places, and the colours of its vertices, four bytes each. */
function coloured(places) {
  const geometry = new BufferGeometry();
  const colours = new BufferAttribute(new Uint8Array((4 * places.length) / 3).fill(255), 4, true);
  geometry.setAttribute("position", new BufferAttribute(places, 3));
  geometry.setAttribute("color", colours);
  return { geometry, colours };
}

/** The mesh and its edges. places: of the vertices as they were packed; split: of those that are drawn. */
export function drawnMesh(places, split) {
  const position = new Float32Array(3 * split.count);
  for (let i = 0; i < split.count; i++) {
    const from = 3 * split.source[i];
    position[3 * i] = places[from];
    position[3 * i + 1] = places[from + 1];
    position[3 * i + 2] = places[from + 2];
  }
  const { geometry, colours } = coloured(position);
  geometry.setAttribute("normal", new BufferAttribute(split.normals, 4, true));
  geometry.setIndex(new BufferAttribute(split.index, 1));
  // Faces are drawn a little farther away than they are, so that edges and points on them are seen.
  const material = new MeshLambertMaterial({ vertexColors: true, side: DoubleSide, polygonOffset: true, polygonOffsetFactor: 1.5, polygonOffsetUnits: 4 });
  material.onBeforeCompile = (shader) => {
    const after = "#include <color_fragment>";
    shader.fragmentShader = shader.fragmentShader.replace(after, `${after}\n\tif (!gl_FrontFacing) diffuseColor.rgb = ${INSIDE};`);
  };
  const edges = new Mesh(geometry, new MeshBasicMaterial({ color: 0x1c2a3a, wireframe: true, transparent: true }));
  edges.visible = false;
  return { mesh: new Mesh(geometry, material), edges, colours, edgeLength: meanEdge(position, split.index) };
}

/** The points of the scan. */
export function drawnPoints(places) {
  const { geometry, colours } = coloured(places);
  const points = new Points(geometry, new PointsMaterial({ vertexColors: true, size: POINT_SIZE, sizeAttenuation: false }));
  points.visible = false;
  return { points, colours };
}

/** The mean length of the edges of about a thousand faces. */
function meanEdge(position, index) {
  const at = (corner) => new Vector3().fromArray(position, 3 * index[corner]);
  let total = 0, count = 0;
  for (let i = 0; i < index.length; i += 3 * Math.max(1, Math.floor(index.length / 3000))) {
    total += at(i).distanceTo(at(i + 1)) + at(i + 1).distanceTo(at(i + 2)) + at(i + 2).distanceTo(at(i));
    count += 3;
  }
  return total / count;
}
