// The panel: what is shown, colours and their legend, section, measuring, facts and notes.

import { NAMES, legend } from "./colours.js";

export const $ = (id) => document.getElementById(id);

function make(kind, properties = {}, ...inside) {
  const element = Object.assign(document.createElement(kind), properties);
  element.append(...inside);
  return element;
}

const key = (name) => make("kbd", { textContent: name });

/** A button that is on or off. */
export function toggle(id, label, letter, on, changed) {
  const button = make("button", { id, type: "button" }, label, " ", key(letter));
  const set = (value) => {
    button.setAttribute("aria-pressed", String(value));
    changed(value);
  };
  button.addEventListener("click", () => set(button.getAttribute("aria-pressed") !== "true"));
  button.setAttribute("aria-pressed", String(on));
  return button;
}

/** Buttons of which one is on. choices: [value, label, letter]. Gives a function that chooses. */
export function choose(place, name, choices, first, changed) {
  const buttons = new Map(choices.map(([value, label, letter]) => {
    const button = make("button", { id: `${name}-${value}`, type: "button" }, label);
    if (letter !== label) button.append(" ", key(letter));
    button.setAttribute("role", "radio");
    button.addEventListener("click", () => set(value));
    place.append(button);
    return [value, button];
  }));
  const mark = (value) => {
    for (const [other, button] of buttons) button.setAttribute("aria-checked", String(other === value));
  };
  const set = (value) => {
    if (!buttons.has(value)) return;
    mark(value);
    changed(value);
  };
  mark(first);
  return set;
}

export function showLegend(kind, about) {
  const { bars, patches, more } = legend(kind, about);
  const rows = bars.map((bar) => {
    const strip = make("i", { className: "bar" });
    strip.style.background = `linear-gradient(90deg, ${bar.stops.join(", ")})`;
    return make("div", {}, make("small", { textContent: bar.title }), strip, make("div", { className: "ends" }, make("span", { textContent: bar.low }), make("span", { textContent: bar.high })));
  });
  const list = make("div", { className: "patches" }, ...patches.map((patch) => {
    const square = make("i", { className: "patch" });
    square.style.background = patch.colour;
    return make("span", { title: patch.hint }, square, patch.name, make("small", { textContent: percent(patch.share) }));
  }));
  if (more) list.append(make("small", { textContent: `and ${more} more` }));
  $("legend").replaceChildren(...rows, ...(patches.length ? [list] : []));
}

function percent(share) {
  return share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
}

function fill(table, rows) {
  table.replaceChildren(...rows.map(([name, value]) => make("tr", {}, make("td", { textContent: name }), make("td", { textContent: value }))));
}

/** Everything that needs no picture: it is there even where the browser cannot draw. */
export function showFacts(about) {
  if (about.scan) {
    $("scan").hidden = $("scan-part").hidden = false;
    $("scan").textContent = `scan: ${about.scan}`;
    fill($("scan-facts"), about.scan_facts);
  }
  fill($("facts"), about.facts);
  $("made-part").hidden = !about.made_with.length;
  fill($("made-with"), about.made_with);
  $("notes").hidden = !about.notes.length;
  for (const [text, warning] of about.notes) $("notes").append(make("p", { textContent: text, className: warning ? "warning" : "" }));
}

export function showTrouble(error) {
  $("trouble").hidden = false;
  $("trouble").textContent = `This page cannot draw here: it needs WebGL 2 and a browser of 2023 or later. (${error})`;
}

/** The colourings that there is data for, in the order of their keys, with these. */
export function colourings(about) {
  return Object.entries(NAMES)
    .map(([kind, name], i) => [kind, name, String(i + 1)])
    .filter(([kind]) => kind === "plain" || about.places[kind] || (kind === "colors" && about.places.point_colors));
}
