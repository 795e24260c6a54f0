// Boxes of what was found, drawn over the picture of their very frame.
import { drawBoxes, fitted } from "../live/boxes.js";
import { MINUTE, iso } from "./clock.js";

const CHUNK = MINUTE, MOST_CHUNKS = 20;
const SAME = 3;  // milliseconds by which times of one frame differ in playlist and database
const FRESH = 15_000;

export class Boxes {
  constructor(canvas, camera, loaded) {
    this.canvas = canvas;
    this.camera = camera;
    this.loaded = loaded;
    this.chunks = new Map();
  }

  // The boxes of the frame of a time: {width, height, boxes}; null where none are known.
  at(time) {
    const start = Math.floor(time / CHUNK) * CHUNK;
    const chunk = this.chunk(start);
    if (time - start > 0.7 * CHUNK) this.chunk(start + CHUNK);
    // Of several models the newest comes last.
    const frame = chunk?.findLast(([at]) => Math.abs(at - time) <= SAME);
    return frame ? { width: frame[1], height: frame[2], boxes: frame[3] } : null;
  }

  chunk(start) {
    const there = this.chunks.get(start);
    const isOld = there && start + CHUNK > Date.now() - 10 * MINUTE && Date.now() - there.at > FRESH;
    if (!there || (isOld && !there.busy)) this.load(start, there);
    return there?.frames;
  }

  async load(start, there = {}) {
    this.chunks.set(start, there);
    if (this.chunks.size > MOST_CHUNKS) this.chunks.delete(this.chunks.keys().next().value);
    there.busy = true;
    there.at = Date.now();
    try {
      const frames = [];
      for (let from = start; from !== null;) {
        const answer = await fetch(`/cameras/${this.camera}/boxes.json?from=${iso(from)}&to=${iso(start + CHUNK)}`);
        if (!answer.ok) return;
        const page = await answer.json();
        frames.push(...page.frames);
        from = page.next;
      }
      there.frames = frames;
      this.loaded();
    } finally {
      there.busy = false;
    }
  }

  clear() {
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.canvas.dataset.boxes = "";
  }

  // Draws boxes over a picture of that size.
  draw(found, picture) {
    const { canvas } = this;
    const width = found?.width || picture.width, height = found?.height || picture.height;
    const boxes = width && found ? found.boxes : [];
    drawBoxes(canvas, { width, height, boxes }, true);
    const { left, top, scale } = fitted(width || 1, height || 1, canvas.clientWidth, canvas.clientHeight);
    const drawn = boxes.map(([name, , x, y, right, bottom]) => [
      name, ...[left + x * scale, top + y * scale, (right - x) * scale, (bottom - y) * scale].map(Math.round),
    ]);
    canvas.dataset.boxes = drawn.length ? JSON.stringify(drawn) : "";
  }
}
