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

  const fields = ["layer", "head", "text"].map((id) => document.getElementById(id));
  const [layer, head, text] = fields;
  const cards = Array.from(document.querySelectorAll("article[data-key]"));
  const cells = Array.from(document.querySelectorAll(".map button"));

  // The filters stay in the address, so that a link shows what its sender saw.
  const given = new URLSearchParams(window.location.search);
  for (const field of fields) if (given.has(field.id)) field.value = given.get(field.id);
  function keep() {
    const set = new URLSearchParams(fields.filter((field) => field.value).map((field) => [field.id, field.value]));
    const query = String(set) ? `?${set}` : "";
    if (query !== window.location.search)
      window.history.replaceState(null, "", window.location.pathname + query + window.location.hash);
  }
  function filter() {
    const words = text.value.trim().toLowerCase().split(/\s+/);
    const matches = (data, name) =>
      (layer.value === "" || data.layer === layer.value) &&
      (head.value === "" || data.head === head.value) &&
      words.every((word) => name.toLowerCase().includes(word));
    for (const row of rows) row.hidden = !matches(row.dataset, row.cells[1].dataset.key);
    for (const card of cards) card.hidden = !matches(card.dataset, card.dataset.key);
    for (const cell of cells)
      cell.setAttribute("aria-pressed", String(cell.dataset.layer === layer.value && cell.dataset.head === head.value));
    const shown = rows.filter((row) => !row.hidden).length;
    document.getElementById("count").textContent = `${shown} of ${rows.length}`;
    keep();
  }
  for (const cell of cells)
    cell.addEventListener("click", () => {
      const pressed = cell.getAttribute("aria-pressed") === "true"; // a second click takes the filter away
      layer.value = pressed ? "" : cell.dataset.layer;
      head.value = pressed ? "" : cell.dataset.head;
      filter();
    });
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
for (const film of document.querySelectorAll("video[data-same]")) // the same clip as in a card
  film.dataset.src = document.querySelector(`#${film.dataset.same} video`).dataset.src;
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

// Which of the three pictures of a clip is shown; the key o goes on to the next.
const view = document.getElementById("view");
document.getElementById("shown").hidden = films.length === 0;
function show() {
  document.body.dataset.view = view.value;
}
view.addEventListener("change", show);
document.addEventListener("keydown", (event) => {
  if (event.key !== "o" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
  view.selectedIndex = (view.selectedIndex + 1) % view.options.length;
  show();
});
show();

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
