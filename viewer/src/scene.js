// The scene: mesh, edges and points in a group that is turned so that the axis of the reader's choice points up.
// Lengths are shares of the longest side of the frame, measured from its middle.

import {
  ColorManagement, DirectionalLight, Group, HemisphereLight, LinearSRGBColorSpace, PerspectiveCamera, Plane, Raycaster, Scene, Spherical, Vector2,
  Vector3, WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { drawnMesh, drawnPoints } from "./objects.js";

const FIRST_VIEW = [0.62, 0.42, 1.0]; // from where, with y up and z towards the reader
const HIGHER = 0.5; // what is flat, as land, is seen from so much higher
const FIELD_OF_VIEW = 30; // degrees
const ROOM = 1.08; // how much wider the first view is than what it shows
const LOOKED_AT = 5000; // so many vertices decide what the first view shows
const EDGE_STRENGTH = [0.1, 0.5]; // opacity of edges that are closer than a pixel, and of those far apart
const FAR_APART = 16; // pixels
const TALL = Math.tan((FIELD_OF_VIEW * Math.PI) / 360); // half of the height that is seen, at a distance of 1

ColorManagement.enabled = false; // colours are those of the legend, without a change of space

const LAMPS = [[0.58, -0.35, 0.5, 1], [0.24, 0.9, -0.1, 0.6]]; // brightness, and where: from the left and above the reader, from the right
const NEAR = 4; // pixels from a point that still mean it

/** A number as text, with as many decimal places as steps of this length need. */
export function inSteps(value, step) {
  const text = value.toFixed(Math.min(20, Math.max(0, Math.ceil(-Math.log10(step)))));
  return Number(text) === 0 ? "0" : text;
}

export class View {
  /** about: what the page says of itself; model: the decoded mesh and points. */
  constructor(canvas, about, model) {
    this.canvas = canvas;
    this.about = about;
    const [low, high] = about.frame;
    this.middle = low.map((value, axis) => (value + high[axis]) / 2);
    this.longest = Math.max(...low.map((value, axis) => high[axis] - value));
    this.half = low.map((value, axis) => (high[axis] - value) / 2 / this.longest);
    this.listeners = [];
    this.asked = false;

    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.renderer.localClippingEnabled = true;
    this.renderer.outputColorSpace = LinearSRGBColorSpace;
    this.renderer.setClearColor(0x000000, 0); // the background is that of the page
    this.scene = new Scene();
    this.world = new Group();
    this.camera = new PerspectiveCamera(FIELD_OF_VIEW, 1, 0.01, 100);
    // What faces the reader is as bright as its colour in the legend: the three lights add up to about one there.
    this.lamps = LAMPS.map(([share, ...aside]) => ({ lamp: new DirectionalLight(0xffffff, share * Math.PI), aside: new Vector3(...aside) }));
    this.scene.add(this.world, ...this.lamps.flatMap(({ lamp }) => [lamp, lamp.target]), new HemisphereLight(0xffffff, 0xcfd3d8, 0.46 * Math.PI));

    this.plane = new Plane();
    this.section = null; // { axis, share, flipped }
    const { mesh, edges, colours, edgeLength } = drawnMesh(model.places, model.split);
    Object.assign(this, { mesh, edges, edgeLength, places: model.places, meshColours: colours });
    this.world.add(mesh, edges);
    if (model.points) {
      const drawn = drawnPoints(model.points);
      Object.assign(this, { points: drawn.points, pointColours: drawn.colours });
      this.world.add(drawn.points);
    }

    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.addEventListener("change", () => this.draw());
    this.controls.zoomToCursor = true;
    this.controls.rotateSpeed = 0.9;
    this.setUp(about.up);
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.resize();
    this.reset();
  }

  /** Calls `listener` after every picture. */
  onDraw(listener) {
    this.listeners.push(listener);
  }

  /** Asks for a picture; several requests before the next frame are one. */
  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.render();
    });
  }

  render() {
    const { camera } = this;
    const distance = camera.position.distanceTo(this.controls.target);
    camera.near = distance / 100;
    camera.far = distance * 10 + 10 * this.reach();
    camera.updateProjectionMatrix();
    camera.updateMatrixWorld();
    for (const { lamp, aside } of this.lamps) {
      lamp.position.copy(this.controls.target).addScaledVector(aside.clone().applyQuaternion(camera.quaternion), distance);
      lamp.target.position.copy(this.controls.target);
      lamp.target.updateMatrixWorld();
    }
    const pixels = (this.edgeLength * this.canvas.clientHeight) / (2 * distance * TALL);
    const [weak, strong] = EDGE_STRENGTH;
    this.edges.material.opacity = weak + (strong - weak) * Math.min(1, pixels / FAR_APART);
    this.renderer.render(this.scene, camera);
    for (const listener of this.listeners) listener();
  }

  /** How far from the middle of the frame anything lies. */
  reach() {
    if (this.farthest === undefined) {
      const spheres = [this.mesh, this.points].filter(Boolean).map(({ geometry }) => {
        geometry.computeBoundingSphere();
        return geometry.boundingSphere;
      });
      this.farthest = Math.max(...spheres.map((sphere) => sphere.center.length() + sphere.radius));
    }
    return this.farthest;
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(2, devicePixelRatio));
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.draw();
  }

  /** Places of the mesh within the frame, at most about LOOKED_AT of them. */
  sample() {
    const { places, half } = this;
    const step = 3 * Math.max(1, Math.floor(places.length / 3 / LOOKED_AT));
    const found = [];
    for (let i = 0; i < places.length; i += step) {
      const place = [places[i], places[i + 1], places[i + 2]];
      if (place.every((value, axis) => Math.abs(value) <= half[axis] * 1.001)) found.push(new Vector3(...place));
    }
    return found;
  }

  /** The first view: all that is in the frame, from the front, the right and above, in the middle of the picture. */
  reset() {
    const { camera, controls } = this;
    const from = new Vector3(...FIRST_VIEW);
    const size = new Vector3(...this.half).applyQuaternion(this.world.quaternion);
    from.y += HIGHER * Math.max(0, 1 - Math.abs(size.y) / Math.max(Math.abs(size.x), Math.abs(size.z))) ** 2;
    from.normalize();
    camera.position.copy(from);
    camera.lookAt(0, 0, 0);
    const seen = camera.quaternion.clone().invert().multiply(this.world.quaternion);
    const places = this.sample().map((place) => place.applyQuaternion(seen));
    const middle = [0, 0];
    let distance = 0;
    for (let round = 0; round < 3; round++) { // moving sideways changes the distance, and that the middle, by less each time
      distance = Math.max(...places.map((p) => p.z + ROOM * Math.max(Math.abs(p.x - middle[0]) / camera.aspect, Math.abs(p.y - middle[1])) / TALL));
      ["x", "y"].forEach((axis, i) => {
        const slopes = places.map((p) => (p[axis] - middle[i]) / (distance - p.z));
        middle[i] += ((Math.max(...slopes) + Math.min(...slopes)) / 2) * distance;
      });
    }
    controls.target.set(middle[0], middle[1], 0).applyQuaternion(camera.quaternion);
    camera.position.copy(controls.target).addScaledVector(from, distance);
    controls.update();
    this.draw();
  }

  /** Turns the camera about its target, by angles in radians. */
  turn(across, up) {
    const offset = this.camera.position.clone().sub(this.controls.target);
    const angles = new Spherical().setFromVector3(offset);
    angles.theta += across;
    angles.phi += up;
    angles.makeSafe();
    this.camera.position.copy(this.controls.target).add(offset.setFromSpherical(angles));
    this.controls.update();
    this.draw();
  }

  /** Brings the camera nearer by a factor. */
  zoom(factor) {
    const offset = this.camera.position.clone().sub(this.controls.target);
    this.camera.position.copy(this.controls.target).addScaledVector(offset, factor);
    this.controls.update();
    this.draw();
  }

  /** Lets an axis of the mesh, as "z" or "-y", point up. */
  setUp(axis) {
    this.up = axis;
    const half = Math.PI / 2;
    const angles = { y: [0, 0], "-y": [2 * half, 0], z: [-half, 0], "-z": [half, 0], x: [0, half], "-x": [0, -half] };
    const [aboutX, aboutZ] = angles[axis];
    this.world.rotation.set(aboutX, 0, aboutZ);
    this.world.updateMatrixWorld();
    this.placeSection();
  }

  /** Cuts the mesh across an axis, 0 to 2, at a share of the frame; null shows all of it. */
  setSection(section) {
    const had = this.section !== null;
    this.section = section;
    if (had !== (section !== null)) {
      for (const { material } of [this.mesh, this.edges, this.points].filter(Boolean)) {
        material.clippingPlanes = section ? [this.plane] : null;
        material.needsUpdate = true;
      }
    }
    this.placeSection();
  }

  placeSection() {
    if (this.section) {
      const { axis, share, flipped } = this.section;
      const normal = new Vector3().setComponent(axis, flipped ? 1 : -1);
      const at = (2 * share - 1) * this.half[axis];
      this.plane.set(normal, flipped ? -at : at).applyMatrix4(this.world.matrixWorld);
    }
    this.draw();
  }

  /** Whether the reader looks from the lower side of an axis, 0 to 2, of the file. */
  isBelow(axis) {
    const offset = this.camera.position.clone().sub(this.controls.target);
    return offset.applyQuaternion(this.world.quaternion.clone().invert()).getComponent(axis) < 0;
  }

  /** The place of the section in the coordinates of the file, as text. */
  sectionPlace() {
    const { axis, share } = this.section;
    return inSteps(this.middle[axis] + (2 * share - 1) * this.half[axis] * this.longest, this.longest / 1000);
  }

  /** The ray through a pixel of the window. */
  rayAt(x, y) {
    const box = this.canvas.getBoundingClientRect();
    const ray = new Raycaster();
    ray.setFromCamera(new Vector2((2 * (x - box.left)) / box.width - 1, 1 - (2 * (y - box.top)) / box.height), this.camera);
    return ray;
  }

  /** Whether a hit is not cut away by the section. */
  isShown(hit) {
    return !this.section || this.plane.distanceToPoint(hit.point) >= 0;
  }

  /** Where a ray meets the mesh that is shown; undefined where it does not. */
  meshHit(ray) {
    return this.mesh.visible ? ray.intersectObject(this.mesh).find((hit) => this.isShown(hit)) : undefined;
  }

  /** The drawn vertex of the mesh that is nearest to what is seen at a pixel; null where no mesh is. */
  vertexAt(x, y) {
    const hit = this.meshHit(this.rayAt(x, y));
    if (!hit) return null;
    const { a, b, c } = hit.face;
    const place = this.mesh.worldToLocal(hit.point.clone());
    const away = (vertex) => new Vector3().fromBufferAttribute(this.mesh.geometry.attributes.position, vertex).distanceTo(place);
    return [a, b, c].reduce((one, other) => (away(other) < away(one) ? other : one));
  }

  /** The place that is seen at a pixel of the window, as a vector of the world group; null where there is nothing. */
  placeAt(x, y) {
    const box = this.canvas.getBoundingClientRect();
    const ray = this.rayAt(x, y);
    let hit = this.meshHit(ray);
    if (!hit && this.points && this.points.visible) {
      ray.params.Points.threshold = (2 * NEAR * TALL * this.camera.position.distanceTo(this.controls.target)) / box.height;
      const hits = ray.intersectObject(this.points).filter((one) => this.isShown(one));
      hit = hits.sort((one, other) => one.distanceToRay - other.distanceToRay)[0];
      if (hit) return this.world.worldToLocal(new Vector3().fromBufferAttribute(this.points.geometry.attributes.position, hit.index).applyMatrix4(this.world.matrixWorld));
    }
    return hit ? this.world.worldToLocal(hit.point.clone()) : null;
  }

  /** Lets the camera turn about the place at a pixel. */
  turnAbout(x, y) {
    const place = this.placeAt(x, y);
    if (!place) return;
    const target = this.world.localToWorld(place);
    const move = target.clone().sub(this.controls.target);
    this.controls.target.copy(target);
    this.camera.position.add(move);
    this.controls.update();
    this.draw();
  }

  /** Coordinates in the file, of a place in the world group. */
  fileCoordinates(place) {
    return place.toArray().map((value, axis) => value * this.longest + this.middle[axis]);
  }

  /** Pixels from the left and top of the canvas, of a place in the world group. */
  pixelOf(place) {
    const { clientWidth, clientHeight } = this.canvas;
    const seen = this.world.localToWorld(place.clone()).project(this.camera);
    return [((seen.x + 1) / 2) * clientWidth, ((1 - seen.y) / 2) * clientHeight];
  }
}
