// The strip of the newest sightings, asked for again while somebody looks.
import { showLocalTimes } from "../times.js";

const EVERY_MS = 15_000;
const section = document.querySelector("[data-newest]");
const list = section.querySelector("ul");

async function renew() {
  // Who is in the midst of it, by pointer or keyboard, keeps what is there.
  if (document.hidden || list.matches(":hover") || list.contains(document.activeElement)) return;
  try {
    const answer = await fetch(section.dataset.newest, { headers: { accept: "text/html" }, redirect: "error" });
    if (!answer.ok) return;
    const text = await answer.text();
    if (text === shown) return;
    shown = text;
    const page = new DOMParser().parseFromString(text, "text/html");
    list.replaceChildren(...page.querySelectorAll("li"));
    section.hidden = list.children.length === 0;
    showLocalTimes(list);
  } catch {
    // The wall itself says that there is no connection.
  }
}

let shown = "";
setInterval(renew, EVERY_MS);
document.addEventListener("visibilitychange", renew);
