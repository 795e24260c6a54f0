// One camera on the page: its video, the exact frame while it stands still, boxes, sprites, and words where nothing is.
import { Boxes } from "./boxes.js";
import { HOUR, iso, lengthText, timeText } from "./clock.js";
import { Player } from "./player.js";

const COLUMNS = 24, ROWS = 15, TILE = [160, 90], TILE_MS = HOUR / (COLUMNS * ROWS), MOST_SPRITES = 8;
const STILL_AFTER = 180, NEAR = 0.3, FAR = 1.5;
const WORDS = {
  gap: "Nothing was recorded here",
  deleted: "Deleted by a rule",
  still: "Deleted by a rule; one picture was left of each stretch",
  missing: "The files of this stretch are missing",
};

export class Stage {
  constructor(element, data, changed) {
    this.element = element;
    this.camera = element.dataset.stage;
    this.data = data;
    this.changed = changed;
    this.video = element.querySelector("video");
    this.still = element.querySelector(".still");
    this.preview = element.querySelector(".preview");
    this.note = element.querySelector(".note");
    this.boxes = new Boxes(element.querySelector(".boxes"), this.camera, () => this.draw());
    this.player = new Player(this.video, this.camera, (kind) => this.heard(kind));
    this.showsBoxes = true;
    this.playing = false;
    this.rewinding = false;
    this.rate = 1;
    this.gapAt = null;
    this.exact = null;
    this.sprites = new Map();
    new ResizeObserver(() => this.draw()).observe(element);
  }

  // The time that is shown.
  get now() {
    return this.gapAt ?? this.player.wanted ?? this.exact?.at ?? this.player.now;
  }

  get inGap() {
    return this.gapAt !== null;
  }

  seek(at) {
    this.hidePreview();
    this.dropStill();
    this.gapAt = null;
    this.say("");
    if (this.player.seek(at)) this.settle();
    else this.say("Loading …");
  }

  // Whether the time that was asked for can be shown, now that it is known what there is.
  settle() {
    const at = this.player.wanted;
    if (at !== null && !this.player.pieceAt(at)) this.enterGap(at);
    else if (at !== null) this.say("Loading …");
    else if (!this.playing) this.askStill();
  }

  enterGap(at) {
    this.gapAt = at;
    this.player.wanted = null;
    this.video.pause();
    this.element.classList.add("empty");
    this.boxes.clear();
    this.explain(at);
  }

  leaveGap() {
    this.gapAt = null;
    this.element.classList.remove("empty");
    this.say("");
  }

  async explain(at) {
    this.say(WORDS.gap);
    const [start, end, kept, reason] = await this.data.keptAt(at);
    if (this.gapAt !== at) return;
    const words = WORDS[kept] ?? "This stretch cannot be played yet";
    const until = end === null ? "" : ` Until ${timeText(end)}${start === null ? "" : `, ${lengthText(end - start)}`}.`;
    this.say(`${words}${reason ? ` (${reason})` : ""}.${until}`);
    this.element.dataset.kept = kept;
  }

  heard(kind) {
    if ((kind === "seeked" || kind === "playing") && (this.inGap || this.player.wanted !== null)) {
      // The video's late answer about a place that somebody has left: it must not take away what is said of the new one.
      if (this.inGap) this.video.pause();
      return;
    }
    if (kind === "loaded") {
      if (this.player.wanted !== null) {
        if (this.player.pieceAt(this.player.wanted)) {
          this.element.classList.remove("empty");
          this.say("");
        } else this.enterGap(this.player.wanted);
      }
    } else if (kind === "empty") this.enterGap(this.player.wanted ?? this.player.window.from);
    else if (kind === "seeked") {
      this.element.classList.remove("empty");
      this.say("");
      if (this.playing) this.start();
      else this.askStill();
    } else if (kind === "playing") {
      if (!this.playing) this.video.pause();
      this.say("");
    } else if (kind === "rendering" && !this.inGap) this.say("Rendering from records …");
    else if (kind === "failed") this.say("This cannot be played just now.");
    if (kind === "frame" && !this.exact) this.draw();
    this.changed(this, kind);
  }

  play(rate) {
    this.playing = true;
    this.rate = rate;
    this.dropStill();
    if (this.inGap) return;
    this.start();
  }

  // At its end a video would begin anew. What is loaded anew has the usual speed.
  start() {
    if (this.video.ended) return;
    this.video.playbackRate = this.rate;
    this.video.play().catch(() => {});
  }

  pause() {
    this.playing = false;
    this.video.pause();
    // A browser may have drawn ahead of its clock (Chromium 156 does): a seek draws the clock's frame, then asks for it.
    if (!this.inGap && this.player.wanted === null) this.video.currentTime = this.video.currentTime;
  }

  // Keeps the video at a clock that several cameras share.
  follow(clock) {
    if (!this.player.has(clock)) {
      if (this.player.wanted === null) this.seek(clock);
      return;
    }
    const { player, video } = this;
    if (player.wanted !== null || !player.pieces.length) return;
    if (!player.pieceAt(clock)) {
      if (!this.inGap) this.enterGap(clock);
      this.gapAt = clock;
      return;
    }
    if (this.inGap) {
      this.leaveGap();
      player.seek(clock);
      return;
    }
    if (!this.playing || video.seeking) return;
    if (video.paused) this.start();
    const late = (clock - player.now) / 1000;
    if (Math.abs(late) > FAR * this.rate) player.seek(clock);
    else video.playbackRate = this.rate * (Math.abs(late) > NEAR ? 1 + Math.sign(late) * 0.15 : 1);
  }

  // The exact frame, decoded from its record, in place of what video made of it.
  askStill() {
    clearTimeout(this.stillTimer);
    if (!this.rewinding) this.stillTimer = setTimeout(() => this.loadStill(), STILL_AFTER);
  }

  async loadStill() {
    const at = this.player.now;
    if (this.playing || this.inGap || at === null || !this.player.pieceAt(at)) return;
    const turn = (this.stillTurn = {});
    try {
      const answer = await fetch(`/cameras/${this.camera}/frame.jpg?t=${iso(Math.ceil(at) + 1)}`);
      if (!answer.ok) return;
      const address = URL.createObjectURL(await answer.blob());
      const captured = answer.headers.get("x-frame-captured");
      if (turn !== this.stillTurn || this.playing) {
        URL.revokeObjectURL(address);
        return;
      }
      if (this.still.src) URL.revokeObjectURL(this.still.src);
      this.still.src = address;
      await this.still.decode();
      if (turn !== this.stillTurn || this.playing) return;
      const micro = Number(captured.slice(-4, -1)) / 1000;
      const [epoch, sequence] = ["epoch", "sequence"].map((name) => answer.headers.get(`x-frame-${name}`));
      this.exact = { at: Date.parse(captured) + micro, captured, epoch, sequence };
      this.still.alt = `Frame of ${this.camera}, captured ${captured}`;
      this.still.hidden = false;
      this.element.dataset.exact = captured;
      this.draw();
      this.changed(this, "exact");
    } catch {
      // The video's own picture stays.
    }
  }

  dropStill() {
    clearTimeout(this.stillTimer);
    this.stillTurn = null;
    this.exact = null;
    this.still.hidden = true;
    delete this.element.dataset.exact;
  }

  draw() {
    if (!this.showsBoxes || this.inGap || !this.preview.hidden) {
      this.boxes.clear();
      return;
    }
    const at = this.exact?.at ?? this.player.shown ?? this.player.now;
    const picture = this.exact
      ? { width: this.still.naturalWidth, height: this.still.naturalHeight }
      : { width: this.video.videoWidth, height: this.video.videoHeight };
    this.boxes.draw(at === null ? null : this.boxes.at(at), picture);
  }

  // While somebody drags: the thumbnail of the ten seconds, out of the hour's sprite.
  scrub(at) {
    this.scrubbed = at;
    this.dropStill();
    this.element.classList.remove("empty");
    this.say("");
    this.preview.hidden = false;
    this.boxes.clear();
    const hour = Math.floor(at / HOUR), sprite = this.sprite(hour);
    const place = Math.floor((at - hour * HOUR) / TILE_MS);
    const { preview } = this;
    if (preview.width !== TILE[0] * 4) Object.assign(preview, { width: TILE[0] * 4, height: TILE[1] * 4 });
    const context = preview.getContext("2d");
    if (!sprite.complete || !sprite.naturalWidth) return;
    context.drawImage(
      sprite, (place % COLUMNS) * TILE[0], Math.floor(place / COLUMNS) * TILE[1], ...TILE, 0, 0, preview.width, preview.height,
    );
    preview.dataset.place = place;
  }

  sprite(hour) {
    let sprite = this.sprites.get(hour);
    if (!sprite) {
      sprite = new Image();
      sprite.addEventListener("load", () => this.preview.hidden || this.scrub(this.scrubbed));
      sprite.src = `/cameras/${this.camera}/sprites/${hour}.jpg`;
      this.sprites.set(hour, sprite);
      if (this.sprites.size > MOST_SPRITES) this.sprites.delete(this.sprites.keys().next().value);
    }
    return sprite;
  }

  hidePreview() {
    this.preview.hidden = true;
  }

  say(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
    if (!text) delete this.element.dataset.kept;
  }

  // Frames around a time, oldest first: their capture times in milliseconds.
  async framesAround(at, before, after) {
    const answer = await fetch(`/cameras/${this.camera}/frames.json?from=${iso(at - before)}&to=${iso(at + after)}`);
    return answer.ok ? (await answer.json()).frames.map(([captured]) => captured) : [];
  }
}
