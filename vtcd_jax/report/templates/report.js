"use strict";
// Table: sorting by heads, filters, and a click on a row that leads to its card.
function interactiveTable(table) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);

  function compare(a, b) {
    if (a === "" || b === "") return (a === "") - (b === ""); // unknown last, whatever the direction
    const difference = Number(a) - Number(b);
    return Number.isNaN(difference) ? a.localeCompare(b, "en", { numeric: true }) : difference;
  }

  function sortBy(column) {
    const button = heads[column].querySelector("button");
    const now = heads[column].getAttribute("aria-sort");
    const next = now ? (now === "ascending" ? "descending" : "ascending") : button.dataset.first || "ascending";
    const sign = next === "ascending" ? 1 : -1;
    const key = (row) => row.cells[column].dataset.key;
    rows.sort((a, b) => {
      const unknown = key(a) === "" || key(b) === "";
      return (unknown ? 1 : sign) * compare(key(a), key(b)) || compare(a.cells[0].dataset.key, b.cells[0].dataset.key);
    });
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", next);
    body.append(...rows);
  }
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sortBy(column)));

  const [layer, head, text] = ["layer", "head", "text"].map((id) => document.getElementById(id));
  function filter() {
    const words = text.value.trim().toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of rows) {
      const name = row.cells[1].dataset.key.toLowerCase();
      row.hidden =
        (layer.value !== "" && row.dataset.layer !== layer.value) ||
        (head.value !== "" && row.dataset.head !== head.value) ||
        !words.every((word) => name.includes(word));
      shown += !row.hidden;
    }
    document.getElementById("count").textContent = `${shown} of ${rows.length}`;
  }
  document.getElementById("filters").addEventListener("input", filter);
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  filter(); // a browser may have kept the fields over a reload

  body.addEventListener("click", (event) => {
    const link = event.target.closest("tr").querySelector("a");
    if (link && !event.target.closest("a") && !String(window.getSelection())) link.click();
  });
}
const concepts = document.getElementById("concepts");
if (concepts) interactiveTable(concepts);

// Clips: a video gets its data only near the window, because browsers allow a few dozen players per page.
const films = Array.from(document.querySelectorAll("video[data-src]"));
const button = document.getElementById("play");
let playing = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;

function setPlaying(film) {
  if (!film.hasAttribute("src")) return;
  if (playing) film.play().catch(() => {}); // a pause may come before the start
  else film.pause();
}
function label() {
  button.textContent = playing ? "Pause clips" : "Play clips";
  button.setAttribute("aria-pressed", String(!playing));
}
button.hidden = films.length === 0;
button.addEventListener("click", () => {
  playing = !playing;
  label();
  films.forEach(setPlaying);
});
label();

const near = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting && !target.hasAttribute("src")) {
        target.preload = "auto";
        target.src = target.dataset.src;
        setPlaying(target);
      } else if (!isIntersecting && target.hasAttribute("src")) {
        target.pause();
        target.removeAttribute("src");
        target.load();
      }
    }
  },
  { rootMargin: "300px 0px" },
);
films.forEach((film) => near.observe(film));
