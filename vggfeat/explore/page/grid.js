// Which photos are shown at a level, and where: each cell of a grid has at most one photo, so that none hides another.

const RINGS = 3; // how far from its place a photo may lie, in cells
const AROUND = []; // the cells around one, the nearest first
for (let y = -RINGS; y <= RINGS; y++) for (let x = -RINGS; x <= RINGS; x++) if (x || y) AROUND.push([x, y]);
AROUND.sort((a, b) => a[0] ** 2 + a[1] ** 2 - b[0] ** 2 - b[1] ** 2);

export class Grid {
  // places: x, y of each row in 0..1. shown: 1 for each row that may be shown. near: photos whose cell is taken go to a
  // free cell beside it; otherwise they are left out. Earlier rows come first: they are a random sample of all.
  constructor(places, shown, cell, near) {
    this.cell = cell;
    this.columns = Math.ceil(1 / cell) + 2 * RINGS + 1;
    this.taken = new Map();
    this.keys = new Float64Array(shown.length).fill(-1);
    for (let row = 0; row < shown.length; row++) {
      if (!shown[row]) continue;
      const x = Math.floor(places[2 * row] / cell);
      const y = Math.floor(places[2 * row + 1] / cell);
      if (!this.put(row, x, y) && near) AROUND.some(([dx, dy]) => this.put(row, x + dx, y + dy));
    }
  }

  put(row, x, y) {
    const key = this.key(x, y);
    if (this.taken.has(key)) return false;
    this.taken.set(key, row);
    this.keys[row] = key;
    return true;
  }

  key(x, y) {
    return (y + RINGS) * this.columns + x + RINGS;
  }

  at(x, y) { // the row in a cell; undefined for none
    const column = x + RINGS;
    return column < 0 || column >= this.columns || y < -RINGS ? undefined : this.taken.get(this.key(x, y));
  }

  get extent() { // of all cells that have a photo, in the map
    let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
    for (const row of this.taken.values()) {
      const [x, y] = this.corner(row);
      [left, top] = [Math.min(left, x), Math.min(top, y)];
      [right, bottom] = [Math.max(right, x + this.cell), Math.max(bottom, y + this.cell)];
    }
    return this.taken.size ? { left, top, right, bottom } : { left: 0, top: 0, right: 1, bottom: 1 };
  }

  corner(row) { // of the cell of a row, in the map; undefined if it is not shown
    const key = this.keys[row];
    if (key < 0) return undefined;
    const column = key % this.columns;
    return [(column - RINGS) * this.cell, ((key - column) / this.columns - RINGS) * this.cell];
  }

  *within(left, top, right, bottom) { // [row, x, y] of the cells that touch a part of the map
    const last = Math.floor(bottom / this.cell);
    for (let y = Math.floor(top / this.cell); y <= last; y++) {
      for (let x = Math.floor(left / this.cell); x * this.cell < right; x++) {
        const row = this.at(x, y);
        if (row !== undefined) yield [row, x * this.cell, y * this.cell];
      }
    }
  }
}
