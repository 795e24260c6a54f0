// The timeline: years to seconds on one canvas, four lanes a camera, the playhead in the middle.
import { DAY, MINUTE, SECOND, clockText, lengthText, marks } from "./clock.js";
import { colourOf, drawShape } from "../classes.js";

const LEAST = 4 * SECOND, MOST = 3650 * DAY, AXIS = 26, CLICK = 4, SETTLE = 250;
const TALL = { label: 0, kept: 12, activity: 44, seen: 26, held: 7, gap: 5 };
const LOW = { label: 15, kept: 8, activity: 18, seen: 16, held: 5, gap: 2 };

export class Timeline {
  // `told`: scrub(at) while somebody drags, seek(at) when that is over.
  constructor(canvas, rows, at, told) {
    Object.assign(this, { canvas, rows, told });
    this.center = at;
    this.span = 20 * MINUTE;
    this.clip = null;
    this.pointers = new Map();
    this.height = rows.length > 1 ? LOW : TALL;
    const { label, kept, activity, seen, held, gap } = this.height;
    this.rowHeight = label + kept + activity + seen + held + 4 * gap;
    canvas.style.height = `${AXIS + rows.length * this.rowHeight + 4}px`;
    this.listen();
    new ResizeObserver(() => this.redraw()).observe(canvas);
    const recoloured = () => {
      this.colours = null;
      this.redraw();
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recoloured);
    new MutationObserver(recoloured).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    this.redraw();
  }

  get isHeld() {
    return this.pointers.size > 0 || this.settling;
  }

  get from() {
    return this.center - this.span / 2;
  }

  show(at) {
    if (this.isHeld) return;
    // Less than half a pixel would not be seen.
    if (Math.abs(at - this.center) < this.span / (2 * this.canvas.clientWidth || 1)) return;
    this.center = at;
    this.redraw();
  }

  zoom(factor, around = this.center) {
    const span = Math.min(MOST, Math.max(LEAST, this.span * factor));
    this.center = around + (this.center - around) * (span / this.span);
    this.span = span;
    this.redraw();
  }

  redraw() {
    if (this.due) return;
    this.due = requestAnimationFrame(() => {
      this.due = null;
      this.draw();
    });
  }

  listen() {
    const { canvas } = this;
    const timeAt = (event) => this.from + ((event.clientX - canvas.getBoundingClientRect().left) / canvas.clientWidth) * this.span;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event.clientX);
      this.grip = { x: event.clientX, center: this.center, moved: false, spread: this.spread(), span: this.span };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.pointers.has(event.pointerId)) return;
      this.pointers.set(event.pointerId, event.clientX);
      const { grip } = this;
      if (this.pointers.size === 2 && grip.spread) {
        grip.moved = true;
        this.span = Math.min(MOST, Math.max(LEAST, (grip.span * grip.spread) / Math.max(8, this.spread())));
      } else if (this.pointers.size === 1) {
        if (!grip.moved && Math.abs(event.clientX - grip.x) < CLICK) return;
        grip.moved = true;
        this.center = this.bounded(grip.center - ((event.clientX - grip.x) / canvas.clientWidth) * this.span);
        this.told.scrub(this.center);
      }
      this.redraw();
    });
    const released = (event) => {
      if (!this.pointers.delete(event.pointerId) || this.pointers.size) return;
      const at = this.grip.moved ? this.center : this.sightingAt(event) ?? timeAt(event);
      if (event.type === "pointerup") this.told.seek(this.bounded(at));
    };
    canvas.addEventListener("pointerup", released);
    canvas.addEventListener("pointercancel", released);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (!event.ctrlKey && (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))) {
        this.pan(((event.deltaX || event.deltaY) / canvas.clientWidth) * this.span);
      } else this.zoom(Math.exp(Math.max(-200, Math.min(200, event.deltaY)) * 0.004));
    }, { passive: false });
  }

  spread() {
    const places = [...this.pointers.values()];
    return places.length === 2 ? Math.abs(places[0] - places[1]) : 0;
  }

  pan(by) {
    this.center = this.bounded(this.center + by);
    this.told.scrub(this.center);
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.settling = null;
      this.told.seek(this.center);
    }, SETTLE);
    this.redraw();
  }

  bounded(at) {
    return Math.min(Date.now(), Math.max(0, at));
  }

  sightingAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    const hits = (this.glyphs ?? []).filter((of) => Math.abs(of.x - x) < 12 && Math.abs(of.y - y) < 14);
    return hits.sort((a, b) => Math.abs(a.x - x) - Math.abs(b.x - x))[0]?.at;
  }

  draw() {
    const { canvas } = this;
    const scale = Math.min(2, devicePixelRatio || 1);
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const from = this.from, to = from + this.span;
    const x = (at) => ((at - from) / this.span) * width;
    const colours = (this.colours ??= readColours(canvas));
    this.glyphs = [];
    this.classes = new Set();
    this.axis(context, x, width, height, colours);
    this.rows.forEach((row, place) => this.row(context, row, AXIS + place * this.rowHeight, x, width, colours));
    this.overlays(context, x, width, height, colours);
    this.describe();
    this.told.drawn?.();
  }

  axis(context, x, width, height, colours) {
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (const [at, text, isDay] of marks(this.from, this.from + this.span, (this.span / width) * 96)) {
      const place = Math.round(x(at)) + 0.5;
      context.strokeStyle = colours.line;
      context.globalAlpha = isDay ? 1 : 0.55;
      context.beginPath();
      context.moveTo(place, isDay ? 0 : AXIS - 6);
      context.lineTo(place, height);
      context.stroke();
      context.globalAlpha = 1;
      context.fillStyle = isDay ? colours.text : colours.quiet;
      context.fillText(text, place + 4, AXIS / 2);
    }
  }

  row(context, data, top, x, width, colours) {
    const { label, kept, activity, seen, held, gap } = this.height;
    let y = top;
    if (label) {
      context.fillStyle = colours.text;
      context.font = "600 12px system-ui, sans-serif";
      context.fillText(data.camera, 6, y + label / 2 + 1);
      y += label;
    }
    const answers = data.within(this.from, this.from + this.span);
    for (const answer of answers) for (const span of answer.kept) this.kept(context, span, x, y, kept, width, colours);
    y += kept + gap;
    const bars = answers.flatMap((answer) => answer.activity).filter(([start, end]) => end > this.from && start < this.from + this.span);
    const most = Math.max(1, ...bars.map((bar) => bar[2]));
    context.fillStyle = colours.activity;
    for (const [start, end, rate] of bars) {
      const tall = Math.max(1, Math.sqrt(rate / most) * activity);
      const left = x(start), wide = Math.max(1, x(end) - left - (x(end) - left > 3 ? 1 : 0));
      context.fillRect(left, y + activity - tall, wide, tall);
    }
    context.fillStyle = colours.line;
    context.fillRect(0, y + activity, width, 1);
    y += activity + gap;
    for (const answer of answers) this.seen(context, answer, x, y, seen, width);
    y += seen + gap;
    context.fillStyle = colours.held;
    for (const [start, end] of data.holds) {
      const left = Math.max(-2, x(start)), right = Math.min(width + 2, x(end));
      if (right < 0 || left > width) continue;
      context.fillRect(left, y, Math.max(2, right - left), held);
    }
  }

  kept(context, [start, end, what], x, y, height, width, colours) {
    const left = Math.max(-2, x(start)), right = Math.min(width + 2, x(end));
    if (right < -1 || left > width + 1) return;
    const wide = Math.max(1, right - left);
    context.save();
    context.beginPath();
    context.rect(left, y, wide, height);
    context.clip();
    if (what === "video") {
      context.fillStyle = colours.video;
      context.fillRect(left, y, wide, height);
    } else {
      context.strokeStyle = context.fillStyle = colours[what] ?? colours.quiet;
      context.lineWidth = what === "records" ? 2.5 : 1.5;
      if (what !== "records") context.strokeRect(left + 0.75, y + 0.75, Math.max(0.5, wide - 1.5), height - 1.5);
      const step = what === "records" ? 6 : 8;
      for (let at = Math.floor((left - height) / step) * step; at < left + wide; at += step) {
        context.beginPath();
        if (what === "still") context.arc(at + 4, y + height / 2, 1.6, 0, 7);
        else if (what === "missing") {
          context.moveTo(at, y); context.lineTo(at + height, y + height);
          context.moveTo(at, y + height); context.lineTo(at + height, y);
        } else if (what === "records") { context.moveTo(at, y + height); context.lineTo(at + height, y); }
        if (what === "still") context.fill();
        else context.stroke();
      }
    }
    context.restore();
  }

  seen(context, answer, x, y, height, width) {
    const size = Math.min(13, height - 4), middle = y + height / 2;
    for (const [start, end, name] of answer.sightings ?? []) {
      const left = x(start), right = x(end);
      if (right < -20 || left > width + 20) continue;
      context.fillStyle = colourOf(name);
      context.globalAlpha = 0.35;
      context.fillRect(left, middle - 2, Math.max(1, right - left), 4);
      context.globalAlpha = 1;
      this.classes.add(name);
      // One stands for all that would lie upon it.
      const isCovered = this.glyphs.some((of) => of.y === middle && of.name === name && Math.abs(of.x - left) < size * 0.7);
      if (!isCovered) drawShape(context, name, left, middle, size);
      this.glyphs.push({ x: left, y: middle, at: start, name });
    }
    // In buckets: a class its line, as strong as there were many.
    const names = [...new Set((answer.classes ?? []).map(([, , name]) => name))].sort();
    const tall = Math.min(7, height / Math.max(1, names.length));
    const most = Math.max(1, ...(answer.classes ?? []).map((of) => of[3]));
    for (const [start, end, name, boxes] of answer.classes ?? []) {
      const left = x(start), right = x(end);
      if (right < 0 || left > width) continue;
      this.classes.add(name);
      context.fillStyle = colourOf(name);
      context.globalAlpha = 0.35 + 0.65 * Math.sqrt(boxes / most);
      const wide = Math.max(2, right - left - 1), top = y + names.indexOf(name) * tall;
      if (wide > 9 && tall >= 6) drawShape(context, name, left + wide / 2, top + tall / 2, tall);
      else context.fillRect(left, top, wide, Math.max(2, tall - 1));
    }
    context.globalAlpha = 1;
  }

  overlays(context, x, width, height, colours) {
    const now = x(Date.now());
    if (now < width) {
      context.fillStyle = colours.line;
      context.globalAlpha = 0.3;
      context.fillRect(Math.max(0, now), AXIS, width - Math.max(0, now), height - AXIS);
      context.globalAlpha = 1;
    }
    if (this.clip) {
      const left = x(this.clip.from ?? this.clip.to), right = x(this.clip.to ?? this.clip.from);
      context.fillStyle = colours.accent;
      context.globalAlpha = 0.15;
      context.fillRect(left, AXIS, right - left, height - AXIS);
      context.globalAlpha = 1;
      for (const edge of [left, right]) context.fillRect(edge - 1, AXIS, 2, height - AXIS);
    }
    const middle = Math.round(width / 2);
    context.fillStyle = colours.accent;
    context.fillRect(middle - 1, AXIS - 4, 2, height - AXIS + 4);
    context.beginPath();
    context.moveTo(middle - 7, AXIS - 10);
    context.lineTo(middle + 7, AXIS - 10);
    context.lineTo(middle, AXIS + 1);
    context.fill();
  }

  describe() {
    const { canvas } = this;
    const second = Math.round(this.center / SECOND);
    if (second === this.said && this.span === this.saidSpan) return;
    this.said = second;
    this.saidSpan = this.span;
    canvas.setAttribute("aria-valuemin", "0");
    canvas.setAttribute("aria-valuemax", String(Math.round(Date.now() / SECOND)));
    canvas.setAttribute("aria-valuenow", String(second));
    const cameras = this.rows.map((row) => row.camera).join(", ");
    canvas.setAttribute("aria-valuetext", `${clockText(this.center)}, ${cameras}, ${lengthText(this.span)} shown`);
    canvas.dataset.center = String(this.center);
    canvas.dataset.span = String(this.span);
  }
}

const NAMES = ["text", "quiet", "line", "accent", "activity", "video", "records", "still", "deleted", "missing", "held"];

// Colours of the style sheet, as a canvas takes them.
function readColours(canvas) {
  const probe = document.createElement("span");
  probe.hidden = true;
  canvas.parentElement.append(probe);
  const found = {};
  for (const name of NAMES) {
    probe.style.color = `var(--${["text", "quiet", "line", "accent"].includes(name) ? name : `k-${name}`})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
