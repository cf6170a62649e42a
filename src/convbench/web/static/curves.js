// Curves over epochs as SVG: as wide as their place, on a logarithmic axis where that is possible, read off by pointer
// or arrow keys.

const SPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 250, LEFT = 46, RIGHT = 12, TOP = 10, BOTTOM = 26;

export function part(name, attributes, text) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function ticks(low, high, isLog) {
  if (isLog) {
    const all = [];
    for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade += 1) {
      for (const digit of [1, 2, 5]) all.push(Number(`${digit}e${decade}`));
    }
    const inside = all.filter((one) => one >= low && one <= high);
    return inside.length > 8 ? inside.filter((one) => /^0*\.?0*1/.test(String(one)) || /e/.test(String(one))) : inside;
  }
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((one) => one >= rough);
  const found = [];
  for (let place = Math.ceil(low / step); place * step <= high; place += 1) found.push(Number((place * step).toPrecision(6)));
  return found;
}

// series: [{ name, ink, of: (epoch) => number or null }]; last: the epoch in which the axis ends, where it is known.
// onRead(index) is told which epoch the reader points at, or null.
export class Curves {
  constructor(title, series, onRead) {
    this.series = series;
    this.figure = document.createElement("figure");
    const heading = document.createElement("h3");
    heading.textContent = title;
    this.svg = part("svg", { height: HEIGHT, role: "img", tabindex: 0, "aria-label": `${title}, over epochs` });
    this.figure.append(heading, this.svg);
    this.svg.addEventListener("pointermove", (event) => onRead(this.nearest(event)));
    this.svg.addEventListener("pointerleave", () => onRead(null));
    this.svg.addEventListener("keydown", (event) => {
      const at = this.read ?? this.epochs.length - 1;
      const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: this.epochs.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      onRead(Math.min(Math.max(next, 0), this.epochs.length - 1));
    });
    this.svg.addEventListener("blur", () => onRead(null));
    new ResizeObserver(() => this.draw(this.epochs ?? [], this.last, this.read)).observe(this.figure);
  }

  nearest(event) {
    const epoch = this.first + (event.offsetX - LEFT) / (this.width - LEFT - RIGHT) * (this.last - this.first);
    let best = null;
    this.epochs.forEach((one, index) => {
      if (best === null || Math.abs(one.epoch - epoch) < Math.abs(this.epochs[best].epoch - epoch)) best = index;
    });
    return best;
  }

  draw(epochs, last, read = null) {
    this.epochs = epochs;
    this.read = read;
    this.width = this.figure.clientWidth;
    if (!this.width) return;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.replaceChildren();
    const values = this.series.flatMap((one) => epochs.map(one.of)).filter((value) => value !== null);
    if (!values.length) return;
    this.last = Math.max(last ?? 0, epochs.at(-1).epoch);
    this.first = Math.min(1, this.last - 1);
    const positive = values.filter((value) => value > 0);
    const isLog = positive.length > 0 && Math.min(...values) >= 0 && Math.max(...values) > 3 * Math.min(...positive);
    let [low, high] = isLog ? [Math.min(...positive) / 1.15, Math.max(...positive) * 1.15] : [Math.min(...values), Math.max(...values)];
    if (!isLog) {
      const room = (high - low || Math.abs(high) || 1) * 0.08;
      [low, high] = [low - room, high + room];
    }
    const scale = isLog ? (value) => Math.log(Math.max(value, low)) : (value) => value;
    const x = (epoch) => LEFT + (epoch - this.first) / (this.last - this.first) * (this.width - LEFT - RIGHT);
    const y = (value) => TOP + (scale(high) - scale(value)) / (scale(high) - scale(low)) * (HEIGHT - TOP - BOTTOM);
    const text = { "font-size": 11, fill: "var(--muted)" };
    for (const tick of ticks(low, high, isLog)) {
      this.svg.append(part("path", { d: `M${LEFT} ${y(tick)}H${this.width - RIGHT}`, stroke: "var(--rule)" }));
      this.svg.append(part("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end", ...text }, tick));
    }
    for (const epoch of new Set([Math.max(1, this.first), epochs.at(-1).epoch, this.last])) {
      const anchor = epoch === this.last ? "end" : epoch <= 1 ? "start" : "middle";
      const isCrowded = epoch !== this.last && epoch > 1 && Math.min(x(this.last) - x(epoch), x(epoch) - x(1)) < 34;
      if (!isCrowded) this.svg.append(part("text", { x: x(epoch), y: HEIGHT - 8, "text-anchor": anchor, ...text }, epoch));
    }
    for (const { ink, of } of this.series) {
      const known = epochs.filter((one) => of(one) !== null);
      const line = known.map((one, index) => `${index ? "L" : "M"}${x(one.epoch).toFixed(1)} ${y(of(one)).toFixed(1)}`);
      if (known.length > 1) this.svg.append(part("path", { d: line.join(""), fill: "none", stroke: ink, "stroke-width": 1.8, "stroke-linejoin": "round" }));
      const dots = known.length < 20 ? known : known.slice(-1);
      for (const one of dots) this.svg.append(part("circle", { cx: x(one.epoch), cy: y(of(one)), r: 2.6, fill: ink }));
    }
    if (read !== null && epochs[read]) {
      const at = x(epochs[read].epoch);
      this.svg.prepend(part("path", { d: `M${at} ${TOP}V${HEIGHT - BOTTOM}`, stroke: "var(--muted)" }));
      for (const { ink, of } of this.series) {
        const value = of(epochs[read]);
        if (value !== null) this.svg.append(part("circle", { cx: at, cy: y(value), r: 4.5, fill: ink }));
      }
    }
  }
}
