// Boxes of what was found, drawn over the picture of their very frame.
import { MINUTE, iso } from "./clock.js";
import { colourOf } from "./classes.js";

const CHUNK = MINUTE, MOST_CHUNKS = 20;
const SAME = 3;  // milliseconds by which times of one frame differ in playlist and database
const FRESH = 15_000, LABEL = 18;

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

  // Draws boxes into the part of the stage where the picture is.
  draw(found, picture) {
    const { canvas } = this;
    const scale = Math.min(2, devicePixelRatio || 1);
    const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    canvas.dataset.boxes = "";
    if (!found || !picture.width) return;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const wide = found.width || picture.width, high = found.height || picture.height;
    const zoom = Math.min(canvas.clientWidth / wide, canvas.clientHeight / high);
    const left = (canvas.clientWidth - wide * zoom) / 2, top = (canvas.clientHeight - high * zoom) / 2;
    context.font = "600 12px system-ui, sans-serif";
    context.textBaseline = "middle";
    const drawn = [], labels = [];
    for (const [name, score, x0, y0, x1, y1] of found.boxes) {
      const box = [left + x0 * zoom, top + y0 * zoom, (x1 - x0) * zoom, (y1 - y0) * zoom];
      drawn.push([name, ...box.map((edge) => Math.round(edge))]);
      // On any picture: a dark line under a bright one.
      context.lineWidth = 4;
      context.strokeStyle = "rgb(0 0 0 / 0.55)";
      context.strokeRect(...box);
      context.lineWidth = 2;
      context.strokeStyle = colourOf(name, true);
      context.strokeRect(...box);
      const text = `${name} ${Math.round(score * 100)}`;
      const wideText = context.measureText(text).width + 10;
      const labelX = Math.min(Math.max(0, box[0] - 1), canvas.clientWidth - wideText);
      let labelY = box[1] >= LABEL ? box[1] - LABEL : box[1];
      // Of boxes upon each other all can be read.
      const covers = ([x, y, wide]) => Math.abs(y - labelY) < LABEL && x < labelX + wideText && labelX < x + wide;
      while (labels.some(covers)) labelY += LABEL;
      labels.push([labelX, labelY, wideText]);
      context.fillStyle = "rgb(16 18 22 / 0.8)";
      context.fillRect(labelX, labelY, wideText, LABEL);
      context.fillStyle = colourOf(name, true);
      context.fillText(text, labelX + 5, labelY + LABEL / 2);
    }
    canvas.dataset.boxes = JSON.stringify(drawn);
  }
}
