// Measures the distance of two places that are clicked on, and shows it on the line between them.

import { BufferGeometry, Line, LineBasicMaterial, Points, PointsMaterial } from "three";
import { inSteps } from "./scene.js";

const STILL = 5; // a press that moves by fewer pixels is a click

export class Measure {
  constructor(view, label, told) {
    this.view = view;
    this.label = label;
    this.told = told; // called with what is known: { on, places, length, along }
    this.on = false;
    this.places = [];
    const paint = { color: 0xc2185b, depthTest: false, transparent: true };
    this.ends = new Points(new BufferGeometry(), new PointsMaterial({ ...paint, size: 9, sizeAttenuation: false }));
    this.line = new Line(this.ends.geometry, new LineBasicMaterial(paint));
    for (const drawn of [this.ends, this.line]) {
      drawn.renderOrder = 1;
      drawn.frustumCulled = false;
      drawn.visible = false;
      view.world.add(drawn);
    }
    let pressed = null;
    view.canvas.addEventListener("pointerdown", (event) => {
      pressed = event.isPrimary && event.button === 0 ? event : null;
    });
    view.canvas.addEventListener("pointerup", (event) => {
      if (this.on && pressed && Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY) < STILL) this.add(event);
      pressed = null;
    });
    view.onDraw(() => this.placeLabel());
  }

  toggle(on = !this.on) {
    this.on = on;
    this.places = [];
    this.view.canvas.classList.toggle("measuring", on);
    this.show();
  }

  add({ clientX, clientY }) {
    const place = this.view.placeAt(clientX, clientY);
    if (!place) return;
    this.places = this.places.length === 2 ? [place] : [...this.places, place];
    this.show();
  }

  show() {
    const { ends, line, places } = this;
    ends.visible = places.length > 0;
    line.visible = places.length === 2;
    if (places.length) {
      ends.geometry.dispose();
      ends.geometry = line.geometry = new BufferGeometry().setFromPoints(places);
    }
    const inFile = places.map((place) => this.view.fileCoordinates(place));
    const along = inFile.length === 2 ? inFile[1].map((value, axis) => value - inFile[0][axis]) : null;
    const words = (value) => inSteps(value, this.view.about.step); // finer than that places are not known
    this.length = along && Math.hypot(...along);
    this.label.textContent = along ? words(this.length) : "";
    this.told({ on: this.on, places: inFile, length: along && words(this.length), along: along && along.map(words) });
    this.view.draw();
  }

  placeLabel() {
    this.label.hidden = this.places.length < 2;
    if (this.label.hidden) return;
    const [x, y] = this.view.pixelOf(this.places[0].clone().add(this.places[1]).multiplyScalar(0.5));
    this.label.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px) translate(-50%, -140%)`;
  }
}
