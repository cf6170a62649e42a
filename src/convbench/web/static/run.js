// One run: its curves, which grow while it trains. The server is asked for the epochs that are new, again and again, so
// that a laptop that slept, or a server that was started anew, needs nothing but the next question.
import { ask } from "./ask.js";
import { Curves, part } from "./curves.js";

const PAUSE = { running: 1000, stopped: 3000, missing: 3000, failed: 5000, broken: 5000 };  // ms; a run that is done is left
const PATIENCE = 15000;  // ms for an answer, after which a sleep has come in between
const LINES = [
  { key: "test_error", name: "test", ink: "var(--network)" },
  { key: "validation_error", name: "validation", ink: "var(--ensemble)" },
  { key: "train_error", name: "training set", ink: "var(--rival)" },
  { key: "test_ap50", name: "test", ink: "var(--network)" },
];
const COLUMNS = [
  ["epoch", 0], ["loss", 4], ["train_error", 2], ["validation_error", 2], ["test_error", 2], ["test_ap50", 3], ["lr", null],
  ["seconds", 1], ["images_per_s", 0],
];

const at = (id) => document.getElementById(id);
const run = at("run"), opened = run.dataset.state;
let epochs = [], begun = "", last = null, charts = null, read = null;

function write(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text;  // a live region speaks when it is written to
}

function shown(value, digits) {
  if (value === null) return "–";
  return digits === null ? String(Number(value.toPrecision(3))) : value.toFixed(digits);
}

function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60), rest = Math.round(seconds % 60);
  return minutes < 60 ? `${minutes} min ${String(rest).padStart(2, "0")} s` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

function onRead(index) {
  read = index;
  const epoch = index === null ? null : epochs[index];
  const errors = epoch ? LINES.filter(({ key }) => epoch[key] !== null).map(({ key, name }) => (
    key === "test_ap50" ? `AP50 ${epoch[key].toFixed(3)}` : `${name} ${epoch[key].toFixed(2)} %`)) : [];
  write("readout", epoch ? [`epoch ${epoch.epoch}: loss ${shown(epoch.loss, 4)}`, ...errors].join(", ") : "");
  draw();
}

function makeCharts() {
  const known = LINES.filter(({ key }) => epochs.some((one) => one[key] !== null));
  const errors = known.filter(({ key }) => key !== "test_ap50"), found = known.filter(({ key }) => key === "test_ap50");
  const lines = (some) => some.map((one) => ({ ...one, of: (epoch) => epoch[one.key] }));
  charts = [new Curves("Loss", [{ name: "loss", ink: "var(--ink)", of: (epoch) => epoch.loss }], onRead)];
  if (found.length) charts.unshift(new Curves("Average precision at an overlap of 0.5", lines(found), onRead));
  if (errors.length) charts.unshift(new Curves("Error in percent", lines(errors), onRead));
  charts.known = known.length;
  at("charts").replaceChildren(...charts.map((one) => one.figure));
  at("key").replaceChildren(...(known.length > 1 ? known : []).map(({ name, ink }) => {
    const entry = document.createElement("span");
    const line = part("svg", { width: 20, height: 12 });
    line.append(part("path", { d: "M0 6h20", stroke: ink, "stroke-width": 2 }));
    entry.append(line, name);
    return entry;
  }));
}

function draw() {
  at("curves").hidden = !epochs.length;
  if (!epochs.length) return;
  const known = LINES.filter(({ key }) => epochs.some((one) => one[key] !== null)).length;
  if (charts === null || charts.known !== known) makeCharts();
  for (const chart of charts) chart.draw(epochs, last, read);
}

function list(from) {
  const rows = epochs.slice(from).map((epoch) => {
    const row = document.createElement("tr");
    for (const [key, digits] of COLUMNS) row.insertCell().textContent = shown(epoch[key], digits);
    return row;
  });
  if (from === 0) at("epochs").replaceChildren(...rows);
  else at("epochs").append(...rows);
}

function stand(found, isRunning) {
  at("standing").hidden = found === null;
  if (found === null) return;
  last = found.epochs;
  at("done").value = (found.epoch - 1 + found.images / found.of) / found.epochs;
  write("epoch", found.epoch > found.epochs ? `${found.epochs} of ${found.epochs}: being evaluated` : `${found.epoch} of ${found.epochs}`);
  write("rate", !isRunning || found.images_per_s === null ? "–" : Math.round(found.images_per_s).toLocaleString("en"));
  write("left", duration(isRunning ? found.seconds_left : null));
}

async function look() {
  const after = (n) => ask(`${run.dataset.address}?after=${n}`, { signal: AbortSignal.timeout(PATIENCE) });
  let news = await after(epochs.length), isOther = false;
  if (news.begun !== begun || news.total < epochs.length) {  // another training than the one that was drawn
    if (epochs.length) news = await after(0);
    isOther = true;
    epochs = [];
    begun = news.begun;
  }
  const before = epochs.length;
  epochs = [...epochs, ...news.epochs];
  if (news.epochs.length || isOther) list(before);
  stand(news.standing, news.state === "running");
  draw();
  at("state").className = `state ${news.state}`;
  write("state", news.state);
  if (news.state !== "done") write("line", news.line);
  if (news.state === "done" && opened !== "done") location.reload();  // for its result
  return news.state;
}

let waiting = null, isAsking = false;

async function watch() {
  if (isAsking) return;
  isAsking = true;
  clearTimeout(waiting);
  let state = "broken";
  try {
    state = await look();
  } catch (error) {
    write("line", `no answer (${error.message}): asking again`);
  }
  isAsking = false;
  waiting = state === "done" ? null : setTimeout(watch, PAUSE[state]);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && waiting !== null) watch();
});
watch();
