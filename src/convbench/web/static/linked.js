// Table I lit: a map of S2 or C3 that is pointed at, focused or pressed shows what it is linked with.

const NAMES = ["s2", "c3"];

export function lightTable(net, said) {
  const unsaid = said.textContent;
  const of = (element) => Object.fromEntries(NAMES.map((name) => [name, name in element.dataset ? Number(element.dataset[name]) : null]));
  const links = [...net.querySelectorAll(".links path")].map(of);
  const shown = [...net.querySelectorAll("[data-s2], [data-c3]")];
  const buttons = shown.filter((element) => element.matches("button"));
  let pressed = null;

  function light(element) {
    const asked = element && of(element);
    const fits = (link, other) => NAMES.every((name) => other[name] === null || link[name] === other[name]);
    const lit = asked ? links.filter((link) => fits(link, asked)) : [];
    net.classList.toggle("dimmed", Boolean(asked));
    for (const one of shown) one.classList.toggle("lit", lit.some((link) => fits(link, of(one))) || one === element && one.matches("button"));
    said.classList.toggle("found", Boolean(asked));
    said.textContent = asked ? sentence(asked, lit) : unsaid;
  }

  function press(button) {
    pressed = pressed === button ? null : button;
    for (const one of buttons) one.setAttribute("aria-pressed", String(one === pressed));
    light(pressed ?? button);
  }

  for (const element of shown.filter((one) => !one.matches("path"))) {
    element.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") light(element); });
    element.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") light(pressed); });
    if (!element.matches("button")) continue;
    element.addEventListener("focus", () => { if (element.matches(":focus-visible")) light(element); });
    element.addEventListener("blur", () => light(pressed));
    element.addEventListener("click", () => press(element));
    element.addEventListener("keydown", (event) => move(event, element));
  }

  // One stop of the tab key for each row; arrows go along it.
  function move(event, from) {
    const row = [...from.parentElement.children], at = row.indexOf(from);
    const to = { ArrowLeft: row[at - 1], ArrowRight: row[at + 1], Home: row[0], End: row.at(-1) }[event.key];
    if (!to) return;
    event.preventDefault();
    from.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  }
}

function sentence({ s2, c3 }, lit) {
  const list = (numbers) => new Intl.ListFormat("en-GB").format(numbers.map(String));
  if (s2 !== null && c3 !== null) return `C3 map ${c3} ${lit.length ? "reads" : "does not read"} S2 map ${s2}.`;
  if (c3 !== null) return `C3 map ${c3} reads ${lit.length} of 6: S2 maps ${list(lit.map((link) => link.s2))}.`;
  return `S2 map ${s2} is read by ${lit.length} of 16: C3 maps ${list(lit.map((link) => link.c3))}.`;
}
