// Starts the page: decodes what is in it, draws it, and binds controls and keys.

import { paintMesh, paintPoints, readout } from "./colours.js";
import { splitVertices } from "./corners.js";
import { bytesOfBase64, channels, colours, corners, inflate, positions } from "./decode.js";
import { Measure } from "./measure.js";
import { $, choose, colourings, showFacts, showLegend, showTrouble, toggle } from "./panel.js";
import { View } from "./scene.js";
import { drawTriad } from "./triad.js";

const AXES = ["x", "y", "z"];
const UPS = ["z", "y", "x", "-z", "-y", "-x"];
const TURN = Math.PI / 36; // radians a key press
const ZOOM = 1.15;
const SLICES = 1000; // places of the slider

/** The arrays of the page, by name. */
async function decode(about) {
  const data = await inflate(bytesOfBase64($("data").textContent));
  $("data").remove();
  const part = (name) => {
    const place = about.places[name];
    return place ? data.subarray(place[0], place[0] + place[1]) : null;
  };
  const [low, high] = about.frame;
  const longest = Math.max(...low.map((value, axis) => high[axis] - value));
  const half = low.map((value, axis) => (high[axis] - value) / 2 / longest);
  const placed = (name) => {
    const steps = positions(part(name));
    const places = new Float32Array(steps.length);
    const step = about.step / longest;
    for (let i = 0; i < steps.length; i++) places[i] = steps[i] * step - half[i % 3];
    return places;
  };
  const values = {};
  for (const name of ["colors", "point_colors", "confidence", "pattern", "distance", "point_distance"]) {
    const bytes = part(name);
    if (bytes) values[name] = name.endsWith("colors") ? colours(bytes) : channels(bytes, 1);
  }
  if (values.pattern) values.patterns = about.patterns.map(([pattern]) => pattern);
  const places = placed("positions");
  const split = splitVertices(places, corners(part("faces")), values.pattern ?? null);
  return { values, places, split, points: about.places.points ? placed("points") : null };
}

function start(about, model) {
  const view = new View($("canvas"), about, model);
  drawTriad($("triad"), view);
  $("controls").hidden = false;

  const parts = { mesh: ["m", [view.mesh]], edges: ["e", [view.edges]], points: ["p", [view.points]] };
  const toggles = {};
  for (const [name, [letter, drawn]] of Object.entries(parts)) {
    if (!drawn[0]) continue;
    const button = toggle(`show-${name}`, name, letter, drawn[0].visible, (on) => {
      for (const one of drawn) one.visible = on;
      view.draw();
    });
    $("show").append(button);
    toggles[letter] = button;
  }

  const known = colourings(about);
  let shown = "";
  const colour = (kind) => {
    shown = kind;
    $("readout").textContent = "";
    paintMesh(kind, model.values, model.split, view.meshColours.array);
    view.meshColours.needsUpdate = true;
    if (view.points) {
      paintPoints(kind, model.values, about.points, view.pointColours.array);
      view.pointColours.needsUpdate = true;
    }
    showLegend(kind, about);
    view.draw();
  };
  const first = about.places.colors ? "colors" : "plain";
  const setColour = choose($("colours"), "colour", known, first, colour);
  colour(first);

  let pointer = null; // the latest place of the mouse; it is looked at once a frame
  const readPointer = () => {
    const vertex = pointer && view.vertexAt(...pointer);
    const words = vertex === null ? "" : readout(shown, about, model.values, model.split, vertex);
    $("readout").textContent = words && `here: ${words}`;
    pointer = null;
  };
  const pointAt = (place) => {
    if (!pointer) requestAnimationFrame(readPointer);
    pointer = place;
  };
  $("canvas").addEventListener("pointermove", (event) => event.buttons || event.pointerType === "touch" || pointAt([event.clientX, event.clientY]));
  $("canvas").addEventListener("pointerleave", () => { $("readout").textContent = ""; });

  let flipped = false;
  let chosen = "off";
  const setAxis = choose($("axes"), "axis", [["off", "off", "Esc"], ...AXES.map((axis) => [axis, axis, axis])], "off", (axis) => {
    chosen = axis;
    if (axis !== "off") flipped = view.isBelow(AXES.indexOf(axis)); // what is taken away is on the reader's side
    section();
  });
  const section = () => {
    const axis = AXES.indexOf(chosen);
    $("cut").hidden = axis < 0;
    view.setSection(axis < 0 ? null : { axis, share: Number($("where").value) / SLICES, flipped });
    if (axis >= 0) $("position").textContent = `${chosen} = ${view.sectionPlace()}`;
  };
  const slide = (by) => {
    $("where").value = String(Number($("where").value) + by);
    section();
  };
  const flip = () => {
    flipped = !flipped;
    section();
  };
  $("where").addEventListener("input", section);
  $("flip").addEventListener("click", flip);

  const measure = new Measure(view, $("label"), ({ on, places, length, along }) => {
    $("measure").setAttribute("aria-pressed", String(on));
    $("length").textContent = length ?? "";
    const asked = ["click on the first point", "click on the second point"][places.length];
    $("from-to").textContent = !on ? "" : asked ?? `Δx ${along[0]}, Δy ${along[1]}, Δz ${along[2]}`;
  });
  $("measure").addEventListener("click", () => measure.toggle());
  $("reset").addEventListener("click", () => view.reset());
  $("canvas").addEventListener("dblclick", (event) => measure.on || view.turnAbout(event.clientX, event.clientY));
  const setUp = (axis) => {
    $("up").value = axis;
    view.setUp(axis);
    view.reset();
  };
  $("up").value = about.up;
  $("up").addEventListener("change", () => setUp($("up").value));

  const keys = {
    r: () => view.reset(),
    f: flip,
    d: () => measure.toggle(),
    u: () => setUp(UPS[(UPS.indexOf(view.up) + 1) % UPS.length]),
    h: () => { $("keys").open = !$("keys").open; },
    "[": () => slide(-SLICES / 50),
    "]": () => slide(SLICES / 50),
    "+": () => view.zoom(1 / ZOOM),
    "=": () => view.zoom(1 / ZOOM),
    "-": () => view.zoom(ZOOM),
    ArrowLeft: () => view.turn(-TURN, 0),
    ArrowRight: () => view.turn(TURN, 0),
    ArrowUp: () => view.turn(0, -TURN),
    ArrowDown: () => view.turn(0, TURN),
    Escape: () => {
      setAxis("off");
      measure.toggle(false);
    },
  };
  for (const axis of AXES) keys[axis] = () => setAxis(chosen === axis ? "off" : axis);
  for (const [kind, , letter] of known) keys[letter] = () => setColour(kind);
  for (const [letter, button] of Object.entries(toggles)) keys[letter] = () => button.click();
  addEventListener("keydown", (event) => {
    const inControl = event.target.matches?.("input, select") && !["Escape"].includes(event.key); // arrows move a slider there
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || inControl || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  return { view, measure };
}

async function main() {
  const about = JSON.parse($("about").textContent);
  showFacts(about);
  try {
    const page = start(about, await decode(about));
    page.view.render();
    window.lpdifView = page; // for scripts that drive the page
    document.body.dataset.ready = String(Math.round(performance.now())); // milliseconds since the page was opened
  } catch (error) {
    showTrouble(error);
    throw error;
  }
}

main();
