// Sorts the tables of class "sortable" by a column when its heading is pressed: up, down, then as they were.
// Numbers are sorted as numbers, an interval by its lower end; what is not known stands last either way.

const STEPS = { none: "ascending", ascending: "descending", descending: "none" };
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)/;

function valueOf(cell) {
  const text = (cell.dataset.value ?? cell.textContent).trim().replace(/[\u2007\u00a0\u202f,]/g, "");
  if (text === "" || text === "–") return null;
  const number = NUMBER.exec(text.replace("\u2212", "-"));
  return number ? Number(number[0]) : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a.localeCompare(b, "en", { numeric: true });
}

function sort(table, place, order) {
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((one, other) => one.dataset.place - other.dataset.place);
  if (order !== "none") {
    const sign = order === "ascending" ? 1 : -1;
    const isText = table.tHead.rows[table.tHead.rows.length - 1].cells[place].classList.contains("text");
    const key = (row) => (isText ? row.cells[place].textContent.trim() || null : valueOf(row.cells[place]));
    const keyed = rows.map((row) => [key(row), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * compare(a, b);
    });
    rows.splice(0, rows.length, ...keyed.map(([, row]) => row));
  }
  body.append(...rows);
}

function press(table, heading) {
  const order = STEPS[heading.getAttribute("aria-sort")];
  for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", order);
  sort(table, heading.cellIndex, order);
}

export function sortable(table) {
  [...table.tBodies[0].rows].forEach((row, place) => { row.dataset.place = place; });
  for (const heading of table.tHead.rows[table.tHead.rows.length - 1].cells) {
    if (!heading.textContent.trim()) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => press(table, heading));
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
  }
}

for (const table of document.querySelectorAll("table.sortable")) sortable(table);
