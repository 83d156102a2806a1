// Colours of the vertices and points, and the legend that says what they mean.

const PLAIN = [190, 202, 214];
const INK = [38, 74, 128]; // points without a colour
const CONFIDENCE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis: low is dark
const DISTANCE = [[236, 240, 243], [253, 208, 150], [241, 105, 19], [140, 30, 8]];
// Ten that are told apart also by people who see few colours, then hues by the golden angle.
const PATTERNS = [
  [78, 121, 167], [242, 142, 43], [118, 183, 178], [225, 87, 89], [89, 161, 79],
  [237, 201, 72], [176, 122, 161], [156, 117, 95], [255, 157, 167], [140, 140, 140],
];
const NOWHERE = [205, 208, 212]; // no pattern
const LEVELS = 64; // as in models/lpdif/view/packing.py
const LISTED = 16; // patterns in the legend

export const NAMES = { colors: "scan colour", confidence: "confidence", pattern: "pattern", distance: "distance", plain: "plain" };

/** A colour between stops, for a share from 0 to 1. */
function between(stops, share) {
  const place = share * (stops.length - 1);
  const low = Math.min(stops.length - 2, Math.floor(place));
  return stops[low].map((value, channel) => Math.round(value + (stops[low + 1][channel] - value) * (place - low)));
}

/** The colours of the levels of a scale, as [r, g, b, r, ...]. */
function scale(stops) {
  return Array.from({ length: LEVELS }, (_, i) => between(stops, i / (LEVELS - 1))).flat();
}

/** The colour of a pattern by its number, so that a form has the same one in every page. */
export function patternColour(number) {
  if (number < 0) return NOWHERE;
  if (number < PATTERNS.length) return PATTERNS[number];
  const hue = (number * 137.508) % 360;
  const light = 0.5 + 0.12 * (number % 3);
  return [0, 8, 4].map((shift) => {
    const k = (shift + hue / 30) % 12;
    return Math.round(255 * (light - 0.5 * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

const css = (colour) => `rgb(${colour.join(",")})`;
const number = (value) => Number(value.toPrecision(3)).toString();

/** Writes one colour for each row: how(i) is the place in `table` of row i. */
function paint(target, count, table, how) {
  for (let i = 0; i < count; i++) {
    const at = 3 * how(i);
    target[4 * i] = table[at];
    target[4 * i + 1] = table[at + 1];
    target[4 * i + 2] = table[at + 2];
  }
}

/** Colours the vertices of the mesh. source, face: of each drawn vertex; target: four bytes a vertex. */
export function paintMesh(kind, values, { source, face, count }, target) {
  if (kind === "colors") paint(target, count, values.colors, (i) => source[i]);
  else if (kind === "confidence") paint(target, count, scale(CONFIDENCE), (i) => values.confidence[source[i]]);
  else if (kind === "distance") paint(target, count, scale(DISTANCE), (i) => values.distance[source[i]]);
  else if (kind === "pattern") {
    const table = values.patterns.map(patternColour).flat();
    paint(target, count, table, (i) => values.pattern[face[i]]);
  } else paint(target, count, PLAIN, () => 0);
}

/** Colours the points of the scan. */
export function paintPoints(kind, values, count, target) {
  if (kind === "colors" && values.point_colors) paint(target, count, values.point_colors, (i) => i);
  else if (kind === "distance") paint(target, count, scale(DISTANCE), (i) => values.point_distance[i]);
  else paint(target, count, INK, () => 0);
}

/** What a colouring says of a drawn vertex of the mesh, in words; "" where it says nothing. */
export function readout(kind, about, values, { source, face }, vertex) {
  if (kind === "pattern") return about.patterns[values.pattern[face[vertex]]][2];
  if (kind !== "confidence" && kind !== "distance") return "";
  const [low, high] = about[kind];
  const level = values[kind][source[vertex]];
  return number(low + ((high - low) * level) / (LEVELS - 1)) + (kind === "distance" && level === LEVELS - 1 ? " or more" : "");
}

/** The legend of a colouring: bars with their ends, or patches with names. */
export function legend(kind, about) {
  const bar = (stops, [low, high], title, open) => ({
    title, stops: stops.map(css), low: number(low), high: number(high) + (open ? " or more" : ""),
  });
  if (kind === "confidence") return { bars: [bar(CONFIDENCE, about.confidence, "how well points support the surface")], patches: [] };
  if (kind === "distance") {
    const bars = [bar(DISTANCE, about.distance, "mesh: to the nearest point", true)];
    if (about.points) bars.push(bar(DISTANCE, about.point_distance, "points: to the mesh", true));
    return { bars, patches: [] };
  }
  if (kind === "pattern") {
    const patches = about.patterns.map(([pattern, share, name]) => ({ colour: css(patternColour(pattern)), name, hint: `pattern ${pattern} of the model`, share }));
    patches.sort((one, other) => other.share - one.share);
    return { bars: [], patches: patches.slice(0, LISTED), more: Math.max(0, patches.length - LISTED) };
  }
  return { bars: [], patches: [] };
}
