// The map on the screen: what is drawn, the current photo, the selection.

import { Grid } from "./grid.js";
import { Painter } from "./painter.js";
import { Thumbnails } from "./thumbnails.js";
import { View } from "./view.js";

const REPAINT = 150; // milliseconds between two drawings of new thumbnails

export class PhotoMap extends EventTarget {
  // Events: "current" and "selection".
  constructor(photos, marks, state, places, classes) {
    super();
    [this.photos, this.marks, this.context] = [photos, marks, marks.getContext("2d")];
    [this.places, this.classes] = [places, classes];
    this.view = new View(state.rows);
    this.shown = new Uint8Array(state.rows).fill(1);
    this.thumbnails = new Thumbnails(state, () => this.moreThumbnails());
    this.painter = new Painter(photos, this.thumbnails);
    this.selection = new Set();
    this.decisions = new Map(); // row -> {decision, label, reason}
    this.current = undefined;
    this.lasso = []; // x, y in CSS pixels
    this.colours = undefined; // the colour of each class, if they are shown
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.restyle());
    new ResizeObserver(() => this.resize()).observe(marks.parentElement);
    this.resize();
  }

  restyle() {
    const style = getComputedStyle(document.documentElement);
    const names = ["ground", "empty", "ink", "accent", "keep", "remove", "relabel", "veil"];
    this.style = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
    this.painter.refresh();
    this.draw();
  }

  resize() {
    const { clientWidth, clientHeight } = this.marks.parentElement;
    const ratio = Math.min(2, devicePixelRatio);
    for (const canvas of [this.photos, this.marks]) {
      [canvas.width, canvas.height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    }
    this.view.resize(clientWidth, clientHeight);
    this.rearrange();
    this.restyle();
  }

  moreThumbnails() {
    this.waiting ??= setTimeout(() => {
      this.waiting = undefined;
      this.painter.refresh();
      this.draw();
    }, REPAINT);
  }

  move(places) {
    this.places = places;
    this.rearrange();
  }

  show(shown) { // 1 for each row that may be shown
    this.shown = shown;
    this.rearrange();
  }

  colour(colours) {
    this.colours = colours;
    this.painter.refresh();
    this.draw();
  }

  rearrange() { // photos have other places, or other photos are shown
    this.view.contain(this.gridOf(this.view.cellOf(0)).extent);
    this.arrange();
    this.painter.restart();
    this.draw();
  }

  arrange() {
    this.grid = this.gridOf(this.view.cell);
    this.dispatchEvent(new Event("arranged"));
  }

  gridOf(cell) {
    const near = this.shown.length * cell ** 2 < 0.6; // there is room for all
    return new Grid(this.places, this.shown, cell, near);
  }

  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      if (this.grid.cell !== this.view.cell) this.arrange();
      const frame = (row) => this.colours && this.classes[row] >= 0 ? this.colours[this.classes[row]] : undefined;
      if (!this.painter.draw(this.view, this.grid, this.style, frame)) this.draw();
      else if (this.painter.hasDrawn) this.pictured ??= performance.mark("picture"); // for benchmarks
      this.drawMarks();
    });
  }

  drawMarks() {
    const [{ context, view }, ratio] = [this, this.marks.width / this.view.width];
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    const size = this.grid.cell * view.scale;
    if (this.selection.size || this.decisions.size) {
      for (const [row, x, y] of this.visible()) this.markRow(row, ...view.toScreen(x, y), size);
    }
    const corner = this.current === undefined ? undefined : this.grid.corner(this.current);
    if (corner) {
      this.ring(...view.toScreen(...corner), size, this.style.ground, 8, 2);
      this.ring(...view.toScreen(...corner), size, this.style.accent, 4, 2);
    }
    if (this.lasso.length) this.drawLasso();
  }

  markRow(row, x, y, size) {
    const decision = this.decisions.get(row)?.decision;
    if (decision === "remove") {
      this.context.fillStyle = this.style.veil;
      this.context.fillRect(x, y, size, size);
    }
    if (decision) {
      const side = Math.min(14, size / 2);
      this.context.fillStyle = this.style[decision];
      this.context.fillRect(x + size - side, y, side, side);
      this.context.fillStyle = this.style.ground;
      this.context.font = `bold ${side * 0.85}px sans-serif`;
      this.context.textAlign = "center";
      this.context.fillText({ keep: "✓", remove: "×", relabel: "≠" }[decision], x + size - side / 2, y + side * 0.8);
    }
    if (this.selection.has(row)) this.ring(x, y, size, this.style.accent, 3, 0);
  }

  ring(x, y, size, colour, width, outside) {
    this.context.lineWidth = width;
    this.context.strokeStyle = colour;
    this.context.strokeRect(x - outside, y - outside, size + 2 * outside, size + 2 * outside);
  }

  drawLasso() {
    this.context.beginPath();
    for (const [x, y] of this.lasso) this.context.lineTo(x, y);
    this.context.closePath();
    this.context.fillStyle = this.style.accent;
    this.context.globalAlpha = 0.15;
    this.context.fill();
    this.context.globalAlpha = 1;
    this.context.setLineDash([6, 4]);
    this.context.lineWidth = 2;
    this.context.strokeStyle = this.style.accent;
    this.context.stroke();
    this.context.setLineDash([]);
  }

  visible() { // [row, x, y] of the photos on the screen
    const [left, top] = this.view.toMap(0, 0);
    return this.grid.within(left, top, ...this.view.toMap(this.view.width, this.view.height));
  }

  rowAt(px, py) {
    const [x, y] = this.view.toMap(px, py);
    return this.grid.at(Math.floor(x / this.grid.cell), Math.floor(y / this.grid.cell));
  }

  middle(row) { // of a photo on the screen, in CSS pixels; undefined if it is left out at this zoom
    const corner = this.grid.corner(row);
    return corner && this.view.toScreen(corner[0] + this.grid.cell / 2, corner[1] + this.grid.cell / 2);
  }

  rowsInLasso() {
    const inside = new Path2D();
    for (const [x, y] of this.lasso) inside.lineTo(x, y);
    const rows = [];
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    for (let row = 0; row < this.shown.length; row++) { // also those that are left out at this zoom
      if (!this.shown[row]) continue;
      const point = this.middle(row) ?? this.view.toScreen(this.places[2 * row], this.places[2 * row + 1]);
      if (this.context.isPointInPath(inside, ...point)) rows.push(row);
    }
    return rows;
  }

  go(dx, dy) { // from the current photo to the next one in a direction
    const from = (this.current !== undefined && this.middle(this.current)) || [this.view.width / 2, this.view.height / 2];
    let [best, least] = [undefined, Infinity];
    for (const row of this.grid.taken.values()) {
      if (row === this.current) continue;
      const [x, y] = this.middle(row);
      const ahead = (x - from[0]) * dx + (y - from[1]) * dy;
      const aside = Math.abs((x - from[0]) * dy) + Math.abs((y - from[1]) * dx);
      const far = ahead + 2 * aside;
      if ((this.current === undefined ? true : ahead > 1 && aside <= ahead) && Math.abs(far) < least) {
        [best, least] = [row, Math.abs(far)];
      }
    }
    if (best !== undefined) this.choose(best);
  }

  choose(row) { // make a photo the current one, and bring it into view
    this.current = row;
    const corner = this.grid.corner(row) ?? [this.places[2 * row], this.places[2 * row + 1]];
    this.view.show(...corner);
    this.draw();
    this.dispatchEvent(new Event("current"));
  }

  visit(row) { // also zoom in until a photo is not left out
    while (this.shown[row] && !this.grid.corner(row) && this.view.scale < this.view.most) {
      this.view.zoom(1.5);
      this.arrange();
    }
    [this.view.x, this.view.y] = [this.places[2 * row], this.places[2 * row + 1]];
    this.choose(row);
  }

  select(rows, { add = false, toggle = false } = {}) {
    if (!add && !toggle) this.selection.clear();
    for (const row of rows) {
      if (toggle && this.selection.has(row)) this.selection.delete(row);
      else this.selection.add(row);
    }
    this.draw();
    this.dispatchEvent(new Event("selection"));
  }
}
