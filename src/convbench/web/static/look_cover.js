// What a network answers when a grey square covers a part: maps whose places can be pointed at.

import { frame, make, number, percent, placed } from "./look_parts.js";

export function cover(place, found, picture, [width, height]) {
  const last = found.steps - 1;
  const line = make("p", { class: "quiet", role: "status" });
  const standing = `When nothing is covered, ${found.name} has ${percent(100 * found.clean)}. Point at a map, or go through it by arrow keys.`;
  line.textContent = standing;
  const marks = [];
  const point = (row, column) => {
    const [top, left] = [Math.round((row * (height - found.square)) / last), Math.round((column * (width - found.square)) / last)];
    frame(picture, [top, left, top + found.square, left + found.square], "grey");
    marks.forEach((mark) => mark(row, column));
    const unit = found.activation ? `, unit ${found.unit} ${number(found.activation[row][column])} (else ${number(found.clean_activation)})` : "";
    const share = percent(100 * found.probability[row][column]);
    line.textContent = `Covered there, ${found.name} has ${share} (else ${percent(100 * found.clean)})${unit}; most probable is ${found.names[found.answers[row][column]]}.`;
  };
  const map = (href, text) => {
    const around = make("div", { class: "place", tabindex: "0", role: "application", "aria-label": text }, make("img", { src: href, alt: "" }), make("i", { hidden: true }));
    marks.push(placed(around, found.steps, found.steps, point));
    around.addEventListener("pointerleave", () => {
      frame(picture, null, "grey");
      line.textContent = standing;
      around.parentElement.parentElement.querySelectorAll("i").forEach((one) => { one.hidden = true; });
    });
    return make("figure", {}, around, make("figcaption", {}, text));
  };
  const shares = found.probability.flat();
  const [low, high] = [Math.min(...shares), Math.max(...shares)].map((one) => percent(100 * one));
  const [probability, activation, answers] = found.pictures;
  place.replaceChildren(
    make("div", { class: "covered" },
      map(probability, `${found.name}: from ${low}, blue, to ${high}, yellow`),
      activation ? map(activation, `${found.layer}, unit ${found.unit}, summed: blue least, yellow greatest`) : null,
      map(answers, "the most probable class")),
    make("ul", { class: "legend" }, ...found.legend.map((one) => {
      const dot = make("i");
      dot.style.background = one.colour;
      return make("li", {}, dot, one.name);
    })),
    line,
  );
}
