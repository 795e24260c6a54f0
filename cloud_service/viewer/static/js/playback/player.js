// One camera's video by wall clock: which stretch of the playlist is loaded, and where in it a time lies.
import { HOUR, MINUTE, SECOND, iso } from "./clock.js";

const WINDOW = 2 * HOUR, GRID = 30 * MINUTE, BEFORE = 10 * MINUTE, MOST_FAILURES = 4, FRESH = 5000;
const SLACK = 0.02;  // seconds by which a position may lie before the frame that it is about

export class Player {
  // Tells `changed(kind)`: loaded, empty, seeked, ended, rendering, failed.
  constructor(video, camera, changed) {
    this.video = video;
    this.camera = camera;
    this.changed = changed;
    this.window = null;
    this.pieces = [];
    this.wanted = null;
    this.failures = 0;
    this.shown = null;
    video.addEventListener("seeked", () => changed("seeked"));
    video.addEventListener("ended", () => changed("ended"));
    video.addEventListener("playing", () => changed("playing"));
    if (video.requestVideoFrameCallback) {
      const noted = (_, frame) => {
        this.shown = this.wallOf(frame.mediaTime + 1e-5);
        this.changed("frame");
        video.requestVideoFrameCallback(noted);
      };
      video.requestVideoFrameCallback(noted);
    }
  }

  // The wall clock time that is shown; null while nothing is.
  get now() {
    return this.wallOf(this.video.currentTime);
  }

  // Whether a time lies in a piece that is loaded or can be.
  has(at) {
    return this.window !== null && at >= this.window.from && at < this.window.to;
  }

  // Goes to a time. Returns whether its window is there already.
  seek(at) {
    this.wanted = at;
    // Behind the end of what is listed there may be more by now.
    const isOld = this.end !== null && at >= this.end && performance.now() - this.loadedAt > FRESH;
    if (!this.has(at) || isOld) {
      this.load(at);
      return false;
    }
    if (this.pieces.length) this.go();
    return true;
  }

  // The piece of a time; null in a gap.
  pieceAt(at) {
    const found = this.pieces.findLast((piece) => piece.wall <= at + 1);
    return found && at < found.wall + found.seconds * SECOND + 1 ? found : null;
  }

  // Where the first piece behind a time begins; null behind the last.
  nextAfter(at) {
    return this.pieces.find((piece) => piece.wall > at)?.wall ?? null;
  }

  get end() {
    const last = this.pieces.at(-1);
    return last ? last.wall + last.seconds * SECOND : null;
  }

  // Whether the list ends with its window, and not with what there is.
  get isCut() {
    return this.end !== null && this.end >= this.window.to - SECOND;
  }

  go() {
    const piece = this.pieceAt(this.wanted);
    if (!piece) return;
    // A little into the frame, as positions are rounded.
    const inside = Math.min((this.wanted - piece.wall) / SECOND, piece.seconds - SLACK);
    const position = piece.start + Math.max(0, inside) + 1e-3;
    if (this.hls && !this.isLoading) {
      this.isLoading = true;
      this.hls.startLoad(position);
      return;
    }
    this.wanted = null;
    this.video.currentTime = position;
  }

  wallOf(position) {
    const piece = this.pieces.findLast((of) => of.start <= position + 1e-3) ?? this.pieces[0];
    return piece ? piece.wall + (position - piece.start) * SECOND : null;
  }

  load(at) {
    const from = Math.max(0, Math.floor((at - BEFORE) / GRID) * GRID);
    this.window = { from, to: from + WINDOW };
    this.loadedAt = performance.now();
    this.pieces = [];
    this.shown = null;
    this.hls?.destroy();
    this.hls = null;
    const address = `/cameras/${this.camera}/hls.m3u8?from=${iso(from)}&to=${iso(from + WINDOW)}`;
    if (globalThis.Hls?.isSupported()) this.withHls(address);
    else this.native(address);
  }

  withHls(address) {
    const { Hls } = globalThis;
    const hls = new Hls({
      enableWorker: false, autoStartLoad: false, maxBufferLength: 20, backBufferLength: 60,
      // What is rendered takes its time.
      fragLoadPolicy: { default: { maxTimeToFirstByteMs: 120_000, maxLoadTimeMs: 180_000, timeoutRetry: null, errorRetry: null } },
    });
    this.hls = hls;
    this.isLoading = false;
    const taken = (details) => {
      // hls.js moves a piece to where its frames turned out to be.
      this.pieces = details.fragments.map((of) => ({
        get start() { return of.start; }, get seconds() { return of.duration; }, wall: of.programDateTime,
      }));
    };
    hls.on(Hls.Events.LEVEL_LOADED, (_, { details }) => {
      if (hls !== this.hls) return;
      taken(details);
      // In a gap nothing is loaded until somebody leaves it.
      if (this.wanted !== null) this.go();
      this.changed("loaded");
    });
    hls.on(Hls.Events.FRAG_LOADING, (_, { frag }) => {
      if (hls === this.hls && frag.url.includes("/rendered/") && this.video.readyState < 3) this.changed("rendering");
    });
    hls.on(Hls.Events.FRAG_BUFFERED, () => {
      if (hls !== this.hls) return;
      this.failures = 0;
      if (this.wanted !== null && this.pieces.length) this.go();
    });
    hls.on(Hls.Events.ERROR, (_, error) => {
      if (hls !== this.hls || !error.fatal) return;
      if (error.details === "levelEmptyError") this.changed("empty");
      else this.recover(error);
    });
    hls.loadSource(address);
    hls.attachMedia(this.video);
  }

  // What was listed may be deleted by now: the playlist of a moment later lacks it, and is a gap there.
  recover(error) {
    const at = this.wanted ?? this.now ?? this.window.from;
    this.failures += 1;
    if (this.failures > MOST_FAILURES) {
      this.changed("failed");
      return;
    }
    if (error.type === "mediaError" && this.failures === 1) {
      this.hls.recoverMediaError();
      return;
    }
    const hls = this.hls;
    setTimeout(() => {
      if (hls !== this.hls) return;
      this.wanted = at;
      this.load(at);
    }, 500 * this.failures);
  }

  // Where there are no media sources the browser plays the playlist itself; its pieces are read here.
  async native(address) {
    const text = await (await fetch(address)).text();
    let start = 0, wall = null;
    const pieces = [];
    for (const line of text.split("\n")) {
      if (line.startsWith("#EXT-X-PROGRAM-DATE-TIME:")) wall = Date.parse(line.slice(25));
      else if (line.startsWith("#EXTINF:")) {
        const seconds = parseFloat(line.slice(8));
        pieces.push({ start, seconds, wall });
        start += seconds;
      }
    }
    this.pieces = pieces;
    if (!pieces.length) {
      this.changed("empty");
      return;
    }
    this.video.src = address;
    this.video.addEventListener("loadedmetadata", () => {
      if (this.wanted !== null) this.go();
      this.changed("loaded");
    }, { once: true });
  }
}
