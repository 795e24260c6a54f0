// What the timeline draws of one camera, loaded in tiles of fixed lengths, so that each is asked for once.
import { DAY, HOUR, MINUTE, SECOND, iso } from "./clock.js";

const LEVELS = [
  { most: 3 * HOUR, tile: 2 * HOUR },
  { most: 3 * DAY, tile: DAY },
  { most: 200 * DAY, tile: 64 * DAY },
  { most: Infinity, tile: 1024 * DAY },
];
const AT_ONCE = 4, MOST_TILES = 80, FRESH = 10 * SECOND, RETRY = 10 * SECOND;
const FAR = 12;

const isPlayable = ([, , kept]) => kept === "video" || kept === "records";

export class TimelineData {
  constructor(camera, changed) {
    this.camera = camera;
    this.changed = changed;
    this.tiles = new Map();
    this.loading = 0;
    this.holds = [];
    this.heldRange = null;
    this.problem = "";
  }

  // The tiles of a stretch that are there; the others are asked for.
  within(from, to) {
    const { tile } = LEVELS.find((level) => to - from <= level.most);
    const found = [];
    for (let start = Math.floor(from / tile) * tile; start < to; start += tile) {
      const key = `${tile}:${start}`;
      const there = this.tiles.get(key);
      if (there?.answer) found.push(there.answer);
      if (this.isDue(there, start, tile)) this.load(key, start, tile);
    }
    this.loadHolds(from, to);
    return found;
  }

  isDue(there, start, tile) {
    if (start > Date.now() + MINUTE) return false;
    if (!there) return true;
    if (there.busy) return false;
    if (there.failed) return Date.now() - there.at > RETRY;
    return start + tile > Date.now() - HOUR && Date.now() - there.at > FRESH;
  }

  async load(key, start, tile) {
    if (this.loading >= AT_ONCE) return null;
    const there = this.tiles.get(key) ?? {};
    this.tiles.delete(key);
    this.tiles.set(key, there);
    for (const old of this.tiles.keys()) {
      if (this.tiles.size <= MOST_TILES) break;
      this.tiles.delete(old);
    }
    there.busy = true;
    this.loading += 1;
    try {
      there.answer = await this.get("timeline.json", start, start + tile);
      there.failed = false;
      this.problem = "";
    } catch (error) {
      there.failed = true;
      this.problem = error.message;
    } finally {
      there.at = Date.now();
      there.busy = false;
      this.loading -= 1;
      this.changed();
    }
    return there.answer ?? null;
  }

  // The exact answer for the two hours around a time; `anew` where what is known of them turned out to be wrong.
  async exactly(at, anew = false) {
    const tile = LEVELS[0].tile, start = Math.floor(at / tile) * tile, key = `${tile}:${start}`;
    const there = this.tiles.get(key);
    if (!anew && there?.answer && start + tile < Date.now() - HOUR) return there.answer;
    const answer = await this.get("timeline.json", start, start + tile, anew ? "reload" : "default").catch(() => null);
    if (answer && there) {
      there.answer = answer;
      this.changed();
    }
    return answer ?? there?.answer ?? null;
  }

  async loadHolds(from, to) {
    const range = this.heldRange;
    if (range && (range.busy || (from >= range.from && to <= range.to && Date.now() - range.at < MINUTE))) return;
    const wide = 1500 * DAY, length = Math.min(to - from, wide / 3);
    const middle = (from + to) / 2;
    this.heldRange = { from: Math.max(0, middle - 1.5 * length), to: middle + 1.5 * length, at: Date.now(), busy: true };
    try {
      this.holds = (await this.get("holds.json", this.heldRange.from, this.heldRange.to)).holds;
    } catch {
      this.holds = [];
    }
    this.heldRange.busy = false;
    this.changed();
  }

  // The newest stretch that can be played, as far as that is loaded: [start, end].
  get newest() {
    let newest = null;
    for (const { answer } of this.tiles.values()) {
      if (answer?.bucket !== 0) continue;
      for (const [start, end] of answer.kept.filter(isPlayable)) if (end > (newest?.[1] ?? 0)) newest = [start, end];
    }
    return newest;
  }

  // What is kept at a time: [start, end, what, reason], or where a gap lies, as far as that is near.
  async keptAt(at) {
    const spansOf = (answer) => answer?.kept ?? [], isHere = ([start, end]) => start <= at && at < end;
    let spans = spansOf(await this.exactly(at)), here = spans.find(isHere);
    if (here && isPlayable(here)) {
      // It could not be played, so it was deleted meanwhile.
      spans = spansOf(await this.exactly(at, true));
      here = spans.find(isHere);
    }
    if (here) return here;
    const before = spans.filter(([, end]) => end <= at).at(-1), after = spans.find(([start]) => start > at);
    return [before?.[1] ?? null, after?.[0] ?? null, "gap", ""];
  }

  // Where something that can be played begins at or after a time; null if that is far off.
  async nextPlayable(at) {
    for await (const { spans } of this.walk(at, 1)) {
      const next = spans.find((of) => of[1] > at && isPlayable(of));
      if (next) return Math.max(at, next[0]);
    }
    return null;
  }

  // The middle of the next gap, or of the one before; null if that is far off.
  async gap(at, direction) {
    let edge = null;
    for await (const { spans } of this.walk(at, direction)) {
      const ordered = direction > 0 ? spans : [...spans].reverse();
      for (const [start, end] of ordered.filter(isPlayable)) {
        const near = direction > 0 ? start : end, far = direction > 0 ? end : start;
        if (edge !== null && Math.abs(near - edge) > SECOND && (edge - at) * direction >= 0) return (edge + near) / 2;
        edge = far;
      }
    }
    return null;
  }

  // The sighting that begins next, or began before.
  async sighting(at, direction) {
    for await (const { sightings } of this.walk(at, direction)) {
      const starts = sightings.map(([start]) => start).sort((a, b) => a - b);
      const found = direction > 0 ? starts.find((start) => start > at + 1) : starts.filter((start) => start < at - SECOND).at(-1);
      if (found !== undefined) return found;
    }
    return null;
  }

  async *walk(at, direction) {
    const tile = LEVELS[0].tile;
    for (let step = 0; step < FAR; step += 1) {
      const place = at + step * direction * tile;
      if (place > Date.now() + tile || place < 0) return;
      const answer = await this.exactly(place);
      yield { spans: answer?.kept ?? [], sightings: answer?.sightings ?? [] };
    }
  }

  async get(name, from, to, cache = "default") {
    const answer = await fetch(`/cameras/${this.camera}/${name}?from=${iso(from)}&to=${iso(to)}`, { cache });
    if (!answer.ok) throw new Error(await said(answer));
    return answer.json();
  }
}

// What an error's answer says.
export async function said(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `the viewer answered ${answer.status}`;
  }
}
