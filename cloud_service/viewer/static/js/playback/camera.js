// The page of one camera: the deck, in and out points, the list of sightings, other cameras.
import { HOUR, SECOND, iso, lengthText, stamp, timeText } from "./clock.js";
import { Deck } from "./deck.js";

const MOST_LISTED = 50, LONGEST_CLIP = HOUR;
const deck = new Deck();
const { camera } = document.getElementById("main").dataset;
const clip = document.getElementById("clip"), length = document.getElementById("clip-length");
const range = document.getElementById("range"), list = document.getElementById("seen"), none = document.getElementById("seen-none");
const others = document.getElementById("cameras");

// What leads on from the stretch between in and out, with its times: a clip, an export, a hold.
const onward = [...document.querySelectorAll("[data-onward]")];

function mark(side) {
  const marked = { ...(deck.timeline.clip ?? {}), [side]: deck.clock };
  // Of two marks in the wrong order the new one counts.
  if (marked.from !== undefined && marked.to !== undefined && marked.to <= marked.from) delete marked[side === "from" ? "to" : "from"];
  deck.timeline.clip = marked;
  deck.refresh();
  const long = marked.to - marked.from;
  range.hidden = !(long > 0);
  if (range.hidden) return;
  clip.hidden = long > LONGEST_CLIP;
  clip.href = `/cameras/${camera}/clip.mp4?from=${iso(marked.from)}&to=${iso(marked.to)}`;
  length.textContent = `${timeText(marked.from)} to ${timeText(marked.to)}, ${lengthText(long)}${clip.hidden ? "; a clip is an hour at most" : ""}`;
  for (const link of onward) link.href = `${link.dataset.onward}?${fields(marked)}`;
}

// As fields for times have them: in UTC, to the second, with all of the stretch in it.
function fields({ from, to }) {
  const text = (ms) => new Date(ms).toISOString().slice(0, 19);
  return new URLSearchParams({ camera, from: text(from), to: text(Math.ceil(to / SECOND) * SECOND) });
}

function goOn(path) {
  const link = onward.find((of) => of.dataset.onward === path);
  if (!link) return;
  if (range.hidden) deck.say("Mark a stretch first: i where it begins, o where it ends.");
  else location.href = link.href;
}

deck.actions.in = deck.keys.i = () => mark("from");
deck.actions.out = deck.keys.o = () => mark("to");
deck.keys.e = () => goOn("/exports");
deck.keys.h = () => goOn("/holds");

const goTo = (name) => {
  location.href = `/cameras/${name}?t=${stamp(deck.clock)}`;
};
const together = document.querySelector(".together");
together?.addEventListener("click", () => {
  together.href = `/watch?cameras=${camera}&t=${stamp(deck.clock)}`;
});
if (others) {
  others.addEventListener("change", () => goTo(others.value));
  [...others.options].slice(0, 9).forEach((option, place) => {
    deck.keys[String(place + 1)] = () => option.value !== camera && goTo(option.value);
  });
}

// The list under the timeline follows it: what was seen in the two hours around the time, the latest first.
let listed = "";
deck.refreshed = () => {
  const answers = deck.timeline.span <= 3 * HOUR ? deck.timeline.rows[0].within(deck.timeline.from, deck.timeline.from + deck.timeline.span) : [];
  const seen = new Map();
  for (const answer of answers) for (const of of answer.sightings ?? []) seen.set(of.join(), of);
  if (!answers.length) return;
  const rows = [...seen.values()].sort((a, b) => b[0] - a[0]).slice(0, MOST_LISTED);
  const key = rows.map(([start]) => start).join();
  if (key === listed) return;
  listed = key;
  none.hidden = rows.length > 0;
  list.replaceChildren(...rows.map(entry));
};

function entry([start, end, name, score]) {
  const item = document.createElement("li"), link = document.createElement("a");
  const time = document.createElement("time"), what = document.createElement("b"), rest = document.createElement("span");
  link.href = `/cameras/${camera}?t=${iso(start)}`;
  link.dataset.time = String(start);
  time.dateTime = iso(start);
  time.title = time.dateTime;
  time.textContent = timeText(start);
  what.textContent = name;
  rest.className = "quiet";
  rest.textContent = `${Math.round(score * 100)} %, ${lengthText(Math.max(SECOND, end - start))}`;
  link.append(time, " ", what, " ", rest);
  item.append(link);
  return item;
}

list.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-time]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  deck.seek(Number(link.dataset.time));
  document.querySelector(".past-head").scrollIntoView({ block: "nearest" });
});
