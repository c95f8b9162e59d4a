// Thumbnails of rows: small ones in numbered sheets, which are all loaded one after the other, and large ones as needed.

import { picture } from "./server.js";

const MOST_SHEETS = 256; // in memory: 1 MB each
const MOST_BATCHES = 24; // of large ones: 2.6 MB each
const AT_ONCE = 2; // requests

export class Thumbnails {
  // changed: called when there are more of them
  constructor({ sheet, tile }, changed) {
    [this.sheet, this.tile, this.changed] = [sheet, tile, changed];
    this.perSheet = sheet.across ** 2;
    this.sheets = [];
    this.large = new Map(); // row -> [bitmap, place in it]
    this.batches = []; // [rows, bitmap], the oldest first
    this.wanted = new Set();
    this.asked = new Set();
    this.running = 0;
    this.loadSheets();
  }

  async loadSheets() {
    const count = Math.min(this.sheet.count, MOST_SHEETS);
    const load = async (first) => {
      for (let number = first; number < count; number += AT_ONCE) {
        this.sheets[number] = await picture(`sheet/${number}`).catch(() => undefined);
        this.changed();
      }
    };
    await Promise.all([...Array(AT_ONCE).keys()].map(load));
  }

  // Draw a row as a square; false if there is no picture of it yet. pixels: of the screen, on each side of the square.
  draw(context, row, x, y, size, pixels) {
    if (pixels > this.sheet.side * 1.25) {
      const found = this.large.get(row);
      if (found) {
        context.drawImage(found[0], found[1] * this.tile.side, 0, this.tile.side, this.tile.side, x, y, size, size);
        return true;
      }
      this.wanted.add(row);
    }
    const bitmap = this.sheets[Math.floor(row / this.perSheet)];
    if (!bitmap) return false;
    const [place, side] = [row % this.perSheet, this.sheet.side];
    const [left, top] = [(place % this.sheet.across) * side, Math.floor(place / this.sheet.across) * side];
    context.drawImage(bitmap, left, top, side, side, x, y, size, size);
    return true;
  }

  load() { // what was wanted since the last call
    const rows = [...this.wanted].filter((row) => !this.asked.has(row) && !this.large.has(row));
    this.wanted.clear();
    while (rows.length && this.running < AT_ONCE) this.loadLarge(rows.splice(0, this.tile.most));
  }

  async loadLarge(rows) {
    this.running++;
    for (const row of rows) this.asked.add(row);
    try {
      const bitmap = await picture(`tiles/${rows}`);
      rows.forEach((row, place) => this.large.set(row, [bitmap, place]));
      this.batches.push([rows, bitmap]);
      if (this.batches.length > MOST_BATCHES) this.forget(...this.batches.shift());
    } finally {
      for (const row of rows) this.asked.delete(row);
      this.running--;
      this.changed();
    }
  }

  forget(rows, bitmap) {
    for (const row of rows) if (this.large.get(row)?.[0] === bitmap) this.large.delete(row);
    bitmap.close();
  }
}
