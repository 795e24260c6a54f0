// Seals: an edge's signatures over the records that it sent, as lines in proof/<camera>.seals.
const MOST_SEALED = 512, LONGEST_LINE = 2 ** 20;
const SEALED = new RegExp(
  "^icm-sealed-1 (?<words>(?<camera>[A-Za-z0-9._-]+) (?<epoch>\\d+) (?<ranges>\\d{1,10}-\\d{1,10}(?:,\\d{1,10}-\\d{1,10})*)"
  + " \\d+ (?<root>[0-9a-f]{64}) (?<key>[0-9a-f]{64})) (?<signature>[0-9a-f]{128})"
  + " (?<segment>\\d+) (?<first>\\d+) (?<count>\\d+) (?<hashes>-|[0-9a-f]{64}(?:,[0-9a-f]{64})*)$",
);

// A line: those of a seal's records that lie in one segment.
function sealedPart(line) {
  const said = line.length <= LONGEST_LINE ? SEALED.exec(line)?.groups : undefined;
  const part = said && {
    camera: said.camera, epoch: said.epoch, text: `icm-seal-1 ${said.words}`, root: said.root, key: said.key,
    signature: said.signature, all: sequences(said.ranges), segment: Number(said.segment), first: Number(said.first),
    count: Number(said.count), hashes: said.hashes === "-" ? [] : said.hashes.split(",").map(bytesOf),
  };
  if (!part?.all || part.count < 1 || part.first + part.count > part.all.length) {
    throw new Problem(`this line is no sealed part: ${line.slice(0, 200)}`);
  }
  part.sequences = part.all.slice(part.first, part.first + part.count);
  return part;
}

// Numbers of ranges such as 1-5,7-7; null if they do not rise, or are too many.
function sequences(ranges) {
  const found = [];
  for (const range of ranges.split(",")) {
    const [first, last] = range.split("-").map(Number);
    if (last < first || last - first >= MOST_SEALED - found.length || (found.length && first <= found.at(-1))) return null;
    for (let sequence = first; sequence <= last; sequence += 1) found.push(sequence);
  }
  return found;
}

// A segment's camera and epoch, and the hash of each of its records by sequence: header and record together.
async function recordHashes(bytes, path) {
  const cut = () => new Problem(`${path} is cut off, or damaged`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 62 || text.decode(bytes.slice(0, 4)) !== "ICMB") throw cut();
  const named = 38 + bytes[37], headerBytes = named + 24;
  if (headerBytes > bytes.length) throw cut();
  const header = bytes.subarray(0, headerBytes), hashes = new Map();
  for (let at = headerBytes; at < bytes.length;) {
    if (at + 23 > bytes.length) throw cut();
    const end = at + 23 + (view.getUint16(at + 12, true) | (bytes[at + 14] << 16));
    if (end > bytes.length) throw cut();
    hashes.set(view.getUint32(at, true), await joined(Uint8Array.of(0), header, bytes.subarray(at, end)));
    at = end;
  }
  return { camera: text.decode(bytes.slice(38, named)), epoch: String(view.getBigUint64(named, true)), hashes };
}

// The root of the tree of which `inner` are neighbouring leaves from `first` on; null if the hashes are not as many as it takes.
async function rootOfPart(inner, first, total, hashes) {
  const waiting = [...hashes];
  const root = async (low, high) => {
    if (high <= first || low >= first + inner.length) {
      if (!waiting.length) throw new Problem("hashes are missing");
      return waiting.shift();
    }
    if (high - low === 1) return inner[low - first];
    const middle = low + 2 ** (31 - Math.clz32(high - low - 1));
    const left = await root(low, middle);
    return joined(Uint8Array.of(1), left, await root(middle, high));
  };
  try {
    const found = await root(0, total);
    return waiting.length ? null : found;
  } catch (error) {
    if (error instanceof Problem) return null;
    throw error;
  }
}

// Throws unless a part is over the records of its segment; true or, where the browser has no Ed25519, null.
async function partHolds(part, found) {
  const name = `the seal over records ${part.sequences[0]} to ${part.sequences.at(-1)} of camera ${part.camera}`;
  if (part.camera !== found.camera || part.epoch !== found.epoch) throw new Problem(`${name} is of another camera or epoch`);
  const missing = part.sequences.find((sequence) => !found.hashes.has(sequence));
  if (missing !== undefined) throw new Problem(`${name} is over record ${missing}, which is not in segment ${part.segment}`);
  const inner = part.sequences.map((sequence) => found.hashes.get(sequence));
  const root = await rootOfPart(inner, part.first, part.all.length, part.hashes);
  if (!root || hex(root) !== part.root) throw new Problem(`${name} is over other bytes than segment ${part.segment} holds`);
  const held = await signedBy(part.key, ascii(part.text), bytesOf(part.signature));
  if (held === false) throw new Problem(`the signature of ${name} does not hold`);
  return held;
}

// Checks the seals of a camera's edge over the records of an evidence file.
async function checkSeals(check, camera) {
  const path = `proof/${camera.name}.seals`;
  if (!camera.segments.length) return;
  if (!check.zip.entries.has(path)) {
    check.say("note", `records of camera ${camera.name} are not sealed by the edge that sent them: that it did rests on the`
      + " archive's word");
    return;
  }
  const lines = text.decode(await check.zip.bytes(path, MOST_JSON)).split("\n");
  const parts = Map.groupBy(lines.filter((line) => line).map(sealedPart), (part) => part.segment);
  const before = check.wrong().length, keys = new Set();
  let records = 0, sealed = 0, unchecked = false;
  for (const segment of camera.segments) {
    const over = parts.get(segment.number) ?? [];
    parts.delete(segment.number);
    try {
      const found = await recordHashes(await check.zip.bytes(segment.path, MOST_HASHED), segment.path), here = new Set();
      for (const part of over) {
        if ((await partHolds(part, found)) === null) unchecked = true;
        keys.add(part.key);
        part.sequences.forEach((sequence) => here.add(sequence));
      }
      records += found.hashes.size;
      sealed += here.size;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      check.say(segment.problem ? "lacks" : "wrong", `${segment.path}: ${error.message}`);
    }
  }
  for (const number of parts.keys()) check.say("wrong", `${path} has a seal over segment ${number}, which is not here`);
  if (check.wrong().length > before) return;
  const count = `seals of camera ${camera.name}: ${sealed} of ${records} records`;
  if (unchecked) check.say("lacks", `${count} have seals, whose signatures this browser cannot check`);
  else check.say("ok", `${count} are sealed by the edge with key ${[...keys].sort().join(", ")}, whose owner you must know`);
}
