// The three axes of the file, in a corner.

import { Vector3 } from "three";

const LENGTH = 26;
const AXES = [["x", "#c0392b"], ["y", "#2e8b57"], ["z", "#2f6db5"]];

function make(kind, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export function drawTriad(svg, view) {
  const parts = AXES.map(([name, colour], axis) => {
    const group = make("g", { stroke: colour, fill: colour });
    const line = make("line", { x1: 0, y1: 0, "stroke-width": 2, "stroke-linecap": "round" });
    const text = make("text", { stroke: "none", "text-anchor": "middle", "dominant-baseline": "central" });
    text.textContent = name;
    group.append(line, text);
    svg.append(group);
    return { group, line, text, direction: new Vector3().setComponent(axis, 1) };
  });
  view.onDraw(() => {
    const turned = view.camera.quaternion.clone().invert().multiply(view.world.quaternion);
    const seen = parts.map((part) => ({ ...part, at: part.direction.clone().applyQuaternion(turned) }));
    seen.sort((one, other) => one.at.z - other.at.z);
    for (const { group, line, text, at } of seen) {
      line.setAttribute("x2", LENGTH * at.x);
      line.setAttribute("y2", -LENGTH * at.y);
      text.setAttribute("x", (LENGTH + 8) * at.x);
      text.setAttribute("y", -(LENGTH + 8) * at.y);
      svg.append(group); // the nearest last, on top
    }
  });
}
