// Small pieces of Look's page: elements, numbers, pictures with a box, and places on a map.

const SVG = "http://www.w3.org/2000/svg";

export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function number(value) {
  if (value === 0) return "0";
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
}

export function percent(share) {
  if (share > 0 && share < 0.1) return "< 0.1 %";
  return `${share >= 10 ? share.toFixed(0) : share.toFixed(1)} %`;
}

function drawn(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// A picture of so many pixels in an svg; of it, what a box [top, left, bottom, right] holds.
export function draw(svg, { href, width, height, part = null, label = null }) {
  const [top, left, bottom, right] = part ?? [0, 0, height, width];
  svg.setAttribute("viewBox", `${left} ${top} ${Math.max(1, right - left)} ${Math.max(1, bottom - top)}`);
  const picture = drawn("image", { href, width, height });
  if (right - left < 120) picture.setAttribute("class", "pixels");
  svg.replaceChildren(picture);
  if (label) svg.setAttribute("aria-label", label);
}

// Boxes over a picture that `draw` has drawn; without any, those there are taken away.
export function frame(svg, box, kind) {
  svg.querySelectorAll(`rect.${kind}`).forEach((one) => one.remove());
  if (!box) return;
  const [top, left, bottom, right] = box;
  svg.append(drawn("rect", { x: left, y: top, width: right - left, height: bottom - top, class: kind }));
}

// Lets a place of a map be pointed at, or gone to by arrow keys. chosen(row, column, firmly): firmly by click or key.
export function placed(element, rows, columns, chosen) {
  let [row, column] = [0, 0];
  const mark = element.querySelector("i");
  const go = (y, x, firmly) => {
    [row, column] = [Math.min(rows - 1, Math.max(0, y)), Math.min(columns - 1, Math.max(0, x))];
    chosen(row, column, firmly);
  };
  const under = (event) => {
    const around = element.getBoundingClientRect();
    return [
      Math.floor(((event.clientY - around.top) / around.height) * rows),
      Math.floor(((event.clientX - around.left) / around.width) * columns),
    ];
  };
  element.onclick = (event) => go(...under(event), true);
  element.onpointermove = (event) => go(...under(event), false);
  element.onkeydown = (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    go(row + step[0], column + step[1], true);
  };
  return function mark_at(y, x) {
    [row, column] = [y, x];
    mark.hidden = false;
    mark.style.top = `${(100 * y) / rows}%`;
    mark.style.left = `${(100 * x) / columns}%`;
    mark.style.height = `${100 / rows}%`;
    mark.style.width = `${100 / columns}%`;
  };
}

// Asks until it is done; `hear` is told how far it is.
export async function settled(ask, address, signal, hear) {
  for (;;) {
    const answer = await ask(address, { signal });
    if (!answer.waiting) return answer;
    hear(answer.waiting);
  }
}

// How far slow work is, as a line and a bar.
export function progress({ doing, done, total }) {
  const bar = total ? make("progress", { max: total, value: done, "aria-label": doing }) : make("progress", { "aria-label": doing });
  return make("p", { class: "row waiting" }, bar, make("span", { class: "quiet" }, total ? `${doing}: ${done} of ${total}` : `${doing} …`));
}
