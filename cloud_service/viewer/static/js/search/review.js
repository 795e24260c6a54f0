// Review by keyboard: go through what is new, and mark it as seen.
import { isTyping } from "../page.js";

const section = document.querySelector("[data-review]");
const button = document.querySelector("[data-mark]");
const said = document.querySelector("[data-said]");
const csrf = document.querySelector('meta[name="csrf"]').content;
let [anchor, current] = [null, null];

for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;

const tiles = () => [...section.querySelectorAll("[data-sighting]")];
const chosen = () => tiles().filter((tile) => tile.classList.contains("is-chosen"));

function choose(tile, several) {
  if (!several || anchor === null) anchor = tile;
  current = tile;
  const all = tiles();
  const [first, last] = [all.indexOf(anchor), all.indexOf(tile)].sort((one, other) => one - other);
  all.forEach((each, place) => each.classList.toggle("is-chosen", place >= first && place <= last));
  button.hidden = false;
  tile.querySelector("[data-open]").focus({ preventScroll: true });
  tile.scrollIntoView({ block: "nearest" });
}

function step(by, several) {
  const all = tiles();
  if (!all.length) return;
  const place = current === null ? (by > 0 ? -1 : all.length) : all.indexOf(current);
  const next = all[Math.min(all.length - 1, Math.max(0, place + by))];
  choose(next, several);
  // What is older comes by itself when one gets there.
  if (next === all.at(-1)) section.querySelector(".onward a")?.click();
}

async function mark(seen) {
  const marked = chosen();
  if (!marked.length) return;
  const body = new URLSearchParams({ csrf, seen: seen ? "1" : "0", sightings: marked.map((tile) => tile.dataset.sighting).join(",") });
  let answer = null;
  try {
    answer = await fetch("/review/seen", { method: "POST", body });
  } catch {
    // Said below.
  }
  if (!answer?.ok) {
    said.textContent = "That was not kept: the viewer does not answer. Try again.";
    return;
  }
  for (const tile of marked) tile.classList.toggle("is-seen", seen);
  said.textContent = `${marked.length} ${seen ? "seen" : "not seen"}`;
  if (seen) step(1, false);
}

section.addEventListener("click", (event) => {
  const tile = event.target.closest("[data-sighting]");
  if (!tile || !event.shiftKey) return;
  event.preventDefault();
  choose(tile, true);
});
section.addEventListener("focusin", (event) => {
  const tile = event.target.closest("[data-sighting]");
  if (tile && tile !== current) choose(tile, false);
});
button.addEventListener("click", () => mark(true));
document.addEventListener("keydown", (event) => {
  if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const does = { j: () => step(1, event.shiftKey), k: () => step(-1, event.shiftKey), r: () => mark(true), u: () => mark(false) }[event.key.toLowerCase()];
  if (!does) return;
  event.preventDefault();
  does();
});
