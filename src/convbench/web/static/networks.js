// The networks' table is filtered while one types; a link to repeated blocks opens them.

const form = document.querySelector("form.filter");

function filter() {
  const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of document.querySelectorAll(".filtered tbody tr")) {
    row.hidden = !words.every((word) => row.dataset.about.includes(word));
    shown += !row.hidden;
  }
  document.querySelector("#shown").textContent = words.length ? `${shown} shown` : "";
}

function unfold() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const folded = target && target.closest("details");
  if (folded) {
    folded.open = true;
    target.scrollIntoView({ block: "nearest" });
  }
}

form?.elements.text.addEventListener("input", filter);
form?.elements.family.addEventListener("change", () => form.requestSubmit());
window.addEventListener("hashchange", unfold);
unfold();
