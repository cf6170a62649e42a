// One network: what it answers to the photograph, a layer's maps, a unit's projection and strongest images.

import { ask } from "./ask.js";
import { cover } from "./look_cover.js";
import { draw, frame, make, number, percent, placed, progress, settled } from "./look_parts.js";

const BROKEN_OFF = { // what is asked anew, and what with it
  answers: ["answers", "maps", "unit", "nine", "cover"],
  maps: ["maps", "unit", "nine"], unit: ["unit"], nine: ["nine"], cover: ["cover"],
};
const METHODS = { deconvnet: "deconvnet", guided: "guided backpropagation", gradient: "gradient" };
const MANY = 64;

export class Column {
  constructor(network) {
    this.network = network;
    this.root = document.getElementById("column").content.firstElementChild.cloneNode(true);
    this.signals = {};
    [this.photograph, this.info, this.layer, this.unit, this.position] = [null, null, null, null, null];
    this.get("select.order").addEventListener("change", () => this.showMaps());
    this.get(".more").addEventListener("click", () => this.showMore());
    this.get(".cover .go").addEventListener("click", () => this.showCovered());
    this.get(".all select").addEventListener("change", (event) => this.choose(event.target.value));
  }

  get(selector) { return this.root.querySelector(selector); }

  close() { Object.values(this.signals).forEach((one) => one.abort()); }

  // Breaks off what is older, and tells of what goes wrong.
  async run(level, work) {
    for (const older of BROKEN_OFF[level]) this.signals[older]?.abort();
    const control = new AbortController();
    this.signals[level] = control;
    this.get(".problem").hidden = true;
    try {
      await work(control.signal);
    } catch (error) {
      if (control.signal.aborted) return;
      if (!this.info) this.get(".title").textContent = this.network;
      this.get(".problem").textContent = error.message;
      this.get(".problem").hidden = false;
    }
  }

  ask(what, values, signal) { return ask(this.address(what, values), { signal }); }

  address(what, values) {
    const asked = new URLSearchParams({ network: this.network });
    for (const [name, value] of Object.entries(values)) if (value !== null) asked.set(name, value);
    return `/api/look/${what}?${asked}`;
  }

  show(photograph) {
    this.photograph = photograph;
    return this.run("answers", async (signal) => {
      if (!this.info) {
        this.get(".title").textContent = "reading the network …";
        this.open(await this.ask("layers", {}, signal));
      }
      const found = await this.ask("answers", { photograph }, signal);
      this.size = [found.width, found.height];
      this.input = found.picture;
      draw(this.get(".seen"), { href: found.picture, width: found.width, height: found.height });
      this.get(".input figcaption").textContent = `as it reads it, ${found.width} × ${found.height}`;
      this.get(".answers").replaceChildren(...found.answers.map(answer));
      this.get(".target").replaceChildren(...found.answers.map((one) => make("option", { value: one.index }, one.name)));
      this.get(".cover .found").replaceChildren();
      this.get(".inner").hidden = false;
      this.position = null;
      this.showMaps();
    });
  }

  open(info) {
    this.info = info;
    this.get(".title").textContent = info.title;
    this.method = info.switches ? "deconvnet" : "guided";
    const stages = info.layers.filter((one) => one.is_stage);
    this.layer = (stages[0] ?? info.layers[0]).name;
    this.get(".hint").textContent = "the last of each stage; click one, then one of its maps";
    this.get(".stages").replaceChildren(...stages.map((one) => make(
      "button", { type: "button", "data-layer": one.name, onclick: () => this.choose(one.name) },
      one.name, make("small", {}, size(one)),
    )));
    this.get(".all summary").textContent = `all ${info.layers.length} layers`;
    this.get(".all select").replaceChildren(...info.layers.map((one) => make(
      "option", { value: one.name }, `${one.name} · ${one.kind} · ${size(one)}`,
    )));
    this.get(".methods").replaceChildren(...Object.entries(METHODS).map(([method, name]) => {
      const radio = make("input", { type: "radio", name: `method-${this.network}-${column_number(this.root)}`, value: method });
      radio.checked = method === this.method;
      radio.addEventListener("change", () => { this.method = method; this.showUnit(); });
      return make("label", {}, radio, ` ${name}`);
    }));
  }

  choose(layer) {
    [this.layer, this.unit, this.position, this.called] = [layer, null, null, null];
    this.showMaps();
  }

  showMaps() {
    this.root.querySelectorAll(".stages button").forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.layer === this.layer)));
    this.get(".all select").value = this.layer;
    this.shown = 0;
    this.run("maps", async (signal) => {
      const tiles = await this.tiles(signal);
      this.get(".tiles").replaceChildren(...tiles);
      this.get(".maps").hidden = false;
      this.get(".unit").hidden = this.unit === null;
      frame(this.get(".seen"), null, "box");
      if (this.unit !== null) this.showUnit();
    });
  }

  showMore() {
    this.run("maps", async (signal) => {
      const tiles = await this.tiles(signal);
      this.get(".tiles").append(...tiles);
      tiles[0]?.focus();
      if (this.unit !== null) this.showUnit();
    });
  }

  async tiles(signal) {
    const asked = { photograph: this.photograph, layer: this.layer, order: this.get("select.order").value, first: this.shown, count: MANY };
    const found = await this.ask("activations", asked, signal);
    this.shown += found.maps.length;
    const are_maps = found.rows * found.columns > 1;
    this.get(".maps .what").textContent = are_maps
      ? `${this.layer}: ${found.units} maps of ${found.rows} × ${found.columns}, each from black, its least, to white, its greatest value`
      : `${this.layer}: ${found.units} values`;
    this.get(".tiles").classList.toggle("values", !are_maps);
    const left = found.units - this.shown;
    this.get(".more").hidden = left <= 0;
    this.get(".more").textContent = `${Math.min(MANY, left)} more of ${left.toLocaleString("en")}`;
    const widest = Math.max(...found.maps.map((one) => Math.abs(one.greatest)), 1e-9);
    return found.maps.map((one) => this.tile(one, widest));
  }

  tile(one, widest) {
    const choose = () => { [this.unit, this.position, this.called] = [one.unit, null, one.name]; this.showUnit(); };
    const said = { type: "button", "data-unit": one.unit, "aria-pressed": String(one.unit === this.unit), onclick: choose };
    const name = one.name ?? one.unit;
    if (one.picture) {
      const picture = make("img", { src: one.picture, alt: "", loading: "lazy" });
      return make("button", { ...said, "aria-label": `unit ${one.unit}, at most ${number(one.greatest)}` }, picture, make("span", {}, `${one.unit}`), make("small", {}, number(one.greatest)));
    }
    const bar = make("i", { class: one.greatest < 0 ? "below" : "" });
    bar.style.width = `${(100 * Math.abs(one.greatest)) / widest}%`;
    return make("button", said, make("span", {}, `${name}`), make("span", { class: "track" }, bar), make("small", {}, number(one.greatest)));
  }

  // Of another place the strongest images are the same.
  showUnit(isElsewhere = false) {
    if (!isElsewhere) this.showNine();
    this.root.querySelectorAll(".tiles button").forEach((one) => one.setAttribute("aria-pressed", String(Number(one.dataset.unit) === this.unit)));
    this.run("unit", async (signal) => {
      const [row, column] = this.position ?? [null, null];
      const asked = { photograph: this.photograph, layer: this.layer, unit: this.unit, row, column, method: this.method };
      this.drawUnit(await this.ask("projection", asked, signal));
    });
  }

  drawUnit(found) {
    const [width, height] = this.size;
    const at = found.position ? ` at row ${found.position[0]}, column ${found.position[1]}` : "";
    this.get(".unit .name").textContent = `${found.layer}, unit ${found.unit}${this.called ? `, ${this.called}` : ""}${at}: ${number(found.activation)}`;
    this.get(".unit").hidden = false;
    const note = this.note(found);
    this.get(".note").textContent = note;
    this.get(".note").hidden = !note;
    const all = found.box[0] === 0 && found.box[1] === 0 && found.box[2] === height && found.box[3] === width;
    frame(this.get(".seen"), all ? null : found.box, "box");
    draw(this.get(".projection"), { href: found.projection, width, height, label: `Unit ${found.unit} projected to the pixels` });
    frame(this.get(".projection"), all ? null : found.box, "box");
    const sees = all || !found.sees ? "it sees all of the photograph" : `it sees ${found.sees[0]} × ${found.sees[1]} pixels, framed`;
    this.get(".whole figcaption").textContent = `${METHODS[found.method]}; grey is zero; ${sees}`;
    this.root.querySelectorAll(".part").forEach((one) => { one.hidden = all; });
    draw(this.get(".patch"), { href: this.input, width, height, part: found.box, label: "The part of the photograph that it sees" });
    draw(this.get(".signal"), { href: found.projection, width, height, part: found.box, label: "The projection in that part" });
    const map = this.get("figure.map");
    map.hidden = !found.position || found.rows * found.columns === 1;
    if (map.hidden) return;
    map.querySelector("img").src = found.map;
    const place = map.querySelector(".place");
    place.setAttribute("aria-label", `Map of unit ${found.unit}: arrow keys choose the place to project`);
    const mark = placed(place, found.rows, found.columns, (y, x, firmly) => {
      if (!firmly) return;
      mark(y, x);
      this.position = [y, x];
      this.showUnit(true);
    });
    mark(...found.position);
    map.querySelector("figcaption").textContent = "its map: click a place to project that";
  }

  note(found) {
    if (found.activation <= 0) return "Nothing here makes this unit answer, so that there is nothing to project.";
    if (found.method !== "deconvnet" || this.info.switches > 1) return "";
    if (this.info.switches === 1) return "Only one layer of this network keeps switches: from high up, a deconvnet’s projection is a grid rather than a part of the photograph.";
    return "This network has no max pooling, and so no switches: in a deconvnet’s projection is little of the photograph, rather the pattern of the network’s strides. The other two methods are for such networks.";
  }

  showNine(search = false) {
    const place = this.get(".nine");
    if (!search) place.replaceChildren();
    return this.run("nine", async (signal) => {
      const asked = { layer: this.layer, unit: this.unit, method: this.method, search };
      const answer = await settled(ask, this.address("top9", asked), signal, (waiting) => place.replaceChildren(progress(waiting)));
      if (answer.found) place.replaceChildren(...nine(answer.found));
      else if (answer.data) place.replaceChildren(make("p", {}, make("button", { type: "button", onclick: () => this.showNine(true) }, `Its nine strongest among ${answer.images} images of ${answer.data}`)));
      else place.replaceChildren(make("p", { class: "quiet" }, "The images of a data set at which it is strongest are shown here after ", make("code", {}, answer.command)));
    });
  }

  showCovered() {
    const [target, steps] = [this.get(".target").value, this.get(".steps").value];
    const asked = { photograph: this.photograph, layer: this.unit === null ? null : this.layer, unit: this.unit, target, steps };
    const place = this.get(".cover .found");
    this.run("cover", async (signal) => {
      place.replaceChildren(progress({ doing: "waiting", done: 0, total: 0 }));
      const { found } = await settled(ask, this.address("occlusion", asked), signal, (waiting) => place.replaceChildren(progress(waiting)));
      cover(place, found, this.get(".seen"), this.size);
    }).finally(() => { if (place.querySelector("progress")) place.replaceChildren(); });
  }
}

function size(layer) {
  return layer.rows * layer.columns > 1 ? `${layer.units} of ${layer.rows} × ${layer.columns}` : `${layer.units}`;
}

let columns = 0;
function column_number(root) {
  root.dataset.number ??= String((columns += 1));
  return root.dataset.number;
}

function answer(one) {
  const bar = make("i");
  bar.style.width = `${one.probability}%`;
  return make("li", {}, make("span", { class: "class" }, one.name), make("span", { class: "track" }, bar), make("span", { class: "share" }, percent(one.probability)));
}

function nine(found) {
  const places = found.strongest.map((one) => `image ${one.index} with ${number(one.activation)}`).join(", ");
  const caption = found.is_active ? `Its nine strongest images, among ${found.among}: ${places}.` : `Among ${found.among}, none makes it answer.`;
  return [
    make("h3", {}, "Where it is strongest"),
    make("div", { class: "pair" },
      make("figure", {}, make("img", { src: found.projected, alt: "nine projections" }), make("figcaption", {}, METHODS[found.method])),
      make("figure", {}, make("img", { src: found.seen, alt: "the parts of nine images" }), make("figcaption", {}, "what it saw"))),
    make("p", { class: "quiet" }, caption),
  ];
}
