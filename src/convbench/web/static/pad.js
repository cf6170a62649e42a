// A pad of 28x28 pixels: pointers draw on it, keys move a pen over it, and all can be undone.
//
// What is on it is a list of marks, drawn in order: {wipe} clears first, {points} is a stroke, {pixels} an image. The
// canvas has no colour but ink, so that its opacity is the drawing, whatever the scheme.

export const SIDE = 28;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const MOST = 400; // marks kept

export class Pad {
  constructor(canvas, brush, changed) {
    Object.assign(this, { canvas, brush, changed, marks: [], stroke: null, pen: Number(canvas.dataset.pen) });
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.scale = canvas.width / SIDE;
    this.at = [SIDE / 2, SIDE / 2]; // of the pen that keys move
    this.held = new Set();
    this.isDown = false;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.go(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => this.end());
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("keyup", (event) => this.held.delete(event.key));
    canvas.addEventListener("focus", () => { this.brush.hidden = !canvas.matches(":focus-visible"); this.place(); });
    canvas.addEventListener("blur", () => { this.lift(); this.held.clear(); this.brush.hidden = true; });
  }

  get canUndo() { return this.marks.length > 0; }

  // Each pixel's ink, 0 to 255, the mean over its part of the canvas.
  pixels() {
    const { width } = this.canvas, { data } = this.context.getImageData(0, 0, width, width);
    const sums = new Float64Array(SIDE * SIDE);
    for (let y = 0, i = 3; y < width; y += 1) {
      const row = Math.floor(y / this.scale) * SIDE;
      for (let x = 0; x < width; x += 1, i += 4) sums[row + Math.floor(x / this.scale)] += data[i];
    }
    return Uint8Array.from(sums, (sum) => Math.round(sum / this.scale ** 2));
  }

  put(pixels, opening = false) { this.add({ wipe: true, pixels, opening }); }

  clear() { if (this.marks.length && !this.isBlank) this.add({ wipe: true }); }

  get isBlank() { const last = this.marks.at(-1); return !last || (last.wipe && !last.pixels && !last.points); }

  undo() {
    this.end();
    this.lift();
    this.marks.pop();
    this.repaint();
    this.changed();
  }

  add(mark) {
    this.end();
    this.lift();
    this.marks.push(mark);
    if (this.marks.length > MOST) this.marks.splice(0, this.marks.findIndex((one, i) => i > 0 && one.wipe) + 1 || 1);
    this.paint(mark);
    this.changed();
  }

  repaint() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.width);
    const last = this.marks.findLastIndex((mark) => mark.wipe);
    for (const mark of this.marks.slice(Math.max(last, 0))) this.paint(mark);
  }

  paint(mark) {
    const { width } = this.canvas;
    if (mark.wipe) this.context.clearRect(0, 0, width, width);
    if (mark.points) this.line(mark.points);
    if (!mark.pixels) return;
    const small = new OffscreenCanvas(SIDE, SIDE), [red, green, blue] = this.ink();
    const image = new ImageData(SIDE, SIDE);
    mark.pixels.forEach((value, i) => image.data.set([red, green, blue, value], 4 * i));
    small.getContext("2d").putImageData(image, 0, 0);
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(small, 0, 0, width, width);
  }

  line(points) {
    const { context, scale } = this, [red, green, blue] = this.ink();
    context.strokeStyle = `rgb(${red} ${green} ${blue})`;
    context.lineWidth = this.pen * scale;
    context.lineCap = "round";
    context.lineJoin = "round";
    context.beginPath();
    points.forEach(([x, y]) => context.lineTo(x * scale, y * scale));
    const [x, y] = points.at(-1);
    context.lineTo(x * scale, y * scale); // a point alone is a dot
    context.stroke();
  }

  ink() {
    const hex = getComputedStyle(this.canvas).getPropertyValue("--ink").trim();
    return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  }

  where({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * SIDE, ((clientY - box.top) / box.height) * SIDE];
  }

  begin(event) {
    if (!event.isPrimary || event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.brush.hidden = true;
    this.lift();
    this.open(this.where(event));
    this.stroke = this.marks.at(-1);
  }

  go(event) {
    if (!this.stroke || !event.isPrimary) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const one of all.length ? all : [event]) this.extend(this.stroke, this.where(one));
  }

  end() { this.stroke = null; }

  // The image that the page began with is in nobody's way: the first stroke wipes it off.
  open(point) { this.add({ wipe: Boolean(this.marks.at(-1)?.opening), points: [point] }); }

  extend(mark, point) {
    this.line([mark.points.at(-1), point]);
    mark.points.push(point);
    this.changed();
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      if (event.key === "z") { event.preventDefault(); this.undo(); }
      return;
    }
    const acts = { " ": () => (this.isDown ? this.lift() : this.lower()), Escape: () => this.lift(),
      Backspace: () => this.undo(), Delete: () => this.clear() };
    const act = event.key in STEPS ? () => this.step(event.key) : acts[event.key];
    if (!act || (event.key === " " && event.repeat)) return;
    event.preventDefault();
    this.brush.hidden = false;
    act();
    this.place();
  }

  step(key) {
    this.held.add(key);
    for (const one of this.held) this.at = this.at.map((place, i) => Math.min(Math.max(place + STEPS[one][i], 0.5), SIDE - 0.5));
    if (this.isDown) this.extend(this.marks.at(-1), this.at);
  }

  lower() {
    this.open(this.at);
    this.isDown = true;
  }

  lift() {
    this.isDown = false;
    this.place();
  }

  place() {
    const percent = (value) => `${(100 * value) / SIDE}%`;
    Object.assign(this.brush.style, { left: percent(this.at[0]), top: percent(this.at[1]), width: percent(this.pen), height: percent(this.pen) });
    this.brush.classList.toggle("down", this.isDown);
  }
}
