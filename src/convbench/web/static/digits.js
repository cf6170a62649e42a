// The page of digits: what is drawn is read at once, and each answer is shown before the next drawing is sent.

import { ask, Refusal } from "./ask.js";
import { lightTable } from "./linked.js";
import { Pad, SIDE } from "./pad.js";

const PAUSE = 180; // ms between two questions, so that a hand on the pad asks some five times a second
const QUIET = 700; // ms without a new answer before it is read out
const AMPLITUDE = 1.7159;
const VOTERS = 3; // of the neighbours that are shown
const at = (id) => document.getElementById(id);
const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const scheme = matchMedia("(prefers-color-scheme: dark)");
const empty = Object.fromEntries(["lenet-why", "closest-words", "difference-words"].map((id) => [id, at(id).textContent]));

let colours = mixed();
let last = null; // the reading that is shown
let asking = false, stale = false; // a question is on its way; the pad has changed since
let ready = false, complete = false;

// --- colours and pictures

function mixed() {
  const style = getComputedStyle(document.documentElement);
  const [tint, ink, above, below, heat] = ["--tint", "--ink", "--network", "--rival", "--heat"].map((name) => {
    const hex = style.getPropertyValue(name).trim();
    return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  });
  const between = (from, to, share) => from.map((value, i) => value + (to[i] - value) * share);
  const scale = (mix) => Array.from({ length: 256 }, (_, value) => mix(value));
  return {
    signed: scale((value) => between(tint, value < 127.5 ? below : above, Math.abs(value / 127.5 - 1))),
    ink: scale((value) => between(tint, ink, value / 255)),
    heat: scale((value) => between(tint, heat, value / 255)),
  };
}

function paint(canvas, values, palette, offset = 0) {
  const image = new ImageData(canvas.width, canvas.height);
  for (let i = 0; i < canvas.width * canvas.height; i += 1) image.data.set([...palette[values[offset + i]], 255], 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function picture({ rows, columns, values }) {
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows, className: "map" });
  paint(canvas, bytesOf(values), colours.ink);
  return canvas;
}

function blank(canvas) { canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height); }

// F6 and the codes are bitmaps, in which 1 is ink and -1 is paper.
const inked = (value) => Math.round((Math.min(Math.max(value, -1), 1) + 1) * 127.5);
const said = (byte) => (byte / 127.5 - 1) * AMPLITUDE;
const codes = [...document.querySelectorAll(".codes li")].map((item) => {
  const canvas = item.querySelector("canvas");
  return { item, canvas, values: Array.from(canvas.dataset.bits, (bit) => (bit === "#" ? 1 : -1)) };
});

// --- answers

function show(reading) {
  last = reading;
  at("net").classList.toggle("idle", !reading);
  for (const { canvas, values } of codes) paint(canvas, values.map(inked), colours.ink);
  paint(at("scale"), Array.from({ length: 128 }, (_, i) => 2 * i), colours.signed);
  if (!reading) return showNothing();
  const { lenet, knn, svm } = reading;
  paint(at("input"), bytesOf(lenet.input.values), colours.ink);
  for (const [name, layer] of Object.entries(lenet.layers)) {
    const values = bytesOf(layer.values), area = layer.rows * layer.columns;
    if (name === "c5") paint(at(name), values, colours.signed);
    for (const canvas of document.querySelectorAll(`[data-layer="${name}"]`)) paint(canvas, values, colours.signed, area * Number(canvas.dataset.map));
  }
  showCodes(lenet);
  at("lenet").textContent = lenet.answer;
  at("knn").textContent = knn ? knn.answer : "…";
  at("svm").textContent = svm ? svm.answer : "…";
  at("near").replaceChildren(...(knn?.neighbours ?? []).map((one, rank) => {
    const figure = document.createElement("span");
    figure.className = rank < VOTERS ? "voted" : "";
    figure.append(picture(one.image), `${one.digit}`);
    figure.title = `a ${one.digit}, at distance ${one.distance.toFixed(2)}`;
    return figure;
  }));
  [...at("votes").children].forEach((bar, digit) => {
    bar.classList.toggle("first", digit === svm?.answer);
    bar.firstChild.style.height = `${svm ? Math.max(svm.scores[digit], 0) / 9 * 34 : 0}px`;
  });
  tell(`LeNet-5 reads ${lenet.answer}${knn ? `, k-NN ${knn.answer}` : ""}${svm ? `, SVM ${svm.answer}` : ""}`);
}

function showCodes({ answer, distances, layers }) {
  const next = distances.map((distance, digit) => [distance, digit]).sort(([one], [other]) => one - other)[1];
  const shown = (distance) => distance.toFixed(distance < 100 ? 1 : 0);
  at("lenet-why").textContent = `distance ${shown(distances[answer])} to the code of ${answer}; next is ${next[1]}, at ${shown(next[0])}`;
  codes.forEach(({ item }, digit) => {
    item.classList.toggle("first", digit === answer);
    item.querySelector(".distance").textContent = shown(distances[digit]);
  });
  const closest = codes[answer].values, painted = Array.from(bytesOf(layers.f6.values), said);
  paint(at("f6"), painted.map(inked), colours.ink);
  paint(at("closest"), closest.map(inked), colours.ink);
  const squares = closest.map((code, i) => (painted[i] - code) ** 2);
  paint(at("difference"), squares.map((square) => Math.round(Math.min(square / 4, 1) * 255)), colours.heat);
  at("closest-words").textContent = `the closest code: ${answer}`;
  at("difference-words").textContent = `squared differences, ${shown(distances[answer])} in all`;
}

function showNothing() {
  for (const canvas of document.querySelectorAll("#net [data-layer], #input, #c5, #f6, #closest, #difference")) blank(canvas);
  for (const id of ["lenet", "knn", "svm"]) at(id).textContent = "–";
  for (const [id, text] of Object.entries(empty)) at(id).textContent = text;
  at("near").replaceChildren();
  for (const bar of at("votes").children) { bar.className = ""; bar.firstChild.style.height = "0"; }
  for (const { item } of codes) { item.classList.remove("first"); item.querySelector(".distance").textContent = "–"; }
}

let telling = null;
function tell(sentence) { // while a stroke is drawn, answers come faster than they can be read out
  clearTimeout(telling);
  telling = setTimeout(() => { if (at("answers-told").textContent !== sentence) at("answers-told").textContent = sentence; }, QUIET);
}

// --- the pad

const pad = new Pad(at("pad"), at("brush"), changed);

function changed() {
  at("undo").disabled = !pad.canUndo;
  at("hint").hidden = !pad.isBlank;
  stale = true;
  if (!asking) read();
}

async function read() {
  asking = true;
  while (stale && ready) {
    stale = false;
    const pixels = pad.pixels();
    if (!pixels.some(Boolean)) { show(null); continue; }
    try {
      const reading = await ask("/api/digits", { body: { pixels: btoa(String.fromCharCode(...pixels)) } });
      at("problem").textContent = "";
      if (!pad.isBlank) show(reading);
    } catch (error) {
      at("problem").textContent = error instanceof Refusal ? error.message : "the explorer does not answer: is it still running?";
    }
    await wait(PAUSE);
  }
  asking = false;
}

at("clear").addEventListener("click", () => pad.clear());
at("undo").addEventListener("click", () => pad.undo());
scheme.addEventListener("change", () => { colours = mixed(); pad.repaint(); show(last); offer(offered); });

// --- real digits

let kind = "each", number = 0, offered = [];

async function choose() {
  offered = await ask(`/api/digits/samples?kind=${kind}&number=${number}`);
  if (!offered.length && number) { number = 0; return choose(); }
  return offer(offered);
}

function offer(samples) {
  const buttons = samples.map((one) => {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const named = one.read_as === null ? `a ${one.digit}` : `a ${one.digit} that it read as ${one.read_as}`;
    button.append(picture(one.pad));
    button.title = named;
    button.setAttribute("aria-label", `Put ${named} on the pad`);
    button.addEventListener("click", () => pad.put(bytesOf(one.pad.values)));
    return button;
  });
  const none = Object.assign(document.createElement("p"), { className: "quiet", textContent: "No mistakes are on record." });
  at("samples").replaceChildren(...(ready && !buttons.length ? [none] : buttons));
}

async function chosen(change) {
  change();
  at("mistakes").setAttribute("aria-pressed", String(kind === "mistakes"));
  try { await choose(); } catch (error) { at("problem").textContent = error.message; }
}

at("others").addEventListener("click", () => chosen(() => { number = (number + 1) % 100; }));
at("mistakes").addEventListener("click", () => chosen(() => { kind = kind === "each" ? "mistakes" : "each"; number = 0; }));

// --- who is there

function know(state) {
  for (const [name, words] of Object.entries(state.words)) at(`${name}-words`).textContent = words;
  at("placed").textContent = state.placed;
  pad.pen = state.pen;
  at("training").hidden = state.ready;
  if (state.training) {
    const { epoch, epochs, error } = state.training, bar = at("training").querySelector("progress");
    bar.max = epochs;
    bar.value = epoch;
    at("training-line").textContent = error || `epoch ${epoch} of ${epochs}`;
    at("training-line").className = error ? "problem" : "quiet";
  }
  for (const id of ["others", "mistakes"]) at(id).disabled = !state.ready;
}

async function begin() {
  while (!complete) {
    try {
      const state = await ask("/api/digits");
      know(state);
      if (state.ready && !ready) {
        ready = true;
        await choose();
        if (pad.isBlank && !pad.canUndo && offered.length) pad.put(bytesOf(offered[3 % offered.length].pad.values), true);
      }
      if (state.ready && !pad.isBlank) changed();
      complete = state.complete;
    } catch (error) {
      at("problem").textContent = error instanceof Refusal ? error.message : "the explorer does not answer: is it still running?";
    }
    if (!complete) await wait(ready ? 2000 : 1000);
  }
}

lightTable(at("net"), at("linked"));
show(null);
begin();
