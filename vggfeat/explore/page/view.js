// Which part of the map is on the screen. The map is the square from 0 to 1; a scale is in CSS pixels for its side.

const MARGIN = 0.07; // of a side of the screen, on each side of the whole map
const CLOSEST = 128; // CSS pixels of the largest thumbnail

export class View {
  constructor(rows) {
    this.x = this.y = 0.5;
    this.width = this.height = 1;
    this.rows = rows;
    this.scale = 1;
  }

  resize(width, height) {
    const wasFit = this.scale === this.least || this.scale === 1;
    [this.width, this.height] = [width, height];
    if (wasFit) this.fit();
  }

  get least() {
    return Math.max(64, Math.min(this.width, this.height) * (1 - 2 * MARGIN));
  }

  get most() { // most photos are then beside each other
    return Math.max(this.least * 2, 6 * CLOSEST * Math.sqrt(this.rows));
  }

  fit() {
    [this.x, this.y, this.scale] = [0.5, 0.5, this.least];
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
    this.x = Math.min(1, Math.max(0, this.x));
    this.y = Math.min(1, Math.max(0, this.y));
  }

  show(x, y) { // a place of the map becomes visible, away from the edge
    const edge = Math.min(CLOSEST, this.width / 4, this.height / 4);
    const [px, py] = this.toScreen(x, y);
    this.move(over(px, edge, this.width - edge), over(py, edge, this.height - edge));
  }

  toMap(px, py) {
    return [this.x + (px - this.width / 2) / this.scale, this.y + (py - this.height / 2) / this.scale];
  }

  toScreen(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
  }

  get level() { // thumbnails grow half as fast as the map, up to CLOSEST
    const octaves = Math.log2(this.scale / this.least);
    const size = Math.min(CLOSEST, this.smallest * 2 ** (octaves / 2));
    return Math.round(2 * (octaves - Math.log2(size / this.smallest)));
  }

  get cell() { // the side of a thumbnail in the map, at this level
    return (this.smallest / this.least) * 2 ** (-this.level / 2);
  }

  get smallest() { // CSS pixels of a thumbnail if the whole map is shown
    return Math.min(88, Math.max(18, (0.65 * this.least) / Math.sqrt(this.rows)));
  }
}

const over = (value, low, high) => (value < low ? low - value : value > high ? high - value : 0);
