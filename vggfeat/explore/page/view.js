// Which part of the map is on the screen. The map is about the square from 0 to 1; a scale is in CSS pixels for 1.

const MARGIN = 0.05; // of a side of the screen, on each side of the whole map
const [SMALLEST, LARGEST, CLOSEST] = [18, 88, 128]; // CSS pixels of thumbnails: in the whole map, and when near

export class View {
  constructor(rows) {
    this.rows = rows;
    this.width = this.height = this.scale = 1;
    this.isFit = true; // the whole map is shown
    this.contain({ left: 0, top: 0, right: 1, bottom: 1 });
  }

  resize(width, height) {
    [this.width, this.height] = [width, height];
    if (this.isFit) this.fit();
  }

  contain(extent) { // what the whole map is
    this.extent = extent;
    if (this.isFit) this.fit();
  }

  get square() { // CSS pixels for a map of side 1
    return Math.max(64, Math.min(this.width, this.height) * (1 - 2 * MARGIN));
  }

  get least() {
    const { left, top, right, bottom } = this.extent;
    const fits = (1 - 2 * MARGIN) * Math.min(this.width / (right - left), this.height / (bottom - top));
    return Math.min(this.square, fits);
  }

  get most() { // beyond the scale at which thumbnails are largest, for photos that lie close to each other
    return this.square * 2 ** (this.crowded + Math.max(0, Math.log2(CLOSEST / this.sizeAt(this.crowded))) + 2);
  }

  fit() {
    const { left, top, right, bottom } = this.extent;
    [this.x, this.y, this.scale, this.isFit] = [(left + right) / 2, (top + bottom) / 2, this.least, true];
  }

  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toMap(px, py);
    this.scale = Math.min(this.most, Math.max(this.least, this.scale * factor));
    this.x = x - (px - this.width / 2) / this.scale;
    this.y = y - (py - this.height / 2) / this.scale;
    this.hold();
  }

  move(dx, dy) { // CSS pixels
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.hold();
  }

  hold() { // the middle of the screen stays on the map
    this.isFit = false;
    this.x = Math.min(this.extent.right, Math.max(this.extent.left, this.x));
    this.y = Math.min(this.extent.bottom, Math.max(this.extent.top, this.y));
  }

  show(x, y) { // a place of the map becomes visible, away from the edge
    const edge = Math.min(CLOSEST, this.width / 4, this.height / 4);
    const [px, py] = this.toScreen(x, y);
    const [dx, dy] = [outside(px, 0, this.width), outside(py, 0, this.height)];
    if (dx || dy) this.move(outside(px, edge, this.width - edge), outside(py, edge, this.height - edge));
  }

  toMap(px, py) {
    return [this.x + (px - this.width / 2) / this.scale, this.y + (py - this.height / 2) / this.scale];
  }

  toScreen(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
  }

  get crowded() { // for how many octaves of zoom there is no room for all photos
    return Math.max(0, Math.log2(2 * this.rows * this.cellOf(0) ** 2));
  }

  sizeAt(octaves) { // of a thumbnail, in CSS pixels: it grows half as fast as the map until there is room for all
    const crowded = Math.min(octaves, this.crowded);
    return this.smallest * 2 ** (crowded / 2 + octaves - crowded);
  }

  get level() { // each level makes the cells smaller by a factor of the square root of 2
    const octaves = Math.max(0, Math.log2(this.scale / this.square));
    return Math.round(2 * (octaves - Math.log2(Math.min(CLOSEST, this.sizeAt(octaves)) / this.smallest)));
  }

  get cell() { // the side of a thumbnail in the map, at this level
    return this.cellOf(this.level);
  }

  cellOf(level) {
    return (this.smallest / this.square) * 2 ** (-level / 2);
  }

  get smallest() { // CSS pixels of a thumbnail if the whole map is shown
    return Math.min(LARGEST, Math.max(SMALLEST, (0.65 * this.square) / Math.sqrt(this.rows)));
  }
}

const outside = (value, low, high) => (value < low ? low - value : value > high ? high - value : 0);
