// Checks an evidence file: digests, signatures and Merkle paths. Whatever the file says is shown as text, never as HTML.
const FORMAT = "icm-evidence/1";
const SAFE = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
const MOST_JSON = 256 * 2 ** 20, MOST_HASHED = 512 * 2 ** 20, MOST_FILES = 500000;
const element = (id) => document.getElementById(id);
const text = new TextDecoder("utf-8", { fatal: true });
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const bytesOf = (digits) => Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const sha256 = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data));
const ascii = (line) => new TextEncoder().encode(line);

class Problem extends Error {}

// A zip whose files are stored as they are.
class Zip {
  static async open(file) {
    const zip = new Zip();
    zip.file = file;
    zip.entries = new Map();
    const read = async (from, count) => {
      if (from < 0 || from + count > file.size) throw new Problem("this is no evidence file, or it was cut off");
      return new DataView(await file.slice(from, from + count).arrayBuffer());
    };
    const end = await read(file.size - 22, 22);
    if (end.getUint32(0, true) !== 0x06054b50) throw new Problem("this is no zip as an export writes it");
    let [count, size, start] = [end.getUint16(10, true), end.getUint32(12, true), end.getUint32(16, true)];
    let after = file.size - 22;
    if (count === 0xffff || size === 0xffffffff || start === 0xffffffff) {
      after -= 76;
      const large = await read(after, 76);
      if (large.getUint32(0, true) !== 0x06064b50) throw new Problem("the end of the zip is damaged");
      [count, size, start] = [32, 40, 48].map((at) => Number(large.getBigUint64(at, true)));
    }
    if (start + size !== after || count > MOST_FILES) throw new Problem("the directory of the zip is damaged");
    const list = await read(start, size);
    for (let at = 0, number = 0; number < count; number += 1) {
      if (at + 46 > size || list.getUint32(at, true) !== 0x02014b50) throw new Problem("the zip's directory is damaged");
      const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => list.getUint16(at + field, true));
      let [stored, length] = [list.getUint32(at + 20, true), list.getUint32(at + 24, true)];
      let offset = list.getUint32(at + 42, true);
      if (at + 46 + nameBytes + extraBytes > size) throw new Problem("the zip's directory is damaged");
      let name = "";
      for (let place = 0; place < nameBytes; place += 1) name += String.fromCharCode(list.getUint8(at + 46 + place));
      let extra = at + 46 + nameBytes + 4;
      const large = () => { extra += 8; return Number(list.getBigUint64(extra - 8, true)); };
      if (length === 0xffffffff) { length = large(); stored = large(); }
      if (offset === 0xffffffff) offset = large();
      if (list.getUint16(at + 10, true) !== 0 || stored !== length) throw new Problem(`${name} is compressed`);
      if (!SAFE.test(name) || zip.entries.has(name)) throw new Problem(`the zip holds a file that it should not: ${name}`);
      zip.entries.set(name, { offset, length });
      at += 46 + nameBytes + extraBytes + commentBytes;
    }
    return zip;
  }

  async blob(name, type = "") {
    const entry = this.entries.get(name);
    if (!entry) throw new Problem(`${name} is not there`);
    const local = new DataView(await this.file.slice(entry.offset, entry.offset + 30).arrayBuffer());
    if (local.byteLength < 30 || local.getUint32(0, true) !== 0x04034b50) throw new Problem(`${name} does not begin`);
    const begin = entry.offset + 30 + local.getUint16(26, true) + local.getUint16(28, true);
    if (begin + entry.length > this.file.size) throw new Problem(`${name} is cut off`);
    return this.file.slice(begin, begin + entry.length, type);
  }

  async bytes(name, most) {
    const blob = await this.blob(name);
    if (blob.size > most) throw new Problem(`${name} is too large to be read here`);
    return new Uint8Array(await blob.arrayBuffer());
  }

  async json(name) {
    try {
      return JSON.parse(text.decode(await this.bytes(name, MOST_JSON)));
    } catch (error) {
      throw error instanceof Problem ? error : new Problem(`${name} is no JSON`);
    }
  }
}

// JSON as RFC 8785 has it, for what manifests hold: objects, lists, texts and whole numbers.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

// True or false; null where the browser has no Ed25519.
async function signedBy(key, data, signature) {
  try {
    const imported = await crypto.subtle.importKey("raw", bytesOf(key), { name: "Ed25519" }, false, ["verify"]);
    return await crypto.subtle.verify({ name: "Ed25519" }, imported, signature, data);
  } catch (error) {
    if (error.name === "NotSupportedError") return null;
    return false;
  }
}

async function joined(...parts) {
  return sha256(await new Blob(parts).arrayBuffer());
}

// The root of the tree in which the path leads to a leaf, as RFC 9162 (2.1.3.2) has it; null if no tree has such a path.
async function rootByPath(leaf, index, count, path) {
  if (!(index >= 0 && index < count)) return null;
  let [last, found] = [count - 1, leaf];
  for (const beside of path) {
    if (last === 0) return null;
    if (index % 2 === 1 || index === last) {
      found = await joined(Uint8Array.of(1), beside, found);
      while (index % 2 === 0 && index !== 0) [index, last] = [Math.floor(index / 2), Math.floor(last / 2)];
    } else {
      found = await joined(Uint8Array.of(1), found, beside);
    }
    [index, last] = [Math.floor(index / 2), Math.floor(last / 2)];
  }
  return last === 0 ? found : null;
}

class Check {
  constructor(zip, key) {
    Object.assign(this, { zip, key, findings: [], digests: new Map(), unsigned: false });
  }

  say(kind, what) { this.findings.push([kind, what]); }

  async part(work) {
    try {
      await work();
    } catch (error) {
      if (error instanceof Problem) this.say("wrong", error.message);
      else this.say("wrong", `something is not as an export writes it (${error.message})`);
    }
  }

  async all(told) {
    await this.part(() => this.manifest());
    if (!this.files) return;
    await this.part(() => this.eachFile(told));
    await this.part(async () => {
      const found = await this.zip.json("case.json");
      if (found.format !== FORMAT) throw new Problem(`case.json is not of format ${FORMAT}`);
      this.case = found;
    });
    if (!this.case) return;
    for (const { camera, segment, what, why } of this.case.missing) {
      this.say("lacks", `camera ${camera}, segment ${segment}: ${what}: ${why} (the export said so)`);
    }
    for (const camera of this.case.cameras) {
      for (const gap of camera.gaps) this.say("note", `camera ${camera.name} has no records from ${gap.after} to ${gap.before}`);
      for (const gone of camera.tombstones) {
        this.say("note", `camera ${camera.name}, segment ${gone.number}: deleted at ${gone.at} by ${gone.by}: ${gone.reason}`);
      }
      told(`the chain of camera ${camera.name}`);
      await this.part(() => this.proof(camera));
    }
  }

  async manifest() {
    const bytes = await this.zip.bytes("manifest.json", MOST_JSON);
    const found = await this.zip.json("manifest.json");
    if (found.format !== FORMAT) throw new Problem(`manifest.json is not of format ${FORMAT}`);
    if (canonical(found) !== text.decode(bytes)) throw new Problem("manifest.json is not canonical JSON (RFC 8785)");
    const signature = await this.zip.bytes("manifest.sig", 64);
    const held = await signedBy(found.signer, bytes, signature);
    if (held === null) {
      this.unsigned = true;
      this.say("lacks", "signatures were NOT checked: this browser has no Ed25519; use a newer one, or icm verify");
    } else if (!held) {
      this.say("wrong", "manifest.sig: the signature of manifest.json does not hold");
    } else if (this.key && this.key !== found.signer) {
      this.say("wrong", `manifest.json is signed by ${found.signer}, and not by the key that you gave`);
    } else if (this.key) {
      this.say("ok", "manifest.json is signed by the key that you gave");
    } else {
      this.say("note", `manifest.json is signed by ${found.signer}, whose owner you must know`);
    }
    this.signer = found.signer;
    this.files = found.files;
    if (found.counts.files !== found.files.length) this.say("wrong", "manifest.json does not count its own files");
  }

  async eachFile(told) {
    const listed = new Set(this.files.map((file) => file.path));
    for (const name of this.zip.entries.keys()) {
      if (!listed.has(name) && name !== "manifest.json" && name !== "manifest.sig") {
        this.say("wrong", `${name} was added: manifest.json does not list it`);
      }
    }
    let [sound, done] = [0, 0];
    for (const file of this.files) {
      done += 1;
      if (done % 20 === 1) told(`file ${done} of ${this.files.length}`);
      if (!this.zip.entries.has(file.path)) {
        this.say("wrong", `${file.path} was removed: manifest.json lists it`);
      } else if (this.zip.entries.get(file.path).length > MOST_HASHED) {
        this.say("lacks", `${file.path} is too large to be checked here; icm verify checks it`);
      } else {
        const digest = hex(await sha256(await this.zip.bytes(file.path, MOST_HASHED)));
        this.digests.set(file.path, digest);
        if (digest !== file.sha256) this.say("wrong", `${file.path} was changed: its SHA-256 is not the one in manifest.json`);
        else sound += 1;
      }
    }
    if (sound === this.files.length) this.say("ok", `each of the ${sound} files has the SHA-256 that manifest.json lists`);
  }

  async proof(camera) {
    const path = `proof/${camera.name}.json`;
    const sealed = camera.segments.filter((segment) => segment.sealed);
    if (!this.zip.entries.has(path)) {
      if (sealed.length) throw new Problem(`${path} is not there: nothing proves the records of camera ${camera.name}`);
      return;
    }
    const wrong = this.findings.filter(([kind]) => kind === "wrong").length;
    const { entries, blocks } = await this.zip.json(path);
    const heads = await this.heads(path, blocks);
    const leaves = new Map(), tombstones = new Map(), pruned = [];
    for (const { line, block, index, path: beside } of entries) {
      const words = line.split(" "), known = heads.get(block);
      if (!known || words[1] !== camera.name) throw new Problem(`${path}: an entry is of no block here: ${line}`);
      const leaf = await joined(Uint8Array.of(0), ascii(line));
      const root = await rootByPath(leaf, index, known.entries, beside.map(bytesOf));
      if (!root || hex(root) !== known.root) throw new Problem(`${path}: the path of segment ${words[2]} leads to no root`);
      if (words[0] === "icm-pruned-1") pruned.push(...words[3].split(",").map((range) => range.split("-").map(Number)));
      else (words[0] === "icm-leaf-1" ? leaves : tombstones).set(Number(words[2]), words);
    }
    for (const segment of sealed) {
      const leaf = leaves.get(segment.number);
      if (!leaf) this.say("wrong", `${segment.path} is not in the chain of camera ${camera.name}`);
      else if (leaf[9] !== this.digests.get(segment.path)) {
        const what = `${segment.path} is not the file that the chain has as segment ${segment.number}`;
        this.say(segment.problem ? "lacks" : "wrong", segment.problem ? `${what} (the export said so)` : what);
      }
    }
    for (const segment of camera.segments) {
      if (!segment.sealed) this.say("lacks", `${segment.path} was still growing: it is in no chain yet`);
    }
    for (const gone of camera.tombstones) {
      const dropped = pruned.some(([first, last]) => first <= gone.number && gone.number <= last);
      if (!tombstones.has(gone.number) && !dropped) this.say("wrong", `the chain does not say that segment ${gone.number} was deleted`);
    }
    const here = new Set([...camera.segments, ...camera.tombstones].map(({ number }) => number));
    for (const { camera: name, segment } of this.case.missing) if (name === camera.name) here.add(segment);
    for (const number of [...leaves.keys(), ...tombstones.keys()]) {
      if (!here.has(number) && this.within((leaves.get(number) ?? tombstones.get(number)).slice(7, 9))) {
        this.say("wrong", `segment ${number} of camera ${camera.name} is left out`);
      }
    }
    if (this.findings.filter(([kind]) => kind === "wrong").length === wrong) {
      const newest = [...heads.keys()].pop();
      this.say("ok", `${sealed.length} segments and ${camera.tombstones.length} deletions of camera ${camera.name} are in`
        + ` the chain, whose head ${newest} is ${heads.get(newest)?.hash}`);
    }
  }

  // Blocks by number, each with a head that stands for it, is signed, and follows the one before.
  async heads(path, blocks) {
    const found = new Map();
    let before = null;
    for (const { line, head } of blocks) {
      const [, store, camera, number, entries, , , , , root, previous] = line.split(" ");
      const [, ofStore, ofCamera, ofBlock, , hash, key, signature] = head.split(" ");
      const same = store === ofStore && camera === ofCamera && number === ofBlock;
      if (!same || hash !== hex(await sha256(ascii(line)))) throw new Problem(`${path}: the head of block ${number} is another's`);
      if (before && (previous !== before.hash || Number(number) !== before.number + 1)) {
        throw new Problem(`${path}: block ${number} does not follow block ${before.number}`);
      }
      const signed = head.slice(0, head.lastIndexOf(" "));
      if ((await signedBy(key, ascii(signed), bytesOf(signature))) === false) {
        throw new Problem(`${path}: the signature of block ${number} does not hold`);
      }
      if (key !== this.signer && !(before && before.key === key)) {
        this.say("note", `heads are signed by another key than the manifest, ${key}, whose owner you must know`);
      }
      before = { number: Number(number), entries: Number(entries), root, hash, key };
      found.set(before.number, before);
    }
    return found;
  }

  within([first, last]) {
    return BigInt(last) >= microseconds(this.case.range.start) && BigInt(first) < microseconds(this.case.range.end);
  }
}

// Microseconds since 1970 of a time such as 2026-09-21T14:13:20.000000Z.
function microseconds(time) {
  return BigInt(Date.parse(`${time.slice(0, 19)}Z`)) * 1000n + BigInt(time.slice(20, 26));
}

function timeText(at) {
  const rest = String(((at % 1000000n) + 1000000n) % 1000000n).padStart(6, "0");
  return `${new Date(Number(at / 1000n)).toISOString().slice(0, 19)}.${rest}Z`;
}

// What is shown of a file.
class View {
  constructor() {
    this.clips = [];
    this.detections = new Map();
    this.address = "";
    this.shown = 0;
  }

  clear() {
    for (const id of ["verdict", "about", "checks", "clips"]) element(id).hidden = true;
    for (const id of ["facts", "findings", "clip"]) element(id).replaceChildren();
    element("video").removeAttribute("src");
    element("found").textContent = element("time").textContent = element("status").textContent = "";
    this.clips = [];
    this.detections.clear();
  }

  verdict(check) {
    const wrong = check.findings.filter(([kind]) => kind === "wrong");
    const lacks = check.findings.filter(([kind]) => kind === "lacks").length;
    const title = element("verdict-text");
    title.className = wrong.length ? "unsound" : "sound";
    title.textContent = wrong.length ? "This file is NOT what it should be" : "Nothing is wrong with this file";
    const unknown = check.key || check.unsigned ? "" : "That holds if the key that signed it is the archive's";
    const parts = [unknown, lacks ? `${lacks} things are not in it or were not checked` : ""].filter(Boolean);
    element("verdict-more").textContent = wrong.length ? wrong[0][1] : parts.join("; ");
    element("verdict").hidden = false;
    element("findings").replaceChildren(...check.findings.map(([kind, what]) => {
      const item = document.createElement("li"), mark = document.createElement("b"), said = document.createElement("span");
      item.className = kind;
      mark.textContent = kind === "wrong" ? "WRONG" : kind;
      said.textContent = what;
      item.append(mark, said);
      return item;
    }));
    element("checks").hidden = false;
    title.focus();
  }

  about(found) {
    const counted = (name) => found.cameras.reduce((sum, camera) => sum + camera[name].length, 0);
    const facts = [["Case", found.case], ["Exported by", found.exported_by], ["Certificate", found.caller || "none"],
      ["Exported at", found.exported_at], ["From", found.range.start], ["To", found.range.end],
      ["Cameras", found.cameras.map((camera) => camera.name).join(", ")], ["Store", found.store],
      ["Segments", counted("segments")], ["Deleted", counted("tombstones")], ["Software", found.software]];
    element("facts").replaceChildren(...facts.flatMap(([name, value]) => {
      const term = document.createElement("dt"), said = document.createElement("dd");
      term.textContent = name;
      said.textContent = String(value);
      said.dir = "auto";
      return [term, said];
    }));
    element("about").hidden = false;
  }

  async films(check) {
    for (const camera of check.case.cameras) {
      for (const clip of camera.clips) this.clips.push({ camera: camera.name, zip: check.zip, ...clip });
      if (!camera.detections) continue;
      await check.part(async () => {
        const { frames } = await check.zip.json(camera.detections.json_path);
        this.detections.set(camera.name, frames.map((frame) => ({ at: microseconds(frame.captured), ...frame })));
      });
    }
    element("clip").replaceChildren(...this.clips.map((clip, number) => {
      const option = document.createElement("option");
      option.value = String(number);
      option.textContent = `${clip.camera}, ${clip.start}, ${clip.frames} frames`;
      return option;
    }));
    element("clips").hidden = !this.clips.length;
    if (this.clips.length) await this.play(0);
  }

  async play(number) {
    this.shown = number;
    const clip = this.clips[number];
    try {
      const blob = await clip.zip.blob(clip.path, "video/mp4");
      URL.revokeObjectURL(this.address);
      this.address = URL.createObjectURL(blob);
      element("video").src = this.address;
    } catch (error) {
      element("time").textContent = error.message;
    }
  }

  // Draws what was found in the frame that is shown.
  draw(seconds) {
    const clip = this.clips[this.shown], video = element("video"), overlay = element("overlay");
    if (!clip) return;
    const at = microseconds(clip.start) + BigInt(Math.round(seconds * 1e6));
    element("time").textContent = `${timeText(at)} (capture time, UTC)`;
    const frames = this.detections.get(clip.camera) ?? [];
    const frame = frames.findLast((one) => one.at <= at + 1000n && at - one.at < 1000000n);
    element("found").textContent = (frame?.detections ?? []).map((one) => `${one.class} ${one.score.toFixed(2)}`).join(", ");
    const scale = Math.min(video.clientWidth / video.videoWidth, video.clientHeight / video.videoHeight) || 1;
    overlay.width = Math.round(video.videoWidth * scale);
    overlay.height = Math.round(video.videoHeight * scale);
    overlay.style.left = `${(video.clientWidth - overlay.width) / 2}px`;
    overlay.style.top = `${(video.clientHeight - overlay.height) / 2}px`;
    if (!frame || !element("boxes").checked) return;
    const pen = overlay.getContext("2d");
    pen.lineWidth = 2;
    pen.font = "13px sans-serif";
    for (const one of frame.detections) {
      const [left, top, right, bottom] = one.box.map((side) => side * scale);
      pen.strokeStyle = "#ffd400";
      pen.strokeRect(left, top, right - left, bottom - top);
      const label = `${one.class} ${one.score.toFixed(2)}`;
      pen.fillStyle = "#000a";
      pen.fillRect(left, top, pen.measureText(label).width + 6, 17);
      pen.fillStyle = "#ffd400";
      pen.fillText(label, left + 3, top + 13);
    }
  }
}

const view = new View();
let turn = 0;

async function checkChosen() {
  const file = element("file").files[0], mine = (turn += 1);
  if (!file) return;
  view.clear();
  const told = (what) => { if (mine === turn) element("status").textContent = `Checking ${what} …`; };
  const key = element("key").value.trim().toLowerCase();
  const check = new Check(null, key);
  if (!crypto.subtle) check.say("wrong", "this browser does not let this page compute digests: open it from a disk, or use another");
  else {
    await check.part(async () => { check.zip = await Zip.open(file); });
    if (check.zip) await check.all(told);
  }
  if (mine !== turn) return;
  element("status").textContent = "";
  // The page may be given what no export writes: that is a finding too.
  if (check.case) await check.part(async () => { view.about(check.case); await view.films(check); });
  if (mine === turn) view.verdict(check);
}

element("form").addEventListener("submit", (event) => event.preventDefault());
element("file").addEventListener("change", checkChosen);
element("key").addEventListener("change", checkChosen);
element("clip").addEventListener("change", () => view.play(Number(element("clip").value)));
const video = element("video");
// Where the browser says which frame it shows, that; else how far it has played.
let shownAt = null;
const redraw = () => view.draw(shownAt ?? video.currentTime);
for (const name of ["loadeddata", "seeked", "timeupdate"]) video.addEventListener(name, redraw);
video.addEventListener("emptied", () => { shownAt = null; });
element("boxes").addEventListener("change", redraw);
addEventListener("resize", redraw);
if (video.requestVideoFrameCallback) {
  const onFrame = (_, shown) => {
    shownAt = shown.mediaTime;
    redraw();
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);
}
