// The wall: which tiles are shown and how large, what of them is watched, keys, and boxes on or off.
import { isTyping } from "../page.js";
import { Feed } from "./feed.js";
import { Tile } from "./tile.js";

const COUNT_EVERY_MS = 200;
const SPOKEN_EVERY_MS = 5000;
const wall = document.querySelector("[data-wall]");
const grid = wall.querySelector("[data-grid]");
const tiles = new Map([...grid.querySelectorAll("[data-camera]")].map((element) => [element.dataset.camera, new Tile(element)]));
const order = [...tiles.keys()];
const inView = new Set();
const sizes = ["1", "4", "9", "16", "all"];
const chosen = { size: remembered("icm-wall-size"), page: 0, boxes: remembered("icm-wall-boxes") !== "off" };
if (!sizes.includes(chosen.size)) chosen.size = "all";
const unsaid = new Set();

const feed = new Feed(wall.dataset.wall, {
  news(header, jpeg, drawn) {
    const tile = tiles.get(header.camera);
    if (tile === undefined) return drawn();
    const before = tile.state;
    tile.take(header, jpeg, chosen.boxes).then(() => {
      if (tile.state !== before && before !== "waiting" && before !== "offline") unsaid.add(tile);
      shape(header.frame);
    }).finally(drawn);
  },
  connected(is) {
    wall.classList.toggle("is-offline", !is);
    if (!is && !document.hidden) for (const tile of tiles.values()) tile.say("offline");
  },
});

// Pages of a size begin at a multiple of it; `all` is one page.
function pages() {
  return chosen.size === "all" ? 1 : Math.max(1, Math.ceil(order.length / Number(chosen.size)));
}

function show() {
  chosen.page = Math.min(Math.max(chosen.page, 0), pages() - 1);
  const size = chosen.size === "all" ? order.length : Number(chosen.size);
  const first = chosen.size === "all" ? 0 : chosen.page * size;
  order.forEach((camera, index) => {
    tiles.get(camera).element.hidden = index < first || index >= first + size;
  });
  grid.dataset.size = chosen.size;
  for (const button of wall.querySelectorAll("button[data-size]")) button.setAttribute("aria-pressed", String(button.dataset.size === chosen.size));
  wall.querySelector("[data-boxes-switch]").setAttribute("aria-pressed", String(chosen.boxes));
  const pager = wall.querySelector("[data-pager]");
  pager.hidden = pages() === 1;
  const last = Math.min(first + size, order.length);
  pager.querySelector("[data-pager-text]").textContent = `${first + 1}${last > first + 1 ? ` to ${last}` : ""} of ${order.length}`;
  pager.querySelector("[data-earlier]").disabled = chosen.page === 0;
  pager.querySelector("[data-later]").disabled = chosen.page === pages() - 1;
  remember("icm-wall-size", chosen.size);
  remember("icm-wall-boxes", chosen.boxes ? "on" : "off");
  for (const tile of tiles.values()) tile.redraw(chosen.boxes);
  watch();
}

// Tells the viewer what can be seen; a tab in the background sees nothing.
function watch() {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const wanted = {};
  if (!document.hidden) {
    for (const camera of order) {
      const { element, picture } = tiles.get(camera);
      const columns = Math.round(picture.clientWidth * ratio);
      if (!element.hidden && columns > 0 && inView.has(element)) wanted[camera] = columns;
    }
  }
  feed.watch(wanted);
}

// Tiles have the shape of the first picture; one of another shape is shown whole.
function shape(frame) {
  if (!frame || grid.dataset.shaped) return;
  grid.dataset.shaped = "yes";
  grid.style.setProperty("--shape", `${frame.width} / ${frame.height}`);
}

function choose(changes) {
  Object.assign(chosen, changes);
  show();
}

function enlarge(camera) {
  if (chosen.size === "1" && order[chosen.page] === camera) choose({ size: wall.dataset.before ?? "all", page: 0 });
  else {
    if (chosen.size !== "1") wall.dataset.before = chosen.size;
    choose({ size: "1", page: order.indexOf(camera) });
  }
  tiles.get(camera).element.querySelector("[data-enlarge]").focus();
}

const keys = {
  b: () => choose({ boxes: !chosen.boxes }),
  1: () => choose({ size: "1", page: 0 }),
  2: () => choose({ size: "4", page: 0 }),
  3: () => choose({ size: "9", page: 0 }),
  4: () => choose({ size: "16", page: 0 }),
  a: () => choose({ size: "all", page: 0 }),
  ArrowLeft: () => choose({ page: chosen.page - 1 }),
  ArrowRight: () => choose({ page: chosen.page + 1 }),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});
wall.addEventListener("click", ({ target }) => {
  const button = target instanceof Element ? target.closest("button") : null;
  if (button === null) return;
  const { size, boxesSwitch, earlier, later, enlarge: camera } = button.dataset;
  if (size !== undefined) choose({ size, page: 0 });
  else if (boxesSwitch !== undefined) choose({ boxes: !chosen.boxes });
  else if (earlier !== undefined) choose({ page: chosen.page - 1 });
  else if (later !== undefined) choose({ page: chosen.page + 1 });
  else if (camera !== undefined) enlarge(camera);
});
document.addEventListener("visibilitychange", watch);

// A little before they come into view.
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) inView.add(target);
    else inView.delete(target);
  }
  watch();
}, { rootMargin: "100px" });
const resized = new ResizeObserver(() => {
  for (const tile of tiles.values()) tile.redraw(chosen.boxes);
  watch();
});
for (const { element, picture } of tiles.values()) {
  seen.observe(element);
  resized.observe(picture);
}
setInterval(() => {
  if (document.hidden) return;
  for (const tile of tiles.values()) if (!tile.element.hidden) tile.count();
}, COUNT_EVERY_MS);
const spoken = wall.querySelector("[data-spoken]");
setInterval(() => {
  if (unsaid.size === 0) return;
  spoken.textContent = [...unsaid].map((tile) => tile.sentence).join("; ");
  unsaid.clear();
}, SPOKEN_EVERY_MS);

function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A browser that keeps nothing shows the wall all the same.
  }
}

wall.classList.add("is-running");
show();
