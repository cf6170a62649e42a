// Parts of the page that are still being made: the page is asked for again, and they alone are put in the place of the
// old ones, so that what the reader has opened, chosen and scrolled to stays.
import { sortable } from "/sort.js";

const PAUSE = 2000;  // ms
const nameOf = (details) => details.querySelector("summary").textContent;

function replace(old, made) {
  if (old.innerHTML === made.innerHTML) return;  // a live region speaks when it is written to
  const open = new Set([...old.querySelectorAll("details[open]")].map(nameOf));
  for (const details of made.querySelectorAll("details")) details.open ||= open.has(nameOf(details));
  old.replaceWith(made);
  for (const table of made.querySelectorAll("table.sortable")) sortable(table);
}

async function look() {
  const answer = await fetch(location.href);
  if (answer.ok) {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-unfinished]")) {
      const made = page.querySelector(`[data-unfinished="${old.dataset.unfinished}"]`);
      if (made) replace(old, document.importNode(made, true));
    }
  }
  if (document.querySelector("[data-unfinished] .making")) setTimeout(watch, PAUSE);
}

function watch() {
  look().catch(() => setTimeout(watch, PAUSE));  // the server may be away for a while
}

setTimeout(watch, PAUSE);
