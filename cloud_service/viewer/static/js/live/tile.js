// One camera on the wall: its picture, boxes over it, how old it is, and how the camera does, in words.
import { drawBoxes } from "./boxes.js";

const WORDS = {
  waiting: "Waiting for a picture",
  live: "Live",
  late: "Late",
  silent: "Silent",
  empty: "No picture yet",
  unknown: "Unknown",
  unreachable: "The cloud does not answer",
  offline: "No connection",
};
const SPOKEN_EVERY_MS = 5000;

export class Tile {
  constructor(element) {
    this.element = element;
    this.camera = element.dataset.camera;
    this.picture = element.querySelector("[data-picture]");
    this.boxes = element.querySelector("[data-boxes]");
    this.stateText = element.querySelector("[data-state-text]");
    this.ageText = element.querySelector("[data-age]");
    this.pen = this.picture.getContext("2d", { alpha: false });
    this.frame = null;
    this.capturedAt = null;
    this.spokenAt = -SPOKEN_EVERY_MS;
    this.say("waiting");
  }

  // Shows a message; resolves once it is drawn.
  async take(header, jpeg, withBoxes) {
    const capturedAt = header.age === null ? null : performance.now() - header.age * 1000;
    if (jpeg !== null) {
      let bitmap;
      try {
        bitmap = await createImageBitmap(jpeg);
      } catch {
        return; // The next one may be whole.
      }
      [this.picture.width, this.picture.height] = [bitmap.width, bitmap.height];
      this.pen.drawImage(bitmap, 0, 0);
      bitmap.close();
      this.element.classList.add("has-picture");
    }
    this.frame = header.frame;
    this.capturedAt = capturedAt;
    this.say(header.state);
    this.redraw(withBoxes);
    this.count();
    if (!header.frame) return;
    const { epoch, sequence } = header.frame;
    this.element.dataset.sequence = sequence;
    this.ageText.href = `/cameras/${this.camera}/frame/${epoch}/${sequence}`;
  }

  redraw(withBoxes) {
    drawBoxes(this.boxes, this.frame, withBoxes);
  }

  // Says how the camera does; returns whether that is new.
  say(state) {
    const before = this.state;
    this.state = state in WORDS ? state : "unknown";
    if (this.state === before) return false;
    this.element.dataset.state = this.state;
    this.stateText.textContent = WORDS[this.state];
    return true;
  }

  // Counts on how old the picture is.
  count() {
    const now = performance.now();
    const age = this.capturedAt === null ? null : Math.max(0, (now - this.capturedAt) / 1000);
    const text = age === null ? "" : `captured ${durationText(age)} ago`;
    if (this.ageText.textContent !== text) this.ageText.textContent = text;
    if (now - this.spokenAt < SPOKEN_EVERY_MS) return;
    this.spokenAt = now;
    this.picture.setAttribute("aria-label", [this.camera, WORDS[this.state], text, countText(this.frame)].filter(Boolean).join(", "));
  }

  // What is said of it to who cannot see it.
  get sentence() {
    return `${this.camera}: ${WORDS[this.state].toLowerCase()}`;
  }
}

export function durationText(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

function countText(frame) {
  if (!frame?.boxes?.length) return "";
  const counts = new Map();
  for (const [name] of frame.boxes) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => `${count} ${name}`).join(", ");
}
