// What plays: cameras on one clock, the controls, the keys and the timeline of a page.
import { SECOND, clockText, iso, localInput, stamp } from "./clock.js";
import { colourOf, drawShape, isDark } from "../classes.js";
import { TimelineData } from "./data.js";
import { isTyping } from "../page.js";
import { Stage } from "./stage.js";
import { Timeline } from "./timeline.js";

const RATES = [1, 2, 4, 8], BACKWARDS_EVERY = 250, SAY_EVERY = 5 * SECOND, ADDRESS_EVERY = SECOND;
const AROUND = 10 * SECOND, GAP_SHOWN = 1500;

export class Deck {
  constructor() {
    const main = document.getElementById("main");
    for (const element of main.querySelectorAll("[data-needs-script]")) element.hidden = false;
    this.clockTag = document.getElementById("clock");
    this.clockNote = document.getElementById("clock-note");
    this.newest = main.dataset.newest ? Date.parse(main.dataset.newest) : Date.now();
    this.clock = Date.parse(main.dataset.at);
    this.rate = 1;
    this.playing = false;
    this.stages = [...main.querySelectorAll("[data-stage]")].map((element) => {
      const data = new TimelineData(element.dataset.stage, () => this.refresh());
      return new Stage(element, data, (stage, kind) => this.heard(stage, kind));
    });
    this.timeline = new Timeline(document.getElementById("timeline"), this.stages.map((of) => of.data), this.clock, {
      scrub: (at) => this.scrub(at),
      seek: (at) => this.seek(at),
      drawn: () => this.nameClasses(),
    });
    this.actions = {
      play: () => this.toggle(), back: () => this.by(-5), forward: () => this.by(5),
      boxes: () => this.toggleBoxes(), full: () => this.full(), newest: () => this.toNewest(),
      "in-zoom": () => this.timeline.zoom(0.5), "out-zoom": () => this.timeline.zoom(2),
    };
    this.keys = {
      " ": this.actions.play, k: this.actions.play, j: () => this.faster(-1), l: () => this.faster(1),
      ArrowLeft: (event) => this.by(event.shiftKey ? -1 : -5), ArrowRight: (event) => this.by(event.shiftKey ? 1 : 5),
      ",": () => this.step(-1), ".": () => this.step(1),
      ArrowUp: () => this.toSighting(-1), ArrowDown: () => this.toSighting(1),
      p: () => this.toGap(-1), n: () => this.toGap(1),
      b: this.actions.boxes, f: this.actions.full, g: () => this.goTo(), c: () => this.goTo(),
      "+": this.actions["in-zoom"], "=": this.actions["in-zoom"], "-": this.actions["out-zoom"], End: this.actions.newest,
    };
    this.input = document.getElementById("goto");
    this.listen(main);
    this.seek(this.clock);
    this.last = performance.now();
    requestAnimationFrame((time) => this.tick(time));
  }

  listen(main) {
    main.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (button) this.actions[button.dataset.do]?.();
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      if (document.querySelector("dialog[open]")) return;
      const pressed = event.target instanceof Element && event.target.closest("button, a, summary");
      if (pressed && (event.key === " " || event.key === "Enter")) return;
      const action = this.keys[event.key] ?? this.keys[event.key.toLowerCase()];
      if (!action) return;
      event.preventDefault();
      action(event);
    });
    this.input.addEventListener("change", () => {
      const at = new Date(this.input.value).getTime();
      if (Number.isFinite(at)) this.seek(at);
    });
  }

  get alone() {
    return this.stages.length === 1;
  }

  tick(time) {
    const passed = Math.min(500, time - this.last);
    this.last = time;
    if (this.playing && this.rate > 0) this.advance(passed);
    if (!this.timeline.isHeld) this.show(this.clock);
    requestAnimationFrame((next) => this.tick(next));
  }

  advance(passed) {
    if (this.alone) {
      const [stage] = this.stages;
      if (stage.inGap) this.leaveGap(passed);
      if (stage.inGap || stage.player.wanted !== null) return;
      this.gapShown = 0;
      this.clock = stage.player.now ?? this.clock;
      if (stage.player.end !== null && (this.clock >= stage.player.end - 60 || stage.video.ended)) this.beyond();
      return;
    }
    if (this.stages.some((of) => !of.inGap && of.playing && of.video.readyState < 3 && !of.video.error)) {
      // Waits for those who load, as long as somebody shows something else it is worth waiting.
      this.waited = (this.waited ?? 0) + passed;
      if (this.waited < 8 * SECOND) return;
    } else this.waited = 0;
    if (this.stages.every((of) => of.inGap)) {
      this.leaveGap(passed);
      return;
    }
    this.gapShown = 0;
    this.clock = Math.min(Date.now(), this.clock + passed * this.rate);
    for (const stage of this.stages) stage.follow(this.clock);
  }

  // A gap is shown long enough to be read, then what follows is played.
  leaveGap(passed) {
    this.gapShown = (this.gapShown ?? 0) + passed;
    if (this.gapShown >= GAP_SHOWN) this.beyond();
  }

  // Goes on behind a gap.
  async beyond() {
    if (this.seeking) return;
    if (this.alone && this.stages[0].player.isCut) {
      this.seek(this.stages[0].player.end + 1);
      return;
    }
    this.seeking = true;
    this.gapShown = 0;
    const at = this.clock + (this.alone && !this.stages[0].inGap ? SECOND : 0);
    const found = await Promise.all(this.stages.map((of) => of.data.nextPlayable(at)));
    this.seeking = false;
    if (!this.playing) return;
    const next = Math.min(...found.filter((of) => of !== null));
    // Where the timeline knew of more than the player found, that is behind it.
    if (Number.isFinite(next)) this.seek(next <= at && this.stages.every((of) => of.inGap) ? at + SECOND : next);
    else {
      this.pause();
      this.say("This is the newest there is.");
    }
  }

  heard(stage, kind) {
    if (kind === "ended" && this.alone && this.playing) this.beyond();
    if (kind === "loaded" || kind === "empty" || kind === "exact" || kind === "seeked") this.refresh();
  }

  seek(at) {
    this.clock = at;
    for (const stage of this.stages) stage.seek(at);
    if (this.playing) for (const stage of this.stages) stage.play(this.rate);
    this.show(at);
  }

  toNewest() {
    const newest = this.stages.map((of) => of.data.newest).filter((of) => of !== null);
    this.seek(Math.max(this.newest, ...newest.map(([start, end]) => Math.max(start, end - SECOND))));
  }

  scrub(at) {
    this.clock = at;
    for (const stage of this.stages) {
      stage.video.pause();
      stage.scrub(at);
    }
    this.show(at);
  }

  async play(rate = 1) {
    this.rate = rate;
    this.playing = true;
    document.getElementById("said").textContent = "";
    clearInterval(this.backwards);
    for (const stage of this.stages) stage.rewinding = rate < 0;
    if (rate < 0) {
      for (const stage of this.stages) stage.pause();
      this.backwards = setInterval(() => this.backward(), BACKWARDS_EVERY);
    } else {
      for (const stage of this.stages) stage.play(rate);
    }
    this.refresh();
  }

  backward() {
    if (this.stages.some((of) => of.video.seeking || of.player.wanted !== null)) return;
    this.clock += this.rate * BACKWARDS_EVERY;
    for (const stage of this.stages) stage.seek(this.clock);
  }

  pause() {
    clearInterval(this.backwards);
    this.playing = false;
    this.rate = 1;
    for (const stage of this.stages) {
      stage.rewinding = false;
      stage.pause();
    }
    this.shownAt = null;
    this.refresh();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play(1);
  }

  faster(direction) {
    const same = this.playing && Math.sign(this.rate) === direction;
    const place = same ? Math.min(RATES.indexOf(Math.abs(this.rate)) + 1, RATES.length - 1) : 0;
    this.play(direction * RATES[place]);
  }

  by(seconds) {
    this.seek(Math.min(Date.now(), Math.max(0, this.clock + seconds * SECOND)));
  }

  // To the frame before or behind the one that is shown, of the first camera.
  async step(direction) {
    if (this.playing) this.pause();
    const [stage] = this.stages;
    const at = stage.exact?.at ?? stage.player.shown ?? this.clock;
    const frames = await stage.framesAround(at, AROUND, AROUND);
    const next = direction > 0 ? frames.find((of) => of > at + 1) : frames.findLast((of) => of < at - 1);
    if (next !== undefined) this.seek(next);
  }

  async toSighting(direction) {
    const found = await Promise.all(this.stages.map((of) => of.data.sighting(this.clock, direction)));
    this.toNearest(found, direction, direction > 0 ? "No later sighting within a day." : "No earlier sighting within a day.");
  }

  async toGap(direction) {
    if (this.playing) this.pause();
    const found = await Promise.all(this.stages.map((of) => of.data.gap(this.clock, direction)));
    this.toNearest(found, direction, direction > 0 ? "No later gap within a day." : "No earlier gap within a day.");
  }

  toNearest(found, direction, otherwise) {
    const times = found.filter((of) => of !== null);
    if (!times.length) this.say(otherwise);
    else this.seek(direction > 0 ? Math.min(...times) : Math.max(...times));
  }

  toggleBoxes() {
    for (const stage of this.stages) {
      stage.showsBoxes = !stage.showsBoxes;
      stage.draw();
    }
    document.querySelector('[data-do="boxes"]').setAttribute("aria-pressed", String(this.stages[0].showsBoxes));
  }

  full() {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.querySelector(".stages").requestFullscreen?.().catch(() => {});
  }

  goTo() {
    this.input.value = localInput(this.clock);
    this.input.focus();
    try {
      this.input.showPicker?.();
    } catch {
      // Only some browsers open it for a key.
    }
  }

  show(at) {
    this.timeline.show(at);
    const [stage] = this.stages;
    const exact = this.alone && !this.playing ? stage.exact : null;
    const text = clockText(at);
    if (this.clockTag.textContent !== text) this.clockTag.textContent = text;
    if (this.shownAt !== at) {
      this.shownAt = at;
      this.clockTag.dateTime = this.clockTag.title = iso(at);
      if (!this.playing && document.activeElement !== this.input) this.input.value = localInput(at);
    }
    const problem = this.stages.map((of) => of.data.problem).find(Boolean);
    const note = problem ? `The timeline cannot be read: ${problem}` : "";
    if (this.clockNote.textContent !== note) this.clockNote.textContent = note;
    const link = document.getElementById("exact");
    if (link && link.hidden !== !exact) link.hidden = !exact;
    if (link && exact && link.dataset.captured !== exact.captured) {
      link.dataset.captured = exact.captured;
      link.href = `/cameras/${stage.camera}/frame/${exact.epoch}/${exact.sequence}`;
    }
    if (!this.addressAt || performance.now() - this.addressAt > ADDRESS_EVERY) this.keepAddress(at);
  }

  keepAddress(at) {
    this.addressAt = performance.now();
    const address = new URL(location.href), text = stamp(at);
    if (this.playing || address.searchParams.get("t") === text) return;
    address.searchParams.set("t", text);
    address.search = address.search.replaceAll("%3A", ":").replaceAll("%2C", ",");
    history.replaceState(null, "", address);
  }

  refresh() {
    this.timeline.redraw();
    const button = document.querySelector('[data-do="play"]');
    button.setAttribute("aria-pressed", String(this.playing));
    button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    button.firstElementChild.className = this.playing ? "icon-pause" : "icon-play";
    document.getElementById("rate").textContent = this.playing && this.rate !== 1 ? `${this.rate}×` : "";
    this.refreshed?.();
  }

  // The legend names the classes that are drawn.
  nameClasses() {
    const names = [...this.timeline.classes].sort(), key = `${isDark()}:${names.join()}`;
    const place = document.getElementById("classes");
    if (!place || key === this.named) return;
    this.named = key;
    place.replaceChildren(...names.map((name) => {
      const item = document.createElement("span"), shape = document.createElement("canvas");
      Object.assign(shape, { width: 28, height: 28 });
      const context = shape.getContext("2d");
      context.fillStyle = colourOf(name);
      drawShape(context, name, 14, 14, 20);
      item.append(shape, ` ${name}`);
      return item;
    }));
  }

  say(text) {
    const now = performance.now();
    if (this.saidAt && now - this.saidAt < SAY_EVERY && this.saidText === text) return;
    this.saidAt = now;
    this.saidText = text;
    document.getElementById("said").textContent = text;
    const [stage] = this.stages;
    if (!stage.inGap) {
      stage.say(text);
      setTimeout(() => stage.note.textContent === text && stage.say(""), 3 * SECOND);
    }
  }
}
