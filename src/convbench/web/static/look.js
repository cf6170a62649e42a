// Look: the photograph, and a column for each of the networks that are asked about it.

import { ask } from "./ask.js";
import { Column } from "./look_column.js";

const find = (name) => document.getElementById(name);
const said = find("said");
const place = find("columns");
const choosers = [find("network"), find("beside")].filter(Boolean);
const columns = [null, null];
let photograph = null;

function tell(text, bad = false) {
  said.textContent = text;
  said.classList.toggle("problem", bad);
}

// The address says what is shown, so that it can be kept and sent.
function remember() {
  const asked = new URLSearchParams();
  if (photograph) asked.set("photograph", photograph);
  choosers.forEach((chooser) => { if (chooser.value) asked.set(chooser.id, chooser.value); });
  window.history.replaceState(null, "", `?${asked}`);
}

function arrange() {
  choosers.forEach((chooser, i) => {
    if (columns[i]?.network === chooser.value) return;
    columns[i]?.close();
    columns[i] = chooser.value && photograph ? new Column(chooser.value) : null;
    columns[i]?.show(photograph);
  });
  const shown = columns.filter(Boolean);
  place.classList.toggle("two", shown.length === 2);
  place.replaceChildren(...shown.map((column) => column.root));
  remember();
}

async function look(id, name) {
  photograph = id;
  const picture = find("photograph");
  picture.src = `/api/photographs/${id}.png`;
  picture.alt = name;
  picture.hidden = false;
  find("drop").classList.add("full");
  document.querySelectorAll(".sample").forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.photograph === id)));
  const known = columns.filter(Boolean);
  arrange();
  await Promise.all(known.map((column) => column.show(id)));
}

async function upload(file) {
  tell("reading the photograph …");
  try {
    const { id, width, height } = await ask("/api/photographs", { body: new Blob([file]) });
    tell(`${width} × ${height} pixels`);
    await look(id, "your photograph");
  } catch (error) {
    tell(error.message, true);
  }
}

function take(files) {
  const [file] = files;
  if (file) upload(file);
  else tell("expected a photograph, found none", true);
}

find("file").addEventListener("change", (event) => {
  if (event.target.files.length) take(event.target.files);
  event.target.value = ""; // the same file can be chosen again
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    find("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
document.querySelectorAll(".sample").forEach((one) => one.addEventListener("click", () => {
  tell("");
  look(one.dataset.photograph, one.dataset.name);
}));
choosers.forEach((chooser) => chooser.addEventListener("change", arrange));

const asked = new URLSearchParams(window.location.search);
choosers.forEach((chooser) => {
  const wanted = asked.get(chooser.id);
  if ([...chooser.options].some((option) => option.value === wanted)) chooser.value = wanted;
});
// The network is read while the person still looks for a photograph.
choosers.filter((chooser) => chooser.value).forEach((chooser) => {
  ask(`/api/look/layers?network=${encodeURIComponent(chooser.value)}`).catch((error) => tell(error.message, true));
});
if (asked.get("photograph")) look(asked.get("photograph"), "the photograph");
