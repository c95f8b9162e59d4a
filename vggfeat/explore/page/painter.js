// Draws the map in square pieces that are kept, so that moving the map only copies them. A frame spends little time on
// new pieces; until they are there, those of the last scale are shown larger or smaller.

const SIDE = 256; // CSS pixels of a piece
const BUDGET = 9; // milliseconds of a frame for drawing pieces
const MOST = 160; // pieces that are kept

export class Painter {
  constructor(canvas, thumbnails) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.thumbnails = thumbnails;
    this.now = { scale: 0, pieces: new Map() };
    this.before = undefined; // pieces of another scale
    this.complete = false;
    this.stamp = 0;
  }

  refresh() { // all pieces are drawn again; until then the old ones are shown
    this.stamp++;
  }

  restart() { // photos have other places
    if (this.now.scale) this.before = this.now;
    this.complete = false;
    this.now = { scale: 0, pieces: new Map() };
  }

  // Draw a view; true if nothing is left to do. style: the colours; frame(row): the colour of its frame, or undefined.
  draw(view, grid, style, frame) {
    const ratio = this.canvas.width / view.width;
    if (this.now.scale !== view.scale) {
      if (this.complete) this.before = this.now;
      this.now = { scale: view.scale, pieces: new Map() };
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.fillStyle = style.ground;
    this.context.fillRect(0, 0, view.width, view.height);
    if (!this.complete || this.before) this.copy(this.before, view);
    const end = performance.now() + BUDGET;
    let left = 0;
    for (const [x, y, key] of visible(view, view.scale)) {
      let piece = this.now.pieces.get(key);
      if (piece?.stamp !== this.stamp) {
        if (performance.now() < end) piece = this.paint(piece, key, x, y, { view, grid, style, frame, ratio });
        else left++;
      }
      if (piece) this.place(piece, x, y, view, 1);
    }
    this.complete = left === 0;
    if (this.complete) this.before = undefined;
    this.forget();
    this.thumbnails.load();
    return this.complete;
  }

  copy(set, view) { // the pieces of another scale
    if (!set) return;
    for (const [x, y, key] of visible(view, set.scale)) {
      const piece = set.pieces.get(key);
      if (piece) this.place(piece, x, y, view, view.scale / set.scale);
    }
  }

  place(piece, x, y, view, factor) {
    const left = Math.round(view.width / 2 - view.x * view.scale + x * SIDE * factor);
    const top = Math.round(view.height / 2 - view.y * view.scale + y * SIDE * factor);
    const side = Math.ceil(SIDE * factor);
    this.context.drawImage(piece.canvas, left, top, side, side);
  }

  paint(old, key, x, y, { view, grid, style, frame, ratio }) {
    const piece = old ?? { canvas: new OffscreenCanvas(SIDE * ratio, SIDE * ratio) };
    const context = piece.canvas.getContext("2d", { alpha: false });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = style.ground;
    context.fillRect(0, 0, SIDE, SIDE);
    const [left, top, side] = [(x * SIDE) / view.scale, (y * SIDE) / view.scale, SIDE / view.scale];
    const size = grid.cell * view.scale;
    const gap = size > 40 ? 2 : 0.5;
    for (const [row, cx, cy] of grid.within(left, top, left + side, top + side)) {
      const [px, py, inner] = [(cx - left) * view.scale + gap, (cy - top) * view.scale + gap, size - 2 * gap];
      const colour = frame(row);
      const edge = colour ? Math.max(1.5, size / 24) : 0;
      if (colour) {
        context.fillStyle = colour;
        context.fillRect(px, py, inner, inner);
      }
      const [qx, qy, rest] = [px + edge, py + edge, inner - 2 * edge];
      if (this.thumbnails.draw(context, row, qx, qy, rest, size * ratio)) this.hasDrawn = true; // a photo
      else if (!colour) {
        context.fillStyle = style.empty;
        context.fillRect(qx, qy, rest, rest);
      }
    }
    piece.stamp = this.stamp;
    this.now.pieces.delete(key);
    this.now.pieces.set(key, piece);
    return piece;
  }

  forget() { // the pieces that were drawn first
    for (const key of this.now.pieces.keys()) {
      if (this.now.pieces.size <= MOST) return;
      this.now.pieces.delete(key);
    }
  }
}

function* visible(view, scale) { // [x, y, key] of the pieces of a scale on the screen, from the middle outwards
  const [left, top] = view.toMap(0, 0);
  const [right, bottom] = view.toMap(view.width, view.height);
  const span = (low, high) => [Math.floor((low * scale) / SIDE), Math.floor((high * scale) / SIDE)];
  const [x0, x1] = span(left, right);
  const [y0, y1] = span(top, bottom);
  const found = [];
  for (let y = y0; y <= y1; y++) for (let x = x0; x <= x1; x++) found.push([x, y, `${x},${y}`]);
  const [mx, my] = [(x0 + x1) / 2, (y0 + y1) / 2];
  found.sort((a, b) => (a[0] - mx) ** 2 + (a[1] - my) ** 2 - (b[0] - mx) ** 2 - (b[1] - my) ** 2);
  yield* found;
}
